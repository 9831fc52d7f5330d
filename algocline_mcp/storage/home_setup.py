"""Makes a home ready for a server, and removes what died between two calls left behind.

Contract: `prepare` raises HomeUnusable, which names the cure. Removing is a courtesy: whatever cannot be removed stays,
and nothing is removed that a live process may still use.
"""

import os
import secrets
import socket
import time
from contextlib import suppress
from pathlib import Path

from algocline_mcp.storage import journal
from algocline_mcp.errors import HomeUnusable, StorageFailed
from algocline_mcp.config.limits import Home
from algocline_mcp.pool import spawn

_PROBE_SID = "p-" + "f" * 16 + "-" + "0" * 16  # as long as an id can be in this century
_DRAFT_S = 60.0  # a draft older than this belongs to nobody


def prepare(home: Home) -> None:
    """Makes the directories and tries once what a session needs of the file system. Raises HomeUnusable."""
    spawn.check_socket_path(home, _PROBE_SID)
    probe = home.sessions / f".probe-{secrets.token_hex(8)}"
    try:
        make_directories(home.root, home.root / "state", home.pool, home.sessions, home.finished, home.log)
        os.close(journal.Journal.create(probe, {"kind": "probe"}).fd)
        fd = journal.lock(probe)
        if fd is None:
            raise HomeUnusable(f"{home.root} is on a file system without file locks: set ALC_HOME to a local disk")
        os.close(fd)
        spawn.bind(home, _PROBE_SID).close()
        home.socket(_PROBE_SID).unlink(missing_ok=True)  # another server that starts now may have been faster
    except StorageFailed as exc:
        raise HomeUnusable(f"ALC_HOME={home.root} cannot hold sessions: {exc}") from exc
    except OSError as exc:
        where = exc.filename or home.root
        raise HomeUnusable(
            f"ALC_HOME={home.root} cannot hold sessions: {where}: {exc.strerror}; mend it or set ALC_HOME elsewhere"
        ) from exc
    finally:
        with suppress(OSError):
            os.unlink(probe)


def make_directories(*paths: Path) -> None:
    """Makes what is missing, durably: a power cut must not take the directory of journals that were flushed."""
    for path in paths:
        if not path.is_dir():
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            journal.sync_directory(path.parent)


def remove_leftovers(home: Home) -> None:
    """What servers and workers left that died between two calls: names of sockets, drafts, journals without a line."""
    for path in home.pool.glob("*.sock"):
        remove_stale_socket(home, path)
    for path in [*home.pool.glob(".*"), *home.sessions.glob(".probe-*"), *home.sessions.glob("*.journal")]:
        with suppress(OSError):
            found = path.lstat()
            is_leftover = found.st_size == 0 or path.name.startswith(".")
            if is_leftover and time.time() - found.st_mtime > _DRAFT_S:
                path.unlink()


def remove_stale_socket(home: Home, path: Path) -> None:
    """Unlinks a socket's name where nobody listens, under the lock of its session: only its holder may unlink."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            pass
        except OSError:
            return
        else:
            return
    try:
        fd = journal.lock(home.journal(path.stem))
    except OSError:
        fd = -1  # no unfinished journal: nobody can be about to bind this name
    except Exception:  # noqa: BLE001  tidying is a courtesy; whatever is wrong there is told by the session itself
        return
    if fd is not None:
        with suppress(OSError):
            os.unlink(path)
        if fd >= 0:
            os.close(fd)
