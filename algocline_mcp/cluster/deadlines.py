"""Deadlines of what blocks in many threads: one thread for all of them carries out what is due.

Contract. An action is carried out once, at its deadline or a little later, unless it was removed before; when `remove`
has returned it is not under way either. An action is quick and raises nothing. The thread sleeps until the first
deadline that it has seen, and for ever where there is none, so whoever adds a later one wakes nobody: a timer of its
own for each statement took 0.1 ms of processor time and two changes of thread.
"""

import itertools
import threading
import time
from collections.abc import Callable

Action = Callable[[], None]


class Deadlines:
    def __init__(self) -> None:
        self._actions: dict[int, tuple[float, Action]] = {}
        self._changed = threading.Condition()
        self._wakes_at = float("inf")  # of the thread
        self._keys = itertools.count()
        self._thread: threading.Thread | None = None

    def add(self, limit_s: float, action: Action) -> int:
        """The key by which it is removed."""
        ends_at, key = time.monotonic() + limit_s, next(self._keys)
        with self._changed:
            self._actions[key] = (ends_at, action)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
                self._thread.start()
            elif ends_at < self._wakes_at:
                self._changed.notify()
        return key

    def remove(self, key: int) -> None:
        with self._changed:
            self._actions.pop(key, None)

    def _run(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for key in [key for key, (ends_at, _) in self._actions.items() if ends_at <= now]:
                    self._actions.pop(key)[1]()
                self._wakes_at = min((ends_at for ends_at, _ in self._actions.values()), default=float("inf"))
                self._changed.wait(self._wakes_at - now if self._actions else None)
