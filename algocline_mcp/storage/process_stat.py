"""Reader of /proc/PID/stat, see proc_pid_stat(5).

Contract: standard library only, because a worker imports this module too. Numbers are as the kernel writes them.
"""

import os
from contextlib import suppress
from dataclasses import dataclass

_STAT_BYTES = 4096  # 52 numbers and a name: 400 bytes


@dataclass(frozen=True, slots=True)
class ProcessStat:
    state: str  # one letter: R running, S sleeping, Z zombie, …
    parent: int  # pid
    process_session: int  # pid of its leader
    user_ticks: int  # processor time in user mode, in clock ticks
    start_time: int  # clock ticks since boot
    arg_start: int  # address of the command line
    arg_end: int


def read_process_stat(pid: int | str) -> ProcessStat:
    """Of a pid, or of "self". Raises OSError where the process is gone or the system has no such file.

    Raises IndexError where the kernel (before 3.5) writes fewer fields.
    """
    fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)  # a file object took twice as long
    try:
        content = os.read(fd, _STAT_BYTES)
    finally:
        os.close(fd)
    # The command's name is the second field, in parentheses; it may hold spaces and parentheses itself.
    fields = content.rpartition(b")")[2].split()  # fields[0] is the third field of the manual page
    return ProcessStat(
        state=fields[0].decode(),
        parent=int(fields[1]),
        process_session=int(fields[3]),
        user_ticks=int(fields[11]),
        start_time=int(fields[19]),
        arg_start=int(fields[45]),
        arg_end=int(fields[46]),
    )


def start_time_of(pid: int | str) -> int | None:
    """Clock ticks since boot, which name a process for good together with its pid and the boot.

    None where the process is gone or the system does not say.
    """
    with suppress(OSError):
        return read_process_stat(pid).start_time
    return None
