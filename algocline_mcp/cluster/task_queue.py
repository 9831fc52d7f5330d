"""Queue of tasks for several threads: at most one task of a session is under way, and those of a session keep their
order."""

import threading
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar


class Task(Protocol):
    @property
    def sid(self) -> str: ...

    @property
    def size(self) -> int: ...


Kind = TypeVar("Kind", bound=Task)


class TaskQueue(Generic[Kind]):
    def __init__(self, batch_bytes: int) -> None:
        """`batch_bytes`: what `take` returns at once has this size together, or is one task."""
        self._batch_bytes = batch_bytes
        self._waiting: list[Kind] = []
        self._under_way: set[str] = set()
        self._is_closed = False
        self._changed = threading.Condition()

    def put(self, task: Kind) -> None:
        with self._changed:
            self._waiting.append(task)
            self._changed.notify()

    def take(self) -> list[Kind]:
        """Waits for tasks of different sessions, and marks them as under way. Empty: the queue is closed."""
        with self._changed:
            while not self._is_closed and not (batch := self._next()):
                self._changed.wait()
            if self._is_closed:
                return []
            self._under_way |= {task.sid for task in batch}
            return batch

    def _next(self) -> list[Kind]:
        batch, rest, size, passed = list[Kind](), list[Kind](), 0, set(self._under_way)
        for task in self._waiting:
            if task.sid in passed or (batch and size + task.size > self._batch_bytes):
                rest.append(task)
            else:
                batch.append(task)
                size += task.size
            passed.add(task.sid)
        self._waiting = rest
        return batch

    def done(self, batch: Sequence[Kind]) -> None:
        with self._changed:
            self._under_way -= {task.sid for task in batch}
            if self._waiting:
                self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
