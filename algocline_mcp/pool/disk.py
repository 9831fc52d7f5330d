"""What the server does without a worker: folds a journal, lists the unfinished, cancels under the lock.

Contract: functions that read run in threads of the pool's own limiter. A listing opens no database, takes no lock and
asks no worker. Only `_cancel` writes, and only where it gets the journal's lock.
"""

import os
import time
from collections.abc import Mapping
from typing import Any

import anyio.to_thread

from algocline_mcp import journal
from algocline_mcp.errors import AlcError, JournalCorrupt, Refused, Unreachable
from algocline_mcp.pool.reach import Pool
from algocline_mcp.session import (
    Cancel,
    HostEvent,
    IllegalRecord,
    Phase,
    Record,
    Session,
    decide,
    evolve,
    fold,
    summary,
    view,
)

_NAMED = 3  # unfinished sessions that an error message names


async def fold_of(pool: Pool, sid: str) -> Session:
    """Raises Refused where there is no such session."""
    return await anyio.to_thread.run_sync(_fold_now, pool, sid, limiter=pool.files)


def _fold_now(pool: Pool, sid: str) -> Session:
    return fold(records_of(pool, sid))


def records_of(pool: Pool, sid: str) -> list[Record]:
    """All records of a session, finished or not. Raises Refused where there is none, JournalCorrupt, StorageFailed."""
    for path in (pool.home.journal(sid), pool.home.finished_journal(sid), pool.home.journal(sid)):
        try:  # the first place again at last: it may have moved between the two looks
            if records := journal.read(path):
                return records
        except FileNotFoundError:
            continue
    raise Refused(not_found(pool, sid), code="not_found")


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


def list_unfinished(pool: Pool) -> dict[str, Any]:
    names = sorted((path.stem for path in pool.home.sessions.glob("p-*.journal")), reverse=True)
    lines = [line for sid in names[: pool.limits.listed] if (line := _line(pool, sid)) is not None]
    listed: dict[str, Any] = {"active_sessions": len(lines), "sessions": lines}
    if len(names) > pool.limits.listed:
        listed["older"] = len(names) - pool.limits.listed
    return listed


def _line(pool: Pool, sid: str) -> dict[str, Any] | None:
    """One unfinished session, or None for one that is finished or gone."""
    worker = "live" if os.path.lexists(pool.home.socket(sid)) else "none"
    try:
        records = journal.read(pool.home.journal(sid), is_told=False)
        session = fold(records) if records else None
    except FileNotFoundError:
        return None
    except AlcError as exc:
        return {"session_id": sid, "status": "error", "error_code": exc.code, "error": str(exc), "worker": worker}
    return summary(session, worker=worker) if session and session.phase is not Phase.FINISHED else None


def not_found(pool: Pool, sid: str) -> str:
    lines = list_unfinished(pool)["sessions"]
    if not lines:
        return f"Session {sid[:80]!r} not found, and none is unfinished here: start with alc_run"
    named = "; ".join(f'{line["session_id"]} "{line.get("title", "")}" ({_waits_for(line)})' for line in lines[:_NAMED])
    more = f"; {len(lines) - _NAMED} more: alc_status lists them" if len(lines) > _NAMED else ""
    return f"Session {sid[:80]!r} not found. Unfinished here: {named}{more}. Use its id, or start with alc_run"


def _waits_for(line: Mapping[str, Any]) -> str:
    return f"waits for {', '.join(line['pending'])}" if line.get("pending") else str(line["status"])


def now_s() -> float:
    """Unix seconds with the resolution of a journal."""
    return round(time.time(), 3)
