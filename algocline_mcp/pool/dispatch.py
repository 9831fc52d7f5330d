"""Runs sessions in workers for the tools: the heart of the server's half. Cancel-safe: whatever is dropped, the
session goes on and can be asked again.

    run_via_pool, continue_via_pool      one strategy started, one call's answers handed on
    status_via_pool, list_via_pool       what continue would answer now; what is unfinished
    view_via_pool                        what else a journal tells: prompts, history, log, result, code
    stop_via_pool                        hibernate or cancel
    extract_feed_response, feed_result_to_mcp_json      a worker's answer as the result of a tool
    persist_entry, gen_pool_sid          the registry entry of a worker; the only id of a session

Errors are AlcErrors with a sentence for the host. A registry that cannot be written is no error: it comes back as
`pool_save_error` beside the result.
"""

import os
import re
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple

import anyio
import anyio.to_thread

from algocline_mcp import __version__
from algocline_mcp.errors import AlcError, JournalCorrupt, ProtocolError, Refused, Unreachable
from algocline_mcp.history.listing import list_unfinished, not_found
from algocline_mcp.history.new_session import Strategy, create_journal, header_of
from algocline_mcp.history.reader import readable_records
from algocline_mcp.history.retention import delete_session
from algocline_mcp.history.views import PAGE_BYTES, Page, view_of
from algocline_mcp.pool.admission import admit
from algocline_mcp.pool.client import PoolClient
from algocline_mcp.pool.offline import decide_on_disk, fold_of
from algocline_mcp.pool.pool import Pool
from algocline_mcp.pool.reach import Absent, connect, is_held, owner, reach
from algocline_mcp.pool.termination import connect_to_stop, terminate_worker
from algocline_mcp.protocol.messages import WRONG_PROGRAM, PoolRequest, PoolResponse
from algocline_mcp.session.events import Answer, Cancel, Continue, HostEvent
from algocline_mcp.session.records import IllegalRecord, Record
from algocline_mcp.session.state import Phase
from algocline_mcp.storage.clock import now_s

__all__ = [
    "Pool",
    "PoolReply",
    "Progress",
    "Strategy",
    "continue_via_pool",
    "list_via_pool",
    "run_via_pool",
    "status_via_pool",
    "stop_via_pool",
    "view_via_pool",
]

_SID = re.compile(r"p-[0-9a-f]{1,24}-[0-9a-f]{16}")
_SPARE_S = 0.5  # of the time a tool call has, kept for the sentence that says what happened
# Fields of a result that an option of alc.llm must not set.
# fmt: off
_OWN_FIELDS = {
    "status", "session_id", "id", "query_id", "prompt", "system", "max_tokens", "grounded", "underspecified",
    "queries", "running", "result", "error", "error_code", "stats", "next", "title", "progress", "warnings",
    "refused", "remaining", "pending", "pool_save_error", "truncated", "cursor", "resource",
}
# fmt: on
_ON = "alc_status with this session_id and wait_s waits on"


@dataclass(frozen=True, slots=True)
class Progress:
    step: int
    total: int
    message: str | None


class PoolReply(NamedTuple):
    session_id: str
    result: dict[str, Any]
    pool_save_error: str | None


OnProgress = Callable[[Progress], Awaitable[None]]


# ── the five calls ────────────────────────────────────────────────────────────────────────────────────────


async def run_via_pool(
    pool: Pool, strategy: Strategy, *, wait_s: float, on_progress: OnProgress | None = None
) -> PoolReply:
    """Starts a session and returns its first pause, its end, or `running` after `wait_s`.

    Raises Refused for code or ctx over a limit, StorageFailed where no journal can be written, Unreachable.
    """
    return await begin_via_pool(
        pool, [header_of(pool.limits, strategy, sid=gen_pool_sid())], wait_s=wait_s, on_progress=on_progress
    )


async def begin_via_pool(
    pool: Pool, records: Sequence[Record], *, wait_s: float, on_progress: OnProgress | None = None
) -> PoolReply:
    """Starts the session that begins with these records, its header first; else as run_via_pool."""
    sid = records[0]["sid"]
    await admit(pool, sid, deadline=anyio.current_time() + wait_s)
    file = create_journal(pool.home, records)
    try:
        await pool.launch(sid, file.fd)
    except AlcError:
        with suppress(OSError):
            file.path.unlink()  # no half-created session
        raise
    return await _converse(pool, PoolRequest("run", 1, sid, wait_s), on_progress)


async def continue_via_pool(
    pool: Pool, sid: str, answers: Sequence[Answer], *, wait_s: float, on_progress: OnProgress | None = None
) -> PoolReply:
    """Hands the answers of one call on and returns what comes next; revives the session where nobody holds it.

    Raises Refused where none of the answers could be taken, with the reason; Unreachable.
    """
    check_sid(pool, sid)
    items = [{key: value for key, value in asdict(answer).items() if value is not None} for answer in answers]
    event = Continue(tuple(answers), now_s())
    return await _converse(pool, PoolRequest("continue", 1, sid, wait_s, answers=items), on_progress, event=event)


async def status_via_pool(
    pool: Pool, sid: str, *, wait_s: float = 0.0, on_progress: OnProgress | None = None
) -> PoolReply:
    """What continue would answer now. With `wait_s` it revives a session that can go on, and waits."""
    check_sid(pool, sid)
    may_spawn = wait_s > 0
    try:
        if may_spawn and not is_listening(pool, sid):
            may_spawn = (await fold_of(pool, sid)).phase in (Phase.RUNNING, Phase.STUCK)
        return await _converse(pool, PoolRequest("status", 1, sid, wait_s), on_progress, may_spawn=may_spawn)
    except (JournalCorrupt, IllegalRecord):
        return await _from_disk(pool, sid)
    except Unreachable as exc:
        reply = await _from_disk(pool, sid)
        return reply._replace(result=reply.result | {"warnings": [f"{exc}. Shown is what its journal holds."]})


async def list_via_pool(
    pool: Pool, *, limit: int | None = None, cursor: str | None = None, project: str | None = None
) -> dict[str, Any]:
    """The unfinished sessions, those of `project` first. Asks no worker; `worker` is live where a socket has its
    name."""
    look = partial(list_unfinished, pool.home, pool.limits, limit=limit, cursor=cursor, project=project)
    listing = await anyio.to_thread.run_sync(look, limiter=pool.files)
    return listing | ({"warnings": [pool.fork_server.warning]} if pool.fork_server.warning else {})


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
    """A page of one session from its journal; see views.py. `is_whole`: as much as page_bytes take. Wakes nobody.

    Of a damaged journal what stands before the damage, with `error_code` and a warning. Raises Refused, JournalCorrupt.
    """
    check_sid(pool, sid)

    def look() -> dict[str, Any]:
        records, damage = readable_records(pool.home, pool.limits, sid)
        worker = "live" if os.path.lexists(pool.home.socket(sid)) else "none"
        most = sys.maxsize if is_whole else min(limit or pool.limits.listed, pool.limits.listed_max)
        page = Page(limit=most, cursor=cursor, max_bytes=page_bytes, is_limit_chosen=is_whole or limit is not None)
        told = view_of(records, view, page, worker=worker, now_s=now_s())
        if damage is not None:  # it stands as what came before shows it, which the session itself no longer does
            told |= {"status": "error", "error_code": damage.code, "warnings": [str(damage)]}
        return told

    return await anyio.to_thread.run_sync(look, limiter=pool.files)


StopMode = Literal["hibernate", "cancel", "delete"]


async def stop_via_pool(pool: Pool, sid: str, mode: StopMode) -> PoolReply:
    """Returns the state it left the session in. A worker that does not answer is ended by signal."""
    check_sid(pool, sid)
    if mode == "delete":
        return await _delete(pool, sid)
    for _ in range(pool.limits.resends + 1):
        client = await connect_to_stop(pool, sid)
        if client is None:
            break
        with client:
            try:
                response = await client.ask(PoolRequest("shutdown", 1, sid, mode=mode), timeout_s=pool.limits.leave_s)
            except TimeoutError:
                await terminate_worker(pool, sid)
            except (ConnectionError, BlockingIOError):
                continue  # it is leaving already
            else:
                session_id, feed_result = extract_feed_response(response)
                pool.watch(sid, response.speaker.pid)
                if mode == "hibernate":  # until it has left, somebody who asks would connect_to_stop it on its way out
                    await pool.wait_for_exit(sid, pool.limits.leave_s)
                else:
                    pool.apply_retention_soon(sid)
                error = await _unlist(pool, sid, response.speaker.pid)
                return PoolReply(session_id, feed_result_to_mcp_json(session_id, feed_result), error)
    return await _from_disk(pool, sid, Cancel(now_s()) if mode == "cancel" else None)


async def _delete(pool: Pool, sid: str) -> PoolReply:
    """Sends its worker away, then takes the lock and unlinks the journal, also a corrupt one."""
    for _ in range(pool.limits.resends + 1):
        with suppress(JournalCorrupt, IllegalRecord, Refused):  # told below, if there is no journal
            await stop_via_pool(pool, sid, "hibernate")
        await pool.wait_for_exit(sid, pool.limits.leave_s)
        if await anyio.to_thread.run_sync(delete_session, pool.home, sid, limiter=pool.files):
            result = {"status": "deleted", "session_id": sid}
            return PoolReply(sid, result, None)
        if not is_held(pool, sid):
            raise Refused(not_found(pool.home, pool.limits, sid), code="not_found")
    raise Unreachable(f"session {sid} is revived again and again by others: ask again when they have stopped")


# ── a conversation with a worker ──────────────────────────────────────────────────────────────────────────


async def _converse(
    pool: Pool,
    request: PoolRequest,
    on_progress: OnProgress | None,
    *,
    event: HostEvent | None = None,
    may_spawn: bool = True,
) -> PoolReply:
    """Asks, and asks again where the worker ended over it: nobody knows whether it took the request, and the same
    answer twice is harmless. The registry is written meanwhile. A session that is over is answered from disk."""
    began = anyio.current_time()
    deadline = began + request.wait_s + max(0.0, pool.limits.grace_s - _SPARE_S)
    for _ in range(pool.limits.resends + 1):
        left_s = max(0.0, request.wait_s - (anyio.current_time() - began))
        try:
            with await reach(pool, request.sid, deadline=deadline, may_spawn=may_spawn) as client:
                response = await _ask(client, replace(request, wait_s=left_s), deadline, on_progress)
        except Absent:
            return await _from_disk(pool, request.sid, event)
        except (ConnectionError, BlockingIOError):
            await pool.wait_for_exit(request.sid, pool.limits.linger_s)
            continue
        except ProtocolError as exc:
            if exc.code == "protocol":  # of another release: it hibernates, and the next one is of this
                with suppress(Unreachable):
                    await terminate_worker(pool, request.sid)
                    continue
            raise Unreachable(f"session {request.sid}: {exc}; ask again") from exc
        except TimeoutError:
            raise await _no_answer(pool, request.sid, anyio.current_time() - began) from None
        session_id, feed_result = extract_feed_response(response)
        result = _result(session_id, response.data or {})
        if "Finished" in feed_result:
            pool.apply_retention_soon(request.sid)
            error = await _unlist(pool, request.sid, response.speaker.pid)
        else:
            error = await persist_entry(pool, request.sid, response.speaker.pid)
        return PoolReply(session_id, result, error)
    how = pool.exits.get(request.sid, "for a reason unknown")
    if how == f"exit code {WRONG_PROGRAM}":
        raise Unreachable(
            f"the program on disk is no longer {__version__}, which this server is: restart the server in the host, "
            f"then ask again; session {request.sid} is safe",
            code="needs_restart",
        )
    raise Unreachable(
        f"the worker of session {request.sid} ended {pool.limits.resends + 1} times before it answered, last: {how}; "
        f"its journal is safe, its log is {pool.home.stderr(request.sid)}; ask again"
    )


async def _ask(
    client: PoolClient, request: PoolRequest, deadline: float, on_progress: OnProgress | None
) -> PoolResponse:
    async def tell(raw: dict[str, Any]) -> None:
        if on_progress is not None:
            await on_progress(Progress(raw["step"], raw["total"], raw["message"]))

    timeout_s = max(0.0, deadline - anyio.current_time())
    return await client.ask(replace(request, version=__version__), timeout_s=timeout_s, on_progress=tell)


async def _no_answer(pool: Pool, sid: str, waited_s: float) -> Unreachable:
    return Unreachable(
        f"the worker of session {sid} ({await owner(pool, sid)}) has not answered within {waited_s:.1f} s, it may be "
        "stopped: alc_stop ends that worker, then ask again; nothing is lost and nothing is taken twice"
    )


async def _from_disk(pool: Pool, sid: str, event: HostEvent | None = None) -> PoolReply:
    return PoolReply(sid, _result(sid, await decide_on_disk(pool, sid, event)), None)


def _result(session_id: str, data: Mapping[str, Any]) -> dict[str, Any]:
    result = feed_result_to_mcp_json(session_id, data["feed_result"])
    if data.get("refused"):
        result["refused"] = data["refused"]
    if data.get("not_taken"):
        result["next"] = "the answer was not taken yet: send it again"
    return result


async def persist_entry(pool: Pool, sid: str, pid: int) -> str | None:
    """Waits for the entry of the session's worker, which is written since its launch. Returns why it could not be, once
    and as text: the session lives without it."""
    pool.register(sid, pid)
    change = pool.registry.take_unreported(sid)
    return await change.error(pool.limits.registry_lock_s) if change is not None else None


async def _unlist(pool: Pool, sid: str, pid: int) -> str | None:
    """As persist_entry, for a worker that is about to leave."""
    pool.watch(sid, pid)
    return await pool.registry.remove(sid, pid).error(pool.limits.registry_lock_s)


def gen_pool_sid() -> str:
    """`p-{unix nanoseconds in hex}-{16 random hex digits}`: sorts by birth, cannot be guessed."""
    return f"p-{time.time_ns():x}-{secrets.token_hex(8)}"


# ── shapes ────────────────────────────────────────────────────────────────────────────────────────────────


def extract_feed_response(response: PoolResponse) -> tuple[str, dict[str, Any]]:
    """`(session id, feed result)`. Raises Refused with the worker's own sentence, Unreachable for another shape."""
    if response.error is not None:
        raise Refused(response.error, code=response.code or "refused")
    data = response.data or {}
    if data.get("kind") != "feed" or not isinstance(data.get("feed_result"), dict):
        raise Unreachable(f"the worker answered {data.get('kind')!r} instead of a feed result; ask again")
    return str(data["session_id"]), data["feed_result"]


def feed_result_to_mcp_json(session_id: str, feed_result: Mapping[str, Any]) -> dict[str, Any]:
    """A worker's `{Paused | Running | Accepted | Finished | Stuck: …}` as the flat result of a tool."""
    ((name, body),) = feed_result.items()
    head = {"session_id": session_id}
    if name == "Paused":
        shown = [_query_json(query) for query in body["queries"]]
        rest = {"running": body["running"]} if "running" in body else {}
        if len(shown) == 1:
            return {"status": "needs_response", **head, **shown[0], **rest}
        both = [{"id": query["query_id"], **query} for query in shown]  # the original's lists say `id`
        return {"status": "needs_response", **head, "queries": both, **rest}
    if name == "Accepted":
        return {"status": "accepted", **head, **body}
    if name == "Stuck":
        return {"status": "error", **head, **body}
    if name == "Running":
        return {"status": "running", **head, "next": _ON}
    return _end_json(head, body)


def _query_json(query: Mapping[str, Any]) -> dict[str, Any]:
    """The strategy's further options come last and never hide a field of ours."""
    own = {"query_id": query["id"]} | {key: query[key] for key in ("prompt", "system", "max_tokens")}
    flags = {key: True for key in ("grounded", "underspecified") if query.get(key)}
    return own | flags | {key: value for key, value in query.items() if key not in _OWN_FIELDS}


def _end_json(head: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    state, stats = body["state"], body["metrics"]
    if state == "Cancelled":
        return {"status": "cancelled", **head, "stats": stats}
    if "Failed" in state:
        return {"status": "error", **head, "error": state["Failed"]["error"]}
    return {"status": "completed", **head, "result": state["Completed"]["result"], "stats": stats}


def is_listening(pool: Pool, sid: str) -> bool:
    """A full backlog counts: its worker is stopped, not gone."""
    try:
        client = connect(pool, sid)
    except BlockingIOError:
        return True
    if client is not None:
        client.close()
    return client is not None


def check_sid(pool: Pool, sid: str) -> None:
    if not _SID.fullmatch(sid):
        raise Refused(not_found(pool.home, pool.limits, sid), code="not_found")
