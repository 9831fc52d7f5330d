"""Ends of sessions and workers: stop, cancel, idle time, SIGTERM. A worker that leaves removes all that it made."""

import contextlib
import os
import signal
from typing import Literal

import anyio
import pytest

from algocline_mcp.errors import Refused
from algocline_mcp.pool.dispatch import list_via_pool, status_via_pool, stop_via_pool
from algocline_mcp.protocol.messages import PoolRequest
from tests.rig.fixtures import on_both_storages
from tests.rig.rig import (
    ASK_ONCE,
    ASK_TWICE,
    ENDLESS,
    SOON_S,
    WAIT_S,
    RawClient,
    Rig,
    ended,
    finish,
    kill,
    run,
    say,
    until,
)
from tests.worker.keeper.test_revival import paused_without_worker, rewrite

pytestmark = pytest.mark.anyio


@on_both_storages
@pytest.mark.parametrize("with_worker", [True, False])
async def test_hibernated_session_continues_where_it_was(rig: Rig, with_worker: bool) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        second = (await say(pool, sid, "q-0", "A")).result
        if not with_worker:
            await kill(rig.keeper(sid))
        stopped = (await stop_via_pool(pool, sid, "hibernate")).result
        await until(lambda: not rig.workers())
        listed = (await list_via_pool(pool))["sessions"][0]
        end = await finish(pool, await status_via_pool(pool, sid), "B")

    assert stopped == second
    assert listed["status"] == "needs_response"
    assert listed["worker"] == "none" or rig.database is not None  # a node gives it back a moment later
    assert end["result"] == "A+B"


@on_both_storages
@pytest.mark.slow
@pytest.mark.parametrize("with_worker", [True, False])
async def test_cancelled_session_is_over_for_good(rig: Rig, with_worker: bool) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        if not with_worker:
            await kill(rig.keeper(sid))
        stopped = (await stop_via_pool(pool, sid, "cancel")).result
        await until(lambda: not rig.workers())
        lies = [path.parent for path in rig.home.sessions.rglob(f"{sid}.journal")]
        with pytest.raises(Refused, match="the session is finished"):
            await say(pool, sid, "q-0", "A")
        again = [(await stop_via_pool(pool, sid, mode)).result for mode in MODES]
        seen = (await status_via_pool(pool, sid, wait_s=WAIT_S)).result

        assert stopped["status"] == "cancelled"
        assert stopped["stats"]["auto"]["llm_calls"] == 1
        assert again == [stopped, stopped]
        assert seen == stopped
        assert lies == ([rig.home.finished] if rig.database is None or with_worker else [])
        assert rig.workers() == []


MODES: tuple[Literal["hibernate", "cancel"], ...] = ("hibernate", "cancel")


async def test_worker_that_is_asked_to_stop_several_times_stops_once(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid, first, _ = await run(pool, ASK_ONCE)
        stopped = [(await stop_via_pool(pool, sid, "hibernate")).result for _ in range(3)]

    assert stopped == [first] * 3


@on_both_storages
async def test_finished_session_stays_finished_when_it_is_stopped(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid, end, _ = await run(pool, "return 1")
        stopped = [(await stop_via_pool(pool, sid, mode)).result for mode in MODES]

    assert stopped == [end, end]


@pytest.mark.parametrize("code", [ASK_ONCE, ENDLESS], ids=["paused", "computing"])
async def test_sigterm_hibernates_within_leave_s_and_leaves_nothing_behind(rig: Rig, code: str) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, code, wait_s=0.1)
        await until(lambda: rig.engines(sid))
        keeper, engine = rig.keeper(sid), rig.engine(sid)
        os.kill(keeper, signal.SIGTERM)
        await ended(keeper, pool.limits.leave_s)
        await ended(engine)
        gone = not rig.home.socket(sid).exists()
        await until(lambda: sid not in rig.registered())
        listed = (await list_via_pool(pool))["sessions"][0]

        assert gone
        assert listed["worker"] == "none"
        assert not rig.home.stderr(sid).exists()
        await until(lambda: pool.exits.get(sid) == "exit code 0")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM])
async def test_engine_ends_by_no_signal_that_a_terminal_sends(rig: Rig, number: signal.Signals) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        engine = rig.engine(sid)
        os.kill(engine, number)
        second = (await say(pool, sid, "q-0", "A")).result

        assert second["prompt"] == "second after A"
        assert rig.engine(sid) == engine


async def test_call_that_waits_gets_a_reply_when_the_worker_is_asked_to_leave(rig: Rig) -> None:
    stopped = []
    async with rig.pool() as pool:
        sid, *_ = await run(pool, ENDLESS, wait_s=0)

        async def wait() -> None:
            stopped.append((await status_via_pool(pool, sid, wait_s=WAIT_S)).result["status"])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await until(lambda: rig.keepers(sid))
            await anyio.wait_all_tasks_blocked()
            began = anyio.current_time()
            await stop_via_pool(pool, sid, "hibernate")
        took_s = anyio.current_time() - began

    assert stopped == ["running"]
    assert took_s < WAIT_S / 2


async def test_worker_without_requests_leaves_after_idle_s(rig: Rig) -> None:
    async with rig.pool(idle_s=0.3) as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        await until(lambda: not rig.keepers(sid))
        await until(lambda: sid not in rig.registered())
        socket_is_gone = not rig.home.socket(sid).exists()
        second = (await say(pool, sid, "q-0", "A")).result

    assert socket_is_gone
    assert second["prompt"] == "second after A"


@pytest.mark.slow
async def test_idle_time_counts_from_the_last_request_and_not_while_code_computes(rig: Rig) -> None:
    code = 'local t = alc.time() while alc.time() - t < 0.8 do end return alc.llm("late")'
    async with rig.pool(idle_s=0.3) as pool:
        sid, *_ = await run(pool, code, wait_s=0)
        await until(lambda: rig.records(sid, "prompt"))  # one that had left would have asked nothing


async def test_worker_of_a_finished_session_leaves_at_most_a_moment_after_its_last_reply(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, ASK_ONCE)
        keeper = rig.keeper(sid)
        await say(pool, sid, "q-0", "A")
        await ended(keeper)  # linger_s is 0.1, idle_s 600


async def test_repeated_connections_do_not_keep_a_finished_worker(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, ASK_ONCE)
        keeper = rig.keeper(sid)
        with contextlib.ExitStack() as knocks:
            await say(pool, sid, "q-0", "A")
            with anyio.fail_after(SOON_S):
                while rig.home.socket(sid).exists():
                    with contextlib.suppress(OSError):
                        knocks.enter_context(RawClient(rig.home.socket(sid)))
                    await anyio.sleep(0.02)
        await ended(keeper)


async def test_client_that_stays_connected_does_not_keep_a_finished_worker(rig: Rig) -> None:
    async with rig.pool(client_s=2 * SOON_S) as pool:
        sid, *_ = await run(pool, ASK_ONCE)
        keeper = rig.keeper(sid)
        with RawClient(rig.home.socket(sid)) as client:
            answers = [{"query_id": "q-0", "response": "A"}]
            client.send(PoolRequest("continue", 1, sid, 5.0, answers=answers))
            response = client.receive()
            await ended(keeper)

    assert response is not None
    assert "Finished" in response["data"]["feed_result"]


async def test_repeated_requests_do_not_keep_a_worker_that_cannot_continue(rig: Rig) -> None:
    """The next one may be able to: with the file restored, or on a disk that reads again."""
    async with rig.pool() as pool:
        sid = await paused_without_worker(rig, pool, ASK_TWICE)
        whole = rig.journal(sid).read_bytes()
        rewrite(rig.journal(sid), b"Lua 5.5", b"Lua 9.9")
        refused = (await say(pool, sid, "q-1", "B")).result
        rig.journal(sid).write_bytes(whole)
        latest = anyio.current_time() + SOON_S
        is_there = True
        gone = (FileNotFoundError, ConnectionRefusedError, BrokenPipeError)
        with contextlib.suppress(*gone), RawClient(rig.home.socket(sid)) as client:
            while is_there and anyio.current_time() < latest:
                client.send(PoolRequest("status", 1, sid, 0.0))
                is_there = client.receive() is not None
        is_late = anyio.current_time() >= latest
        end = (await say(pool, sid, "q-1", "B")).result

    assert refused["error_code"] == "needs_version"
    assert not is_late
    assert end["result"] == "A+B"


async def test_hibernated_session_takes_no_process_and_no_socket(rig: Rig) -> None:
    async with rig.pool() as pool:
        sids = [(await run(pool, ASK_ONCE)).session_id for _ in range(5)]
        for sid in sids:
            await stop_via_pool(pool, sid, "hibernate")
        await until(lambda: not rig.workers())
        listed = await list_via_pool(pool)

        assert listed["active_sessions"] == 5
        assert list(rig.home.pool.glob("*.sock")) == []
        assert rig.registered() == set()
        assert list(rig.home.log.iterdir()) == []
