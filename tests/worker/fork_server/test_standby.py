"""Standby workers: forked in advance, and replaced when they fail, without harm to a session."""

import os
import signal

import anyio
import pytest

from algocline_mcp.pool.dispatch import Pool
from tests.rig.rig import ASK_ONCE, ASK_TWICE, Process, Rig, kill, run, say, until

pytestmark = pytest.mark.anyio


def standby_keepers(rig: Rig, pool: Pool) -> list[Process]:
    """Keepers of standby workers; their engines are their children."""
    parent = pool.fork_server.pid
    return [process for process in rig.processes() if process.title == "alc pool-worker" and process.parent == parent]


async def ready(rig: Rig, pool: Pool, count: int = 1) -> list[Process]:
    """Keepers of standby workers, as soon as `count` of them have forked their engines."""

    def are_ready() -> bool:
        keepers = standby_keepers(rig, pool)
        return len(keepers) == count and all(engine_of(rig, keeper) for keeper in keepers)

    await until(are_ready)
    return standby_keepers(rig, pool)


def engine_of(rig: Rig, keeper: Process) -> list[Process]:
    return [process for process in rig.processes() if process.parent == keeper.pid]


@pytest.mark.slow
async def test_session_gets_the_standby_worker_and_its_engine(rig: Rig) -> None:
    async with rig.pool() as pool:
        (keeper,) = await ready(rig, pool)
        (engine,) = engine_of(rig, keeper)
        sid, first, _ = await run(pool, ASK_TWICE)

        assert (rig.keeper(sid), rig.engine(sid)) == (keeper.pid, engine.pid)
        assert first["prompt"] == "first"
        (after,) = await ready(rig, pool)
        assert after.pid != keeper.pid
        assert (await say(pool, sid, "q-0", "A")).result["prompt"] == "second after A"


@pytest.mark.slow
async def test_standby_workers_are_as_many_as_set_and_one_more_session_starts_as_well(rig: Rig) -> None:
    async with rig.pool(standby=2) as pool:
        standby = {keeper.pid for keeper in await ready(rig, pool, 2)}
        sids: list[str] = []

        async def start() -> None:
            sids.append((await run(pool, ASK_ONCE)).session_id)

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(start)

        assert len({rig.keeper(sid) for sid in sids} & standby) == 2
        assert [(await say(pool, sid, "q-0", sid)).result["result"] for sid in sids] == [f"got {sid}" for sid in sids]


@pytest.mark.slow
async def test_oldest_standby_worker_is_used_first(rig: Rig) -> None:
    """A newer one may still be forking its engine."""
    async with rig.pool(standby=2) as pool:
        standby = {keeper.pid for keeper in await ready(rig, pool, 2)}
        taken: set[int] = set()
        for _ in range(2):
            taken.add(rig.keeper((await run(pool, ASK_ONCE)).session_id))
            await ready(rig, pool, 2)

        assert taken == standby


@pytest.mark.slow
async def test_standby_of_0_forks_no_worker_in_advance(rig: Rig) -> None:
    async with rig.pool(standby=0) as pool:
        sid, *_ = await run(pool, ASK_ONCE)
        await anyio.sleep(0.1)  # twenty times as long as it takes

        children = {process.pid for process in rig.processes() if process.parent == pool.fork_server.pid}
        assert children == {rig.keeper(sid)}


@pytest.mark.slow
async def test_killed_standby_worker_is_replaced_after_the_next_session(rig: Rig) -> None:
    async with rig.pool() as pool:
        (keeper,) = await ready(rig, pool)
        await kill(keeper.pid)
        sid, first, _ = await run(pool, ASK_ONCE)
        (after,) = await ready(rig, pool)

        assert first["prompt"] == "question"
        assert keeper.pid not in (rig.keeper(sid), after.pid)


@pytest.mark.slow
async def test_standby_worker_whose_engine_was_killed_forks_another_engine(rig: Rig) -> None:
    async with rig.pool() as pool:
        (keeper,) = await ready(rig, pool)
        (engine,) = engine_of(rig, keeper)
        os.kill(engine.pid, signal.SIGKILL)
        sid, first, _ = await run(pool, ASK_ONCE)

        assert rig.keeper(sid) == keeper.pid
        assert first["prompt"] == "question"
        assert (await say(pool, sid, "q-0", "A")).result["result"] == "got A"


@pytest.mark.slow
async def test_standby_workers_end_with_their_fork_server(rig: Rig) -> None:
    async with rig.pool() as pool:
        (keeper,) = await ready(rig, pool)
        (engine,) = engine_of(rig, keeper)
        assert pool.fork_server.pid is not None
        os.kill(pool.fork_server.pid, signal.SIGKILL)
        await until(lambda: not {keeper.pid, engine.pid} & {process.pid for process in rig.processes()})
