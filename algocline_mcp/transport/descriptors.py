"""What the front and the server do first of all: signals, and the descriptors 0, 1 and 2.

Contract. Needs the standard library alone. Called on the main thread before any large import.
"""

import fcntl
import io
import os
import signal
import sys
from types import FrameType
from typing import NoReturn


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
