"""kill -9 of anything at any moment: the session goes on, each answer is used once, no prompt changes."""

import os
import signal
from collections.abc import Callable

import anyio
import pytest

from algocline_mcp.pool.dispatch import PoolReply, list_via_pool, status_via_pool, stop_via_pool
from algocline_mcp.protocol.messages import PoolRequest
from tests.rig.fixtures import on_both_storages
from tests.rig.rig import (
    ASK_ONCE,
    ASK_TWICE,
    ENDLESS,
    LIMIT_S,
    WAIT_S,
    Program,
    RawClient,
    Rig,
    finish,
    kill,
    run,
    say,
    stopped,
    until,
)

pytestmark = pytest.mark.anyio

SLOW = """
local a = alc.llm("first")
local began = alc.time()
while alc.time() - began < 0.3 do end
return alc.llm("late after " .. a)
"""
VICTIMS: dict[str, Callable[[Rig, str], list[int]]] = {
    "keeper": lambda rig, sid: rig.keepers(sid),
    "engine": lambda rig, sid: rig.engines(sid),
    "both": lambda rig, sid: rig.engines(sid) + rig.keepers(sid),
}
victims = pytest.mark.parametrize("victims", VICTIMS)
ways = pytest.mark.parametrize("way", ["fork", "exec"])


def by(way: str) -> dict[str, str]:
    return {**os.environ, "ALC_SPAWN": way}


async def kill_all(rig: Rig, sid: str, victims: str) -> None:
    pids = VICTIMS[victims](rig, sid)
    assert pids
    for pid in pids:
        await kill(pid)


def prompts(rig: Rig, sid: str) -> list[str]:
    return [query["prompt"] for record in rig.records(sid, "prompt") for query in record["queries"]]


@pytest.mark.slow
@ways
@victims
@on_both_storages
async def test_session_goes_on_after_its_worker_was_killed_at_each_pause(rig: Rig, victims: str, way: str) -> None:
    async with rig.pool(environ=by(way)) as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        await kill_all(rig, sid, victims)
        second = (await say(pool, sid, "q-0", "A")).result
        await kill_all(rig, sid, victims)
        end = (await say(pool, sid, "q-1", "B")).result

    assert (second["query_id"], second["prompt"]) == ("q-1", "second after A")
    assert end["result"] == "A+B"
    assert rig.answers(sid) == [("q-0", "A"), ("q-1", "B")]
    assert prompts(rig, sid) == ["first", "second after A"]
    assert sum("revived" in record for record in rig.records(sid)) == (0 if victims == "engine" else 2)


@pytest.mark.slow
@victims
@on_both_storages
async def test_call_survives_the_death_of_the_worker_that_computes_for_it(rig: Rig, victims: str) -> None:
    replies: list[PoolReply] = []
    async with rig.pool() as pool, anyio.create_task_group() as tasks:
        sid, *_ = await run(pool, SLOW)

        async def answer() -> None:
            replies.append(await say(pool, sid, "q-0", "A"))

        tasks.start_soon(answer)
        await until(lambda: rig.answers(sid))
        await kill_all(rig, sid, victims)

    assert replies[0].result["prompt"] == "late after A"
    assert rig.answers(sid) == [("q-0", "A")]
    assert prompts(rig, sid) == ["first", "late after A"]


@pytest.mark.slow
@pytest.mark.parametrize("with_worker", [False, True])
async def test_session_of_a_killed_server_goes_on_at_another(rig: Rig, with_worker: bool) -> None:
    server = Program(rig, "server.py")
    sid = server.ask("run", code=ASK_TWICE)["result"]["session_id"]
    server.kill()
    if with_worker:
        await kill_all(rig, sid, "both")
    async with rig.pool() as pool:
        listed = (await list_via_pool(pool))["sessions"]
        second = (await say(pool, sid, "q-0", "A")).result
        end = (await say(pool, sid, "q-1", "B")).result

    assert [line["session_id"] for line in listed] == [sid]
    assert (second["prompt"], end["result"]) == ("second after A", "A+B")
    assert rig.answers(sid) == [("q-0", "A"), ("q-1", "B")]


@pytest.mark.slow
@pytest.mark.parametrize("with_worker", [False, True])
async def test_answer_that_was_taken_outlives_a_server_killed_while_code_computes(rig: Rig, with_worker: bool) -> None:
    server = Program(rig, "server.py")
    sid = server.ask("run", code=SLOW)["result"]["session_id"]
    server.send(call="continue", sid=sid, answer=["q-0", "A"])
    await until(lambda: rig.answers(sid))
    server.kill()
    if with_worker:
        await kill_all(rig, sid, "both")
    async with rig.pool() as pool:
        late = (await status_via_pool(pool, sid, wait_s=WAIT_S)).result
        again = (await say(pool, sid, "q-0", "A")).result

    assert late["prompt"] == again["prompt"] == "late after A"
    assert rig.answers(sid) == [("q-0", "A")]


@pytest.mark.slow
async def test_run_of_a_killed_server_is_found_and_goes_on(rig: Rig) -> None:
    server = Program(rig, "server.py")
    server.send(call="run", code=SLOW)
    await until(lambda: any(path.stat().st_size for path in rig.home.sessions.glob("p-*.journal")))
    server.kill()
    async with rig.pool() as pool:
        (line,) = (await list_via_pool(pool))["sessions"]
        reply = await status_via_pool(pool, line["session_id"], wait_s=WAIT_S)

    assert reply.result["prompt"] == "first"


@pytest.mark.slow
async def test_death_of_the_fork_server_ends_no_session_and_it_is_replaced(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        first = pool.fork_server.pid
        assert first is not None
        await kill(first)
        second = (await say(pool, sid, "q-0", "A")).result
        other = (await run(pool, ASK_ONCE)).result
        await until(lambda: pool.fork_server.pid not in (None, first) and pool.fork_server.is_usable)
        third = (await run(pool, ASK_ONCE)).result

    assert second["prompt"] == "second after A"
    assert other["prompt"] == third["prompt"] == "question"


@on_both_storages
async def test_reply_that_got_lost_is_asked_for_again_and_the_answer_counts_once(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        with RawClient(rig.home.socket(sid)) as client:
            client.send(PoolRequest("continue", 1, sid, 5.0, answers=[{"query_id": "q-0", "response": "A"}]))
        await until(lambda: rig.answers(sid))
        second = (await say(pool, sid, "q-0", "A")).result

    assert second["prompt"] == "second after A"
    assert rig.answers(sid) == [("q-0", "A")]


@on_both_storages
async def test_call_that_the_host_cancels_leaves_the_session_going(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, SLOW)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(say, pool, sid, "q-0", "A")
            await until(lambda: rig.answers(sid))
            tasks.cancel_scope.cancel()
        late = (await status_via_pool(pool, sid, wait_s=WAIT_S)).result

    assert late["prompt"] == "late after A"


@on_both_storages
async def test_answer_that_a_dying_keeper_never_read_is_taken_by_the_next_one_once(rig: Rig) -> None:
    replies: list[PoolReply] = []
    async with rig.pool() as pool, anyio.create_task_group() as tasks:
        sid, *_ = await run(pool, ASK_TWICE)

        async def answer() -> None:
            replies.append(await say(pool, sid, "q-0", "A"))

        keeper = rig.keeper(sid)
        with stopped(keeper):
            tasks.start_soon(answer)
            await anyio.wait_all_tasks_blocked()
            await kill(keeper)

    assert replies[0].result["prompt"] == "second after A"
    assert rig.answers(sid) == [("q-0", "A")]


@on_both_storages
async def test_death_of_a_keeper_or_of_a_waiting_engine_is_no_strike(rig: Rig) -> None:
    async with rig.pool(strikes=1) as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        for victims in ("engine", "both", "keeper", "engine"):
            await kill_all(rig, sid, victims)
            again = (await say(pool, sid, "q-0", "A")).result  # taken the first time, then a repeat that revives

            assert again["prompt"] == "second after A"
            await until(lambda: rig.engines(sid))

    assert rig.records(sid, "crash") == []


async def test_engine_killed_three_times_in_a_step_is_a_crash_loop_that_may_be_tried_again(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, ENDLESS, wait_s=0)
        for number in range(1, 4):
            await until(lambda: rig.engines(sid))
            await kill(rig.engine(sid))
            await until(lambda: len(rig.records(sid, "crash")) == number)  # noqa: B023  it is over before the next
        stuck = (await status_via_pool(pool, sid)).result
        calm = rig.engines(sid)
        again = (await status_via_pool(pool, sid, wait_s=0.1)).result
        tried = rig.engines(sid)
        end = (await stop_via_pool(pool, sid, "cancel")).result

    assert (stuck["status"], stuck["error_code"]) == ("error", "crash_loop")
    assert "3 times" in stuck["error"]
    assert "alc_status with wait_s tries again" in stuck["next"]
    assert (calm, len(tried)) == ([], 1)
    assert (again["status"], end["status"]) == ("running", "cancelled")


async def test_fork_server_that_dies_before_it_is_ready_is_done_without(rig: Rig) -> None:
    # It plays on for longer than this test takes, and a run would wait for it for as long.
    async with rig.pool(warmup_runs=100_000, fork_start_s=LIMIT_S) as pool:
        assert pool.fork_server.pid is not None
        os.kill(pool.fork_server.pid, signal.SIGKILL)
        first = (await run(pool, ASK_ONCE)).result
        await until(lambda: pool.fork_server.warning)

        assert first["prompt"] == "question"
        assert "started by exec, which takes longer" in str(pool.fork_server.warning)


async def test_fork_server_that_is_slow_to_start_is_done_without_and_not_killed(rig: Rig) -> None:
    async with rig.pool(warmup_runs=100_000, fork_start_s=0.1, fork_s=0.1) as pool:
        started = pool.fork_server.pid
        sid, first, _ = await run(pool, ASK_ONCE)
        second = (await run(pool, ASK_ONCE)).result
        keeper = next(process for process in rig.processes() if process.pid == rig.keeper(sid))

        assert (first["prompt"], second["prompt"]) == ("question", "question")
        assert keeper.parent == os.getpid()  # by exec
        assert (pool.fork_server.pid, pool.fork_server.is_usable, pool.fork_server.warning) == (started, False, None)


@pytest.mark.slow
@ways
async def test_run_that_is_cancelled_at_any_moment_leaves_no_session_or_one_that_goes_on(rig: Rig, way: str) -> None:
    async with rig.pool(environ=by(way)) as pool:
        await run(pool, "return 1")
        for checkpoints in range(0, 30, 2):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run, pool, ASK_ONCE)
                for _ in range(checkpoints):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
        listed = (await list_via_pool(pool))["sessions"]
        for line in listed:
            end = await finish(pool, await status_via_pool(pool, line["session_id"], wait_s=WAIT_S))

            assert end["result"] == "got end"
        await until(lambda: not rig.workers())

        assert listed
        assert list(rig.home.pool.glob("*.sock")) == []
