"""Deaths of engines and keepers while children of alc.fork wait or compute: the fork comes to the same end."""

import contextlib
import os
import signal

import anyio
import pytest

from algocline_mcp.errors import AlcError
from algocline_mcp.pool.dispatch import status_via_pool, stop_via_pool, view_via_pool
from algocline_mcp.storage.process_stat import read_process_stat
from tests.rig.fixtures import on_both_storages
from tests.rig.rig import KEEPER_DESCRIPTORS, WAIT_S, Rig, descriptors, ended, kill, open_pidfd, until
from tests.worker.keeper.test_fork import (
    ASKS,
    ASKS_TWICE,
    ENDLESS,
    FORKS,
    TELLS,
    answer,
    asked,
    end_of,
    entry,
    fork,
    install,
)

pytestmark = pytest.mark.anyio


@on_both_storages
@pytest.mark.slow
@pytest.mark.parametrize("victims", ["keeper", "child", "engines"])
async def test_fork_comes_to_the_same_end_whatever_is_killed_between_its_answers(rig: Rig, victims: str) -> None:
    install(rig, a=ASKS_TWICE, b=TELLS, forks=FORKS, x=ASKS)
    async with rig.pool() as pool:
        first = await fork(pool, "a", "b", "forks")
        sid, before = first.session_id, rig.engines(first.session_id)
        quiet = await end_of(pool, await fork(pool, "a", "b", "forks"))

        async def strike() -> None:
            chosen = {"keeper": [rig.keeper(sid)], "child": [max(rig.engines(sid))], "engines": rig.engines(sid)}
            for pid in chosen[victims]:
                await kill(pid)

        await strike()
        second = await answer(pool, sid, "f-3-0", "f-0-0")
        await strike()
        third = await answer(pool, sid, *asked(second))
        await until(lambda: not rig.engines(sid))
        last = await status_via_pool(pool, sid)

    assert len(before) == 6
    assert set(asked(second)) == {"f-1-0", "f-4-0", "f-0-1"}
    assert third.result == last.result
    results = [each["result"] for each in third.result["result"]]
    others = [each["result"] for each in quiet["result"]]
    assert results[0::2] == others[0::2]
    assert results[1][:2] == others[1][:2] == ["<f-1-0>", "of b"]
    assert sorted(rig.answers(sid)) == [(each, f"<{each}>") for each in ("f-0-0", "f-0-1", "f-1-0", "f-3-0", "f-4-0")]
    assert rig.records(sid, "crash") == []
    assert len(rig.records(sid, "note")) == 2


COUNTS = "return {run = function() local n = alc.state.incr('c') return {n, alc.llm('%s')} end}"


PASSAGES = ("fork.recorded", "prompt.recorded:2", "effect.committed:2", "answer.recorded:1", "final.recorded:1")


@pytest.mark.slow
@pytest.mark.parametrize("point", [*PASSAGES, "final.recorded:2", "final.recorded:3"])
async def test_children_change_and_return_once_wherever_their_keeper_is_killed(rig: Rig, point: str) -> None:
    install(rig, a=COUNTS, b=COUNTS)
    name, _, passage = point.partition(":")
    environ = {**os.environ, "ALC_FAILPOINT": f"{name}:kill:{passage or 1}"}
    async with rig.pool(environ=environ, resends=2) as pool:
        with contextlib.suppress(AlcError):
            await end_of(pool, await fork(pool, "a", "b"))
            await until(lambda: not rig.workers())
    (path,) = [*rig.home.sessions.glob("p-*.journal"), *rig.home.finished.glob("p-*.journal")]
    rig.expected_reports.add(sid := path.stem)
    report = rig.home.stderr(sid).read_text() if rig.home.stderr(sid).exists() else ""
    async with rig.pool() as pool:
        result = (await end_of(pool, await status_via_pool(pool, sid, wait_s=WAIT_S)))["result"]

    assert report
    assert result == [entry("a", [1.0, "<f-0-0>"]), entry("b", [1.0, "<f-1-0>"])]
    assert len(rig.records(sid, "end")) == 2


async def test_engines_end_with_their_keeper_and_hold_their_own_socket_only(rig: Rig) -> None:
    install(rig, a=ASKS, busy=ENDLESS)
    async with rig.readable_pool() as pool:
        sid = (await fork(pool, "a", "busy", "a", wait_s=0.2)).session_id
        await until(lambda: len(rig.records(sid, "prompt")) == 2)
        keeper, engines = rig.keeper(sid), rig.engines(sid)
        await until(lambda: len(descriptors(keeper)) == KEEPER_DESCRIPTORS + 3)
        held = [len(descriptors(pid)) for pid in engines]
        await kill(keeper)
        for pid in engines:
            await ended(pid)
        status = (await status_via_pool(pool, sid)).result
        await stop_via_pool(pool, sid, "cancel")

    assert held == [4] * 4
    assert status["queries"][0]["query_id"] in ("f-0-0", "f-2-0")


@pytest.mark.slow
async def test_death_of_a_computing_child_is_a_strike_and_three_stop_the_session(rig: Rig) -> None:
    install(rig, a=ASKS, busy=ENDLESS)
    async with rig.pool() as pool:
        sid = (await fork(pool, "a", "busy", wait_s=0.2)).session_id
        await until(lambda: rig.records(sid, "prompt"))  # the other child waits
        for count in (1, 2, 3):
            await until(lambda: [pid for pid in rig.engines(sid) if _is_busy(pid)])
            (busy,) = [pid for pid in rig.engines(sid) if _is_busy(pid)]
            with open_pidfd(busy) as pidfd:
                assert pidfd is not None
                signal.pidfd_send_signal(pidfd, signal.SIGSEGV)
                await anyio.wait_readable(pidfd)
            await until(lambda: len(rig.records(sid, "crash")) == count)  # noqa: B023
        stuck = (await status_via_pool(pool, sid)).result
        await until(lambda: not rig.engines(sid))
        listed = await view_via_pool(pool, sid, "summary")
        cancelled = (await stop_via_pool(pool, sid, "cancel")).result

    assert stuck["error_code"] == "crash_loop"
    assert [each["stream"] for each in rig.records(sid, "crash")] == ["1", "1", "1"]
    assert [(each["strategy"], each["status"]) for each in listed["children"]] == [
        ("a", "needs_response"),
        ("busy", "running"),
    ]
    assert cancelled["status"] == "cancelled"


def _is_busy(pid: int) -> bool:
    """It computes, and has used more than two ticks."""
    try:
        stat = read_process_stat(pid)
    except OSError:
        return False
    return stat.state == "R" and stat.user_ticks > 2
