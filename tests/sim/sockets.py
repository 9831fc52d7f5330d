"""`socket` and `select` over a simulated machine, as far as the product uses them."""

import errno
import os
import select
import socket
from typing import Any, Self

from tests.sim.machine import Listener, Machine, Open, pair


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

    def shutdown(self, how: int) -> None:
        """Nothing: here a `send` fails only where the other end is closed."""

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

    AF_UNIX, SOCK_STREAM, SHUT_RDWR = socket.AF_UNIX, socket.SOCK_STREAM, socket.SHUT_RDWR

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
    """`select`, and the object that `select.poll()` returns. It never blocks. `wake_at`: when the wait would end."""

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
        return [(fd, events) for fd, mask in self.masks.items() if fd in opened and (events := opened[fd].mask & mask)]

    def poll(self, timeout_ms: float | None) -> list[tuple[int, int]]:
        self.machine.call()
        events = self.ready()
        self.machine.rng.shuffle(events)
        self.wake_at = 0.0 if events else None if timeout_ms is None else self.machine.now + timeout_ms / 1000
        return events
