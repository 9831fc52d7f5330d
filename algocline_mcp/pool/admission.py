"""Admission: keeps the number of live workers in a home at its caps.

Before a worker is launched, the workers of the home are counted. What follows depends on their number:

    live workers                 the launch         and
    less than `pool_max`         at once
    less than the burst's cap    at once            those that were not asked for `burst_s` make room, in the background
    the burst's cap              after an eviction  the longest idle worker is asked to hibernate

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

`plan_eviction` and `burst_cap` decide and are pure; `admit` collects the facts and does what was decided. Waiting for
an evicted worker is an event: a leaving keeper removes its socket name, then closes its connections. The end of the
connection comes some 7 ms before the pidfd reports the exit (measured), and also where no pidfd can be had (another pid
namespace, macOS). One wait has no event: this server is not told when a session of another server becomes paused. So it
reads the journals again every 0.1 s, until the deadline; the exit of a worker that it watches ends that delay at once.
"""

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import MIB, Limits
from algocline_mcp.errors import AlcError, ProtocolError, Refused
from algocline_mcp.pool.client import PoolClient
from algocline_mcp.pool.memory import available_bytes
from algocline_mcp.protocol.messages import PoolRequest
from algocline_mcp.session.state import Phase, fold
from algocline_mcp.storage import journal
from algocline_mcp.storage.clock import now_s
from algocline_mcp.storage.sockets import live_sessions, remove_stale_socket

if TYPE_CHECKING:
    from algocline_mcp.pool.pool import Pool

_PAUSE_POLL_S = 0.1  # see above: no event
_WORKER_BYTES = 5 * MIB  # of a paused session: 2.2 MiB on Python 3.12, 5.1 on 3.11 (bench/memory.py)
_MEMORY_PART = 4  # a burst takes at most the fourth part of what is available
_TRIM_PAUSE_S = 1.0  # at least, between two looks for workers that were not asked for long


# ── the decision: pure ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Worker:
    """Facts about one live worker."""

    sid: str
    changed_s: float | None  # last change of its journal, unix time; None: it has no unfinished journal
    is_paused: bool | None = None  # None: this call has not read the journal yet
    is_asked: bool = False  # asked to leave: by a call that still waits for it, or by this call in vain
    is_called: bool = False  # a call of this server is under way to it


@dataclass(frozen=True, slots=True)
class Admit:
    """There is a place."""


@dataclass(frozen=True, slots=True)
class Inspect:
    """Read the journal of this worker: it is the longest idle one, if it is paused."""

    sid: str


@dataclass(frozen=True, slots=True)
class Evict:
    """Ask this worker to hibernate."""

    sid: str


@dataclass(frozen=True, slots=True)
class Wait:
    """No worker can be asked now: one may pause or exit."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """The time is over."""


Plan = Admit | Inspect | Evict | Wait | Refuse


def burst_cap(limits: Limits, available: int | None) -> int:
    """How many workers may live in a burst. `available`: bytes of memory; None: unknown, and no burst."""
    beyond = 0 if available is None else available // _MEMORY_PART // _WORKER_BYTES
    return max(limits.pool_max, min(limits.pool_burst, limits.pool_max + beyond))


def plan_eviction(
    workers: Sequence[Worker],
    cap: int,
    now: float,
    *,
    wait_until: float,
    ask_until: float,
    changed_before_s: float = float("inf"),
) -> Plan:
    """What to do before a worker may be launched. `cap` 0: no cap. No worker is evicted that changed later than
    `changed_before_s`, a unix time.

    `now`, `wait_until` (no pause after it) and `ask_until` (no request after it) are times of one clock.
    """
    if not cap or len(workers) < cap:
        return Admit()
    if now >= ask_until:
        return Refuse()
    candidates = [
        (worker.changed_s, worker)
        for worker in workers
        if worker.changed_s is not None
        and worker.changed_s < changed_before_s
        and worker.is_paused is not False
        and not (worker.is_asked or worker.is_called)
    ]
    if candidates:
        _, longest_idle = min(candidates, key=lambda candidate: candidate[0])
        return Evict(longest_idle.sid) if longest_idle.is_paused else Inspect(longest_idle.sid)
    return Refuse() if now >= wait_until else Wait()


@dataclass(slots=True)
class Burst:
    """What a server remembers between two launches. Times are those of the event loop."""

    _cap: int = 0
    _read_at: float = float("-inf")
    _trim_at: float = float("-inf")

    def cap(self, limits: Limits, now: float) -> int:
        """The burst's cap. Reads the available memory at most once per `burst_s`."""
        if now - self._read_at >= limits.burst_s:
            self._read_at = now
            is_burst = limits.pool_burst > limits.pool_max
            self._cap = burst_cap(limits, available_bytes() if is_burst else None)
        return self._cap

    def take_trim(self, now: float) -> bool:
        """Whether a worker may have become old since the last look, and nobody looks now. The caller looks then."""
        if now < self._trim_at:
            return False
        self._trim_at = float("inf")
        return True

    def trimmed(self, now: float, left_s: float) -> None:
        """`left_s`: until the oldest worker will not have been asked for `burst_s`."""
        self._trim_at = now + max(_TRIM_PAUSE_S, left_s)


# ── carrying it out ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class _Knowledge:
    """What one call has learnt about workers since its last pause."""

    paused: dict[str, bool] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)


async def admit(pool: "Pool", sid: str, *, deadline: float) -> None:
    """Returns when there is a place for the worker of `sid`, which must be launched before anything is awaited.

    Raises Refused (`busy`) if there is none by `deadline`, but not before one worker was asked to leave.
    """
    live = len(live_sessions(pool.home) - {sid})
    if not pool.limits.pool_max or live < pool.limits.pool_max:  # the usual case: nothing is read of the workers
        return
    cap = pool.burst.cap(pool.limits, anyio.current_time())
    if live < cap:
        if pool.burst.take_trim(anyio.current_time()):
            pool.in_background(_trim, pool)
        return
    ask_until = max(deadline, anyio.current_time() + pool.limits.leave_s)
    known = _Knowledge()
    while True:
        workers = _workers(pool, live_sessions(pool.home) - {sid}, known)
        plan = plan_eviction(workers, cap, anyio.current_time(), wait_until=deadline, ask_until=ask_until)
        match plan:
            case Admit():
                return
            case Refuse():
                raise _busy(pool, len(workers), cap)
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
            workers = _workers(pool, live_sessions(pool.home), known)
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
    changes = [worker.changed_s for worker in _workers(pool, live_sessions(pool.home), known) if worker.changed_s]
    pool.burst.trimmed(anyio.current_time(), min(changes, default=now_s()) + pool.limits.burst_s - now_s())


def _busy(pool: "Pool", count: int, cap: int) -> Refused:
    return Refused(
        f"{count} workers are busy in {pool.home.root}, which has room for {cap}: "
        "wait for one to pause, stop one with alc_stop, or raise ALC_POOL_MAX",
        code="busy",
    )


def _workers(pool: "Pool", live: Iterable[str], known: _Knowledge) -> list[Worker]:
    workers = []
    for sid in live:
        try:
            changed_s = os.stat(pool.home.journal(sid)).st_mtime
        except OSError:
            changed_s = None
        is_asked = sid in known.asked or sid in pool.leaving
        is_called = bool(pool.calls[sid])
        workers.append(Worker(sid, changed_s, is_paused=known.paused.get(sid), is_asked=is_asked, is_called=is_called))
    return workers


async def _perform(pool: "Pool", plan: Inspect | Evict, known: _Knowledge) -> None:
    pool.leaving.add(plan.sid)  # before the first await
    try:
        if isinstance(plan, Evict):
            known.asked.add(plan.sid)
            await _hibernate(pool, plan.sid)
        else:
            await _inspect(pool, plan, known)
    finally:
        pool.leaving.discard(plan.sid)


async def _inspect(pool: "Pool", plan: Inspect, known: _Knowledge) -> None:
    known.paused[plan.sid] = await anyio.to_thread.run_sync(_is_paused, pool.home, plan.sid, limiter=pool.files)
    if not known.paused[plan.sid]:
        remove_stale_socket(pool.home, pool.home.socket(plan.sid))  # of a killed worker that no server watched


def _is_paused(home: Home, sid: str) -> bool:
    try:
        return fold(journal.read(home.journal(sid), is_for_host=False)).phase is Phase.PAUSED
    except (AlcError, FileNotFoundError):
        return False


async def _hibernate(pool: "Pool", sid: str) -> None:
    """Asks a worker to make room and waits until it has left. The next count of workers shows whether it has."""
    path, leave_s = pool.home.socket(sid), pool.limits.leave_s
    try:
        with PoolClient.connect(path, line_bytes=pool.limits.line_bytes) as client:
            request = PoolRequest("shutdown", 1, sid, mode="make_room")
            if (await client.ask(request, timeout_s=leave_s)).error is None:
                await client.wait_closed(leave_s)
    except ConnectionRefusedError:
        remove_stale_socket(pool.home, path)
    except (FileNotFoundError, TimeoutError, BlockingIOError, ProtocolError):
        pass
    except ConnectionError:  # it was leaving already
        await pool.wait_for_exit(sid, leave_s)
