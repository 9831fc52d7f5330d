"""One request to the worker of a session, sent again where the worker ended before it answered.

After the end of a worker it is unknown whether the request was accepted. Sending the same request again is safe: a
session records an answer once, and the same answer again returns the current state.

A worker that leaves while it computes or replays answers `running` before the wait is over: a run and answers are then
sent again too. A status is not: it gets a worker only where the journal says that the session can go on.

Contract: `converse` makes at most `resends` + 1 attempts. An attempt returns the response of the worker, or a `Failure`
with its outcome. The table `_NEXT` says what follows from each outcome: a reply without the worker, another attempt, or
an error. The registry entry is written while the worker computes; a reply waits for that write, at most
`registry_lock_s`. It is removed when the worker has
exited.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any

import anyio

from algocline_mcp import __version__
from algocline_mcp.errors import ProgramReplaced, ProtocolError, Unreachable
from algocline_mcp.pool import spans
from algocline_mcp.pool.client import PoolClient
from algocline_mcp.pool.node import HoldLost
from algocline_mcp.pool.offline import decide_on_disk, fold_of
from algocline_mcp.pool.pool import Pool
from algocline_mcp.pool.reach import Absent, owner, reach
from algocline_mcp.pool.registry import Change
from algocline_mcp.pool.replies import OnProgress, PoolReply, Progress, extract_feed_response, result_of
from algocline_mcp.pool.termination import terminate_worker
from algocline_mcp.protocol.messages import NO_MEMORY, WRONG_PROGRAM, PoolRequest, PoolResponse
from algocline_mcp.session.events import HostEvent
from algocline_mcp.session.results import view
from algocline_mcp.session.state import Session
from algocline_mcp.storage.clock import now_s

_MEMORY_ATTEMPTS = 2  # a worker that had no memory left may have held the rest of a long life; the second one is new
SpawnIf = Callable[[Session], float | None]  # seconds that the new worker may take; None: no worker

_SPARE_S = 0.5  # of the time of a tool call, kept for the error that says what happened


@dataclass(frozen=True, slots=True)
class Call:
    """A request and what all its attempts share. `event`: what the request means to a session without a worker.
    `spawn_if`: whether a session without a worker gets one; None: in any case."""

    pool: Pool
    request: PoolRequest
    on_progress: OnProgress | None
    event: HostEvent | None
    spawn_if: SpawnIf | None
    began: float

    @property
    def sid(self) -> str:
        return self.request.sid

    @property
    def elapsed_s(self) -> float:
        return anyio.current_time() - self.began

    @property
    def left_s(self) -> float:
        """Of the wait that the request asks for."""
        return max(0.0, self.request.wait_s - self.elapsed_s)

    @property
    def deadline(self) -> float:
        return self.began + self.request.wait_s + max(0.0, self.pool.limits.grace_s - _SPARE_S)


class Outcome(Enum):
    """Ways in which an attempt ends without a response."""

    NO_WORKER = auto()  # the session is over, or has no worker and must not get one
    WORKER_ENDED = auto()  # before it answered
    OTHER_RELEASE = auto()  # the worker uses another version of the protocol
    BROKEN = auto()  # the other side of the socket is not this session's worker, or breaks the protocol
    SILENT = auto()  # no answer by the deadline


@dataclass(frozen=True, slots=True)
class Failure:
    outcome: Outcome
    error: Exception


async def converse(
    pool: Pool,
    request: PoolRequest,
    on_progress: OnProgress | None,
    *,
    event: HostEvent | None = None,
    spawn_if: SpawnIf | None = None,
) -> PoolReply:
    """Sends the request. If there is no worker it spawns one, or asks `spawn_if`, and without it the reply is that of
    the journal. Raises AlcError; JournalCorrupt and IllegalRecord of a journal that `spawn_if` was to judge."""
    call = Call(pool, request, on_progress, event, spawn_if, anyio.current_time())
    answered = [item.get("query_id") for item in request.answers or ()]
    with pool.calling(request.sid), spans.step(pool.home.worker_key(request.sid), request.op, answered) as step:
        reply = await _converse(call)
        if step is not None:
            step.end(reply.result)
        return reply


async def _converse(call: Call) -> PoolReply:
    pool = call.pool
    for attempts in range(1, pool.limits.resends + 2):
        attempt = await _attempt(call)
        if isinstance(attempt, PoolResponse):
            if attempts <= pool.limits.resends and _is_early(call, attempt):
                await pool.wait_for_exit(call.sid, pool.limits.linger_s)
                continue
            return await _reply(call, attempt)
        reply = await _NEXT[attempt.outcome](call, attempt.error)
        if reply is not None:
            return reply
        if attempts >= _MEMORY_ATTEMPTS and pool.exits.get(pool.home.worker_key(call.sid)) == f"exit code {NO_MEMORY}":
            break
    if pool.node is not None:
        await pool.node.check()  # a worker that cannot commit ends
    raise _ended_each_time(call, attempts)


def _is_early(call: Call, response: PoolResponse) -> bool:
    """The worker was told to leave, and answers with the state as it is: the request waits on at the next worker."""
    feed_result = (response.data or {}).get("feed_result")
    is_running = isinstance(feed_result, dict) and "Running" in feed_result
    return is_running and call.request.op != "status" and call.left_s > _SPARE_S


async def _attempt(call: Call) -> PoolResponse | Failure:
    request = replace(call.request, wait_s=call.left_s, version=__version__)
    try:
        with await reach(call.pool, call.sid, deadline=call.deadline, may_spawn=call.spawn_if is None) as client:
            return await _ask(client, request, call)
    except Absent as exc:
        return Failure(Outcome.NO_WORKER, exc)
    except (ConnectionError, BlockingIOError) as exc:
        return Failure(Outcome.WORKER_ENDED, exc)
    except ProtocolError as exc:
        return Failure(Outcome.OTHER_RELEASE if exc.code == "protocol" else Outcome.BROKEN, exc)
    except TimeoutError as exc:
        return Failure(Outcome.SILENT, exc)


async def _ask(client: PoolClient, request: PoolRequest, call: Call) -> PoolResponse:
    async def report(raw: dict[str, Any]) -> None:
        if call.on_progress is not None:
            await call.on_progress(Progress(raw["step"], raw["total"], raw["message"], raw["elapsed_s"]))

    timeout_s = max(0.0, call.deadline - anyio.current_time())
    return await client.ask(request, timeout_s=timeout_s, on_progress=report)


async def _reply(call: Call, response: PoolResponse) -> PoolReply:
    session_id, feed_result = extract_feed_response(response)
    result = result_of(session_id, response.data or {})
    pid = response.worker.pid
    if "Finished" in feed_result:
        call.pool.apply_retention_soon(call.sid)
        # Its entry goes when the worker's exit is seen: no session depends on it, and waiting for that took a last step
        # 1 to 3 ms. A run that ends at once has still to report the write of its entry.
        call.pool.watch(call.sid, pid)
        return PoolReply(session_id, result, await _outcome(call.pool, _take_unreported(call.pool, call.sid)))
    return PoolReply(session_id, result, await persist_entry(call.pool, call.sid, pid))


# ── what follows from a failure: a reply, None for another attempt, or an error ───────────────────────────


async def _reply_from_disk(call: Call, error: Exception) -> PoolReply | None:
    if call.spawn_if is None:
        return await reply_from_disk(call.pool, call.sid, call.event)
    session = await fold_of(call.pool, call.sid)
    if session.final is None and (wait_s := call.spawn_if(session)) is not None:
        request = replace(call.request, wait_s=wait_s)
        return await _converse(replace(call, request=request, spawn_if=None, began=anyio.current_time()))
    return PoolReply(call.sid, result_of(call.sid, {"feed_result": view(session, now_s=now_s())}), None)


async def _wait_for_exit(call: Call, error: Exception) -> PoolReply | None:
    pool = call.pool
    await pool.wait_for_exit(call.sid, pool.limits.linger_s)
    await pool.wait_for_status(call.sid, pool.limits.linger_s)
    if pool.node is not None and await pool.node.hold(pool, call.sid):
        raise HoldLost  # another node went on with the session, which ended the worker
    return None


async def _replace_worker(call: Call, error: Exception) -> PoolReply | None:
    """The worker hibernates on SIGTERM; the next one is started by this server and has its protocol."""
    with suppress(Unreachable):
        await terminate_worker(call.pool, call.sid)
        return None
    return await _raise_broken(call, error)


async def _raise_broken(call: Call, error: Exception) -> PoolReply | None:
    raise Unreachable(f"session {call.sid}: {error}; ask again") from error


async def _raise_silent(call: Call, error: Exception) -> PoolReply | None:
    if call.pool.node is not None:
        await call.pool.node.check()
    waited_s = call.elapsed_s
    raise Unreachable(
        f"the worker of session {call.sid} ({await owner(call.pool, call.sid)}) has not answered within "
        f"{waited_s:.1f} s, it may be stopped: alc_stop ends that worker, then ask again; nothing is lost and no "
        "answer counts twice"
    )


_NEXT: Mapping[Outcome, Callable[[Call, Exception], Awaitable[PoolReply | None]]] = {
    Outcome.NO_WORKER: _reply_from_disk,
    Outcome.WORKER_ENDED: _wait_for_exit,
    Outcome.OTHER_RELEASE: _replace_worker,
    Outcome.BROKEN: _raise_broken,
    Outcome.SILENT: _raise_silent,
}


def _ended_each_time(call: Call, attempts: int) -> Unreachable:
    pool, sid = call.pool, call.sid
    exit_status = pool.exits.get(pool.home.worker_key(sid), "for an unknown reason")
    if exit_status == f"exit code {WRONG_PROGRAM}":
        return ProgramReplaced(
            f"the program on disk is no longer {__version__}, which this process is: start it again, then ask again; "
            f"session {sid} is safe"
        )
    if exit_status == f"exit code {NO_MEMORY}":
        return Unreachable(
            f"the worker of session {sid} had no memory left, {attempts} times: it may take {pool.limits.keeper_bytes} "
            "bytes (ALC_KEEPER_BYTES), if the machine has as many. Nothing is lost: start this server with a larger "
            "ALC_KEEPER_BYTES, or free memory, then ask again",
            code="worker_memory",
        )
    log = "" if pool.home.part else f", its log is {pool.home.stderr(sid)}"  # where, is not a principal's business
    return Unreachable(
        f"the worker of session {sid} ended {attempts} times before it answered, last: {exit_status}; its journal is "
        f"safe{log}; ask again"
    )


# ── replies without a worker; registry entries ────────────────────────────────────────────────────────────


async def reply_from_disk(pool: Pool, sid: str, event: HostEvent | None = None) -> PoolReply:
    """The reply that the session's journal gives. Raises Refused, Unreachable, StorageFailed."""
    return PoolReply(sid, result_of(sid, await decide_on_disk(pool, sid, event)), None)


async def persist_entry(pool: Pool, sid: str, pid: int) -> str | None:
    """Waits for the write of the worker's registry entry, which began when it was launched.

    Returns None, or once why the write failed, as text for `pool_save_error`: the session goes on without the entry.
    """
    pool.register(sid, pid)
    return await _outcome(pool, _take_unreported(pool, sid))


async def remove_entry(pool: Pool, sid: str, pid: int) -> str | None:
    """As persist_entry, for the removal of the entry of a worker that is about to leave."""
    pool.watch(sid, pid)
    return await _outcome(pool, pool.registry.remove(pool.home.worker_key(sid), pid))


def _take_unreported(pool: Pool, sid: str) -> Change | None:
    return pool.registry.take_unreported(pool.home.worker_key(sid))


async def _outcome(pool: Pool, change: Change | None) -> str | None:
    return await change.error(pool.limits.registry_lock_s) if change is not None else None
