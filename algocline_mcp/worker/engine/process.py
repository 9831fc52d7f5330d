"""The engine: a process that the keeper forks and that runs one stream of a strategy. Defines the language interface.

Contract of a language: `prepare(...) -> LanguageRuntime` is called once, before the first fork. `LanguageRuntime.run`
is called in the forked process, blocks wherever the strategy waits for a reply, and returns the last line for the
keeper.

Contract of the process: it has no argv of its own. It knows no session until the keeper sends the start message and,
with it, the descriptor of the session's stderr, so it can be forked before there is a session. Descriptors: 0 and 1 are
/dev/null, 2 is the session's stderr, 3 is the socket to the keeper; RLIMIT_NOFILE forbids others. SIGTERM, SIGINT and
SIGHUP are ignored: only SIGKILL and the process's limits end it early. It never outlives its keeper. Before it reads
its first message it confines itself, see worker/confinement: it can then open nothing, and what it uses of Python and
libc must have been loaded before the fork. Exit codes: 0 after the last line and when the keeper is gone, 70 after an
internal error, 71 where the kernel refused a layer of the confinement; each error is one line on stderr."""

import contextlib
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

from algocline_mcp import package_inputs
from algocline_mcp.config.limits import MIB, Limits
from algocline_mcp.protocol import messages
from algocline_mcp.worker.confinement.confinement import Confinement, ConfinementFailed
from algocline_mcp.worker.lowlevel import memory_pages
from algocline_mcp.worker.lowlevel.memory_pages import NO_RANGES, Ranges
from algocline_mcp.worker.lowlevel.plain_fork import fork
from algocline_mcp.worker.lowlevel.process_title import set_title
from algocline_mcp.worker.lowlevel.resource_limits import address_space_bytes, lower_for_good

NOT_CONFINED = 71  # exit code
_STDERR_FD = 2
_SOCKET_FD = 3
_RECEIVE_BYTES = 64 * 1024
_PR_SET_PDEATHSIG = 1
_INTERPRETER_BYTES = 64 * MIB  # address space that Python itself may add to what it had at the fork


@dataclass(frozen=True, slots=True)
class Start:
    """What a strategy starts with. Everything else comes through its channel."""

    code: str
    chunk: str  # names the code in errors and tracebacks: "panel.lua", or "strategy"
    ctx: str  # the JSON text of an object
    seed: int  # 63 bits, from the journal
    created_s: float  # unix seconds when the session was created, not this process
    heap_bytes: int | None = None  # the smaller limit of a child of alc.fork; None: the limit of `prepare`
    name_bytes: int = Limits().state_key_bytes  # of keys and of names of variables, modules and cards; a session's own
    json_depth: int = Limits().json_depth  # how deep its values nest; a session's own


class Channel(Protocol):
    """The connection to the keeper. A line is one JSON object in UTF-8, without its newline."""

    def ask(self, line: bytes) -> bytes:
        """Sends one line and blocks until the reply line arrives."""
        ...

    def send(self, line: bytes) -> None:
        """Sends one line that gets no reply."""
        ...


class LanguageRuntime(Protocol):
    """The machine of one language, prepared before the fork. It holds nothing of a session."""

    @property
    def problem(self) -> str | None:
        """Why no strategy of this language runs here: a setting that cannot be used, and the cure."""
        ...

    def run(self, start: Start, channel: Channel) -> bytes:
        """Returns the last line, {"op":"end",…}: the strategy's result or error. Raises only errors of the channel."""
        ...


class SocketChannel:
    """A channel over a blocking socket. When the keeper is gone, the process exits with 0."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffer = b""

    def begin(self) -> bytes:
        """Blocks for the first line and takes the standard error of the session, which comes with it: the kernel gives
        it the lowest free number."""
        os.close(_STDERR_FD)
        try:
            self._buffer, _, _, _ = socket.recv_fds(self._socket, _RECEIVE_BYTES, 1)
        except OSError:
            os._exit(0)
        return self._read_line()

    def ask(self, line: bytes) -> bytes:
        self.send(line)
        return self._read_line()

    def _read_line(self) -> bytes:
        parts = [self._buffer]
        while b"\n" not in parts[-1]:
            try:
                part = self._socket.recv(_RECEIVE_BYTES)
            except OSError:
                part = b""
            if not part:
                os._exit(0)
            parts.append(part)
        reply, _, self._buffer = b"".join(parts).partition(b"\n")
        return reply

    def send(self, line: bytes) -> None:
        try:
            self._socket.sendall(line + b"\n")
        except OSError:
            os._exit(0)

    def rest(self) -> None:
        """Waits to be killed. An engine that ends frees its memory on the processor that its keeper wants for the
        reply, and a keeper that reaps it waits for that: 1 ms of the last step."""
        with contextlib.suppress(OSError):
            self._socket.recv(1)


Spawned = tuple[int, socket.socket]  # pid of an engine, and the keeper's end of the socket


def spawn_engine(
    runtimes: Mapping[str, LanguageRuntime], limits: Limits, confinement: Confinement, pages: Ranges = NO_RANGES
) -> Spawned:
    """Forks an engine. Raises OSError where the system refuses the fork.

    The engine copies `pages` first. It then waits for the start as its first line: an object with the fields of Start,
    `sid`, `language` and `utc_offset_s`, sent together with the descriptor of its standard error. The keeper must have
    one thread: a fork copies only the thread that calls it.
    """
    keeper_end, engine_end = socket.socketpair()
    keeper = os.getpid()
    try:
        pid = fork()
    except OSError:
        keeper_end.close()
        engine_end.close()
        raise
    if not pid:
        # Never returns: the frames above keep all objects of the keeper alive. The finaliser of one of them would
        # close a descriptor by its number, which now belongs to the engine.
        _run_engine(runtimes, engine_end.detach(), keeper, limits=limits, confinement=confinement, pages=pages)
    engine_end.close()
    return pid, keeper_end


def _run_engine(
    runtimes: Mapping[str, LanguageRuntime],
    fd: int,
    keeper: int,
    *,
    limits: Limits,
    confinement: Confinement,
    pages: Ranges,
) -> NoReturn:
    status = 70
    try:
        _reset_signals()
        _die_with_keeper(keeper)
        os.dup2(fd, _SOCKET_FD)
        os.closerange(_SOCKET_FD + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        memory_pages.copy(pages)
        set_title("alc engine")
        channel = SocketChannel(socket.socket(fileno=_SOCKET_FD))
        _set_limits(limits)
        confinement.forbid_paths()
        lower_for_good(resource.RLIMIT_NOFILE, _SOCKET_FD + 1)
        confinement.filter_calls()
        _run_session(runtimes, channel)
        status = 0
    except ConfinementFailed as exc:
        status = NOT_CONFINED
        os.write(_STDERR_FD, f"engine: not confined, so it runs nothing: {exc}\n".encode())
    except BaseException as exc:  # noqa: BLE001  the top of a process: the keeper sees end of file
        os.write(_STDERR_FD, f"engine: {type(exc).__name__}: {exc}\n".encode("utf-8", "replace"))
    finally:
        os._exit(status)


def _run_session(runtimes: Mapping[str, LanguageRuntime], channel: SocketChannel) -> None:
    start = messages.decode(channel.begin())
    set_title(f"alc engine {start.pop('sid')}")
    runtime = runtimes[start.pop("language")]
    _set_zone(start.pop("utc_offset_s"))
    if start.pop("ignores_forms", False):
        package_inputs.ignore_forms()
    channel.send(runtime.run(Start(**start), channel))
    channel.rest()


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)  # the CPU limit must end a step, also if the parent ignores SIGXCPU
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _die_with_keeper(keeper: int) -> None:
    """Linux kills the engine when its parent ends; elsewhere it exits at its next message, or by its limits."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != keeper:  # the keeper died between fork and prctl
        os._exit(0)


def _set_zone(utc_offset_s: int) -> None:
    """Sets the time zone in which the session was created: a revival on another machine must read the same time."""
    hours, seconds = divmod(abs(utc_offset_s), 3600)
    sign = "-" if utc_offset_s >= 0 else "+"  # POSIX counts west of Greenwich
    os.environ["TZ"] = f"ALC{sign}{hours}:{seconds // 60:02}"
    time.tzset()


def _set_limits(limits: Limits) -> None:
    # While it may open a file. What it has now does not count: its keeper may have held much at the fork.
    base_bytes = address_space_bytes()
    lower_for_good(resource.RLIMIT_CORE, 0)
    lower_for_good(resource.RLIMIT_FSIZE, limits.engine_log_bytes)
    if base_bytes:  # above the heap limit: the language reports that one as an error first
        limit = base_bytes + limits.heap_bytes + limits.headroom_bytes + _INTERPRETER_BYTES
        lower_for_good(resource.RLIMIT_AS, limit)


_libc = ctypes.CDLL(None)
