"""Names of sockets in a home: listing them, binding a name, and removing the name of a dead worker."""

import os
import secrets
import socket
import struct
from contextlib import suppress

from algocline_mcp.config.home import Home
from algocline_mcp.storage import journal
from algocline_mcp.storage.socket_paths import short_path

_BACKLOG = 64


def live_workers(home: Home) -> set[str]:
    """Keys of the sessions of all owners whose socket has a name: see Home.session_of. Those of the user are ids."""
    try:
        return {name[:-5] for name in os.listdir(home.pool) if name.endswith(".sock")}
    except OSError:
        return set()


def live_sessions(home: Home) -> set[str]:
    """Ids of the sessions of this owner whose socket has a name."""
    return {sid for key in live_workers(home) for sid, _, part in (key.partition("."),) if part == home.part}


def bind(home: Home, sid: str) -> socket.socket:
    """A listening socket under the session's name, for the holder of the journal's lock. Raises OSError."""
    draft = home.pool / f".{secrets.token_hex(8)}"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with suppress(OSError):  # Linux gives its name these permissions from the start; macOS cannot
            os.fchmod(listener.fileno(), 0o600)
        with short_path(draft) as address:
            listener.bind(address)
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


def peer_uid(sock: socket.socket) -> int | None:
    """The user at the other end: who connected, or who listened. None where the system does not tell; the directory of
    the names is 0700 in any case."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(uid)


def remove_stale_socket(home: Home, sid: str) -> None:
    """Unlinks the name of a session's socket on which no process listens.

    It takes the lock of the session first, because only the holder of that lock may bind or unlink the name."""
    path = home.socket(sid)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            with short_path(path) as address:
                probe.connect(address)
        except ConnectionRefusedError:
            pass
        except OSError:
            return
        else:
            return
    try:
        fd = journal.lock(home.journal(sid))
    except OSError:
        fd = -1  # no unfinished journal: no process can be about to bind this name
    except Exception:  # noqa: BLE001  a failed removal changes nothing; the session itself reports what is wrong
        return
    if fd is not None:
        with suppress(OSError):
            os.unlink(path)
        if fd >= 0:
            os.close(fd)
