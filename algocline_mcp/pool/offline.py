"""Access to sessions without a worker: lists and views them, decides from the journal, cancels under its lock.

Contract: functions that read run in threads of the pool's own limiter and start no worker. A read ends soon after its
call was cancelled, for instance at the deadline of a tool. Only `_cancel` writes, and
only if it gets the journal's lock.
"""

import os
import re
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import anyio.from_thread
import anyio.to_thread

from algocline_mcp.errors import JournalCorrupt, Refused, Unreachable
from algocline_mcp.history.listing import ids_of, list_finished, list_unfinished, not_found
from algocline_mcp.history.reader import session_of, stored_records
from algocline_mcp.history.views import PAGE_BYTES, Page, view_of
from algocline_mcp.pool import node
from algocline_mcp.pool.pool import Pool
from algocline_mcp.session.decisions import decide
from algocline_mcp.session.events import Cancel, HostEvent
from algocline_mcp.session.records import IllegalRecord, Record
from algocline_mcp.session.results import view
from algocline_mcp.session.state import Session, evolve
from algocline_mcp.storage import journal
from algocline_mcp.storage.clock import now_s
from algocline_mcp.storage.stored_records import StoredRecords, before_last_mark

_SID = re.compile(r"p-[0-9a-f]{1,24}-[0-9a-f]{16}")


def check_sid(pool: Pool, sid: str) -> None:
    """Raises Refused (`not_found`) for a text that is not a session id."""
    if not _SID.fullmatch(sid):
        raise unknown(pool, sid)


def unknown(pool: Pool, sid: str) -> Refused:
    """The error for an id that is no session of this owner."""
    text = not_found(pool.home, pool.limits, sid) if pool.node is None else node.not_found(sid)
    return Refused(text, code="not_found")


async def list_via_pool(
    pool: Pool, *, limit: int | None = None, cursor: str | None = None, project: str | None = None
) -> dict[str, Any]:
    """The unfinished sessions, those of `project` first; see history/listing.py for the shape.

    `worker` is "live" where the session's socket has a name: no worker is asked.
    """
    if pool.node is None:
        read = partial(list_unfinished, pool.home, pool.limits, limit=limit, cursor=cursor, project=project)
        listing = await anyio.to_thread.run_sync(read, limiter=pool.files)
    else:
        listing = await pool.node.list_unfinished(pool, limit=limit, cursor=cursor)
    warnings = [warning for warning in (pool.fork_server.warning, pool.home_warning()) if warning]
    sandbox = {"sandbox": pool.fork_server.sandbox.level} if listing["sessions"] else {}
    return listing | sandbox | ({"warnings": warnings} if warnings else {})


async def list_finished_via_pool(pool: Pool, *, limit: int | None = None, cursor: str | None = None) -> dict[str, Any]:
    """The finished sessions: `{finished_sessions, sessions, cursor?}`, newest first."""
    if pool.node is None:
        read = partial(list_finished, pool.home, pool.limits, limit=limit, cursor=cursor)
        listing = await anyio.to_thread.run_sync(read, limiter=pool.files)
    else:
        listing = await pool.node.list_finished(pool, limit=limit, cursor=cursor)
    return {("sessions" if name == "finished" else name): value for name, value in listing.items()}


async def ids_via_pool(pool: Pool, beginning: str) -> list[str]:
    """Ids of unfinished sessions that begin so, newest first."""
    if pool.node is not None:
        return await pool.node.ids_of(pool, beginning)
    return await anyio.to_thread.run_sync(ids_of, pool.home, beginning, limiter=pool.files)


async def refreshed(pool: Pool, sid: str) -> None:
    """On return the session can be read from the home. Raises Refused, StorageFailed."""
    if pool.node is not None:
        await pool.node.refresh(pool, sid)


def visible(pool: Pool, sid: str, records: StoredRecords) -> Sequence[Record]:
    """What may be shown of a session: at a node only what is committed. Raises Refused where nothing is."""
    if pool.node is None or not pool.has_worker(sid):
        return records
    committed = before_last_mark(records)
    if not committed:
        raise unknown(pool, sid)
    return committed


async def view_via_pool(
    pool: Pool,
    sid: str,
    view: str,
    *,
    limit: int | None = None,
    cursor: str | None = None,
    page_bytes: int = PAGE_BYTES,
    is_whole: bool = False,
) -> dict[str, Any]:
    """A page of one session from its journal; see history/views.py. `is_whole`: as many items as page_bytes allow.

    Of a damaged journal: the records before the damage, with `error_code` and a warning. Raises Refused,
    JournalCorrupt.
    """
    check_sid(pool, sid)
    await refreshed(pool, sid)

    def read() -> dict[str, Any]:
        records = stored_records(pool.home, pool.limits, sid, anyio.from_thread.check_cancelled)
        worker = "live" if os.path.lexists(pool.home.socket(sid)) else "none"
        items = sys.maxsize if is_whole else min(limit or pool.limits.listed, pool.limits.listed_max)
        page = Page(limit=items, cursor=cursor, max_bytes=page_bytes, is_limit_chosen=is_whole or limit is not None)
        shown = view_of(visible(pool, sid, records), view, page, worker=worker, now_s=now_s())
        if (damage := records.damage) is not None:  # the status of what stands before it is not that of the session
            shown |= {"status": "error", "error_code": damage.code, "warnings": [str(damage)]}
        return shown

    return await anyio.to_thread.run_sync(read, limiter=pool.files)


async def fold_of(pool: Pool, sid: str) -> Session:
    """The session as its journal shows it. Raises Refused if there is none, JournalCorrupt, IllegalRecord."""
    read = partial(session_of, pool.home, pool.limits, sid, anyio.from_thread.check_cancelled)
    return await anyio.to_thread.run_sync(read, limiter=pool.files)


async def decide_on_disk(pool: Pool, sid: str, event: HostEvent | None) -> dict[str, Any]:
    """What a worker would decide and show, from the journal: for a session that no worker holds.

    Returns the `data` of a response, `{feed_result, refused?}`. Raises Refused, Unreachable, StorageFailed.
    """
    try:
        session = await fold_of(pool, sid)
    except (JournalCorrupt, IllegalRecord) as exc:
        return {"feed_result": {"Stuck": {"error_code": exc.code, "error": str(exc)}}}
    refused: list[dict[str, Any]] = []
    if event is not None:
        decision = decide(session, event)
        if decision.error is not None:
            raise Refused(decision.error.reason, code=decision.error.code)
        refused = [{"query_id": refusal.query_id, "reason": refusal.reason} for refusal in decision.refused]
        if decision.records and isinstance(event, Cancel):
            session = await _cancelled(pool, pool.node, sid)
        elif decision.records:
            raise Unreachable(
                f"session {sid} has changed meanwhile; no answer was recorded: send the same request again"
            )
    return {"feed_result": view(session, now_s=now_s()), "refused": refused}


async def _cancelled(pool: Pool, at: "node.Node | None", sid: str) -> Session:
    if at is None:
        return await anyio.to_thread.run_sync(_cancel, pool, sid, limiter=pool.files)
    session = await fold_of(pool, sid)
    records = decide(session, Cancel(now_s())).records
    for record in records:
        evolve(session, record)
    if records:
        await at.finish(pool, sid, session, records)
    return session


def _cancel(pool: Pool, sid: str) -> Session:
    """Appends the cancelled final record under the lock: no server can revive the session afterwards."""
    try:
        fd = journal.lock(pool.home.journal(sid))
    except FileNotFoundError:
        return session_of(pool.home, pool.limits, sid)  # it finished meanwhile
    if fd is None:
        raise Unreachable(f"session {sid} has just been revived by another server: stop it again")
    try:
        session = Session()
        file = journal.Journal.adopt(fd, pool.home.journal(sid), lambda record, start: evolve(session, record))
        for record in decide(session, Cancel(now_s())).records:
            file.append(record)
            evolve(session, record)
        file.flush()
        file.move(pool.home.finished_journal(sid))
        return session
    finally:
        os.close(fd)
