"""The cap of live workers per home: the longest idle worker hibernates for a new one, and nothing is lost."""

import contextlib
import os
import time
from typing import Any

import anyio
import pytest

from algocline_mcp.errors import Refused
from algocline_mcp.pool import admission
from algocline_mcp.pool.dispatch import Pool, stop_via_pool
from algocline_mcp.pool.owned import pool_of
from algocline_mcp.storage.sockets import bind, live_sessions
from tests.rig.journals import header, prompt, sid_of, write
from tests.rig.rig import ASK_ONCE, ASK_TWICE, ENDLESS, WAIT_S, Rig, finish, kill, run, say, stopped, until

pytestmark = pytest.mark.anyio


def age(rig: Rig, sid: str, seconds: float) -> None:
    then_s = time.time() - seconds
    os.utime(rig.home.journal(sid), (then_s, then_s))


async def test_at_the_cap_the_longest_idle_session_hibernates_and_goes_on_when_asked(rig: Rig) -> None:
    async with rig.pool(pool_max=3) as pool:
        sids = [(await run(pool, ASK_TWICE)).session_id for _ in range(3)]
        age(rig, sids[1], 100)
        newest, first, _ = await run(pool, ASK_ONCE)
        live = live_sessions(rig.home)
        end = await finish(pool, await say(pool, sids[1], "q-0", "A"), "B")

    assert first["status"] == "needs_response"
    assert live == {sids[0], sids[2], newest}
    assert end["result"] == "A+B"


async def test_run_that_does_not_wait_gets_the_place_that_was_made_for_it(rig: Rig) -> None:
    async with rig.pool(pool_max=1) as pool:
        await run(pool, ASK_TWICE)
        sid, new, _ = await run(pool, ASK_ONCE, wait_s=0)

        assert new["status"] in ("running", "needs_response")
        assert live_sessions(rig.home) == {sid}


@pytest.mark.slow
async def test_workers_that_do_not_answer_hold_a_run_up_only_until_its_time_is_over(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    hibernate = admission._hibernate

    async def noted(pool: Pool, sid: str) -> None:
        asked.append(sid)
        await hibernate(pool, sid)

    monkeypatch.setattr(admission, "_hibernate", noted)
    async with rig.pool(pool_max=4, leave_s=0.3) as pool:
        mute = [(await run(pool, ASK_TWICE)).session_id for _ in range(4)]
        with contextlib.ExitStack() as held:
            for sid in mute:
                held.enter_context(stopped(rig.keeper(sid)))
            with pytest.raises(Refused, match="raise ALC_POOL_MAX"):
                await run(pool, ASK_ONCE, wait_s=0.1)

    assert len(asked) == 1  # each request takes leave_s


@pytest.mark.slow
async def test_two_runs_at_once_ask_two_sessions_to_leave(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise both would wait for one place, which only one of them gets."""
    asked: list[str] = []
    both = anyio.Event()
    hibernate = admission._hibernate

    async def noted(pool: Pool, sid: str) -> None:
        asked.append(sid)
        if len(asked) == 2:
            both.set()
        await both.wait()
        await hibernate(pool, sid)

    monkeypatch.setattr(admission, "_hibernate", noted)
    async with rig.pool(pool_max=2) as pool:
        idle = {(await run(pool, ASK_TWICE)).session_id for _ in range(2)}
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(run, pool, ASK_ONCE)

    assert len(asked) == 2
    assert set(asked) == idle


@pytest.mark.slow
async def test_a_revival_needs_a_place_as_well(rig: Rig) -> None:
    async with rig.pool(pool_max=1) as pool:
        one, *_ = await run(pool, ASK_TWICE)
        two, *_ = await run(pool, ASK_TWICE)
        prompts = [(await say(pool, sid, "q-0", "A")).result["prompt"] for sid in (one, two, one)]
        live = live_sessions(rig.home)

    assert prompts == ["second after A"] * 3
    assert live == {one}


@pytest.mark.slow
async def test_computing_sessions_are_never_asked_to_leave_and_busy_comes_in_time(rig: Rig) -> None:
    async with rig.pool(pool_max=2) as pool:
        sids = [(await run(pool, ENDLESS, wait_s=0.05)).session_id for _ in range(2)]
        for sid in sids:
            age(rig, sid, 1000)
        began = anyio.current_time()
        with pytest.raises(Refused, match="raise ALC_POOL_MAX") as raised:
            await run(pool, ASK_ONCE, wait_s=0.3)
        took_s = anyio.current_time() - began
        journals = {path.stem for path in rig.home.sessions.glob("*.journal")}

    assert raised.value.code == "busy"
    assert 0.3 <= took_s < WAIT_S / 2
    assert journals == set(sids)  # no half-created session


@pytest.mark.slow
async def test_a_place_that_comes_free_in_time_is_taken(rig: Rig) -> None:
    async with rig.pool(pool_max=1) as pool:
        busy, *_ = await run(pool, ENDLESS, wait_s=0.05)
        started: list[str] = []

        async def start() -> None:
            started.append((await run(pool, ASK_ONCE)).result["status"])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(start)
            await anyio.wait_all_tasks_blocked()
            assert started == []
            await stop_via_pool(pool, busy, "cancel")

    assert started == ["needs_response"]


@pytest.mark.slow
async def test_a_worker_that_does_not_answer_is_passed_over(rig: Rig) -> None:
    async with rig.pool(pool_max=2, leave_s=0.2) as pool:
        mute, *_ = await run(pool, ASK_TWICE)
        other, *_ = await run(pool, ASK_TWICE)
        age(rig, mute, 100)
        with stopped(rig.keeper(mute)):
            newest, *_ = await run(pool, ASK_ONCE)
            live = live_sessions(rig.home)

    assert live == {mute, newest}
    assert other not in live


async def test_the_name_of_a_killed_worker_does_not_hold_a_place_for_ever(rig: Rig) -> None:
    async with rig.pool(pool_max=1) as pool:
        dead, *_ = await run(pool, ASK_TWICE)
        await kill(rig.keeper(dead))
        new = (await run(pool, ASK_ONCE)).result

    assert new["status"] == "needs_response"


@pytest.mark.slow
@pytest.mark.parametrize("is_paused", [True, False])
async def test_socket_name_of_a_worker_that_died_unwatched_is_removed(rig: Rig, is_paused: bool) -> None:
    async with rig.pool(pool_max=1) as pool:
        dead = sid_of(1)
        write(rig.home.journal(dead), [header(dead), *([prompt("q-0")] if is_paused else [])])
        bind(rig.home, dead).close()
        new = (await run(pool, ASK_ONCE)).result

    assert new["status"] == "needs_response"
    assert not rig.home.socket(dead).exists()


async def test_many_starts_at_once_all_get_their_turn(rig: Rig) -> None:
    async with rig.pool(pool_max=3) as pool:
        statuses: list[str] = []

        async def start() -> None:
            statuses.append((await run(pool, ASK_ONCE)).result["status"])

        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(start)
        live = len(live_sessions(rig.home))

    assert statuses == ["needs_response"] * 10
    assert live <= 3


async def test_a_cap_of_zero_means_no_cap(rig: Rig) -> None:
    async with rig.pool(pool_max=0) as pool:
        sids = {(await run(pool, ASK_ONCE)).session_id for _ in range(3)}
        await until(lambda: live_sessions(rig.home) == sids)


@pytest.mark.slow
async def test_session_that_is_being_revived_for_a_call_does_not_make_room(rig: Rig) -> None:
    """Its journal shows it paused all the time, while the call that sent the answer waits for it."""
    slow = 'alc.llm("first") for _ = 1, 3e7 do end return alc.llm("second")'
    ends: list[dict[str, Any]] = []
    async with rig.pool(pool_max=1) as here, rig.pool(pool_max=1) as there:
        sid = (await run(here, slow)).session_id
        await say(here, sid, "q-0", "A")
        await stop_via_pool(here, sid, "hibernate")

        async def go_on() -> None:
            ends.append((await say(here, sid, "q-1", "B")).result)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(go_on)
            await until(lambda: sid in live_sessions(rig.home))
            new = await run(there, ASK_ONCE)

    assert [end["status"] for end in ends] == ["completed"]
    assert new.result["status"] == "needs_response"


async def test_burst_gets_more_workers_than_may_stay_and_no_more_than_its_cap(rig: Rig) -> None:
    async with rig.pool(pool_max=2, pool_burst=4, burst_s=60.0) as pool:
        sids = [(await run(pool, ASK_TWICE)).session_id for _ in range(4)]
        in_burst = live_sessions(rig.home)
        age(rig, sids[1], 10)
        newest, *_ = await run(pool, ASK_TWICE)
        live = live_sessions(rig.home)

    assert in_burst == set(sids)
    assert live == {*sids, newest} - {sids[1]}


async def test_in_a_burst_those_that_were_not_asked_for_long_make_room(rig: Rig) -> None:
    async with rig.pool(pool_max=2, pool_burst=6, burst_s=60.0) as pool:
        old = [(await run(pool, ASK_TWICE)).session_id for _ in range(2)]
        age(rig, old[0], 100)
        age(rig, old[1], 200)
        newest, *_ = await run(pool, ASK_TWICE)
        await until(lambda: len(live_sessions(rig.home)) == 2)

        assert live_sessions(rig.home) == {old[0], newest}


@pytest.mark.slow
async def test_after_a_burst_the_workers_trim_themselves_without_a_server_and_nothing_is_lost(rig: Rig) -> None:
    async with rig.pool(pool_max=2, pool_burst=8, burst_s=1.0) as pool:
        sids = [(await run(pool, ASK_TWICE)).session_id for _ in range(8)]
    await until(lambda: len(live_sessions(rig.home)) <= 2)

    async with rig.pool(pool_max=2, pool_burst=8, burst_s=1.0) as pool:
        ends = [(await finish(pool, await say(pool, sid, "q-0", "A"), "B"))["result"] for sid in sids]

    assert ends == ["A+B"] * 8


@pytest.mark.slow
async def test_revivals_at_once_do_not_ask_each_other_to_leave(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    hibernate = admission._hibernate
    on_their_way: list[str] = []

    async def noted(pool: Pool, sid: str) -> None:
        on_their_way.extend({sid} & pool.calls.keys())
        await hibernate(pool, sid)

    monkeypatch.setattr(admission, "_hibernate", noted)
    prompts: list[str] = []
    async with rig.pool(pool_max=2) as pool:
        sids = [(await run(pool, ASK_TWICE)).session_id for _ in range(8)]

        async def go_on(sid: str) -> None:
            prompts.append((await say(pool, sid, "q-0", "A")).result["prompt"])

        async with anyio.create_task_group() as tasks:
            for sid in sids:
                tasks.start_soon(go_on, sid)

    assert prompts == ["second after A"] * 8
    assert on_their_way == []


async def test_workers_of_a_server_that_ends_go_to_rest_whose_ever_they_are_and_those_that_compute_go_on(
    rig: Rig,
) -> None:
    async with rig.pool() as pool:
        anna = pool_of(pool, "anna")
        mine, hers = await run(pool, ASK_TWICE), await run(anna, ASK_TWICE)
        computing, *_ = await run(pool, ENDLESS, wait_s=0)
        before = len(list(rig.home.pool.glob("*.sock")))

        await admission.rest(pool)

        assert before == 3
        assert [path.stem for path in rig.home.pool.glob("*.sock")] == [computing]
        assert (await finish(pool, await say(pool, mine.session_id, "q-0", "A"), "B"))["result"] == "A+B"
        assert (await finish(anna, await say(anna, hers.session_id, "q-0", "A"), "B"))["result"] == "A+B"
