"""Each kind of process is stopped (SIGSTOP) during each call: a reply in bounded time, nothing lost after SIGCONT."""

import contextlib
from typing import Any

import anyio
import pytest

from algocline_mcp.errors import Unreachable
from algocline_mcp.pool.dispatch import Pool, PoolReply, list_via_pool, status_via_pool, stop_via_pool
from tests.rig.rig import ASK_ONCE, ASK_TWICE, WAIT_S, RawClient, Rig, ended, run, say, stopped, until

pytestmark = pytest.mark.anyio

LIMITS: dict[str, Any] = {"grace_s": 2.0, "reach_s": 0.5, "leave_s": 0.3, "fork_s": 0.3, "registry_lock_s": 0.5}
QUICK_S = 15.0  # wait_s 0.2, grace_s 2.0, twice leave_s, and a slow machine


async def ask(pool: Pool, call: str, sid: str, wait_s: float) -> PoolReply:
    match call:
        case "continue":
            return await say(pool, sid, "q-0", "A", wait_s=wait_s)
        case "status":
            return await status_via_pool(pool, sid, wait_s=0.2)
        case "hibernate" | "cancel":
            return await stop_via_pool(pool, sid, call)
        case "run":
            return await run(pool, ASK_ONCE)
    return PoolReply("", await list_via_pool(pool), None)


async def timed(pool: Pool, call: str, sid: str, wait_s: float = 0.2) -> dict[str, Any]:
    """The result, or `{unreachable: sentence}`. Fails where it took too long."""
    began = anyio.current_time()
    try:
        result = (await ask(pool, call, sid, wait_s)).result
    except Unreachable as exc:
        result = {"unreachable": str(exc)}
    assert anyio.current_time() - began < QUICK_S, call
    return result


@pytest.mark.slow
@pytest.mark.parametrize("call", ["run", "continue", "status", "list"])
async def test_stopped_keeper_holds_up_no_call_and_loses_nothing(rig: Rig, call: str) -> None:
    async with rig.pool(**LIMITS) as pool:
        sid, first, _ = await run(pool, ASK_TWICE)
        keeper = rig.keeper(sid)
        with stopped(keeper):
            result = await timed(pool, call, sid)
        second = (await say(pool, sid, "q-0", "A")).result

        assert second["prompt"] == "second after A"
        assert rig.answers(sid) == [("q-0", "A")]
        assert rig.keeper(sid) == keeper
        match call:
            case "run":
                assert result["prompt"] == "question"
            case "continue":
                assert f"(process {keeper}) has not answered within" in result["unreachable"]
                assert "alc_stop ends that worker" in result["unreachable"]
            case "status":  # from the journal, with a warning about the worker
                assert {key: value for key, value in result.items() if key != "warnings"} == first
                assert f"process {keeper}" in result["warnings"][0]
            case "list":
                assert result["sessions"][0]["session_id"] == sid


@pytest.mark.slow
@pytest.mark.parametrize("call", ["hibernate", "cancel"])
async def test_stop_ends_a_stopped_keeper_and_the_session_is_as_it_was(rig: Rig, call: str) -> None:
    async with rig.pool(**LIMITS) as pool:
        sid, first, _ = await run(pool, ASK_TWICE)
        keeper = rig.keeper(sid)
        with stopped(keeper):
            result = await timed(pool, call, sid)
            await ended(keeper)
        after = (await say(pool, sid, "q-0", "A")).result if call == "hibernate" else {}

    assert result == first if call == "hibernate" else result["status"] == "cancelled"
    assert after.get("prompt") == ("second after A" if call == "hibernate" else None)


@pytest.mark.slow
@pytest.mark.parametrize("call", ["run", "continue", "status", "list", "hibernate", "cancel"])
async def test_stopped_engine_holds_up_no_call_and_loses_nothing(rig: Rig, call: str) -> None:
    async with rig.pool(**LIMITS) as pool:
        sid, first, _ = await run(pool, ASK_TWICE)
        with stopped(rig.engine(sid)):
            result = await timed(pool, call, sid)
        after = (await say(pool, sid, "q-0", "A")).result if call != "cancel" else result

        assert "unreachable" not in result
        assert after["status"] == "cancelled" if call == "cancel" else after["prompt"] == "second after A"
        match call:
            case "continue":
                assert result["status"] == "running"  # the answer is taken
                assert rig.answers(sid) == [("q-0", "A")]
            case "status" | "hibernate":
                assert result == first


@pytest.mark.slow
async def test_stopped_engine_that_computes_is_shown_as_running_and_can_be_cancelled(rig: Rig) -> None:
    async with rig.pool(**LIMITS) as pool:
        sid, *_ = await run(pool, "while true do end", wait_s=0)
        await until(lambda: rig.engines(sid))
        engine = rig.engine(sid)
        with stopped(engine):
            result = await timed(pool, "status", sid)
            end = await timed(pool, "cancel", sid)
            await ended(engine)

    assert (result["status"], end["status"]) == ("running", "cancelled")


@pytest.mark.slow
async def test_stopped_fork_server_holds_up_no_call(rig: Rig) -> None:
    async with rig.pool(**LIMITS) as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        assert pool.fork_server.pid is not None
        with stopped(pool.fork_server.pid):
            result = await timed(pool, "run", sid)
            second = await timed(pool, "continue", sid, WAIT_S)

    assert result["prompt"] == "question"
    assert second["prompt"] == "second after A"


@pytest.mark.slow
@pytest.mark.parametrize("call", ["continue", "status", "hibernate", "cancel"])
async def test_stopped_keeper_with_a_full_backlog_holds_up_no_call(rig: Rig, call: str) -> None:
    async with rig.pool(**LIMITS) as pool:
        sid, first, _ = await run(pool, ASK_TWICE)
        keeper = rig.keeper(sid)
        clients = []
        with stopped(keeper):
            try:
                while True:
                    clients.append(RawClient(rig.home.socket(sid), limit_s=0))
            except BlockingIOError:
                pass
            result = await timed(pool, call, sid)
        for client in clients:
            client.socket.close()
        after = (await status_via_pool(pool, sid)).result

    assert len(clients) > 10
    assert result == first if call == "hibernate" else True
    assert after["status"] == ("cancelled" if call == "cancel" else "needs_response")


async def test_another_session_goes_on_while_one_keeper_stands_still(rig: Rig) -> None:
    is_over = anyio.Event()
    async with rig.pool() as pool:
        stuck, *_ = await run(pool, ASK_TWICE)
        other, *_ = await run(pool, ASK_TWICE)

        async def ask_the_stopped_one() -> None:
            with contextlib.suppress(Unreachable):
                await say(pool, stuck, "q-0", "A")
            is_over.set()

        with stopped(rig.keeper(stuck)):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask_the_stopped_one)
                await anyio.wait_all_tasks_blocked()
                second = (await say(pool, other, "q-0", "A")).result
                end = (await say(pool, other, "q-1", "B")).result
                was_first = is_over.is_set()
                tasks.cancel_scope.cancel()

    assert (second["prompt"], end["result"]) == ("second after A", "A+B")
    assert not was_first
