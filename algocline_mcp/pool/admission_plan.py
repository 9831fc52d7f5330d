"""The decision of admission: which worker makes room for the one that is to be launched.

Pure, but for one reading of the available memory per burst (`Burst.cap`). admission.py has the rules, and carries out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from algocline_mcp.config.limits import MIB, Limits
from algocline_mcp.pool.memory import available_bytes

_WORKER_BYTES = 5 * MIB  # of a paused session: 2.2 MiB on Python 3.12, 5.1 on 3.11 (bench/memory.py)
_MEMORY_PART = 4  # a burst takes at most the fourth part of what is available
_TRIM_PAUSE_S = 1.0  # at least, between two looks for workers that were not asked for long


@dataclass(frozen=True, slots=True)
class Worker:
    """Facts about one live worker. `key`: of its session, whose ever it is (Home.worker_key)."""

    key: str
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

    key: str


@dataclass(frozen=True, slots=True)
class Evict:
    """Ask this worker to hibernate."""

    key: str


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
        return Evict(longest_idle.key) if longest_idle.is_paused else Inspect(longest_idle.key)
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
