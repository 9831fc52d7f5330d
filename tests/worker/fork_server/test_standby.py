"""Workers that stand by: forked before anybody asks, and nobody's burden when they fail."""

import os
import signal

import anyio
import pytest

from algocline_mcp.pool.dispatch import Pool
from tests.rig.rig import ASK_ONCE, ASK_TWICE, Process, Rig, kill, run, say, until

pytestmark = pytest.mark.anyio


def standing_by(rig: Rig, pool: Pool) -> list[Process]:
    """Keepers; their engines are their children."""
    return [each for each in rig.processes() if each.title == "alc pool-worker" and each.parent == pool.fork_server.pid]


async def ready(rig: Rig, pool: Pool, count: int = 1) -> list[Process]:
    """Keepers that have forked their engines and wait."""

    def found() -> bool:
        keepers = standing_by(rig, pool)
        return len(keepers) == count and all(engine_of(rig, each) for each in keepers)

    await until(found)
    return standing_by(rig, pool)


def engine_of(rig: Rig, keeper: Process) -> list[Process]:
    return [each for each in rig.processes() if each.parent == keeper.pid]


async def test_session_gets_the_worker_that_stood_by_and_its_engine(rig: Rig) -> None:
    async with rig.pool() as pool:
        (keeper,) = await ready(rig, pool)
        (engine,) = engine_of(rig, keeper)
        sid, first, _ = await run(pool, ASK_TWICE)

        assert (rig.keeper(sid), rig.engine(sid)) == (keeper.pid, engine.pid)
        assert first["prompt"] == "first"
        (after,) = await ready(rig, pool)
        assert after.pid != keeper.pid
        assert (await say(pool, sid, "q-0", "A")).result["prompt"] == "second after A"


async def test_as_many_stand_by_as_are_asked_for_and_one_more_session_is_no_trouble(rig: Rig) -> None:
    async with rig.pool(standby=2) as pool:
        stood_by = {each.pid for each in await ready(rig, pool, 2)}
        sids: list[str] = []

        async def start() -> None:
            sids.append((await run(pool, ASK_ONCE)).session_id)

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(start)

        assert len({rig.keeper(sid) for sid in sids} & stood_by) == 2
        assert [(await say(pool, sid, "q-0", sid)).result["result"] for sid in sids] == [f"got {sid}" for sid in sids]


async def test_the_one_that_has_stood_by_for_longest_goes_first(rig: Rig) -> None:
    """A newer one may still be forking its engine."""
    async with rig.pool(standby=2) as pool:
        stood_by = {each.pid for each in await ready(rig, pool, 2)}
        taken: set[int] = set()
        for _ in range(2):
            taken.add(rig.keeper((await run(pool, ASK_ONCE)).session_id))
            await ready(rig, pool, 2)

        assert taken == stood_by


async def test_none_stands_by_where_none_is_wanted(rig: Rig) -> None:
    async with rig.pool(standby=0) as pool:
        sid, *_ = await run(pool, ASK_ONCE)
        await anyio.sleep(0.1)  # twenty times as long as it takes

        assert {each.pid for each in rig.processes() if each.parent == pool.fork_server.pid} == {rig.keeper(sid)}


async def test_one_that_was_killed_is_missed_by_nobody_and_replaced_with_the_next_session(rig: Rig) -> None:
    async with rig.pool() as pool:
        (keeper,) = await ready(rig, pool)
        await kill(keeper.pid)
        sid, first, _ = await run(pool, ASK_ONCE)
        (after,) = await ready(rig, pool)

        assert first["prompt"] == "question"
        assert keeper.pid not in (rig.keeper(sid), after.pid)


async def test_one_whose_engine_was_killed_gives_its_session_another(rig: Rig) -> None:
    async with rig.pool() as pool:
        (keeper,) = await ready(rig, pool)
        (engine,) = engine_of(rig, keeper)
        os.kill(engine.pid, signal.SIGKILL)
        sid, first, _ = await run(pool, ASK_ONCE)

        assert rig.keeper(sid) == keeper.pid
        assert first["prompt"] == "question"
        assert (await say(pool, sid, "q-0", "A")).result["result"] == "got A"


async def test_those_that_stand_by_go_with_their_fork_server(rig: Rig) -> None:
    async with rig.pool() as pool:
        (keeper,) = await ready(rig, pool)
        (engine,) = engine_of(rig, keeper)
        assert pool.fork_server.pid is not None
        os.kill(pool.fork_server.pid, signal.SIGKILL)
        await until(lambda: not {keeper.pid, engine.pid} & {each.pid for each in rig.processes()})
