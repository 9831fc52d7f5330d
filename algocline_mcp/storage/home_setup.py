"""Preparation of a home for a server, and removal of what dead processes left in it.

Contract: `prepare` raises HomeUnusable, which names the cure. Removal never fails: a file that cannot be removed stays,
and no file is removed that a live process may still use.
"""

import os
import secrets
import time
from contextlib import suppress
from itertools import chain
from pathlib import Path

from algocline_mcp.config.home import Home
from algocline_mcp.errors import HomeUnusable, StorageFailed
from algocline_mcp.session.owner import USER
from algocline_mcp.storage import journal
from algocline_mcp.storage.files import make_directories
from algocline_mcp.storage.owners import name_part, parts_of
from algocline_mcp.storage.sockets import bind, live_workers, remove_stale_socket

_PROBE_SID = "p-" + "f" * 16 + "-" + "0" * 16  # as long as an id can be in this century
_DRAFT_S = 60.0  # the writer of an older draft is dead


def _directories(home: Home) -> tuple[Path, ...]:
    if not home.part:
        return home.root, home.state, home.pool, home.sessions, home.finished, home.log
    shared = (home.root, home.pool.parent, home.pool, home.owners)
    return *shared, home.own, home.state, home.sessions, home.finished, home.log


def prepare(home: Home, owner: str = USER) -> None:
    """Makes the directories and tries once what a session needs of the file system. Raises HomeUnusable. `owner`: the
    name of the principal whose part `home` is."""
    probe = home.sessions / f".draft-{secrets.token_hex(8)}"
    try:
        make_directories(*_directories(home))
        _check_owners(home)
        if owner:
            name_part(home, owner)
        os.close(journal.Journal.create(probe, {"kind": "probe"}).fd)
        fd = journal.lock(probe)
        if fd is None:
            raise HomeUnusable(f"{home.root} is on a file system without file locks: set ALC_HOME to a local disk")
        os.close(fd)
        bind(home, _PROBE_SID).close()
        home.socket(_PROBE_SID).unlink(missing_ok=True)  # another server that starts now may have been faster
    except StorageFailed as exc:
        raise HomeUnusable(f"ALC_HOME={home.root} cannot hold sessions: {exc}") from exc
    except OSError as exc:
        path = exc.filename or home.root
        raise HomeUnusable(
            f"ALC_HOME={home.root} cannot hold sessions: {path}: {exc.strerror}; repair it or set ALC_HOME elsewhere"
        ) from exc
    finally:
        with suppress(OSError):
            os.unlink(probe)


def _check_owners(home: Home) -> None:
    """Below the root, which may be a volume that another user has mounted, every directory is our own: else their owner
    could put journals and sockets there. Not for root, to whom all of them belong. 10 us."""
    mine = os.geteuid()
    for directory in _directories(home)[1:]:
        if mine and os.stat(directory).st_uid != mine:
            raise HomeUnusable(f"{directory} belongs to another user: set ALC_HOME to a directory of your own")


def is_complete(home: Home) -> bool:
    """Whether the directories of the home exist, in 10 us: one may be deleted while its server runs."""
    return all(map(os.path.isdir, _directories(home)))


def remove_leftovers(home: Home) -> None:
    """Removes socket names, drafts and empty journals of servers and workers that died between two calls."""
    for key in live_workers(home):
        remove_stale_socket(*home.session_of(key))
    sessions = [part.sessions for part in parts_of(home)]
    for path in chain(home.pool.glob(".*"), *(own.glob(form) for own in sessions for form in (".*", "*.journal"))):
        with suppress(OSError):
            status = path.lstat()
            is_leftover = status.st_size == 0 or path.name.startswith(".")
            if is_leftover and time.time() - status.st_mtime > _DRAFT_S:
                path.unlink()
