"""What another program of the user gets from the process PID: `python -m tests.attacks.tracing PID`.

Prints one JSON object: name of the attempt -> "reached" or the name of an errno. The attempts change nothing.
"""

import contextlib
import ctypes
import errno
import json
import os
import sys
from collections.abc import Callable

_PIDFD_GETFD = 438
_PTRACE_SEIZE = 0x4206
_libc = ctypes.CDLL(None, use_errno=True)


def _read(path: str) -> None:
    with open(path, "rb", buffering=0) as file:
        file.read(1)


def _call(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result


def _copy_descriptor(pid: int) -> None:
    pidfd = os.pidfd_open(pid)
    try:
        os.close(_call(_libc.syscall(_PIDFD_GETFD, pidfd, 0, 0)))
    finally:
        os.close(pidfd)


def _trace(pid: int) -> None:
    _call(_libc.ptrace(_PTRACE_SEIZE, pid, None, None))  # it does not stop; this process ends, and so does the tracing


READING: dict[str, Callable[[int], object]] = {
    "environment": lambda pid: _read(f"/proc/{pid}/environ"),
    "directory": lambda pid: os.readlink(f"/proc/{pid}/cwd"),
    "descriptors": lambda pid: os.readlink(f"/proc/{pid}/fd/0"),
}
# Some systems let a program trace its own children only (kernel.yama.ptrace_scope).
TRACING: dict[str, Callable[[int], object]] = {
    "memory": lambda pid: _read(f"/proc/{pid}/mem"),
    "a descriptor": _copy_descriptor,
    "trace": _trace,
}


def attempt(pid: int) -> dict[str, str]:
    outcome = {}
    for name, act in (READING | TRACING).items():
        outcome[name] = "reached"
        try:
            act(pid)
        except OSError as exc:
            outcome[name] = errno.errorcode.get(exc.errno or 0, str(exc))
    return outcome


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(attempt(int(sys.argv[1]))))
