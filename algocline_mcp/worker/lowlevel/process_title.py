"""The name under which `ps` shows a process.

Contract: written into the memory of argv only, so that /proc/PID/environ still tells which home a process serves. A
courtesy: where /proc does not let us, nothing happens. setproctitle would do it too, but it imports logging, and so
threading, whose work after a fork costs every process 430 KiB of copied pages. This costs 150, through ctypes 340.
"""

import contextlib
import os

from algocline_mcp.storage.process_stat import read_process_stat


def _find_argv() -> tuple[int, int]:
    """Address and size of the command line that started this process; both stay the same in all that it forks."""
    with contextlib.suppress(OSError, IndexError):
        stat = read_process_stat("self")
        return stat.arg_start, stat.arg_end - stat.arg_start
    return 0, 0


def set_title(title: str) -> None:
    """A title longer than the command line that started the process is cut to that length."""
    name = title.encode()
    _write("/proc/self/comm", name, 0)
    if _size:
        _write("/proc/self/mem", name[: _size - 1].ljust(_size, b"\0"), _address)


def _write(path: str, text: bytes, offset: int) -> None:
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.lseek(fd, offset, os.SEEK_SET)
            os.write(fd, text)
        finally:
            os.close(fd)


_address, _size = _find_argv()
