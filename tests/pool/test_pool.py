"""The repr of a pool: the workers it watches, the registry writes it owes, the sessions it archives."""

import anyio
import pytest

from algocline_mcp.pool.dispatch import status_via_pool, stop_via_pool
from algocline_mcp.pool.registry import with_registry_lock
from tests.rig.rig import ASK_ONCE, SOON_S, Rig, kill, run, say, stopped, until

pytestmark = pytest.mark.anyio


def shown(rig: Rig, *, workers: dict[str, int], writes: int = 0, archiving: tuple[str, ...] = ()) -> str:
    home = str(rig.home.root)
    return f"Pool(home={home!r}, workers={workers}, registry_writes_pending={writes}, archiving={list(archiving)})"


async def test_pool_shows_each_worker_that_it_has_started_until_it_has_left(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, ASK_ONCE)
        await until(lambda: repr(pool) == shown(rig, workers={sid: rig.keeper(sid)}))
        await stop_via_pool(pool, sid, "hibernate")
        await until(lambda: repr(pool) == shown(rig, workers={}))


@pytest.mark.slow
async def test_pool_shows_a_worker_of_another_server_once_it_has_met_it(rig: Rig) -> None:
    async with rig.pool() as other, rig.pool() as pool:
        sid, *_ = await run(other, ASK_ONCE)
        before = repr(pool)
        await status_via_pool(pool, sid)
        keeper = rig.keeper(sid)
        await until(lambda: repr(pool) == shown(rig, workers={sid: keeper}))
        await kill(keeper)
        await until(lambda: repr(pool) == repr(other) == shown(rig, workers={}))

    assert sid not in before


async def test_pool_shows_the_registry_writes_that_wait_for_the_lock(rig: Rig) -> None:
    async with rig.pool() as pool:
        await until(lambda: pool.registry.pending == 0)
        with with_registry_lock(rig.home.registry_lock, timeout_s=SOON_S):
            changes = [pool.registry.prune() for _ in range(3)]
            await anyio.lowlevel.checkpoint()
            while_locked = repr(pool)
        for change in changes:
            assert await change.error(SOON_S) is None
        await until(lambda: repr(pool) == shown(rig, workers={}))

    assert while_locked == shown(rig, workers={}, writes=3)


async def test_pool_shows_a_finished_session_until_its_worker_has_left(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, ASK_ONCE)
        keeper = rig.keeper(sid)
        await say(pool, sid, "q-0", "A")
        while_it_leaves = repr(pool)
        await until(lambda: repr(pool) == shown(rig, workers={}))

    assert f"workers={{'{sid}': {keeper}}}" in while_it_leaves
    assert f"archiving=['{sid}']" in while_it_leaves


async def test_pause_ends_with_the_worker_that_is_watched_and_else_with_its_time(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, ASK_ONCE)
        with stopped(rig.keeper(sid)):
            await pool.back_off(sid, 0.01)
            is_watched = sid in repr(pool)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pool.back_off, sid, SOON_S * 10)
            await anyio.wait_all_tasks_blocked()
            await kill(rig.keeper(sid))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pool.wait_for_any_exit, SOON_S * 10)
            other, *_ = await run(pool, ASK_ONCE)
            await kill(rig.keeper(other))
        await pool.back_off(sid, 0.0)

    assert is_watched
