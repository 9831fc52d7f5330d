"""System calls that an engine may make, with their numbers. Pure.

Between its start message and its end an engine reads and writes its socket, writes to its log, and manages its memory.
In a trace that is sendto, recvfrom, recvmsg, close, write, brk, mmap, munmap, mremap and clock_gettime; the other calls
are those that the C libraries (glibc, musl), the locks of Python, and Lua may need for the same. Every other call fails
with EPERM: nothing opens, connects, executes, forks, signals, or changes a limit. No allowed call sends a descriptor
(sendmsg), changes one (fcntl, ftruncate) or blocks a signal: the limit of processor time ends an engine in any case.

Numbers: asm/unistd_64.h of x86_64, asm-generic/unistd.h for aarch64. glibc and musl use the same.
"""

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from algocline_mcp.worker.confinement import bpf
from algocline_mcp.worker.confinement.bpf import Condition, Instruction

_PROT_EXEC, _MAP_ANONYMOUS = 0x4, 0x20
_NOT_EXECUTABLE = Condition(2, _PROT_EXEC, 0)

# name -> (number on x86_64, on aarch64). The most frequent first.
ALLOWED: Mapping[str, tuple[int, int]] = {
    "recvfrom": (45, 207),
    "sendto": (44, 206),
    "mmap": (9, 222),
    "munmap": (11, 215),
    "brk": (12, 214),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "mprotect": (10, 226),
    "clock_gettime": (228, 113),
    "futex": (202, 98),
    "read": (0, 63),
    "write": (1, 64),
    "writev": (20, 66),  # as musl writes what C prints to the log
    "close": (3, 57),
    "recvmsg": (47, 212),  # the start message, which brings the descriptor of the log
    "gettimeofday": (96, 169),
    "clock_nanosleep": (230, 115),  # it may wait, as in recvfrom
    "clock_getres": (229, 114),
    "getrandom": (318, 278),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "sched_yield": (24, 124),
    "rt_sigreturn": (15, 139),
    "restart_syscall": (219, 128),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
CONDITIONS: Mapping[str, Sequence[Condition]] = {
    "mmap": (_NOT_EXECUTABLE, Condition(3, _MAP_ANONYMOUS, _MAP_ANONYMOUS)),
    "mprotect": (_NOT_EXECUTABLE,),
}
# A C library that tries a new call first falls back on the older one at this error only.
ABSENT: Mapping[str, tuple[int, int]] = {
    "clone3": (435, 435),
    "close_range": (436, 436),
    "openat2": (437, 437),
    "faccessat2": (439, 439),
    "statx": (332, 291),
}


@dataclass(frozen=True, slots=True)
class Architecture:
    audit: int  # AUDIT_ARCH_…, linux/audit.h
    column: int  # in the tables


ARCHITECTURES: Mapping[str, Architecture] = {
    "x86_64": Architecture(0xC000003E, 0),
    "aarch64": Architecture(0xC00000B7, 1),
}


def filter_of(machine: str) -> list[Instruction]:
    """The program for an engine on this machine, which must be one of ARCHITECTURES."""
    architecture = ARCHITECTURES[machine]
    numbers = {name: both[architecture.column] for name, both in ALLOWED.items()}
    return bpf.allow_list(
        architecture.audit,
        {number: CONDITIONS.get(name, ()) for name, number in numbers.items()},
        failing={both[architecture.column]: errno.ENOSYS for both in ABSENT.values()},
        default=bpf.fail_with(errno.EPERM),
    )
