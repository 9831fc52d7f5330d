"""The forked process that runs a strategy, and the seam between it and the languages.

Contract: a language offers `prepare(...) -> LanguageRuntime`, called once before the first fork; `LanguageRuntime.run` is called in
a forked child, blocks wherever the strategy asks something, and returns the last line the keeper will read. A child
knows no session until its keeper sends the start and the session's stderr, so it can be forked before there is one.

The child: descriptors 0, 1, 2 (null, null, the session's stderr) and 3, its socket; nothing else can be opened.
SIGTERM, SIGINT and SIGHUP are ignored: only SIGKILL and its limits end it. It never outlives its keeper. It exits 0
after its last line and whenever the keeper is gone.
"""

import ctypes
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn, Protocol

from algocline_mcp.config.limits import MIB, Limits
from algocline_mcp.protocol import messages
from algocline_mcp.worker.lowlevel import memory_pages
from algocline_mcp.worker.lowlevel.memory_pages import NO_RANGES, Ranges
from algocline_mcp.worker.lowlevel.process_title import set_title

_SOCKET_FD = 3
_RECEIVE_BYTES = 64 * 1024
_PR_SET_PDEATHSIG = 1
_INTERPRETER_BYTES = 64 * MIB  # address space for Python itself to grow beyond what it had at the fork


@dataclass(frozen=True, slots=True)
class Start:
    """All that a strategy begins with; whatever it learns later comes through its channel."""

    code: str
    chunk: str  # names the code in errors and tracebacks: "panel.lua", or "strategy"
    ctx: str  # the JSON text of an object
    seed: int  # 63 bits, from the journal
    created_s: float  # unix seconds of the session's birth, not of this process
    heap_bytes: int | None = None  # of a child, whose values may hold less than the runtime was prepared for


class Channel(Protocol):
    """The way to the keeper. A line is one JSON object in UTF-8, without its newline."""

    def ask(self, line: bytes) -> bytes:
        """Sends one line and blocks until the reply line is there."""
        ...

    def send(self, line: bytes) -> None:
        """Sends one line that has no reply."""
        ...


class LanguageRuntime(Protocol):
    """A language, made ready before the fork and knowing no session."""

    def run(self, start: Start, channel: Channel) -> bytes:
        """The last line, {"op":"end",…}. Whatever the strategy did is in it; only the channel's errors leave."""
        ...


class SocketChannel:
    """The channel over a blocking socket. A keeper that is gone ends the process: there is nobody to tell."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._rest = b""

    def begin(self) -> bytes:
        """Blocks for the first line, with which this process gets the standard error that it is to have."""
        try:
            self._rest, fds, _, _ = socket.recv_fds(self._socket, _RECEIVE_BYTES, 1)
        except OSError:
            os._exit(0)
        for fd in fds:
            os.dup2(fd, 2)
            os.close(fd)
        return self._hear()

    def ask(self, line: bytes) -> bytes:
        self.send(line)
        return self._hear()

    def _hear(self) -> bytes:
        parts = [self._rest]
        while b"\n" not in parts[-1]:
            try:
                part = self._socket.recv(_RECEIVE_BYTES)
            except OSError:
                part = b""
            if not part:
                os._exit(0)
            parts.append(part)
        reply, _, self._rest = b"".join(parts).partition(b"\n")
        return reply

    def send(self, line: bytes) -> None:
        try:
            self._socket.sendall(line + b"\n")
        except OSError:
            os._exit(0)


Spawned = tuple[int, socket.socket]  # the pid of an engine, and its keeper's end of the socket


def spawn_engine(runtimes: Mapping[str, LanguageRuntime], limits: Limits, ahead: Ranges = NO_RANGES) -> Spawned:
    """Forks. Raises OSError where no fork is to be had. `ahead`: pages that the child copies before it is asked.

    The child waits for the start as its first line: an object of the fields of Start, `sid`, `language` and
    `utc_offset_s`, sent together with the descriptor of its standard error. The keeper must have one thread: the child
    gets a copy of nothing else.
    """
    ours, theirs = socket.socketpair()
    keeper = os.getpid()
    try:
        pid = os.fork()
    except OSError:
        ours.close()
        theirs.close()
        raise
    if not pid:
        # Never returns: the frames above keep every object of the keeper alive whose finaliser would close a
        # descriptor by its number.
        _live(runtimes, theirs.detach(), keeper, limits, ahead)
    theirs.close()
    return pid, ours


def _live(runtimes: Mapping[str, LanguageRuntime], fd: int, keeper: int, limits: Limits, ahead: Ranges) -> NoReturn:
    status = 70
    try:
        _reset_signals()
        _die_with(keeper)
        os.dup2(fd, _SOCKET_FD)
        os.closerange(_SOCKET_FD + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        memory_pages.copy(ahead)
        _serve(runtimes, SocketChannel(socket.socket(fileno=_SOCKET_FD)), limits)
        status = 0
    except BaseException as exc:  # noqa: BLE001  the top of a process: whatever it is, the keeper learns it by EOF
        os.write(2, f"engine: {type(exc).__name__}: {exc}\n".encode("utf-8", "replace"))
    finally:
        os._exit(status)


def _serve(runtimes: Mapping[str, LanguageRuntime], channel: SocketChannel, limits: Limits) -> None:
    start = messages.decode(channel.begin())
    set_title(f"alc engine {start.pop('sid')}")
    _set_limits(limits)
    runtime = runtimes[start.pop("language")]
    _set_zone(start.pop("utc_offset_s"))
    channel.send(runtime.run(Start(**start), channel))


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)  # it ends a step, whatever the server was started with
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _die_with(keeper: int) -> None:
    """Linux kills the child with its parent; elsewhere it ends at its next word to the keeper, or by its limits."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != keeper:  # it died between fork and prctl
        os._exit(0)


def _set_zone(utc_offset_s: int) -> None:
    """Local time as it was where the session was born: a revival elsewhere must read the same clock."""
    hours, rest = divmod(abs(utc_offset_s), 3600)
    sign = "-" if utc_offset_s >= 0 else "+"  # POSIX counts west of Greenwich
    os.environ["TZ"] = f"ALC{sign}{hours}:{rest // 60:02}"
    time.tzset()


def _set_limits(limits: Limits) -> None:
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, _SOCKET_FD + 1)
    _limit(resource.RLIMIT_FSIZE, limits.engine_log_bytes)
    if _base_bytes:  # above the heap limit, where the language itself says no in time
        _limit(resource.RLIMIT_AS, _base_bytes + limits.heap_bytes + limits.headroom_bytes + _INTERPRETER_BYTES)


def _limit(which: int, most: int) -> None:
    """Never more than the system allows already (`ulimit`): only root could raise that."""
    hard = resource.getrlimit(which)[1]
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(which, (most, most))


def _address_space_bytes() -> int:
    """0 where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


_libc = ctypes.CDLL(None)
_base_bytes = _address_space_bytes()
