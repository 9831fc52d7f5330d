"""`os`, `fcntl` and `time` over a simulated machine, as far as the product uses them."""

import errno
import fcntl
import os
import stat
from types import SimpleNamespace
from typing import Any

from tests.sim.disk import File
from tests.sim.machine import Machine, OpenFile, Violation


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
            raise Violation(f"{self.machine.current.name} writes to {opened.file.path} without its lock")
        return opened

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        self.machine.call()
        self.disk.may_fail("read")
        return bytes(self.machine.find(fd).file.cache[offset : offset + size])

    def fdatasync(self, fd: int) -> None:
        self.machine.call()
        opened: OpenFile = self.machine.find(fd)
        try:
            opened.known_errors = self.disk.flush(opened.file, opened.known_errors)
        except OSError:
            opened.known_errors = opened.file.errors
            raise

    def fsync(self, fd: int) -> None:
        self.machine.call()
        self.disk.sync_directory(self.machine.find(fd).file.paths[-1])

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

    def listdir(self, path: object) -> list[str]:
        """Names of sockets only: no other directory is listed."""
        self.machine.call()
        return [name.rpartition("/")[2] for name in self.machine.sockets if name.startswith(f"{path}/")]

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

    fchmod = chmod

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
    return SimpleNamespace(
        st_mode=stat.S_IFREG, st_size=len(file.cache), st_ino=file.number, st_dev=1, st_uid=0, st_nlink=1
    )


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

    def thread_time(self) -> float:
        return 0.0  # nothing of the machine takes any

    def localtime(self) -> Any:
        return SimpleNamespace(st_mode=stat.S_IFREG, tm_gmtoff=3600)

    def clock_gettime(self, which: int) -> float:
        raise OSError(errno.ESRCH, os.strerror(errno.ESRCH))
