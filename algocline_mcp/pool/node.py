"""Seam between a pool and the database that several servers share: the node, and how a call reaches its session.

A server with a database is a *node*. The database has the truth of all sessions; the home of a node is a cache of it.
Before a call touches a session, the node takes hold of it: then no other node writes it, and the file here is what the
database has. A session that another node holds is asked for there. Without a database there is no node (`pool.node` is
None), and everything is as if this module did not exist.

Contract of `carried_out`: `here` runs while this node holds the session; at the end the node gives the hold back,
unless a worker lives. It runs again, or there, where the hold was lost meanwhile: each request may be sent again.
"""

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from anyio.abc import TaskStatus

from algocline_mcp.config.home import Home
from algocline_mcp.errors import Unreachable
from algocline_mcp.history.database_reader import StateReader
from algocline_mcp.session.records import Record
from algocline_mcp.session.state import Session

if TYPE_CHECKING:
    from algocline_mcp.pool.pool import Pool
    from algocline_mcp.pool.replies import OnProgress, PoolReply

SOCKET_VARIABLE = "ALC_NODE_SOCKET"  # tells a worker where its node listens; not a setting
_ATTEMPTS = 3  # a hold is lost where this node was frozen, or cut off, for longer than its lease


@dataclass(frozen=True, slots=True)
class Forwarded:
    """A call that a node carries out for another one. `op`: continue, status or stop; `answers` as in a PoolRequest."""

    op: str
    sid: str
    wait_s: float = 0.0
    answers: Sequence[Mapping[str, Any]] = ()
    check: bool = False
    mode: str = ""


class HoldLost(Exception):
    """Another node holds the session now, or held it meanwhile: take hold again."""


class Node(Protocol):
    """Each method that is awaited raises StorageFailed, within seconds, where the database does not answer."""

    async def run(self, pool: "Pool", *, task_status: TaskStatus[None]) -> None:
        """Until it is cancelled. `pool`: of the user. It has started when workers can reach the node."""
        ...

    async def begin(self, pool: "Pool", sid: str) -> None:
        """This node holds the new session, of which the database has nothing yet."""
        ...

    async def hold(self, pool: "Pool", sid: str) -> str:
        """ "": this node holds the session, and the file is that of the database; or the session has finished, and the
        file is there. Else the name of the node that holds it. Raises Refused (`not_found`)."""
        ...

    async def refresh(self, pool: "Pool", sid: str) -> None:
        """The file of the session is what the database has, or more where a worker lives here. Raises Refused."""
        ...

    def launching(self, pool: "Pool", sid: str) -> None:
        """From now on a worker writes the file of the session."""
        ...

    def give_back_soon(self, pool: "Pool", sid: str) -> None:
        """In the background, if no worker of the session lives here and no call is under way to it."""
        ...

    async def elsewhere(self, pool: "Pool", request: Forwarded, on_progress: "OnProgress | None") -> "PoolReply | None":
        """The reply of the node that holds the session; None: this node holds it now. Raises as `hold`."""
        ...

    async def finish(self, pool: "Pool", sid: str, session: Session, records: Sequence[Record]) -> None:
        """Appends the records that end a session which this node holds and which has no worker. `session`: with them.
        Raises HoldLost."""
        ...

    async def delete(self, pool: "Pool", sid: str) -> None:
        """Deletes the rows of a session that this node holds, or that has finished. Raises HoldLost."""
        ...

    async def list_unfinished(self, pool: "Pool", *, limit: int | None, cursor: str | None) -> dict[str, Any]:
        """As history/listing.py, newest first."""
        ...

    async def list_finished(self, pool: "Pool", *, limit: int | None, cursor: str | None) -> dict[str, Any]:
        """As history/listing.py."""
        ...

    async def ids_of(self, pool: "Pool", beginning: str) -> list[str]:
        """As history/listing.py."""
        ...

    async def usage(self, pool: "Pool") -> tuple[int, int]:
        """Number of the sessions of this owner, and bytes of them and of what its strategies keep."""
        ...

    async def prompts_today(self, pool: "Pool") -> int:
        """That strategies of this owner asked today (UTC), at any node; counted where there is a quota."""
        ...

    def state_reader(self, owner: str) -> StateReader:
        """Reads what the strategies of an owner have stored. Its methods block: for threads."""
        ...

    async def scrub(self, pool: "Pool", sid: str) -> None:
        """Removes what ALC_KEEP does not keep of a finished session, unless its worker lives. Raises AlcError:
        `apply_retention` tries again."""
        ...

    async def apply_retention(self, pool: "Pool", days: float) -> None:
        """Deletes the sessions that finished so long ago, of all owners, and scrubs those that wait. `pool`: of the
        user."""
        ...

    async def check(self) -> None:
        """Raises StorageFailed where the database does not answer now."""
        ...

    async def is_ready(self) -> bool:
        """Whether the database answers now, and knows this node."""
        ...

    async def close(self, pool: "Pool") -> None:
        """At the end of the server: ends the workers and gives all sessions back. Raises nothing."""
        ...


def socket_of(home: Home) -> Path:
    """Where the node of a home listens for its workers; not a name of a worker's socket."""
    return home.pool / "node.socket"


def environ_of_workers(home: Home, environ: Mapping[str, str]) -> dict[str, str]:
    """With the address at which the workers of a node reach it."""
    return {**environ, SOCKET_VARIABLE: os.fspath(socket_of(home))}


def not_found(sid: str) -> str:
    """The text for an id that is no session of this owner: the same whatever else there is."""
    return f"Session {sid[:80]!r} not found: alc_status() lists the unfinished ones; or start with alc_run"


async def carried_out(
    pool: "Pool",
    request: Forwarded,
    here: Callable[[], Awaitable["PoolReply"]],
    on_progress: "OnProgress | None" = None,
) -> "PoolReply":
    if pool.node is None:
        return await here()
    for _ in range(_ATTEMPTS):
        try:
            return await _held(pool, pool.node, request, here, on_progress)
        except HoldLost:
            continue
    raise Unreachable(f"session {request.sid} went from node to node meanwhile: send the same request again")


async def _held(
    pool: "Pool",
    node: Node,
    request: Forwarded,
    here: Callable[[], Awaitable["PoolReply"]],
    on_progress: "OnProgress | None",
) -> "PoolReply":
    try:
        with pool.calling(request.sid):
            reply = await node.elsewhere(pool, request, on_progress)
            return await here() if reply is None else reply
    finally:
        node.give_back_soon(pool, request.sid)
