"""Standard output and error of a strategy: what it prints becomes lines of the session's log."""

import io
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_PARTIAL_CHARS = 8192  # a longer text without a line's end is logged in parts, so that it takes no more memory
_MESSAGE_CHARS = 1 << 16  # of one log line: half of what the keeper accepts

Log = Callable[[str, str], None]  # of a level and a message


class Output(io.TextIOBase):
    """A stream whose texts are logged when a line ends: one message for each `print`, whatever it prints."""

    def __init__(self, log: Log, level: str) -> None:
        self._log = log
        self._level = level
        self._parts: list[str] = []
        self._size = 0

    encoding = "utf-8"
    errors = "replace"

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self._parts.append(text)
        self._size += len(text)
        if text.endswith("\n") or self._size > _PARTIAL_CHARS:
            self.flush()
        return len(text)

    def flush(self) -> None:
        """Logs what was written since the last line's end."""
        text = "".join(self._parts).removesuffix("\n")
        self._parts, self._size = [], 0
        if not text.strip():
            return
        for start in range(0, len(text), _MESSAGE_CHARS):
            self._log(self._level, text[start : start + _MESSAGE_CHARS])


@contextmanager
def captured(log: Log, warn: Callable[[str], None] | None = None) -> Iterator[None]:
    """Sends standard output and error to the log, and Python's warnings to `warn`; flushes and restores at the end.

    Without `warn` the warnings go to the log, too."""

    def show(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
    ) -> None:
        place = "" if filename.startswith("/") else f"{filename}:{lineno}: "  # a file of this machine, and no chunk
        text = f"{place}{category.__name__}: {message}"[:_MESSAGE_CHARS]
        if warn is None:
            log("warn", text)
        else:
            warn(text)

    saved = sys.stdout, sys.stderr, warnings.showwarning
    out, error = Output(log, "info"), Output(log, "warn")
    sys.stdout, sys.stderr = out, error
    warnings.showwarning = show
    try:
        yield
    finally:
        sys.stdout, sys.stderr, warnings.showwarning = saved
        out.flush()
        error.flush()
