"""Cases of the decision that precedes a launch: which worker is inspected, evicted, or waited for."""

import pytest

from algocline_mcp.pool.admission import Admit, Evict, Inspect, Plan, Refuse, Wait, Worker, plan_eviction

NOW, LATER, EARLIER = 100.0, 101.0, 99.0


def paused(sid: str, changed_s: float) -> Worker:
    return Worker(sid, changed_s, is_paused=True)


def computing(sid: str, changed_s: float = 1.0) -> Worker:
    return Worker(sid, changed_s, is_paused=False)


def unread(sid: str, changed_s: float) -> Worker:
    return Worker(sid, changed_s)


def asked(sid: str, changed_s: float = 1.0) -> Worker:
    return Worker(sid, changed_s, is_paused=True, is_asked=True)


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
