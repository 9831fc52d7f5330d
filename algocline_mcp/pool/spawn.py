"""Starts workers, copies of this same executable, by exec; and the fork server, which starts them by fork.

Contract: the socket listens under its final name before the process runs, so readiness is never waited for. Whoever
holds the journal's lock binds; the name appears by rename, with its permissions. The launcher's own copies of both
descriptors are closed as soon as the child has them: a copy kept longer would keep a dead worker's lock.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Protocol

from algocline_mcp import __version__
from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import HomeUnusable

_INHERITED = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")  # the last two: for Python itself


def worker_environment(home: Home, environ: Mapping[str, str]) -> dict[str, str]:
    """Exactly what a worker may know of the server's environment, whichever way it is started."""
    allowed = [name.strip() for name in environ.get("ALC_ENV_ALLOW", "").split(",")]
    names = [*_INHERITED, *allowed, *(name for name in environ if name.startswith("ALC_"))]
    inherited = {name: environ[name] for name in names if name in environ}
    return inherited | {"LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0", "ALC_HOME": os.fspath(home.root)}


class SpawnFailed(Exception):
    """No worker came of it; its journal's lock is free again."""


class WorkerSpawner(Protocol):
    """The fork server, seen from here."""

    @property
    def is_usable(self) -> bool: ...

    async def spawn(self, sid: str, fds: tuple[int, int, int]) -> int:
        """The pid of a worker that inherits `fds`: locked journal, listener, stderr log. Closes them.

        Raises SpawnFailed.
        """
        ...


async def spawn_worker(
    home: Home,
    sid: str,
    *,
    journal_fd: int,
    listener: socket.socket,
    environ: Mapping[str, str],
    fork_server: WorkerSpawner,
) -> int:
    """Starts a worker in a process session of its own, by fork where that is usable, else by exec; returns its pid.

    Both descriptors are closed here in any case. Raises SpawnFailed (the next try takes the other way), and OSError
    where no process is to be had.
    """
    with ExitStack() as held:
        held.callback(os.close, journal_fd)
        held.enter_context(listener)
        log_flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        log_fd = os.open(home.stderr(sid), log_flags, 0o600)
        held.callback(os.close, log_fd)
        if fork_server.is_usable:
            held.pop_all()  # `spawn` closes them
            return await fork_server.spawn(sid, (journal_fd, listener.detach(), log_fd))
        descriptors = ["--journal", str(journal_fd), "--listener", str(listener.fileno())]
        return _start(
            ["pool-worker", sid, *descriptors, "--program", __version__],
            pass_fds=(journal_fd, listener.fileno()),
            stderr=log_fd,
            env=worker_environment(home, environ),
        )


@dataclass(frozen=True, slots=True)
class ForkServerProcess:
    """A running fork server: our end of its control socket, and its pid, which is ours to reap."""

    control: socket.socket
    pid: int


def start_fork_server(home: Home, environ: Mapping[str, str]) -> ForkServerProcess:
    """Starts a fork server by exec; it ends when the control socket is closed. Raises OSError."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        try:
            fd = theirs.fileno()
            command = ["fork-server", "--control", str(fd)]
            pid = _start(command, pass_fds=(fd,), stderr=None, env=worker_environment(home, environ))
        except OSError:
            ours.close()
            raise
    ours.setblocking(False)
    return ForkServerProcess(ours, pid)


def is_forking(environ: Mapping[str, str]) -> bool:
    """Whether workers come from a fork server: on Linux, unless ALC_SPAWN=exec. Raises HomeUnusable."""
    chosen = environ.get("ALC_SPAWN", "") or "fork"
    if chosen not in ("fork", "exec"):
        raise HomeUnusable(f"ALC_SPAWN={chosen!r} is neither fork nor exec: correct it or unset it")
    return chosen == "fork" and sys.platform == "linux"


def start_early(environ: Mapping[str, str] = os.environ) -> ForkServerProcess | None:
    """A fork server that gets ready while the server imports the SDK. None where that is not wanted or not possible:
    the pool then tells why, or starts one itself."""
    with suppress(HomeUnusable, OSError):
        Limits.from_env(environ)  # a limit that is none is told once, by the server, and not by its fork server too
        if is_forking(environ):
            return start_fork_server(Home.from_env(environ), environ)
    return None


def _start(arguments: Sequence[str], *, pass_fds: Sequence[int], stderr: int | None, env: Mapping[str, str]) -> int:
    # -s -P: neither the user's site-packages nor the current directory may change what a worker imports;
    # -I would do that too, but ignores PYTHONHASHSEED.
    child = subprocess.Popen(
        [sys.executable, "-s", "-P", "-m", "algocline_mcp", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        pass_fds=pass_fds,
        start_new_session=True,
        cwd="/",
        env=dict(env),
    )
    child.returncode = 0  # it is reaped through its pidfd: Popen must neither wait for it nor warn of it
    return child.pid
