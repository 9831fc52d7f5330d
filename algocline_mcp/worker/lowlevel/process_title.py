"""Sets the title of this process, the name that `ps` shows.

Contract: written into the memory of argv only, so /proc/PID/environ still shows the home that a process serves. Where
/proc does not permit it, nothing happens. `set_title` opens files of /proc; `set_command_line` is for a process that
may open none. Why not setproctitle: it imports logging and so threading, whose work after a fork costs each process
430 KiB of copied pages. `set_title` costs 150, through ctypes 340.
"""

import contextlib
import ctypes
import os

from algocline_mcp.storage.process_stat import read_process_stat


def _find_argv() -> tuple[int, int]:
    """Address and size of the command line that started this process. Forked processes have the same."""
    with contextlib.suppress(OSError, IndexError):
        stat = read_process_stat("self")
        return stat.arg_start, stat.arg_end - stat.arg_start
    return 0, 0


def set_title(title: str) -> None:
    """Sets the title, cut to the length of the command line that started the process."""
    name = title.encode()
    _write("/proc/self/comm", name, 0)
    if _size:
        _write("/proc/self/mem", _fitted(name), _address)


def set_command_line(title: str) -> None:
    """Sets what /proc/PID/cmdline shows, by a plain write to that memory."""
    if _size:
        ctypes.memmove(_address, _fitted(title.encode()), _size)


def _fitted(name: bytes) -> bytes:
    return name[: _size - 1].ljust(_size, b"\0")


def _write(path: str, text: bytes, offset: int) -> None:
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.lseek(fd, offset, os.SEEK_SET)
            os.write(fd, text)
        finally:
            os.close(fd)


_address, _size = _find_argv()
