"""Starts workers: copies of this same executable that inherit a locked journal and a listening socket.

Contract: the socket listens under its final name before the process runs, so readiness is never waited for. Whoever
holds the journal's lock binds; the name appears by rename, with its permissions. The launcher's own copies of both
descriptors are closed as soon as the child has them: a copy kept longer would keep a dead worker's lock.
"""

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Mapping

from algocline_mcp.errors import HomeUnusable, Unreachable
from algocline_mcp.limits import SOCKET_PATH_MAX_BYTES, Home

_BACKLOG = 64
_INHERITED = ("PATH", "HOME", "TMPDIR")


def check_socket_path(home: Home, sid: str) -> None:
    """Raises HomeUnusable, naming the cure, where the system could not bind a socket so deep."""
    size = len(os.fsencode(home.socket(sid)))
    if size > SOCKET_PATH_MAX_BYTES:
        raise HomeUnusable(
            f"socket path {home.socket(sid)} has {size} bytes, at most {SOCKET_PATH_MAX_BYTES}: "
            "set ALC_HOME to a shorter path"
        )


def bind(home: Home, sid: str) -> socket.socket:
    """A listening socket under the session's name. Only for whoever holds its journal's lock. Raises OSError."""
    draft = home.pool / f".{secrets.token_hex(8)}"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(os.fspath(draft))
        try:
            os.chmod(draft, 0o600)
            listener.listen(_BACKLOG)
            os.rename(draft, home.socket(sid))
        except BaseException:
            os.unlink(draft)
            raise
    except BaseException:
        listener.close()
        raise
    return listener


def worker_environment(home: Home, environ: Mapping[str, str]) -> dict[str, str]:
    """Exactly what a worker may know of the server's environment, whichever way it is started."""
    allowed = [name.strip() for name in environ.get("ALC_ENV_ALLOW", "").split(",")]
    names = [*_INHERITED, *allowed, *(name for name in environ if name.startswith("ALC_"))]
    inherited = {name: environ[name] for name in names if name in environ}
    return inherited | {"LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0", "ALC_HOME": os.fspath(home.root)}


def spawn_worker(home: Home, sid: str, *, journal_fd: int, listener: socket.socket, environ: Mapping[str, str]) -> int:
    """Starts the worker in a process session of its own and closes both descriptors here, also on failure.

    Returns its pid; whoever calls reaps it.

    Raises Unreachable where no process is to be had; then the socket's name is gone again.
    """
    passed = (journal_fd, listener.fileno())
    # -s -P: neither the user's site-packages nor the current directory may change what a worker imports;
    # -I would do that too, but ignores PYTHONHASHSEED.
    command = [sys.executable, "-s", "-P", "-m", "algocline_mcp", "pool-worker", sid]
    command += ["--journal", str(passed[0]), "--listener", str(passed[1])]
    try:
        log_fd = os.open(home.stderr(sid), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log_fd,
                pass_fds=passed,
                start_new_session=True,
                cwd="/",
                env=worker_environment(home, environ),
            )
        finally:
            os.close(log_fd)
        child.returncode = 0  # it is reaped through its pidfd: Popen must neither wait for it nor warn of it
        return child.pid
    except OSError as exc:
        os.unlink(home.socket(sid))
        raise Unreachable(
            f"cannot start a worker: {exc.strerror}; free memory or processes, then ask again", code="no_process"
        ) from exc
    finally:
        os.close(journal_fd)
        listener.close()
