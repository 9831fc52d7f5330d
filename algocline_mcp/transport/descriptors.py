"""What the front and the server do first of all: signals, and the descriptors 0, 1 and 2.

Contract. Needs the standard library alone. Called on the main thread before any large import.
"""

import fcntl
import io
import os
import select
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn


class DroppingStderr(io.RawIOBase):
    """Descriptor 2 for text that nobody may read: what does not fit into its pipe is dropped, and said later.

    A server whose host never read its stderr hung at the ninth traceback.
    """

    def __init__(self) -> None:
        self._poll = select.poll()
        self._poll.register(2, select.POLLOUT)
        self._dropped_bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """Never blocks, never raises. A pipe that polls as writable takes PIPE_BUF bytes."""
        content = memoryview(data).cast("B")
        for start in range(0, len(content), select.PIPE_BUF):
            part = content[start : start + select.PIPE_BUF]
            if not self._poll.poll(0):
                self._dropped_bytes += len(part)
                continue
            with suppress(OSError):  # the host has closed it
                if self._dropped_bytes:
                    os.write(2, b"alc: %d bytes were dropped here: nobody read stderr\n" % self._dropped_bytes)
                    self._dropped_bytes = 0
                    if not self._poll.poll(0):
                        continue
                os.write(2, part)
        return len(content)


def drop_what_nobody_reads() -> None:
    """From now on `sys.stderr` never blocks."""
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(DroppingStderr()), "utf-8", "backslashreplace", line_buffering=True, write_through=True
    )


def leave(code: int = 0) -> NoReturn:
    """Ends the process without teardown: finalizers would wait for threads that a hanging disk keeps."""
    os._exit(code)


def end_on_signals() -> None:
    """SIGTERM, SIGINT and SIGHUP end the process at once with exit code 0, also as PID 1."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _on_signal)


def _on_signal(number: int, frame: FrameType | None) -> None:
    leave()


def take_over_descriptors() -> tuple[int, int]:
    """Private duplicates of 0 and 1. Then 0 reads /dev/null and 1 is stderr: a stray print never reaches the host."""
    _fill_standard_descriptors()
    fd_in = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 3)
    fd_out = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 3)
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # `leave` flushes nothing
    return fd_in, fd_out


def _fill_standard_descriptors() -> None:
    """Opens /dev/null as 0, 1 and 2 where they were closed: no journal or socket may get such a number."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
