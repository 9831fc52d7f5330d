"""Admission: keeps the number of live workers in a home at its caps.

Before a worker is launched, the workers of the home are counted. What follows depends on their number:

    live workers                 the launch         and
    less than `pool_max`         at once
    less than the burst's cap    at once            those that were not asked for `burst_s` make room, in the background
    the burst's cap              after an eviction  the longest idle worker is asked to hibernate

Counted are the workers of all owners, whose sockets have names in one directory, and any of them may be asked to leave.
A principal that may have only so many (`owner_workers`) first makes room among its own.

Hibernating loses nothing: the session is revived when it is asked again. The burst's cap is `pool_burst`, or less where
the workers beyond `pool_max` could take more than a quarter of the available memory, which is read once per burst. An
ALC_POOL_MAX that is set is both caps (config/limits.py). When it is quiet again no server has anything to do: after
`burst_s` each worker looks by itself whether it is beyond `pool_max` (worker/keeper/quiet.py). The rules:

- A worker counts while its socket has a name. Names are counted without a lock, so two servers that launch at the same
  moment may overshoot the cap by a few. The cap protects memory, not correctness; a lock that every launch takes would
  let one stopped process block all sessions of the home.
- A session that a call of this server is under way to is not asked to leave: until its worker has taken the answer,
  its journal shows it paused, and old. The next revival would evict it, and the call would revive it again.
- Only a paused session is asked to leave. A computing one would lose the work of its step, and a session without an
  unfinished journal has finished and leaves by itself. "Paused" is read from the journal, which may be outdated by a
  moment; so the request has the mode `make_room`, and a worker that is serving a call refuses it.
- A worker that is asked is marked (`pool.leaving`) before the first await. Two calls of one server therefore evict two
  workers instead of both waiting for the place that only one of them gets.
- A worker that does not answer, or refuses, is skipped until the next delay of the call. The name that a killed
  worker left behind is removed; it occupied a place.
- At least one worker is asked even if the deadline has passed: that takes about `leave_s`. Otherwise a call that does
  not wait could never start at the cap.

admission_plan.py decides and is pure; `admit` collects the facts and does what was decided. Waiting for
an evicted worker is an event: a leaving keeper removes its socket name, then closes its connections. The end of the
connection comes some 7 ms before the pidfd reports the exit (measured), and also where no pidfd can be had (another pid
namespace, macOS). One wait has no event: this server is not told when a session of another server becomes paused. So it
reads the journals again every 0.1 s, until the deadline; the exit of a worker that it watches ends that delay at once.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from algocline_mcp.config.home import Home
from algocline_mcp.errors import AlcError, ProtocolError, Refused
from algocline_mcp.pool.admission_plan import Admit, Evict, Inspect, Refuse, Wait, Worker, plan_eviction
from algocline_mcp.pool.client import PoolClient
from algocline_mcp.protocol.messages import PoolRequest
from algocline_mcp.session.state import Phase, fold
from algocline_mcp.storage import journal
from algocline_mcp.storage.clock import now_s
from algocline_mcp.storage.sockets import live_workers, remove_stale_socket

if TYPE_CHECKING:
    from algocline_mcp.pool.pool import Pool

_PAUSE_POLL_S = 0.1  # see above: no event
_AT_ONCE = 16  # workers that are asked to rest


@dataclass(slots=True)
class _Knowledge:
    """What one call has learnt about workers since its last pause, by their keys (Home.worker_key)."""

    changed_s: dict[str, float | None] = field(default_factory=dict)  # as in Worker
    paused: dict[str, bool] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)


async def admit(pool: "Pool", sid: str, *, deadline: float) -> None:
    """Returns when there is a place for the worker of `sid`, which must be launched before anything is awaited.

    Raises Refused (`busy`) if there is none by `deadline`, but not before one worker was asked to leave.
    """
    names = live_workers(pool.home) - {pool.home.worker_key(sid)}
    if pool.home.part and pool.limits.owner_workers:
        await _admit_owner(pool, sid, names, deadline)
    live = len(names)
    if not pool.limits.pool_max or live < pool.limits.pool_max:  # the usual case: nothing is read of the workers
        return
    cap = pool.burst.cap(pool.limits, anyio.current_time())
    if live < cap:
        if pool.burst.take_trim(anyio.current_time()):
            pool.in_background(_trim, pool)
        return
    await _make_room(pool, sid, cap, deadline=deadline)


async def _admit_owner(pool: "Pool", sid: str, names: set[str], deadline: float) -> None:
    """As `admit`, for what one principal may have: only workers of its own make room."""
    cap = pool.limits.owner_workers
    if len(_own(pool, names)) >= cap:
        await _make_room(pool, sid, cap, deadline=deadline, is_own=True)


def _own(pool: "Pool", names: Iterable[str]) -> set[str]:
    return {key for key in names if key.endswith(f".{pool.home.part}")}


async def _make_room(pool: "Pool", sid: str, cap: int, *, deadline: float, is_own: bool = False) -> None:
    """Returns when fewer than `cap` workers live, of this owner with `is_own`. Raises as `admit`."""
    ask_until = max(deadline, anyio.current_time() + pool.limits.leave_s)
    known = _Knowledge()
    while True:
        live = live_workers(pool.home) - {pool.home.worker_key(sid)}
        workers = _workers(pool, _own(pool, live) if is_own else live, known)
        plan = plan_eviction(workers, cap, anyio.current_time(), wait_until=deadline, ask_until=ask_until)
        match plan:
            case Admit():
                return
            case Refuse():
                raise _owner_busy(len(workers), cap) if is_own else _busy(pool, len(workers), cap)
            case Wait():
                await pool.wait_for_any_exit(_PAUSE_POLL_S)
                known = _Knowledge()
            case Inspect() | Evict():
                await _perform(pool, plan, known)


async def _trim(pool: "Pool") -> None:
    """Evicts workers over `pool_max` that were not asked for `burst_s`: one at a time, the longest idle one first."""
    known = _Knowledge()
    with suppress(OSError):  # a task that raises would end the server
        while True:
            known.changed_s.clear()  # a session may be asked while others leave
            workers = _workers(pool, live_workers(pool.home), known)
            plan = plan_eviction(
                workers,
                pool.limits.pool_max + 1,
                now := anyio.current_time(),
                wait_until=now,
                ask_until=float("inf"),
                changed_before_s=now_s() - pool.limits.burst_s,
            )
            if not isinstance(plan, Inspect | Evict):
                break
            await _perform(pool, plan, known)
    changes = [worker.changed_s for worker in _workers(pool, live_workers(pool.home), known) if worker.changed_s]
    pool.burst.trimmed(anyio.current_time(), min(changes, default=now_s()) + pool.limits.burst_s - now_s())


async def rest(pool: "Pool") -> None:
    """Asks all paused workers that this server knows to hibernate, because it ends. Within twice `leave_s`."""
    slots = anyio.Semaphore(_AT_ONCE)

    async def ask(key: str) -> None:
        home, sid = pool.home.session_of(key)
        async with slots:
            with suppress(OSError):
                if await anyio.to_thread.run_sync(_is_paused, home, sid, limiter=pool.files):
                    await _hibernate(pool, key)

    with anyio.move_on_after(2 * pool.limits.leave_s):
        async with anyio.create_task_group() as tasks:
            for entry in list(pool.registry.known.values()):
                tasks.start_soon(ask, entry.key)


def _busy(pool: "Pool", count: int, cap: int) -> Refused:
    if pool.home.part:  # what others do is not a principal's business
        return Refused("this server has no free worker: ask again in a moment", code="busy")
    return Refused(
        f"{count} workers are busy in {pool.home.root}, which has room for {cap}: "
        "wait for one to pause, stop one with alc_stop, or raise ALC_POOL_MAX",
        code="busy",
    )


def _owner_busy(count: int, cap: int) -> Refused:
    cure = "wait for one to pause, or stop one with alc_stop"
    return Refused(f"{count} of your sessions are busy, at most {cap} may be at once: {cure}", code="quota")


def _workers(pool: "Pool", live: Iterable[str], known: _Knowledge) -> list[Worker]:
    journals = os.fspath(pool.home.sessions)
    return [
        Worker(
            key,
            _changed_s(pool, journals, key, known),
            is_paused=known.paused.get(key),
            is_asked=key in known.asked or key in pool.leaving,
            is_called=key in pool.calls,
        )
        for key in live
    ]


def _changed_s(pool: "Pool", journals: str, key: str, known: _Knowledge) -> float | None:
    """Looked at once per call and pause: with 128 workers and 100 runs at once all looks took half of their time."""
    if key not in known.changed_s:
        try:
            if pool.home.part or "." in key:
                home, sid = pool.home.session_of(key)
                known.changed_s[key] = os.stat(home.journal(sid)).st_mtime
            else:  # a Path would take thrice the time
                known.changed_s[key] = os.stat(f"{journals}/{key}.journal").st_mtime
        except OSError:
            known.changed_s[key] = None
    return known.changed_s[key]


async def _perform(pool: "Pool", plan: Inspect | Evict, known: _Knowledge) -> None:
    pool.leaving.add(plan.key)  # before the first await
    try:
        if isinstance(plan, Evict):
            known.asked.add(plan.key)
            await _hibernate(pool, plan.key)
        else:
            await _inspect(pool, plan, known)
    finally:
        pool.leaving.discard(plan.key)


async def _inspect(pool: "Pool", plan: Inspect, known: _Knowledge) -> None:
    home, sid = pool.home.session_of(plan.key)
    known.paused[plan.key] = await anyio.to_thread.run_sync(_is_paused, home, sid, limiter=pool.files)
    if not known.paused[plan.key]:
        remove_stale_socket(home, sid)  # of a killed worker that no server watched


def _is_paused(home: Home, sid: str) -> bool:
    try:
        return fold(journal.stream(home.journal(sid), is_for_host=False)).phase is Phase.PAUSED
    except (AlcError, FileNotFoundError):
        return False


async def _hibernate(pool: "Pool", key: str) -> None:
    """Asks a worker to make room and waits until it has left. The next count of workers shows whether it has."""
    leave_s = pool.limits.leave_s
    home, sid = pool.home.session_of(key)
    try:
        with PoolClient.connect(home.socket(sid), line_bytes=pool.limits.line_bytes) as client:
            request = PoolRequest("shutdown", 1, sid, mode="make_room")
            if (await client.ask(request, timeout_s=leave_s)).error is None:
                await client.wait_closed(leave_s)
    except ConnectionRefusedError:
        remove_stale_socket(home, sid)
    except (FileNotFoundError, TimeoutError, BlockingIOError, ProtocolError):
        pass
    except ConnectionError:  # it was leaving already
        await pool.wait_for_exit(sid, leave_s)
