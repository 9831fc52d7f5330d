"""A warning in the log whose cause any caller can repeat."""

import logging
import threading
import time
from collections.abc import Callable

PAUSE_S = 60.0


class RareWarning:
    """One line in PAUSE_S at most, with the number of its causes since the line before. For all threads."""

    def __init__(self, logger: logging.Logger, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._causes = 0
        self._written_s = float("-inf")

    def note(self, sentence: str) -> None:
        with self._lock:
            self._causes += 1
            if self._clock_s() - self._written_s < PAUSE_S:
                return
            causes, self._causes, self._written_s = self._causes, 0, self._clock_s()
        since = f" ({causes} times since the last such line)" if causes > 1 else ""
        self._logger.warning("%s%s", sentence, since)
