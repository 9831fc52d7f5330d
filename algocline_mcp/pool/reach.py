"""The one way to a worker: connect, or take the journal's lock and spawn one. Also watches every worker it meets.

Contract: `Pool` is what one server knows: its home, its limits, the workers it watches. It holds no session. `reach`
returns a connection within `reach_s` or raises Unreachable, which names the process that holds the session; Absent
where no unfinished journal has this id. Losing the lock may mean that its owner is coming, going or stopped; the
back-off covers all three, and an owner without a socket gets SIGTERM once.
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
    """No unfinished session has this id: it is finished, deleted, or never was."""


def connect(pool: Pool, sid: str) -> PoolClient | None:
    """A connection to the live worker, or None where nobody listens."""
    with suppress(FileNotFoundError, ConnectionRefusedError):
        return PoolClient.connect(pool.home.socket(sid), line_bytes=pool.limits.line_bytes)
    return None


async def reach(pool: Pool, sid: str, *, deadline: float, may_spawn: bool = True) -> PoolClient:
    """A connection to the session's worker, which is spawned where there is none and it may be.

    Raises Absent, also for a session without a worker that may not be spawned, and Unreachable.
    """
    began = anyio.current_time()
    back_off_s = _BACK_OFF_S
    is_told = False
    while True:
        with suppress(BlockingIOError):  # its backlog is full: it is stopped, or flooded
            if (client := connect(pool, sid)) is not None:
                return client
            if not may_spawn:
                raise Absent(sid)
            await admit(pool, sid, deadline=deadline)
            if (fd := _lock(pool, sid)) is not None:
                await pool.launch(sid, fd)
                continue
        waited_s = anyio.current_time() - began
        if waited_s >= pool.limits.stubborn_s and not is_told:
            is_told = True
            await _tell_owner_to_leave(pool, sid)
        if waited_s >= pool.limits.reach_s or anyio.current_time() >= deadline:
            raise Unreachable(
                f"session {sid} is held by {await owner(pool, sid)}, which cannot be reached for {waited_s:.0f} s: "
                "alc_stop ends that worker, then ask again; nothing is lost"
            )
        await anyio.sleep(back_off_s)  # a file lock has no event to wait for
        back_off_s = min(back_off_s * 2, pool.limits.back_off_max_s)


def is_held(pool: Pool, sid: str) -> bool:
    """Whether somebody has the journal's lock: a worker, or whoever is just starting one."""
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
    """The registry's word on who holds a session: only ever used to signal it after its identity was checked."""
    if sid in pool.registry.known:
        return pool.registry.known[sid]
    try:
        return PoolRegistry.load(pool.home.registry).find(sid)
    except (OSError, ValueError):
        return None


async def owner(pool: Pool, sid: str) -> str:
    entry = await find_entry(pool, sid)
    return f"process {entry.pid}" if entry and entry.identity.is_alive() else "an unknown process"


async def _tell_owner_to_leave(pool: Pool, sid: str) -> None:
    """Its socket's file may have been deleted: it hibernates, the lock comes free, the next one revives."""
    if (entry := await find_entry(pool, sid)) is not None:
        entry.identity.signal(signal.SIGTERM)
