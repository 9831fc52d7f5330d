"""Runs sessions in workers, for the tools: the public functions of the pool.

    run_via_pool, begin_via_pool         start a session: from a strategy, or from given records
    continue_via_pool                    hand on the answers of one call
    status_via_pool                      what continue would answer now
    stop_via_pool                        hibernate, cancel or delete
    list_via_pool, view_via_pool         read only: unfinished sessions; prompts, history, log, … of one (offline.py)
    extract_feed_response, feed_result_to_mcp_json      a worker's response as the result of a tool (replies.py)
    persist_entry                        the registry entry of a worker (conversation.py)
    gen_pool_sid                         the only id of a session

Contract: a call may be cancelled at any moment; the session goes on and can be asked again. Errors are AlcErrors whose
text is meant for the host. If the registry cannot be written, the call still succeeds, and its result has a field
`pool_save_error` with the reason.
"""

import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import Literal

import anyio
import anyio.to_thread

from algocline_mcp.errors import AlcError, JournalCorrupt, Refused, StorageFailed, Unreachable
from algocline_mcp.history.new_session import Strategy, create_journal, header_of
from algocline_mcp.history.retention import delete_session
from algocline_mcp.pool.admission import admit
from algocline_mcp.pool.conversation import SpawnIf, converse, persist_entry, remove_entry, reply_from_disk
from algocline_mcp.pool.node import Forwarded, HoldLost, Node, carried_out
from algocline_mcp.pool.offline import (
    check_sid,
    fold_of,
    list_finished_via_pool,
    list_via_pool,
    unknown,
    view_via_pool,
)
from algocline_mcp.pool.pool import Pool
from algocline_mcp.pool.reach import connect, is_held
from algocline_mcp.pool.replies import (
    OnProgress,
    PoolReply,
    Progress,
    extract_feed_response,
    feed_result_to_mcp_json,
)
from algocline_mcp.pool.termination import connect_to_stop, terminate_worker
from algocline_mcp.protocol.messages import PoolRequest, PoolResponse
from algocline_mcp.session.events import Answer, Cancel, Continue
from algocline_mcp.session.records import IllegalRecord, Record
from algocline_mcp.session.state import Phase, Session
from algocline_mcp.storage.clock import now_s

__all__ = [
    "OnProgress",
    "Pool",
    "PoolReply",
    "Progress",
    "StopMode",
    "Strategy",
    "begin_via_pool",
    "check_sid",
    "continue_via_pool",
    "extract_feed_response",
    "feed_result_to_mcp_json",
    "gen_pool_sid",
    "is_listening",
    "list_finished_via_pool",
    "list_via_pool",
    "persist_entry",
    "run_via_pool",
    "status_via_pool",
    "stop_via_pool",
    "view_via_pool",
]

# Of a status that does not wait: a revival with the step after it takes 20 to 200 ms. A longer step goes on by itself.
_OVERDUE_S = 1.0

StopMode = Literal["hibernate", "cancel", "delete"]


async def run_via_pool(
    pool: Pool, strategy: Strategy, *, wait_s: float, on_progress: OnProgress | None = None
) -> PoolReply:
    """Starts a session. Returns its first pause, its end, or `running` after `wait_s`.

    Raises Refused for code or ctx over a limit, at the cap of workers (`busy`), in a full home (`home_full`) and where
    the kernel lacks a layer that ALC_SANDBOX=strict or the language needs (`sandbox_incomplete`); HomeUnusable,
    StorageFailed, Unreachable.
    """
    header = header_of(pool.limits, strategy, sid=gen_pool_sid())
    return await begin_via_pool(pool, header, wait_s=wait_s, on_progress=on_progress)


async def begin_via_pool(
    pool: Pool,
    header: Record,
    more: Callable[[], Iterable[Record]] | None = None,
    *,
    wait_s: float,
    on_progress: OnProgress | None = None,
) -> PoolReply:
    """Starts a session with this header and the records that `more` gives, which are written in a thread. Otherwise as
    run_via_pool."""
    sid = header["sid"]
    sandbox = pool.fork_server.sandbox
    sandbox.require(header["language"])
    header = header | {"sandbox": sandbox.level}
    pool.require_home()
    if pool.node is None:
        return await _begin(pool, header, more, wait_s, on_progress)
    await pool.node.begin(pool, sid)
    try:
        return await _begin(pool, header, more, wait_s, on_progress)
    except HoldLost:
        raise Unreachable(f"session {sid} went to another node meanwhile: alc_status with this id asks there") from None
    except Refused as exc:
        if exc.code != "not_found":
            raise
        raise Unreachable(
            f"session {sid} ended before anything of it was committed, and nobody has seen it: call again"
        ) from exc
    finally:
        pool.node.give_back_soon(pool, sid)


async def _begin(
    pool: Pool,
    header: Record,
    more: Callable[[], Iterable[Record]] | None,
    wait_s: float,
    on_progress: OnProgress | None,
) -> PoolReply:
    sid = header["sid"]
    async with pool.room_for(sid):
        await admit(pool, sid, deadline=anyio.current_time() + wait_s)
        if more is None:
            file = create_journal(pool.home, header)
        else:
            file = await anyio.to_thread.run_sync(create_journal, pool.home, header, more, limiter=pool.files)
    with pool.calling(sid):
        try:
            await pool.launch(sid, file.fd)
        except AlcError:
            with suppress(OSError):
                file.path.unlink()  # no half-created session
            raise
        return await converse(pool, PoolRequest("run", 1, sid, wait_s), on_progress)


async def continue_via_pool(
    pool: Pool,
    sid: str,
    answers: Sequence[Answer],
    *,
    wait_s: float,
    on_progress: OnProgress | None = None,
    is_checked: bool = False,
) -> PoolReply:
    """Hands on the answers of one call. Returns as run_via_pool. Revives a session without a worker. `is_checked`: an
    answer that does not fit the schema of its prompt is refused, at most twice; its prompt stays open.

    Raises Refused if none of the answers was accepted, with the reason; Unreachable.
    """
    check_sid(pool, sid)
    await pool.refuse_over_prompts()
    items = [{key: value for key, value in asdict(answer).items() if value is not None} for answer in answers]
    event = Continue(tuple(answers), now_s(), is_checked)
    request = PoolRequest("continue", 1, sid, wait_s, answers=items, check=is_checked)
    asked = Forwarded("continue", sid, wait_s, answers=items, check=is_checked)
    return await carried_out(pool, asked, lambda: converse(pool, request, on_progress, event=event), on_progress)


async def status_via_pool(
    pool: Pool, sid: str, *, wait_s: float = 0.0, on_progress: OnProgress | None = None
) -> PoolReply:
    """What continue would answer now. With `wait_s` > 0 it waits, and revives a session that can go on. A session whose
    timer should have fired is revived in any case, and waited for a moment: it is not in the state that its journal
    shows.

    If the worker cannot be reached: the state in the journal, with a warning. Raises Refused for an unknown session.
    """
    check_sid(pool, sid)

    def spawn_if(session: Session) -> float | None:
        if session.phase is not Phase.STUCK and session.is_overdue(now_s()):
            return max(wait_s, _OVERDUE_S)
        return wait_s if wait_s > 0 and session.phase in (Phase.RUNNING, Phase.STUCK) else None

    if pool.node is not None and await _is_at_rest(pool, pool.node, sid, spawn_if):
        return await reply_from_disk(pool, sid)
    request = PoolRequest("status", 1, sid, wait_s)
    ask = partial(converse, pool, request, on_progress, spawn_if=spawn_if)
    asked = Forwarded("status", sid, wait_s)
    return await carried_out(pool, asked, lambda: _status(pool, sid, ask), on_progress)


async def _is_at_rest(pool: Pool, node: Node, sid: str, spawn_if: SpawnIf) -> bool:
    """Whether the journal says all that there is to say: no node has to hold the session for it."""
    if pool.has_worker(sid):
        return False
    await node.refresh(pool, sid)
    try:
        session = await fold_of(pool, sid)
    except (JournalCorrupt, IllegalRecord):
        return True
    return session.final is not None or spawn_if(session) is None


async def _status(pool: Pool, sid: str, ask: Callable[[], Awaitable[PoolReply]]) -> PoolReply:
    try:
        return await ask()
    except (JournalCorrupt, IllegalRecord):
        return await reply_from_disk(pool, sid)
    except Unreachable as exc:
        reply = await reply_from_disk(pool, sid)
        warnings = [*reply.result.get("warnings", ()), f"{exc}. This is the state in the journal."]
        return reply._replace(result=reply.result | {"warnings": warnings})


async def stop_via_pool(pool: Pool, sid: str, mode: StopMode) -> PoolReply:
    """Stops the worker, and ends the session unless the mode is "hibernate". Returns the state of the session.

    A worker that does not answer is terminated by signal. Raises Refused, Unreachable.
    """
    check_sid(pool, sid)
    here = partial(_delete, pool, sid) if mode == "delete" else partial(_stop, pool, sid, mode)
    return await carried_out(pool, Forwarded("stop", sid, mode=mode), here)


async def _stop(pool: Pool, sid: str, mode: StopMode) -> PoolReply:
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
                return await _reply_of_stopped(pool, response, mode)
    return await reply_from_disk(pool, sid, Cancel(now_s()) if mode == "cancel" else None)


async def _reply_of_stopped(pool: Pool, response: PoolResponse, mode: StopMode) -> PoolReply:
    sid, feed_result = extract_feed_response(response)
    pid = response.worker.pid
    pool.watch(sid, pid)
    if mode == "hibernate":  # a call that comes before the exit would meet the leaving worker
        await pool.wait_for_exit(sid, pool.limits.leave_s)
    else:
        pool.apply_retention_soon(sid)
    error = await remove_entry(pool, sid, pid)
    return PoolReply(sid, feed_result_to_mcp_json(sid, feed_result), error)


async def _delete(pool: Pool, sid: str) -> PoolReply:
    """Stops the worker, then unlinks the journal under its lock, also a corrupt one."""
    for _ in range(pool.limits.resends + 1):
        with suppress(JournalCorrupt, IllegalRecord, StorageFailed, Refused):  # a missing journal is reported below
            await _stop(pool, sid, "hibernate")
        await pool.wait_for_exit(sid, pool.limits.leave_s)
        if pool.node is not None:
            await pool.node.delete(pool, sid)
            await anyio.to_thread.run_sync(delete_session, pool.home, sid, limiter=pool.files)
            return PoolReply(sid, {"status": "deleted", "session_id": sid}, None)
        if await anyio.to_thread.run_sync(delete_session, pool.home, sid, limiter=pool.files):
            return PoolReply(sid, {"status": "deleted", "session_id": sid}, None)
        if not is_held(pool, sid):
            raise unknown(pool, sid)
    raise Unreachable(f"session {sid} is revived again and again by other servers: ask again when they have stopped")


def gen_pool_sid() -> str:
    """`p-{unix nanoseconds in hex}-{16 random hex digits}`: sorts by creation time, cannot be guessed."""
    return f"p-{time.time_ns():x}-{secrets.token_hex(8)}"


def is_listening(pool: Pool, sid: str) -> bool:
    """Whether a worker listens. A full backlog counts: that worker is stopped, not gone."""
    try:
        client = connect(pool, sid)
    except BlockingIOError:
        return True
    if client is not None:
        client.close()
    return client is not None
