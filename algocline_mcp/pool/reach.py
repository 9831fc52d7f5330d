"""Connects to the worker of a session, or spawns it: the only way to a worker.

A session has at most one owner: the process that holds the exclusive lock (flock) on its journal. The lock goes with
the journal's descriptor from the launcher to the keeper and is free as soon as the last process that has the descriptor
is dead, however it died. The socket name only says where the owner can be reached; a name without an owner means
nothing. Hence the loop: connect; if no process listens, try the lock; with the lock, spawn a worker, which replays the
journal. Not getting the lock may mean three things:

- the owner is starting: it has the lock and will bind the socket in a moment;
- the owner is leaving: it has unlinked the socket, the lock comes free when the process exits;
- the owner is alive and unreachable: it is stopped (SIGSTOP), or its socket name was deleted.

From outside these look the same, and flock has no event for "free now" that can be awaited with a deadline. So the loop
backs off, from 1 ms doubling to `back_off_max_s`, and tries again; the exit of a worker that this server watches ends a
pause at once. After `stubborn_s` the owner that the registry names gets SIGTERM, once: a keeper hibernates on it, which
frees the lock. After `reach_s` the call ends with an error that names the owner.

A process that binds, renames or unlinks a socket name must hold the lock at that moment, with one exception: where no
unfinished journal exists, no process can be about to bind the name, and any process may remove it. A leaving keeper
therefore unlinks its name before it lets the lock go. A journal that was unlinked or moved between open and lock counts
as absent.

The registry is not part of this. It is read only to find the pid of an owner that does not answer, and that process is
signalled only after its identity was compared.
"""

import os
import signal
from contextlib import suppress

import anyio
import anyio.to_thread

from algocline_mcp.errors import Unreachable
from algocline_mcp.pool.admission import admit
from algocline_mcp.pool.client import PoolClient
from algocline_mcp.pool.pool import Pool
from algocline_mcp.pool.registry import PoolRegistry, PoolSessionEntry
from algocline_mcp.storage import journal

_BACK_OFF_S = 0.001


class Absent(Exception):
    """No unfinished session has this id: it is finished, deleted, or never existed."""


def connect(pool: Pool, sid: str) -> PoolClient | None:
    """A connection to the live worker, or None if no process can be reached: the lock then says why.

    Raises BlockingIOError (backlog full)."""
    try:
        return PoolClient.connect(pool.home.socket(sid), line_bytes=pool.limits.line_bytes)
    except BlockingIOError:
        raise
    except OSError:  # no name, no listener; or the home is no directory, a loop of links, not readable
        return None


async def reach(pool: Pool, sid: str, *, deadline: float, may_spawn: bool = True) -> PoolClient:
    """A connection to the session's worker. Spawns the worker if there is none and `may_spawn`.

    Raises Absent, also for a session without a worker that must not be spawned; Unreachable after `reach_s` or at
    `deadline` (a time of the event loop's clock); Refused (`busy`) where admission finds no place.
    """
    began = anyio.current_time()
    back_off_s = _BACK_OFF_S
    is_terminated = False
    while True:
        with suppress(BlockingIOError):  # backlog full: the worker is stopped, or has too many clients
            if (client := connect(pool, sid)) is not None:
                return client
            if not may_spawn:
                raise Absent(sid)
            await admit(pool, sid, deadline=deadline)
            if (fd := _lock(pool, sid)) is not None and await pool.launch(sid, fd) is not None:
                continue  # else the fork failed: the loop has to see that the fork server ended, so this turn waits too
        waited_s = anyio.current_time() - began
        if waited_s >= pool.limits.stubborn_s and not is_terminated:
            is_terminated = True
            await _terminate_owner(pool, sid)
        if waited_s >= pool.limits.reach_s or anyio.current_time() >= deadline:
            raise Unreachable(
                f"session {sid} is held by {await owner(pool, sid)}, which cannot be reached for {waited_s:.0f} s: "
                "alc_stop ends that worker, then ask again; nothing is lost"
            )
        await pool.back_off(sid, back_off_s)
        back_off_s = min(back_off_s * 2, pool.limits.back_off_max_s)


def is_held(pool: Pool, sid: str) -> bool:
    """Whether a process holds the journal's lock: a worker, or a server that is starting one."""
    try:
        fd = journal.lock(pool.home.journal(sid))
    except FileNotFoundError:
        return False
    if fd is not None:
        os.close(fd)
    return fd is None


def _lock(pool: Pool, sid: str) -> int | None:
    try:
        return journal.lock(pool.home.journal(sid))
    except FileNotFoundError as exc:
        raise Absent(sid) from exc


async def find_entry(pool: Pool, sid: str) -> PoolSessionEntry | None:
    """The process that should hold the session, by the registry. May be outdated: compare its identity before use."""
    key = pool.home.worker_key(sid)
    if key in pool.registry.known:
        return pool.registry.known[key]
    try:
        return PoolRegistry.load(pool.home.registry).find(key)
    except (OSError, ValueError):
        return None


async def owner(pool: Pool, sid: str) -> str:
    """The owner of the session, in words for an error message."""
    entry = await find_entry(pool, sid)
    return f"process {entry.pid}" if entry and entry.identity.is_alive() else "an unknown process"


async def _terminate_owner(pool: Pool, sid: str) -> None:
    """Its socket name may have been deleted: the worker hibernates, the lock comes free, the next worker revives."""
    if (entry := await find_entry(pool, sid)) is not None:
        entry.identity.signal(signal.SIGTERM)
