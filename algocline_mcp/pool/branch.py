"""Starts branches: sessions that share prompts and answers of another session, the parent. The parent is only read.

A branch shares in one of two ways. *Exact*: with `at` alone, or with `at` and a `response` to it, the branch begins
with the parent's own records up to the answer to `at`, and replays them. *By prompt*: with changed code or ctx, without
`at`, or if another version wrote the parent, the strategy runs from its beginning. When it asks a prompt for the nth
time, it gets the parent's nth answer to that prompt (worker/keeper/inherited.py); only other prompts are asked. A
session that is `diverged` or `needs_version` can be continued this way.

Contract: `plan` is pure and decides all records of the branch except its id. No step holds them all: a parent may have
hundreds of megabytes. `branch_via_pool` starts the branch, for a
dry run in a home that is removed afterwards.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread

from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import AlcError, Refused
from algocline_mcp.history.new_session import Strategy, header_of
from algocline_mcp.history.reader import first_record, readable_records, records_of
from algocline_mcp.history.redaction import Redaction
from algocline_mcp.languages import LANGUAGES, LUA, Language
from algocline_mcp.pool import dispatch, verify
from algocline_mcp.pool.dispatch import OnProgress, Pool, PoolReply
from algocline_mcp.pool.offline import refreshed, visible
from algocline_mcp.session.digests import recorded_digest
from algocline_mcp.session.records import IllegalRecord, Record
from algocline_mcp.session.state import Session, evolve, fold
from algocline_mcp.session.streams import MAIN
from algocline_mcp.storage.clock import now_s

_ASKS_NAMED = 3  # query ids in a sentence
_LEFT_OUT = ("flushed", "crash", "misfit", "final")


@dataclass(frozen=True, slots=True)
class Branch:
    """What differs from the parent. `at`: a query id of the parent; `response`: the answer to that query."""

    at: str | None = None
    response: str | None = None
    code: str | None = None
    ctx: Mapping[str, Any] | None = None
    chunk: str | None = None  # name of the file that `code` comes from
    lib_paths: tuple[str, ...] = ()  # directories in which `require` of that code looks first
    package: str | None = None  # the package that `code` is, or "" for code that is none; None: as in the parent
    language: str | None = None  # of `code`; None: as in the parent

    @property
    def is_edited(self) -> bool:
        return self.code is not None or self.ctx is not None


# ── the records of a branch: pure ─────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Plan:
    """A branch: its header, with an empty `sid`, and the records that follow, read from the parent each time."""

    header: Record
    shared: Callable[[], Iterable[Record]] | None = None


def plan(records: Sequence[Record], branch: Branch, limits: Limits, *, now_s: float) -> Plan:
    """`records`: of the parent. They may be long: none is held. Raises Refused."""
    parent = records[0]
    if parent.get("kept"):
        raise Refused(f"session {parent['sid']} was scrubbed (ALC_KEEP={parent['kept']}): it has no answers to share")
    if branch.response is not None and branch.at is None:
        raise Refused("response is the answer to the query at: give at, a query id of that session")
    header = _header(parent, branch, limits, now_s)
    if branch.at is not None:
        _check_asked(records, branch.at)
    shared = partial(_shared, records, branch, now_s)
    if branch.at is not None and not branch.is_edited and header["abi"] == parent["abi"]:
        return Plan(header, shared)
    return Plan(header | {"carried": inherited(shared(), limits.inherited_bytes)})


def _shared(records: Sequence[Record], branch: Branch, now_s: float) -> Iterator[Record]:
    if branch.at is None:
        yield from map(_clean, islice(records, 1, None))
        return
    yield from records_before(records, branch.at)
    if branch.response is not None:
        yield {"kind": "answer", "answers": [{"id": branch.at, "response": branch.response}], "t": now_s}


def _header(parent: Record, branch: Branch, limits: Limits, now_s: float) -> Record:
    """The header of a new session, but with the parent's seed, start of the clock, time zone and limits."""
    strategy = Strategy(
        code=parent["code"] if branch.code is None else branch.code,
        chunk=branch.chunk or parent["chunk"],
        ctx=json.loads(parent["ctx"]) if branch.ctx is None else branch.ctx,
        title=f"{parent['title']} (branch)",
        project_root=parent.get("project"),
        lib_paths=tuple(dict.fromkeys((*branch.lib_paths, *parent["lib_paths"]))),
        variants=parent.get("variants", {}),
        language=branch.language or parent["language"],
    )
    same = {name: parent[name] for name in ("seed", "utc_offset_s", "limits", "strategy", "owner") if name in parent}
    own: Record = {"t": now_s, "created_s": parent.get("created_s", parent["t"])}
    if branch.package is not None:
        own["strategy"] = branch.package or None
    own["parent"] = {"session_id": parent["sid"], "at": branch.at}
    return header_of(limits, strategy, sid="") | same | own


def records_before(records: Sequence[Record], at: str) -> Iterator[Record]:
    """The records before the answer to `at`, and all answers to the other queries of its stream that are open then.

    This is a beginning of the file, so every stream stands where it stood. Crashes and the end of the session are left
    out. A query that was dropped when its fork failed, or that was withdrawn, is open again: the branch begins before
    that.
    """
    is_over = False
    asked_beside: set[str] = set()
    session = fold(records[:1])
    for parent_record in islice(records, 1, None):
        record, kind, was_open = _clean(parent_record), parent_record["kind"], at in session.pending
        if was_open and not is_over and (kind in ("answer", "end") or "withdrawn" in parent_record):
            asked_beside = _open_beside(session, at)
        evolve(session, parent_record)
        if kind != "answer" and was_open and at not in session.pending:
            is_over = True
        if kind == "answer":
            is_over = is_over or any(item["id"] == at for item in record["answers"])
            if is_over:
                items = [item for item in record["answers"] if item["id"] in asked_beside]
                record = {**record, "answers": items}
            if not record["answers"]:
                continue
        elif is_over or kind in _LEFT_OUT or "by" in record:  # a log record of the keeper belongs to a crash
            continue
        yield record


def _open_beside(session: Session, at: str) -> set[str]:
    """The ids of the other open queries of the stream that asks `at`."""
    stream = session.pending[at].get("stream", MAIN)
    return {query_id for query_id, query in session.pending.items() if query.get("stream", MAIN) == stream} - {at}


def _check_asked(records: Sequence[Record], at: str) -> None:
    """Raises Refused for an unknown query id."""
    asked: list[str] = []
    for record in records:
        if record["kind"] == "prompt":
            ids = [query["id"] for query in record["queries"]]
            if at in ids:
                return
            asked += ids
    asked_ids = f"it asked {', '.join(asked[:_ASKS_NAMED])}" + (f" … {asked[-1]}" if len(asked) > _ASKS_NAMED else "")
    raise Refused(f"at={at[:80]!r} is not a query of that session: {asked_ids if asked else 'it asked nothing'}")


def _clean(record: Record) -> Record:
    """The record as it is written to the journal of a branch: its answers are marked as shared."""
    copy = {key: value for key, value in record.items() if key not in ("s", "revived")}
    if record["kind"] == "answer":
        copy["answers"] = [{**item, "shared": True} for item in record["answers"]]
    return copy


def inherited(records: Iterable[Record], max_bytes: int) -> Record:
    """The header field `carried` of a branch by prompt: `{answers: {digest: [item | null]}, effects: […]}`. One record
    holds all of it, so it is limited. Raises Refused."""
    by_query: dict[str, Record] = {}
    asked: list[tuple[str, str]] = []  # digest and id of each query
    effects: list[list[Any]] = []
    left_bytes = max_bytes
    for record in records:
        if record["kind"] == "prompt":
            asked += [(recorded_digest(query), query["id"]) for query in record["queries"]]
        elif record["kind"] == "answer":
            by_query |= {item["id"]: item for item in record["answers"]}
            left_bytes -= len(json.dumps(record["answers"]))
        elif record["kind"] == "effect":
            outcome = {key: record[key] for key in ("result", "error") if key in record}
            effects.append([record["name"], record["args"], outcome, record.get("times", 1)])
            left_bytes -= len(json.dumps(effects[-1]))
        if left_bytes < 0:
            raise Refused(
                f"the answers and results of that session have over {max_bytes} bytes as JSON (ALC_INHERITED_BYTES), "
                "the most that a branch with other code or ctx takes along: give an earlier query as at, or raise that "
                "limit",
                code="too_large",
            )
    answers: dict[str, list[Record | None]] = {}
    for digest, query_id in asked:
        answers.setdefault(digest, []).append(by_query.get(query_id))
    return {"answers": answers, "effects": effects}


# ── starting a branch ─────────────────────────────────────────────────────────────────────────────────────


async def project_of(pool: Pool, sid: str) -> tuple[str, Language]:
    """The project directory of a session, "" if it has none, and its language. Raises as branch_via_pool."""
    dispatch.check_sid(pool, sid)
    await refreshed(pool, sid)
    header = await anyio.to_thread.run_sync(first_record, pool.home, pool.limits, sid, limiter=pool.files)
    return str(header.get("project") or ""), LANGUAGES.get(header["language"], LUA)


async def branch_via_pool(
    pool: Pool,
    sid: str,
    branch: Branch,
    *,
    n: int = 1,
    is_dry: bool = False,
    wait_s: float,
    on_progress: OnProgress | None = None,
) -> PoolReply:
    """Starts `n` branches of a session. The result:

    one branch: as run_via_pool, and `branch: {session_id, at, shared}`
    several: `{status: branched, session_id, branches: […], warnings?}`
    dry run: `{status: dry_run, session_id, shared, asks: […] | ends: {…}}`

    Raises Refused, JournalCorrupt, StorageFailed, Unreachable.
    """
    dispatch.check_sid(pool, sid)
    if n > pool.limits.branches:
        raise Refused(
            f"n is {n}, at most {pool.limits.branches} branches are started at once: call alc_branch several times"
        )
    await refreshed(pool, sid)
    planned = await anyio.to_thread.run_sync(_plan, pool, sid, branch, limiter=pool.files)
    if is_dry:
        return PoolReply(sid, await _dry_run(pool, sid, planned, wait_s), None)
    if n == 1:
        return await _begin(pool, planned, wait_s, on_progress)
    return await _begin_many(pool, sid, planned, n, wait_s)


def _plan(pool: Pool, sid: str, branch: Branch) -> Plan:
    """Of a damaged journal: from the records before the damage."""
    stored, _ = readable_records(pool.home, pool.limits, sid, anyio.from_thread.check_cancelled)
    records = visible(pool, sid, stored)
    try:
        fold(records)
    except IllegalRecord as exc:
        raise Refused(f"session {sid} cannot be branched: {exc}", code=exc.code) from exc
    return plan(records, branch, pool.limits, now_s=now_s())


async def _begin_many(pool: Pool, parent: str, planned: Plan, n: int, wait_s: float) -> PoolReply:
    """Starts all at once. Raises the first error if no branch was started."""
    replies: list[PoolReply] = []
    errors: list[AlcError] = []

    async def start_one() -> None:
        try:
            replies.append(await _begin(pool, planned, wait_s, None))
        except AlcError as exc:
            errors.append(exc)

    async with anyio.create_task_group() as tasks:
        for _ in range(n):
            tasks.start_soon(start_one)
    if not replies:
        raise errors[0]
    replies.sort(key=lambda reply: reply.session_id)
    result: dict[str, Any] = {"status": "branched", "session_id": parent}
    result["branches"] = [reply.result for reply in replies]
    if errors:
        result["warnings"] = [f"{len(errors)} of {n} branches were not started: {errors[0]}"]
    return PoolReply(parent, result, next((reply.pool_save_error for reply in replies if reply.pool_save_error), None))


async def _begin(pool: Pool, planned: Plan, wait_s: float, on_progress: OnProgress | None) -> PoolReply:
    header = {**planned.header, "sid": dispatch.gen_pool_sid()}
    reply = await dispatch.begin_via_pool(pool, header, planned.shared, wait_s=wait_s, on_progress=on_progress)
    shared = await anyio.to_thread.run_sync(_shared_answers, pool, reply.session_id, limiter=pool.files)
    return reply._replace(result=reply.result | {"branch": header["parent"] | {"shared": shared}})


def _shared_answers(pool: Pool, sid: str) -> int:
    """The number of answers that it has from its parent."""
    records = records_of(pool.home, pool.limits, sid, anyio.from_thread.check_cancelled)
    answers = (record["answers"] for record in records if record["kind"] == "answer")
    return sum(bool(item.get("shared")) for items in answers for item in items)


def _redaction_of(pool: Pool, sid: str) -> Redaction:
    return Redaction.of(records_of(pool.home, pool.limits, sid, anyio.from_thread.check_cancelled))


async def _dry_run(pool: Pool, parent: str, planned: Plan, wait_s: float) -> dict[str, Any]:
    environ = {**pool.environ, "ALC_SPAWN": "exec"}  # for one worker a fork server would take longer
    async with verify.scratch_pool(pool.home, pool.limits, environ) as scratch:
        reply = await _begin(scratch, planned, wait_s, None)
        redaction = await anyio.to_thread.run_sync(_redaction_of, scratch, reply.session_id, limiter=scratch.files)
        await dispatch.stop_via_pool(scratch, reply.session_id, "delete")
    result = reply.result
    report: dict[str, Any] = {"status": "dry_run", "session_id": parent, "shared": result["branch"]["shared"]}
    asks = result.get("queries") or ([result] if result["status"] == "needs_response" else [])
    if asks:
        report["asks"] = [
            {key: query[key] for key in ("query_id", "prompt", "system") if key in query} for query in asks
        ]
    else:
        report["ends"] = {key: result[key] for key in ("status", "result", "error", "error_code") if key in result}
    return {key: redaction.value(value) for key, value in report.items()}
