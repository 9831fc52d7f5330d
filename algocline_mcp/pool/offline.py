"""What the server does without a worker: reads and folds a journal, cancels under the lock.

Contract: functions that read run in threads of the pool's own limiter. Only `_cancel` writes, and only where it gets
the journal's lock.
"""

import os
import time
from contextlib import suppress
from typing import Any

import anyio.to_thread

from algocline_mcp.storage import journal
from algocline_mcp.errors import JournalCorrupt, Refused, Unreachable
from algocline_mcp.config.limits import Home, Limits
from algocline_mcp.history.listing import not_found
from algocline_mcp.pool.reach import Pool
from algocline_mcp.session.state import Cancel, HostEvent, IllegalRecord, Record, Session, decide, evolve, fold, view


async def fold_of(pool: Pool, sid: str) -> Session:
    """Raises Refused where there is no such session."""
    return await anyio.to_thread.run_sync(_fold_now, pool, sid, limiter=pool.files)


def _fold_now(pool: Pool, sid: str) -> Session:
    return fold(records_of(pool.home, pool.limits, sid))


def records_of(home: Home, limits: Limits, sid: str) -> list[Record]:
    """Of a session, wherever its journal lies. Raises Refused where there is none, JournalCorrupt, StorageFailed."""
    for path in (home.journal(sid), home.finished_journal(sid), home.journal(sid)):
        try:  # the first place again at last: it may have moved between the two looks
            if records := journal.read(path):
                return records
        except FileNotFoundError:
            continue
    raise Refused(not_found(home, limits, sid), code="not_found")


def readable(home: Home, limits: Limits, sid: str) -> tuple[list[Record], JournalCorrupt | None]:
    """As records_of; of a damaged journal what stands before the damage, and the error, raised where that is nothing.

    Only for what changes nothing there: to look at it, and to begin another session with it.
    """
    try:
        return records_of(home, limits, sid), None
    except JournalCorrupt as exc:
        with suppress(OSError):
            if records := journal.before_damage(exc.path):
                return records, exc
        raise


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
        return _fold_now(pool, sid)  # it finished meanwhile
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


def now_s() -> float:
    """Unix seconds with the resolution of a journal."""
    return round(time.time(), 3)
