"""Calls for a session that another node may hold, and the calls of other nodes for what this node holds.

Contract. `elsewhere` returns None once this node holds the session: the call goes on here. Otherwise the reply, or the
error, is that of the holder. Where the holder's lease ends, it gives the session back, or its program lacks the engine
of the session, this node takes hold. The call ends within the `wait_s` of the request and the grace of a tool call,
whatever node or database hangs. `run` carries out what other nodes ask, in the pool of the session's owner, and sweeps.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, replace
from typing import Any, Protocol, cast

import anyio

from algocline_mcp.cluster.connection import Database
from algocline_mcp.cluster.requests import HolderGone, Requests
from algocline_mcp.cluster.sweep import sweep_forever
from algocline_mcp.errors import Unreachable
from algocline_mcp.pool.dispatch import StopMode, continue_via_pool, status_via_pool, stop_via_pool
from algocline_mcp.pool.node import Forwarded
from algocline_mcp.pool.owned import pool_of
from algocline_mcp.pool.pool import Pool
from algocline_mcp.pool.replies import OnProgress, PoolReply
from algocline_mcp.session.events import Answer

_SPARE_S = 1.0  # of the grace of a tool call, kept for the error that says what happened
_PAUSES_S = (0.02, 0.5)  # before hold is asked again, doubled from the first to the longest: the holder is giving back


class Holding(Protocol):
    async def hold(self, pool: Pool, sid: str) -> str:
        """As pool.node.Node."""
        ...


class Forwarding:
    """Of the node `name`. `node` says who holds a session."""

    def __init__(self, node: Holding, database: Database, *, name: str, lease_s: float) -> None:
        self._node = node
        self._database = database
        self._lease_s = lease_s
        self.requests = Requests(database, name, self._serve, lease_s=lease_s)
        self._pool: Pool  # of the user, while it runs

    async def elsewhere(self, pool: Pool, request: Forwarded, on_progress: OnProgress | None) -> PoolReply | None:
        """Raises what `hold` and the holder raise, StorageFailed, and Unreachable when the time is over."""
        ends = anyio.current_time() + request.wait_s
        pause_s, longest_s = _PAUSES_S
        holder = ""
        with anyio.move_on_after(request.wait_s + max(0.0, pool.limits.grace_s - _SPARE_S)):
            while holder := await self._node.hold(pool, request.sid):
                left = replace(request, wait_s=max(0.0, ends - anyio.current_time()))
                try:
                    return await self.requests.ask(holder, request.sid, pool.owner, asdict(left), on_progress)
                except HolderGone:
                    await anyio.sleep(pause_s)
                    pause_s = min(2 * pause_s, longest_s)
            return None
        who = f"node {holder}, which holds session {request.sid}," if holder else "the database"
        raise Unreachable(
            f"{who} has not answered in time. Ask again, and send an answer again: nothing is lost and no answer "
            "counts twice"
        )

    async def run(self, pool: Pool) -> None:
        """`pool`: of the user. Until it is cancelled."""
        self._pool = pool
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.requests.run)
            await sweep_forever(self._database, pool, lease_s=self._lease_s)

    async def _serve(self, owner: str, request: Mapping[str, Any], on_progress: OnProgress | None) -> PoolReply:
        pool, forwarded = pool_of(self._pool, owner), Forwarded(**request)
        if await self._node.hold(pool, forwarded.sid):
            raise HolderGone
        reply = await _CALLS[forwarded.op](pool, forwarded, on_progress)
        if reply.result.get("error_code") == "needs_version":
            await stop_via_pool(pool, forwarded.sid, "hibernate")
            raise HolderGone  # the node that asks takes hold, and may have the engine that is missing here
        return reply


async def _continue(pool: Pool, request: Forwarded, on_progress: OnProgress | None) -> PoolReply:
    answers = [Answer(**{"query_id": None, **item}) for item in request.answers]
    return await continue_via_pool(
        pool, request.sid, answers, wait_s=request.wait_s, on_progress=on_progress, is_checked=request.check
    )


async def _status(pool: Pool, request: Forwarded, on_progress: OnProgress | None) -> PoolReply:
    return await status_via_pool(pool, request.sid, wait_s=request.wait_s, on_progress=on_progress)


async def _stop(pool: Pool, request: Forwarded, on_progress: OnProgress | None) -> PoolReply:
    return await stop_via_pool(pool, request.sid, cast(StopMode, request.mode))


_CALLS: Mapping[str, Callable[[Pool, Forwarded, OnProgress | None], Awaitable[PoolReply]]] = {
    "continue": _continue,
    "status": _status,
    "stop": _stop,
}
