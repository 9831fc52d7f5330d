"""Sets the title of this process, the name that `ps` shows.

Contract: written into the memory of argv only, so /proc/PID/environ stays as it was. Opens no file: /proc/self/mem and
/proc/self/comm belong to root in a process that is not dumpable, and a confined process may open nothing. Where the
system does not say where argv is, nothing happens. Why not setproctitle: it imports logging and so threading, whose
work after a fork costs each process 430 KiB of copied pages. A view of the memory that is made before the fork, and the
name, cost 30 KiB and 50 us; files of /proc cost twice as much.
"""

import contextlib
import ctypes
import os
import sys

from algocline_mcp.storage.process_stat import read_process_stat

_PR_SET_NAME = 15  # linux/prctl.h


def _argv() -> memoryview:
    """The command line that started this process. Forked processes have it at the same address."""
    with contextlib.suppress(OSError, IndexError):
        stat = read_process_stat("self")
        if stat.arg_start:
            return memoryview((ctypes.c_char * (stat.arg_end - stat.arg_start)).from_address(stat.arg_start)).cast("B")
    return memoryview(bytearray())


def set_title(title: str) -> None:
    """Sets the title, cut to the length of the command line that started the process.

    A confined process changes its command line only: its filter refuses the name that the kernel keeps.
    """
    name = os.fsencode(title)
    if size := len(_memory):
        _memory[:] = name[: size - 1].ljust(size, b"\0")
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_NAME, name, 0, 0, 0)


_libc = ctypes.CDLL(None)
_memory = _argv()
