"""Ends workers that are to go: politely where they answer, by signal where they do not.

Contract: only the very process that the registry names is ever signalled. Takes some `leave_s` at most.
"""

import signal
from contextlib import suppress

import anyio

from algocline_mcp.errors import Unreachable
from algocline_mcp.pool.client import PoolClient
from algocline_mcp.pool.pool import Pool
from algocline_mcp.pool.reach import connect, find_entry, is_held, owner

_LOOK_S = 0.02  # between two looks at a lock


async def connect_to_stop(pool: Pool, sid: str) -> PoolClient | None:
    """The worker that is to stop; None where there is none. One that holds the session and cannot be connected to
    (its socket's file was deleted, its backlog is full) is ended by signal after `leave_s`."""
    with anyio.move_on_after(pool.limits.leave_s):
        while True:
            with suppress(BlockingIOError):
                client = connect(pool, sid)
                if client is not None or not is_held(pool, sid):
                    return client
            await anyio.sleep(_LOOK_S)  # a file lock has no event to wait for
    await terminate_worker(pool, sid)
    return None


async def terminate_worker(pool: Pool, sid: str) -> None:
    """SIGTERM, then SIGKILL, each to the process that the registry names and only if it still is that one."""
    entry = await find_entry(pool, sid)
    if entry is None:
        raise Unreachable(f"session {sid} is held by {await owner(pool, sid)}, which does not answer: end it by hand")
    for number in (signal.SIGTERM, signal.SIGKILL):
        entry.identity.signal(number)
        with entry.identity.opened() as pidfd:
            if pidfd is None:
                break
            with anyio.move_on_after(pool.limits.leave_s):
                await anyio.wait_readable(pidfd)
    await pool.registry.remove(sid, entry.pid).error(pool.limits.registry_lock_s)
