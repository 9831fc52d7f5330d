"""Starts workers by exec, and the fork server, which starts them by fork. All are copies of this same executable.

Contract: the socket listens under its final name before the process runs, so nothing waits until a worker is ready. The
launcher closes its own copies of both descriptors as soon as the child has them: a copy that is kept longer would keep
the lock of a dead worker.
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
from algocline_mcp.storage.files import open_in_place

# Neither the user's site-packages nor the current directory may change what a worker imports. -I would do the same, but
# ignores PYTHONHASHSEED, without which no strategy in Python could be replayed.
PYTHON_OPTIONS = ("-s", "-P")
_NOT_INHERITED = ("ALC_ANSWER", "ALC_DATABASE")
_INHERITED = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")  # the last two: for Python itself


def worker_environment(home: Home, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a worker, the same for fork and exec: no other variable of the server reaches it. Who answers
    is not the worker's business, and a command may hold a key, as may the URL of a database."""
    allowed = [name.strip() for name in environ.get("ALC_ENV_ALLOW", "").split(",")]
    names = [
        *_INHERITED,
        *allowed,
        *(name for name in environ if name.startswith("ALC_") and name not in _NOT_INHERITED),
    ]
    inherited = {name: environ[name] for name in names if name in environ}
    return inherited | {"LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0", "ALC_HOME": os.fspath(home.root)}


class SpawnFailed(Exception):
    """No worker was started; the lock of its journal is free again."""


class WorkerSpawner(Protocol):
    """What spawn_worker needs of a fork server. A test may replace it."""

    @property
    def is_usable(self) -> bool: ...

    async def spawn(self, sid: str, fds: tuple[int, int, int], part: str = "") -> int:
        """Returns the pid of a new worker that inherits `fds`: locked journal, listener, stderr log. `part`: that of
        the home to which the session belongs.

        Closes them in any case. Raises SpawnFailed.
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
    """Starts a worker in a process session of its own, by fork if that is usable, else by exec. Returns its pid.

    Closes both descriptors in any case. Raises SpawnFailed if the fork failed (the next call uses exec), and OSError if
    no process can be started.
    """
    with ExitStack() as descriptors:
        descriptors.callback(os.close, journal_fd)
        descriptors.enter_context(listener)
        log_fd = open_in_place(home.stderr(sid), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        descriptors.callback(os.close, log_fd)
        if fork_server.is_usable:
            descriptors.pop_all()  # `spawn` closes them
            return await fork_server.spawn(sid, (journal_fd, listener.detach(), log_fd), home.part)
        arguments = ["--journal", str(journal_fd), "--listener", str(listener.fileno())]
        return _start(
            ["pool-worker", sid, *arguments, "--program", __version__, *(("--part", home.part) if home.part else ())],
            pass_fds=(journal_fd, listener.fileno()),
            stderr=log_fd,
            env=worker_environment(home, environ),
        )


@dataclass(frozen=True, slots=True)
class ForkServerProcess:
    """A running fork server: this end of its control socket, and its pid. This process has to reap it."""

    control: socket.socket
    pid: int


def start_fork_server(home: Home, environ: Mapping[str, str]) -> ForkServerProcess:
    """Starts a fork server by exec. It ends when the control socket is closed. Raises OSError."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        try:
            fd = theirs.fileno()
            command = ["fork-server", "--control", str(fd), "--home", os.fspath(home.root)]
            pid = _start(command, pass_fds=(fd,), stderr=None, env=worker_environment(home, environ))
        except OSError:
            ours.close()
            raise
    ours.setblocking(False)
    return ForkServerProcess(ours, pid)


def is_forking(environ: Mapping[str, str]) -> bool:
    """Whether a fork server starts the workers: on Linux, unless ALC_SPAWN=exec. Raises HomeUnusable."""
    chosen = environ.get("ALC_SPAWN", "") or "fork"
    if chosen not in ("fork", "exec"):
        raise HomeUnusable(f"ALC_SPAWN={chosen!r} is neither fork nor exec: correct it or unset it")
    return chosen == "fork" and sys.platform == "linux"


def start_early(environ: Mapping[str, str] = os.environ) -> ForkServerProcess | None:
    """Starts a fork server that gets ready while the server imports the SDK.

    None if that is not wanted or fails: the pool then starts one itself, or reports why it cannot.
    """
    with suppress(HomeUnusable, OSError):
        Limits.from_env(environ)  # an invalid limit is reported by the server, not by the fork server as well
        if is_forking(environ):
            return start_fork_server(Home.from_env(environ), environ)
    return None


def _start(arguments: Sequence[str], *, pass_fds: Sequence[int], stderr: int | None, env: Mapping[str, str]) -> int:
    child = subprocess.Popen(
        [sys.executable, *PYTHON_OPTIONS, "-m", "algocline_mcp", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        pass_fds=pass_fds,
        start_new_session=True,
        cwd="/",
        env=dict(env),
    )
    child.returncode = 0  # it is reaped through its pidfd: Popen must neither wait for it nor warn about it
    return child.pid
