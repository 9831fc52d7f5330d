"""Cases of the decision that precedes a launch: which worker is inspected, evicted, or waited for."""

import pytest

from algocline_mcp.config.limits import MIB, Limits
from algocline_mcp.pool.admission_plan import (
    Admit,
    Burst,
    Evict,
    Inspect,
    Plan,
    Refuse,
    Wait,
    Worker,
    burst_cap,
    plan_eviction,
)

NOW, LATER, EARLIER = 100.0, 101.0, 99.0


def paused(sid: str, changed_s: float) -> Worker:
    return Worker(sid, changed_s, is_paused=True)


def computing(sid: str, changed_s: float = 1.0) -> Worker:
    return Worker(sid, changed_s, is_paused=False)


def unread(sid: str, changed_s: float) -> Worker:
    return Worker(sid, changed_s)


def asked(sid: str, changed_s: float = 1.0) -> Worker:
    return Worker(sid, changed_s, is_paused=True, is_asked=True)


def called(sid: str, changed_s: float = 1.0) -> Worker:
    return Worker(sid, changed_s, is_paused=True, is_called=True)


def finishing(sid: str) -> Worker:
    return Worker(sid, None)


CASES: dict[str, tuple[list[Worker], int, Plan]] = {
    "no worker": ([], 1, Admit()),
    "below the cap": ([paused("a", 1.0)], 2, Admit()),
    "no cap": ([paused("a", 1.0), paused("b", 2.0)], 0, Admit()),
    "at the cap the longest idle leaves": (
        [paused("a", 2.0), paused("b", 1.0), paused("c", 3.0)],
        3,
        Evict("b"),
    ),
    "over the cap as well": ([paused("a", 2.0), paused("b", 1.0)], 1, Evict("b")),
    "a clock that was set back changes nothing": ([paused("a", 1e12), paused("b", 1e11)], 2, Evict("b")),
    "a journal is read before its worker is asked": ([unread("a", 1.0), paused("b", 2.0)], 2, Inspect("a")),
    "no journal is read that could not matter": ([paused("a", 1.0), unread("b", 2.0)], 2, Evict("a")),
    "a computing worker is passed over": ([computing("a", 1.0), paused("b", 2.0)], 2, Evict("b")),
    "a worker is asked once": ([asked("a", 1.0), paused("b", 2.0)], 2, Evict("b")),
    "a finishing worker leaves by itself": ([finishing("a"), paused("b", 2.0)], 2, Evict("b")),
    "a session on its way back for a call is passed over": ([called("a", 1.0), paused("b", 2.0)], 2, Evict("b")),
    "all are called": ([called("a"), called("b")], 2, Wait()),
    "all compute": ([computing("a"), computing("b")], 2, Wait()),
    "all are asked": ([asked("a"), asked("b")], 2, Wait()),
    "all are finishing": ([finishing("a"), finishing("b")], 2, Wait()),
}


@pytest.mark.parametrize("name", CASES)
def test_plan_follows_from_the_facts(name: str) -> None:
    workers, cap, plan = CASES[name]

    assert plan_eviction(workers, cap, NOW, wait_until=LATER, ask_until=LATER) == plan
    assert plan_eviction(workers[::-1], cap, NOW, wait_until=LATER, ask_until=LATER) == plan


FULL = [computing("a"), paused("b", 2.0)]
TIMES: dict[str, tuple[list[Worker], float, float, Plan]] = {
    "a worker is asked although the call does not wait": (FULL, EARLIER, LATER, Evict("b")),
    "no worker is asked when that time is over too": (FULL, EARLIER, EARLIER, Refuse()),
    "no pause after the deadline": ([computing("a"), asked("b")], EARLIER, LATER, Refuse()),
    "a pause before the deadline": ([computing("a"), asked("b")], LATER, LATER, Wait()),
    "the last moment of waiting is over": ([computing("a"), asked("b")], NOW, LATER, Refuse()),
    "the last moment of asking is over": (FULL, NOW, NOW, Refuse()),
    "a place is taken whenever it is there": ([computing("a")], EARLIER, EARLIER, Admit()),
}


@pytest.mark.parametrize("name", TIMES)
def test_plan_keeps_its_times(name: str) -> None:
    workers, wait_until, ask_until, plan = TIMES[name]

    assert plan_eviction(workers, 2, NOW, wait_until=wait_until, ask_until=ask_until) == plan


AGES: dict[str, tuple[list[Worker], Plan]] = {
    "who was not asked for long leaves": ([paused("a", 9.0), paused("b", 20.0)], Evict("a")),
    "the longest idle first": ([paused("a", 9.0), paused("b", 8.0)], Evict("b")),
    "who was asked a moment ago stays": ([paused("a", 10.0), paused("b", 11.0)], Refuse()),
    "no journal of a young one is read": ([unread("a", 10.0), computing("b", 1.0)], Refuse()),
}


@pytest.mark.parametrize("name", AGES)
def test_plan_keeps_those_that_changed_later(name: str) -> None:
    workers, plan = AGES[name]

    assert plan_eviction(workers, 2, NOW, wait_until=NOW, ask_until=LATER, changed_before_s=10.0) == plan


@pytest.mark.parametrize(
    ("limits", "available", "cap"),
    [
        (Limits(), 64 * 1024 * MIB, 128),
        (Limits(), 2000 * MIB, 128),
        (Limits(), 1000 * MIB, 32 + 50),
        (Limits(), 10 * MIB, 32),
        (Limits(), 0, 32),
        (Limits(), None, 32),
        (Limits(pool_burst=0), 64 * 1024 * MIB, 32),
        (Limits(pool_burst=40), 64 * 1024 * MIB, 40),
        (Limits.from_env({"ALC_POOL_MAX": "32"}), 64 * 1024 * MIB, 32),
        (Limits.from_env({"ALC_POOL_MAX": "300"}), 64 * 1024 * MIB, 300),
        (Limits.from_env({"ALC_POOL_MAX": "8", "ALC_POOL_BURST": "16"}), 64 * 1024 * MIB, 16),
        (Limits.from_env(Limits().as_env()), 64 * 1024 * MIB, 128),
    ],
)
def test_burst_takes_a_quarter_of_the_memory_and_never_more_than_a_cap_that_was_chosen(
    limits: Limits, available: int | None, cap: int
) -> None:
    assert burst_cap(limits, available) == cap


def test_memory_is_read_once_per_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([0, 1000 * MIB])
    monkeypatch.setattr("algocline_mcp.pool.admission_plan.available_bytes", lambda: next(readings))
    burst = Burst()

    assert [burst.cap(Limits(), now) for now in (5.0, 6.0, 34.9, 35.0, 36.0)] == [32, 32, 32, 82, 82]


def test_one_task_at_a_time_looks_for_old_workers_and_not_before_one_may_be_old() -> None:
    burst = Burst()
    first, meanwhile = burst.take_trim(0.0), burst.take_trim(0.1)
    burst.trimmed(1.0, 20.0)
    too_early, due = burst.take_trim(20.9), burst.take_trim(21.0)
    burst.trimmed(22.0, -5.0)

    assert (first, meanwhile, too_early, due) == (True, False, False, True)
    assert [burst.take_trim(now) for now in (22.5, 23.0)] == [False, True]
