"""What the server does without a worker: reads and folds a journal, cancels under the lock.

Contract: functions that read run in threads of the pool's own limiter. Only `_cancel` writes, and only where it gets
the journal's lock.
"""

import os
from typing import Any

import anyio.to_thread

from algocline_mcp.errors import JournalCorrupt, Refused, Unreachable
from algocline_mcp.history.reader import session_of
from algocline_mcp.pool.pool import Pool
from algocline_mcp.session.decisions import decide
from algocline_mcp.session.events import Cancel, HostEvent
from algocline_mcp.session.records import IllegalRecord
from algocline_mcp.session.results import view
from algocline_mcp.session.state import Session, evolve, fold
from algocline_mcp.storage import journal
from algocline_mcp.storage.clock import now_s


async def fold_of(pool: Pool, sid: str) -> Session:
    """Raises Refused where there is no such session."""
    return await anyio.to_thread.run_sync(session_of, pool.home, pool.limits, sid, limiter=pool.files)


async def decide_on_disk(pool: Pool, sid: str, event: HostEvent | None) -> dict[str, Any]:
    """Where no worker holds the session: the same decision and the same view, from its journal.

    Returns the `data` of a response. Raises Refused, Unreachable, StorageFailed.
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
        refused = [{"query_id": each.query_id, "reason": each.reason} for each in decision.refused]
        if decision.records and isinstance(event, Cancel):
            session = await anyio.to_thread.run_sync(_cancel, pool, sid, limiter=pool.files)
        elif decision.records:
            raise Unreachable(f"session {sid} has moved meanwhile; nothing was taken, send the same again")
    return {"feed_result": view(session, now_s=now_s()), "refused": refused}


def _cancel(pool: Pool, sid: str) -> Session:
    """Appends the cancelled final under the lock, so that nobody can revive the session afterwards."""
    try:
        fd = journal.lock(pool.home.journal(sid))
    except FileNotFoundError:
        return session_of(pool.home, pool.limits, sid)  # it finished meanwhile
    if fd is None:
        raise Unreachable(f"session {sid} has just been revived elsewhere: stop it again")
    try:
        file, records = journal.Journal.adopt(fd, pool.home.journal(sid))
        session = fold(records)
        for record in decide(session, Cancel(now_s())).records:
            file.append(record)
            evolve(session, record)
        file.flush()
        file.move(pool.home.finished_journal(sid))
        return session
    finally:
        os.close(fd)
