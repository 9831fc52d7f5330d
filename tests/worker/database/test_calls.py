"""Calls of a database that another process holds: the keeper does not block, and the call ends within its limit."""

import fcntl
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import pytest

from algocline_mcp.pool.dispatch import PoolReply, status_via_pool, stop_via_pool
from tests.rig.rig import WAIT_S, Rig, finish, run, until
from tests.worker.database.steps import TRY_TO_SET, failing, result_of, stored

pytestmark = pytest.mark.anyio


@contextmanager
def locked(rig: Rig) -> Iterator[None]:
    """Another process is in the middle of a change."""
    connection = sqlite3.connect(rig.home.state_database, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.close()


@pytest.mark.slow
async def test_stopped_writer_locks_other_sessions_out_for_the_limit_at_most(rig: Rig) -> None:
    replies: list[PoolReply] = []
    async with (
        rig.pool(environ=failing("effect.written:stop")) as one,
        rig.pool(state_busy_s=0.3) as two,
        anyio.create_task_group() as tasks,
    ):
        await result_of(two, "alc.state.set('x', 0) return 1")

        async def write() -> None:
            replies.append(await run(one, "alc.state.set('x', 2) alc.llm('p') return alc.state.get('x')"))

        tasks.start_soon(write)
        await until(lambda: [each for each in rig.processes() if each.is_keeper and each.state == "T"])
        writer = rig.keeper(only_unfinished(rig))
        began = time.monotonic()
        ok, error = await result_of(two, TRY_TO_SET)
        took_s = time.monotonic() - began
        read = await result_of(two, "return alc.state.get('x')")
        os.kill(writer, signal.SIGCONT)
        await until(lambda: replies)
        written = await finish(one, replies[0])

    assert (ok, read) == (False, 0)
    assert f"was locked for 0.3 s by process {writer}; nothing was changed" in error
    assert 0.3 <= took_s < WAIT_S / 2
    assert written["result"] == 2


def only_unfinished(rig: Rig) -> str:
    (path,) = rig.home.sessions.glob("p-*.journal")
    return path.stem


@pytest.mark.slow
async def test_keeper_that_waits_for_the_database_answers_and_can_be_stopped(rig: Rig) -> None:
    async with rig.pool(state_busy_s=WAIT_S) as pool:
        await result_of(pool, "alc.state.set('x', 0) return 1")
        with locked(rig):
            began = time.monotonic()
            sid, first, _ = await run(pool, TRY_TO_SET, wait_s=0.1)
            seen = (await status_via_pool(pool, sid)).result
            await stop_via_pool(pool, sid, "hibernate")
            took_s = time.monotonic() - began
        ended = await finish(pool, await status_via_pool(pool, sid, wait_s=WAIT_S))

    assert (first["status"], seen["status"]) == ("running", "running")
    assert took_s < WAIT_S / 2
    assert ended["result"] == [True, 0]


async def test_change_waits_for_the_database_and_then_happens(rig: Rig) -> None:
    async with rig.pool(state_busy_s=30) as pool:
        await result_of(pool, "alc.state.set('x', 0) return 1")
        with locked(rig):
            sid, *_ = await run(pool, TRY_TO_SET, wait_s=0.1)
        ended = await finish(pool, await status_via_pool(pool, sid, wait_s=WAIT_S))

    assert ended["result"] == [True, 0]
    assert stored(rig) == {"x": "1"}


@pytest.mark.slow
async def test_change_waits_for_another_writer_whose_checkpoint_may_still_run(rig: Rig) -> None:
    async with rig.pool(state_busy_s=1.0) as pool:
        await result_of(pool, "alc.state.set('x', 0) return 1")
        directory = os.open(rig.home.state_database.parent, os.O_RDONLY)
        fcntl.flock(directory, fcntl.LOCK_EX)
        refused = await result_of(pool, TRY_TO_SET)
        read = await result_of(pool, "return alc.state.get('x')")
        os.close(directory)
        done = await result_of(pool, TRY_TO_SET)

    assert refused[0] is False
    assert "was locked for 1 s by another process" in refused[1]
    assert (read, done) == (0, [True, 0])
