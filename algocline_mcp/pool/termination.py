"""Terminates workers: by a request if they answer, by signal if they do not.

Contract: only the process that the registry names is ever signalled, after its identity was compared. Each step takes
`leave_s` at most.
"""

import signal
from contextlib import suppress

import anyio

from algocline_mcp.errors import Unreachable
from algocline_mcp.pool.client import PoolClient
from algocline_mcp.pool.pool import Pool
from algocline_mcp.pool.reach import connect, find_entry, is_held, owner

# A worker that starts binds its socket at a moment for which the kernel has no event, and so does a process that this
# server does not watch when it lets the lock go. The exit of a watched worker ends the pause at once.
_BACK_OFF_S = 0.02


async def connect_to_stop(pool: Pool, sid: str) -> PoolClient | None:
    """A connection to the worker that is to stop, or None if the session has none.

    A process that holds the session and cannot be connected to (its socket name was deleted, its backlog is full) is
    terminated after `leave_s`. Raises Unreachable where the registry does not name that process.
    """
    with anyio.move_on_after(pool.limits.leave_s):
        while True:
            with suppress(BlockingIOError):
                client = connect(pool, sid)
                if client is not None or not is_held(pool, sid):
                    return client
            await pool.back_off(sid, _BACK_OFF_S)
    await terminate_worker(pool, sid)
    return None


async def terminate_worker(pool: Pool, sid: str) -> None:
    """Sends SIGTERM, then SIGKILL, to the process that the registry names. Returns when it has exited.

    Raises Unreachable where the registry names no process for the session.
    """
    entry = await find_entry(pool, sid)
    if entry is None:
        raise Unreachable(
            f"session {sid} is held by {await owner(pool, sid)}, which does not answer: find that process and end it"
        )
    for number in (signal.SIGTERM, signal.SIGKILL):
        entry.identity.signal(number)
        with entry.identity.open_pidfd() as pidfd:
            if pidfd is None:
                break
            with anyio.move_on_after(pool.limits.leave_s):
                await anyio.wait_readable(pidfd)
    await pool.registry.remove(entry.key, entry.pid).error(pool.limits.registry_lock_s)
