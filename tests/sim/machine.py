"""A simulated machine: processes, open descriptions, locks and time.

Contract: code runs as the process `current`. Each call may be the last one of its process (`doom`): it then raises
Killed, as does every later call, so that no handler, `finally` or `suppress` of a killed process has any effect. The
descriptors of a dead process are closed at once: its locks are free, and its connections end.
"""

import errno
import os
import select
from collections.abc import Callable
from random import Random
from typing import Any

from tests.sim.disk import Disk, File

BORN_S = 1_790_000_000.0
_PIPE_BYTES = 4096


class Killed(BaseException):
    """kill -9, seen from inside."""


class Violation(AssertionError):
    """A promise was broken."""


class Process:
    def __init__(self, pid: int, name: str, environ: dict[str, str]) -> None:
        self.pid = pid
        self.name = name
        self.environ = environ
        self.is_alive = True
        self.doom = -1  # calls left until it is killed
        self.status = 0  # for waitpid
        self.children: list[Process] = []  # die with it


class Open:
    """An open file description: descriptors of several processes may share it, and it holds a lock."""

    def __init__(self, owner: Process) -> None:
        self.owners = [owner]

    @property
    def mask(self) -> int:
        """The events that poll would report."""
        return 0

    def release(self) -> None:
        """Called when the last descriptor is closed."""


class OpenFile(Open):
    def __init__(self, owner: Process, file: File, locks: dict[int, "OpenFile"]) -> None:
        super().__init__(owner)
        self.file = file
        self.locks = locks
        self.known_errors = file.errors if file.is_reported else file.errors - 1  # of failed writes
        self.offset = 0

    def release(self) -> None:
        if self.locks.get(self.file.number) is self:
            del self.locks[self.file.number]


class Listener(Open):
    is_open = False

    def __init__(self, owner: Process) -> None:
        super().__init__(owner)
        self.backlog: list[Stream] = []

    @property
    def mask(self) -> int:
        return select.POLLIN if self.backlog else 0

    def release(self) -> None:
        self.is_open = False
        for waiting in self.backlog:
            waiting.release()


class Stream(Open):
    """One end of a connection."""

    def __init__(self, owner: Process) -> None:
        super().__init__(owner)
        self.inbox = bytearray()
        self.is_open = True
        self.peer: Stream

    @property
    def mask(self) -> int:
        return (select.POLLIN if self.is_ready else 0) | (select.POLLOUT if self.has_room else 0)

    def release(self) -> None:
        self.is_open = False

    @property
    def is_ready(self) -> bool:
        return bool(self.inbox) or not self.peer.is_open

    @property
    def has_room(self) -> bool:
        return not self.peer.is_open or len(self.peer.inbox) < _PIPE_BYTES


def pair(ours: Process, theirs: Process) -> tuple[Stream, Stream]:
    near, far = Stream(ours), Stream(theirs)
    near.peer, far.peer = far, near
    return near, far


class Machine:
    def __init__(self, rng: Random, disk: Disk) -> None:
        self.rng = rng
        self.disk = disk
        self.now = 1000.0
        self.wall_s = BORN_S  # the wall clock is ahead of `now` by this
        self.open: dict[int, Open] = {}
        self.holders: dict[int, Process] = {}  # of descriptors
        self.locks: dict[int, OpenFile] = {}
        self.sockets: dict[str, Listener] = {}
        self.processes: dict[int, Process] = {}
        self.current = self.boot("init", {})
        self.preempt: Callable[[], None] | None = None  # may let another process run within a call
        self.is_tearing = False  # reads and writes of sockets take a part
        self.failing_forks = 0.0
        self._next_fd = 10

    # ── processes ─────────────────────────────────────────────────────────────────────────────────────────

    def boot(self, name: str, environ: dict[str, str]) -> Process:
        process = Process(100 + len(getattr(self, "processes", ())), name, environ)
        self.processes[process.pid] = process
        return process

    def run(self, process: Process, function: Callable[..., Any], *args: Any) -> Any:
        """Calls `function` as that process. None where it was killed over it."""
        before, self.current = self.current, process
        try:
            return function(*args)
        except Killed:
            return None
        finally:
            self.current = before

    def kill(self, process: Process, status: int = 9) -> None:
        if not process.is_alive:
            return
        process.is_alive = False
        process.status = status
        for fd in [fd for fd, holder in self.holders.items() if holder is process]:
            self._close(fd)
        for child in process.children:
            self.kill(child)

    def call(self) -> None:
        """At the entrance of every call: here the process may be killed, or another process may run first."""
        process = self.current
        if process.doom > 0:
            process.doom -= 1
        elif not process.doom and process.is_alive:
            self.kill(process)
        if not process.is_alive:
            raise Killed
        if self.preempt is not None:
            self.preempt()
            if not process.is_alive:
                raise Killed

    # ── descriptors ───────────────────────────────────────────────────────────────────────────────────────

    def give(self, opened: Open, process: Process) -> int:
        """A descriptor of `process` for it."""
        if process not in opened.owners:
            opened.owners.append(process)
        self._next_fd += 1
        self.open[self._next_fd] = opened
        self.holders[self._next_fd] = process
        return self._next_fd

    def find(self, fd: int) -> Any:
        try:
            return self.open[fd]
        except KeyError:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF)) from None

    def close(self, fd: int) -> None:
        self.find(fd)
        self._close(fd)

    def _close(self, fd: int) -> None:
        opened = self.open.pop(fd)
        opened.owners.remove(self.holders.pop(fd))
        if not opened.owners:
            opened.release()

    def owned(self, path: str) -> bool:
        file = self.disk.files.get(path)
        return file is not None and file.number in self.locks

    def cut(self) -> None:
        for process in list(self.processes.values()):
            if process is not self.current:
                self.kill(process)
        self.disk.cut()
        for name in list(self.sockets):
            if self.rng.random() < 0.5:
                del self.sockets[name]
