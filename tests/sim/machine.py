"""A simulated operating system, as the rooms of the product see it: their `os`, `socket`, `select`, `fcntl`, `time`.

Contract: what runs, runs as the process `current`. Each call may be the last one of its process (`doom`): it then
raises Killed, as does every later call, so that no handler, `finally` or `suppress` of a killed process does anything.
Descriptors of the dead are closed at once: locks come free, peers see the end of their stream.
"""

import errno
import fcntl
import os
import select
import socket
from collections.abc import Callable
from random import Random
from types import SimpleNamespace
from typing import Any, Self

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
        self.status = 0  # as waitpid tells it
        self.children: list[Process] = []  # die with it


class Open:
    """An open file description: what descriptors of several processes may share, and what holds a lock."""

    def __init__(self, owner: Process) -> None:
        self.owners = [owner]

    @property
    def mask(self) -> int:
        """What poll would tell."""
        return 0

    def release(self) -> None:
        """The last descriptor was closed."""


class OpenFile(Open):
    def __init__(self, owner: Process, file: File, locks: dict[int, "OpenFile"]) -> None:
        super().__init__(owner)
        self.file = file
        self.locks = locks
        self.told = file.errors if file.is_told else file.errors - 1  # of failed writes
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
        self.wall_s = BORN_S  # what the clock on the wall is ahead of `now`
        self.open: dict[int, Open] = {}
        self.holders: dict[int, Process] = {}  # of descriptors
        self.locks: dict[int, OpenFile] = {}
        self.sockets: dict[str, Listener] = {}
        self.processes: dict[int, Process] = {}
        self.current = self.boot("init", {})
        self.preempt: Callable[[], None] | None = None  # what else may run within a call
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
        """At the entrance of every call: here a process may find its end, or another one run first."""
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


class Descriptors:
    """`os`, as far as the rooms use it."""

    O_RDWR, O_APPEND, O_CLOEXEC, O_NOFOLLOW = os.O_RDWR, os.O_APPEND, os.O_CLOEXEC, os.O_NOFOLLOW
    O_CREAT, O_EXCL, O_RDONLY, O_DIRECTORY = os.O_CREAT, os.O_EXCL, os.O_RDONLY, os.O_DIRECTORY
    POSIX_FADV_DONTNEED = 4
    SEEK_CUR = os.SEEK_CUR
    path = os.path
    fspath = staticmethod(os.fspath)
    fsencode = staticmethod(os.fsencode)
    waitstatus_to_exitcode = staticmethod(os.waitstatus_to_exitcode)

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.disk = machine.disk

    @property
    def environ(self) -> dict[str, str]:
        return self.machine.current.environ

    def open(self, path: object, flags: int, mode: int = 0) -> int:
        machine, name = self.machine, str(path)
        machine.call()
        if flags & os.O_DIRECTORY:
            return machine.give(OpenFile(machine.current, File(-1, name), machine.locks), machine.current)
        file = self.disk.files.get(name)
        if flags & os.O_CREAT and file is not None:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
        if not flags & os.O_CREAT and file is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return machine.give(OpenFile(machine.current, file or self.disk.create(name), machine.locks), machine.current)

    def close(self, fd: int) -> None:
        self.machine.call()
        self.machine.close(fd)

    def write(self, fd: int, content: bytes) -> int:
        opened = self._locked(fd)
        written = self.disk.write(opened.file, content)
        opened.offset = len(opened.file.cache)
        return written

    def lseek(self, fd: int, offset: int, whence: int) -> int:
        self.machine.call()
        opened: OpenFile = self.machine.find(fd)
        return opened.offset

    def ftruncate(self, fd: int, size: int) -> None:
        self.disk.truncate(self._locked(fd).file, size)

    def _locked(self, fd: int) -> OpenFile:
        self.machine.call()
        opened: OpenFile = self.machine.find(fd)
        if self.machine.locks.get(opened.file.number) is not opened:
            raise Violation(f"{self.machine.current.name} writes to {opened.file.place} without its lock")
        return opened

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        self.machine.call()
        self.disk.may_fail("read")
        return bytes(self.machine.find(fd).file.cache[offset : offset + size])

    def fdatasync(self, fd: int) -> None:
        self.machine.call()
        opened: OpenFile = self.machine.find(fd)
        try:
            opened.told = self.disk.flush(opened.file, opened.told)
        except OSError:
            opened.told = opened.file.errors
            raise

    def fsync(self, fd: int) -> None:
        self.machine.call()
        self.disk.sync_directory(self.machine.find(fd).file.places[-1])

    def posix_fadvise(self, fd: int, offset: int, size: int, advice: int) -> None:
        self.machine.call()
        self.disk.drop_cache(self.machine.find(fd).file)

    def fstat(self, fd: int) -> Any:
        self.machine.call()
        return _stat(self.machine.find(fd).file)

    def stat(self, path: object, *, follow_symlinks: bool = True) -> Any:
        self.machine.call()
        if (file := self.disk.files.get(str(path))) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return _stat(file)

    def rename(self, old: object, new: object) -> None:
        self.machine.call()
        if str(old) in self.machine.sockets:
            self.machine.sockets[str(new)] = self.machine.sockets.pop(str(old))
        elif str(old) in self.disk.files:
            self.disk.rename(str(old), str(new))
        else:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(old))

    def unlink(self, path: object) -> None:
        self.machine.call()
        if str(path) in self.disk.files:
            self.disk.unlink(str(path))
        elif self.machine.sockets.pop(str(path), None) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))

    def chmod(self, path: object, mode: int) -> None:
        self.machine.call()

    def geteuid(self) -> int:
        return 0

    def getpid(self) -> int:
        return self.machine.current.pid

    def kill(self, pid: int, number: int) -> None:
        self.machine.call()
        self.machine.kill(self.machine.processes[pid], number)

    def waitpid(self, pid: int, options: int) -> tuple[int, int]:
        self.machine.call()
        return pid, self.machine.processes[pid].status


def _stat(file: File) -> Any:
    return SimpleNamespace(st_size=len(file.cache), st_ino=file.number, st_dev=1, st_uid=0)


class Locks:
    """`fcntl`."""

    LOCK_EX, LOCK_NB = fcntl.LOCK_EX, fcntl.LOCK_NB

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def flock(self, fd: int, operation: int) -> None:
        self.machine.call()
        opened: OpenFile = self.machine.find(fd)
        if self.machine.locks.setdefault(opened.file.number, opened) is not opened:
            raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK))


class Clock:
    """`time`."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def monotonic(self) -> float:
        return self.machine.now

    def time(self) -> float:
        return self.machine.wall_s + self.machine.now

    def time_ns(self) -> int:
        return int(self.time() * 1e9)

    def localtime(self) -> Any:
        return SimpleNamespace(tm_gmtoff=3600)

    def clock_gettime(self, which: int) -> float:
        raise OSError(errno.ESRCH, os.strerror(errno.ESRCH))  # processor time is not simulated


class Socket:
    """A socket object over a simulated descriptor."""

    def __init__(self, machine: Machine, fd: int) -> None:
        self._machine = machine
        self._fd = fd

    def fileno(self) -> int:
        return self._fd

    def setblocking(self, flag: bool) -> None:
        pass

    def settimeout(self, limit_s: float) -> None:
        pass

    def bind(self, path: str) -> None:
        self._machine.call()
        listener = Listener(self._machine.current)
        self._machine.open[self._fd] = listener
        self._machine.sockets[path] = listener

    def listen(self, backlog: int) -> None:
        self._machine.call()
        self._opened.is_open = True

    def connect(self, path: str) -> None:
        self._machine.call()
        listener = self._machine.sockets.get(str(path))
        if listener is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        if not listener.is_open:
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        near, far = pair(self._machine.current, listener.owners[0])
        far.owners.clear()
        self._machine.open[self._fd] = near
        listener.backlog.append(far)

    def accept(self) -> tuple["Socket", None]:
        self._machine.call()
        if not self._opened.backlog:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        stream = self._opened.backlog.pop(0)
        return Socket(self._machine, self._machine.give(stream, self._machine.current)), None

    def recv(self, size: int) -> bytes:
        self._machine.call()
        stream = self._opened
        if not stream.inbox:
            if stream.peer.is_open:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            return b""
        part = bytes(stream.inbox[: self._part(min(size, len(stream.inbox)))])
        del stream.inbox[: len(part)]
        return part

    def send(self, content: Any) -> int:
        self._machine.call()
        stream = self._opened
        if not stream.peer.is_open:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        if not stream.has_room:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        size = self._part(len(content))
        stream.peer.inbox += content[:size]
        return size

    def _part(self, size: int) -> int:
        if self._machine.is_tearing and size > 1 and self._machine.rng.random() < 0.3:
            return self._machine.rng.randrange(1, size)
        return size

    def close(self) -> None:
        self._machine.call()
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._machine.close(fd)

    @property
    def _opened(self) -> Any:
        return self._machine.find(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Sockets:
    """`socket`."""

    AF_UNIX, SOCK_STREAM = socket.AF_UNIX, socket.SOCK_STREAM

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def socket(self, family: int = 0, kind: int = 0, *, fileno: int | None = None) -> Socket:
        self.machine.call()
        if fileno is None:
            fileno = self.machine.give(Open(self.machine.current), self.machine.current)
        return Socket(self.machine, fileno)

    def send_fds(self, sock: Socket, parts: list[bytearray], fds: list[int]) -> int:
        """Of the descriptors nothing is simulated: they are logs."""
        return sock.send(parts[0])


class Poll:
    """`select`, and what `select.poll()` returns: it never blocks. `wake_at`: when its caller wanted to be woken."""

    POLLIN, POLLOUT, POLLHUP = select.POLLIN, select.POLLOUT, select.POLLHUP

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.masks: dict[int, int] = {}
        self.wake_at: float | None = 0.0

    def register(self, fd: int, mask: int) -> None:
        self.masks[fd] = mask

    modify = register

    def unregister(self, fd: int) -> None:
        del self.masks[fd]

    @property
    def is_ready(self) -> bool:
        opened = self.machine.open
        return any(fd in opened and opened[fd].mask & mask for fd, mask in self.masks.items())

    def ready(self) -> list[tuple[int, int]]:
        opened = self.machine.open
        return [(fd, found) for fd, mask in self.masks.items() if fd in opened and (found := opened[fd].mask & mask)]

    def poll(self, timeout_ms: float | None) -> list[tuple[int, int]]:
        self.machine.call()
        events = self.ready()
        self.machine.rng.shuffle(events)
        self.wake_at = 0.0 if events else None if timeout_ms is None else self.machine.now + timeout_ms / 1000
        return events
