"""Identity of a process that outlasts its pid, and signals to exactly that process.

The kernel uses pids again, sometimes within a second. Contract: a `ProcessIdentity` holds what was read while the
process was certainly alive. A signal goes through a pidfd that was opened first and compared with the identity
afterwards. On a system without pidfds (macOS) the pid and the start time are compared instead.

psutil would replace only the start time: it knows neither the inode of a pidfd nor boot id nor pid namespace, gives the
start in seconds of a wall clock that may be set, and its import adds 14 ms to the start of a server.
"""

import contextlib
import os
import select
import signal
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from algocline_mcp.storage.process_stat import start_time_of
from algocline_mcp.storage.socket_paths import short_path

_HAS_PIDFD = hasattr(os, "pidfd_open")


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    pid: int
    boot_id: str | None
    pid_ns: int | None
    start_time: int | None  # clock ticks since boot
    pidfd_ino: int | None  # the same for every pidfd of one process and never used again (since Linux 6.9)

    def as_fields(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("pid", "boot_id", "pid_ns", "start_time", "pidfd_ino")}

    def is_alive(self) -> bool:
        with self.open_pidfd() as pidfd:
            return pidfd is not None

    def signal(self, number: signal.Signals) -> bool:
        """Sends the signal. False: the process is gone, or belongs to another boot or pid namespace."""
        with self.open_pidfd() as pidfd:
            if pidfd is None:
                return False
            with contextlib.suppress(ProcessLookupError):
                if _HAS_PIDFD:
                    signal.pidfd_send_signal(pidfd, number)
                else:
                    os.kill(self.pid, number)
                return True
        return False

    @contextlib.contextmanager
    def open_pidfd(self) -> Iterator[int | None]:
        """A pidfd of exactly this process, or None if it is gone or in another namespace; -1 without pidfds."""
        if self.boot_id != _boot_id() or self.pid_ns != _pid_ns():
            yield None
            return
        pidfd = -1
        try:
            if _HAS_PIDFD:
                pidfd = os.pidfd_open(self.pid)
            is_same = start_time_of(self.pid) == self.start_time and _pidfd_ino(pidfd) == self.pidfd_ino
            yield pidfd if is_same and not _has_ended(pidfd) else None
        except ProcessLookupError:
            yield None
        finally:
            if pidfd >= 0:
                os.close(pidfd)


def _has_ended(pidfd: int) -> bool:
    """True also for a zombie: in a container a zombie may never be reaped."""
    if pidfd < 0:
        return False
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def identify(pid: int) -> ProcessIdentity:
    """The identity of a process that is alive or not yet reaped. Raises ProcessLookupError if it is gone."""
    pidfd = os.pidfd_open(pid) if _HAS_PIDFD else -1
    try:
        return ProcessIdentity(pid, _boot_id(), _pid_ns(), start_time_of(pid), _pidfd_ino(pidfd))
    finally:
        if pidfd >= 0:
            os.close(pidfd)


def identify_listener(path: Path, words: str) -> ProcessIdentity | None:
    """The process that listens on a socket, if its command line contains `words`; else None.

    None also where the system does not name the listener. Until a worker has called listen() itself, the kernel names
    the launcher, whose command line differs.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, contextlib.suppress(OSError, AttributeError):
        probe.setblocking(False)
        with short_path(path) as address:
            probe.connect(address)
        pid, _, _ = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        identity = identify(pid)
        title = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
        return identity if os.fsencode(words) in title else None
    return None


@cache
def _boot_id() -> str | None:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return None


@cache
def _pid_ns() -> int | None:
    with contextlib.suppress(OSError):
        return os.stat("/proc/self/ns/pid").st_ino
    return None


def _pidfd_ino(pidfd: int) -> int | None:
    return os.fstat(pidfd).st_ino if pidfd >= 0 else None
