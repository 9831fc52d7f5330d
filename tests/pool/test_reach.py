"""Reaching a worker in spite of stale and missing sockets, held locks, impostors and races."""

import multiprocessing
import os
import re
import shutil
from typing import Any

import anyio
import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.errors import AlcError, Refused, Unreachable
from algocline_mcp.pool.dispatch import Pool, PoolReply, list_via_pool, status_via_pool, stop_via_pool
from algocline_mcp.pool.reach import reach
from algocline_mcp.storage import home_setup
from tests.rig.rig import (
    ASK_ONCE,
    ASK_TWICE,
    LIMIT_S,
    SOON_S,
    WAIT_S,
    Program,
    Rig,
    ended,
    kill,
    run,
    say,
    stopped,
    until,
)

pytestmark = pytest.mark.anyio


async def session_without_server(rig: Rig, *, with_worker: bool = True) -> str:
    """A session that pauses at q-0. Without worker: the worker was killed, and its socket still has a name."""
    with Program(rig, "server.py") as server:
        sid: str = server.ask("run", code=ASK_TWICE)["result"]["session_id"]
    if not with_worker:
        await kill(rig.keeper(sid))
        assert rig.home.socket(sid).exists()
    return sid


@pytest.mark.slow
async def test_stale_socket_is_no_worker(rig: Rig) -> None:
    sid = await session_without_server(rig, with_worker=False)
    async with rig.pool() as pool:
        second = (await say(pool, sid, "q-0", "A")).result

    assert second["prompt"] == "second after A"


@pytest.mark.slow
async def test_server_removes_stale_sockets_when_it_starts_and_leaves_live_ones(rig: Rig) -> None:
    dead = await session_without_server(rig, with_worker=False)
    live = await session_without_server(rig)
    rig.home.socket("p-1-0000000000000000").touch()
    async with rig.pool() as pool:
        await until(lambda: [path.stem for path in rig.home.pool.glob("*.sock")] == [live])
        workers = {line["session_id"]: line["worker"] for line in (await list_via_pool(pool))["sessions"]}

    assert workers == {live: "live", dead: "none"}


async def test_worker_whose_socket_was_deleted_is_terminated_and_the_session_continues(rig: Rig) -> None:
    async with rig.pool(stubborn_s=0.1) as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        keeper = rig.keeper(sid)
        rig.home.socket(sid).unlink()
        second = (await say(pool, sid, "q-0", "A")).result
        await ended(keeper)

        assert second["prompt"] == "second after A"
        assert rig.keeper(sid) != keeper
        assert rig.answers(sid) == [("q-0", "A")]


@pytest.mark.slow
async def test_worker_whose_socket_was_deleted_is_found_by_another_server_through_the_registry(rig: Rig) -> None:
    sid = await session_without_server(rig)
    rig.home.socket(sid).unlink()
    async with rig.pool(stubborn_s=0.1) as pool:
        second = (await say(pool, sid, "q-0", "A")).result

    assert second["prompt"] == "second after A"


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["hibernate", "cancel"])
async def test_worker_whose_socket_was_deleted_can_be_stopped(rig: Rig, mode: str) -> None:
    async with rig.pool(leave_s=1.0) as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        keeper = rig.keeper(sid)
        rig.home.socket(sid).unlink()
        stopped_at = (await stop_via_pool(pool, sid, mode)).result  # type: ignore[arg-type]
        await ended(keeper)

    assert stopped_at["status"] == {"hibernate": "needs_response", "cancel": "cancelled"}[mode]


@pytest.mark.slow
async def test_unknown_owner_is_an_error_within_reach_s_and_no_process_is_signalled(rig: Rig) -> None:
    sid = await session_without_server(rig)
    async with rig.pool(stubborn_s=0.05, reach_s=0.3) as pool:
        assert await pool.registry.prune().error(SOON_S) is None  # so no write of the start creates the file again
        rig.home.socket(sid).unlink()
        rig.home.registry.unlink()
        keeper = rig.keeper(sid)
        began = anyio.current_time()
        with pytest.raises(Unreachable, match="held by an unknown process"):
            await say(pool, sid, "q-0", "A")
        took_s = anyio.current_time() - began

        assert took_s < WAIT_S / 2
        assert rig.keepers(sid) == [keeper]


@pytest.mark.slow
async def test_stopped_keeper_without_socket_is_named_by_its_pid_and_stop_frees_the_session(rig: Rig) -> None:
    async with rig.pool(stubborn_s=0.05, reach_s=0.3, leave_s=0.2) as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        keeper = rig.keeper(sid)
        rig.home.socket(sid).unlink()
        with stopped(keeper):
            with pytest.raises(Unreachable, match=f"held by process {keeper}"):
                await say(pool, sid, "q-0", "A")
            paused = (await stop_via_pool(pool, sid, "hibernate")).result
            await ended(keeper)
        second = (await say(pool, sid, "q-0", "A")).result

    assert paused["query_id"] == "q-0"
    assert second["prompt"] == "second after A"


@pytest.mark.slow
async def test_five_at_once_revive_one_worker(rig: Rig) -> None:
    sid = await session_without_server(rig, with_worker=False)
    replies: list[PoolReply] = []
    async with rig.pool() as here, rig.pool() as there:

        async def ask(pool: Pool) -> None:
            replies.append(await say(pool, sid, "q-0", "A"))

        async with anyio.create_task_group() as tasks:
            for pool in (here, there, here, there, here):
                tasks.start_soon(ask, pool)
        keepers = rig.keepers(sid)

    assert [reply.result["prompt"] for reply in replies] == ["second after A"] * 5
    assert len(keepers) == 1
    assert rig.answers(sid) == [("q-0", "A")]


@pytest.mark.slow
async def test_answer_that_comes_while_the_worker_hibernates_is_taken_once(rig: Rig) -> None:
    rounds = 15
    code = f'local all = {{}} for i = 1, {rounds} do all[i] = alc.llm("p" .. i) end return #all'
    async with rig.pool() as pool:
        sid, *_ = await run(pool, code)
        for number in range(rounds):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(stop_via_pool, pool, sid, "hibernate")
                for _ in range(number):
                    await anyio.lowlevel.checkpoint()
                reply = await say(pool, sid, f"q-{number}", "A")
            if "next" in reply.result:  # the worker left before it had decided
                reply = await say(pool, sid, f"q-{number}", "A")

    assert reply.result["result"] == rounds
    assert rig.answers(sid) == [(f"q-{n}", "A") for n in range(rounds)]


IMPOSTORS = {
    "mute": "has not answered within",
    "gone": r"ended \d times before it answered",
    "stranger": "holds session p-0-0000000000000000",
    "newer": "uses protocol 99",
    "noise": "malformed",
    "long": "line longer than",
    "chatty": "has not answered within",
    "empty": "ask again",
    "bare": "ask again",
}


@pytest.mark.slow
@pytest.mark.parametrize("mode", IMPOSTORS)
async def test_impostor_in_the_place_of_a_worker_is_an_error_in_time_and_changes_nothing(rig: Rig, mode: str) -> None:
    more: dict[str, Any] = {"grace_s": 1.0} if IMPOSTORS[mode] == "has not answered within" else {}
    async with rig.pool(line_bytes=1 << 20, linger_s=0.01, **more) as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        await stop_via_pool(pool, sid, "hibernate")
        await until(lambda: not rig.workers())
        before = rig.journal(sid).read_bytes()
        with Program(rig, "impostor.py", rig.home.socket(sid), sid, mode):
            began = anyio.current_time()
            with pytest.raises(AlcError, match=IMPOSTORS[mode]):
                await say(pool, sid, "q-0", "A", wait_s=0.2)
            took_s = anyio.current_time() - began
            untouched = rig.journal(sid).read_bytes() == before
        second = (await say(pool, sid, "q-0", "A")).result

    assert took_s < SOON_S / 2
    assert untouched
    assert second["prompt"] == "second after A"


async def test_directory_of_sockets_that_was_deleted_is_created_again(rig: Rig) -> None:
    async with rig.pool(stubborn_s=0.1) as pool:
        one, *_ = await run(pool, ASK_TWICE)
        shutil.rmtree(rig.home.pool)
        two, _, error = await run(pool, ASK_ONCE)
        second = (await say(pool, one, "q-0", "A")).result

        assert error is None
        assert second["prompt"] == "second after A"
        assert rig.registered() == {one, two}


def _deep(size: int) -> bytes:
    """The path of a directory below another one, `size` bytes long."""
    parts = [b"d" * 200] * (size // 201)
    return b"/".join([*parts, b"d" * (size - 201 * len(parts))])


HOMES = {
    "41 bytes": _deep(41),
    "300 bytes": _deep(300),
    "3,000 bytes": _deep(3000),
    "blanks and quotes": b" a 'b' \"c\" " * 9,
    "not ASCII": "hé ü\u2028x".encode() * 11,
    "not UTF-8": b"\xff\xfe" * 60,
}


@pytest.mark.parametrize("name", HOMES)
async def test_home_of_any_length_and_name_works(rig: Rig, name: str) -> None:
    rig.home = Home(rig.root / os.fsdecode(HOMES[name]))
    async with rig.pool() as pool:
        sid, _, error = await run(pool, ASK_TWICE)
        async with rig.pool() as other:
            second = (await say(other, sid, "q-0", "A")).result
        await kill(rig.keeper(sid))
        end = (await say(pool, sid, "q-1", "B")).result

    assert error is None
    assert second["prompt"] == "second after A"
    assert end["result"] == "A+B"


@pytest.mark.slow
async def test_state_in_too_deep_a_home_is_an_error_with_its_bytes_and_leaves_no_file(rig: Rig) -> None:
    rig.home = Home(rig.root / os.fsdecode(HOMES["3,000 bytes"]))
    code = 'local ok, error = pcall(alc.state.set, "k", 1) return tostring(error)'
    async with rig.pool() as pool:
        end = (await run(pool, code)).result

    assert re.search(r"has 3\d\d\d bytes, SQLite opens at most 504: set ALC_HOME to a shorter path", end["result"])
    assert not rig.home.state_database.exists()


def prepare_often(home: Home, times: int) -> None:
    for _ in range(times):
        home_setup.prepare(home)


async def test_servers_that_start_at_once_on_one_home_do_not_disturb_each_other(rig: Rig) -> None:
    fork = multiprocessing.get_context("spawn")
    processes = [fork.Process(target=prepare_often, args=(rig.home, 300)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(LIMIT_S)

    assert [process.exitcode for process in processes] == [0, 0]


NO_IDS = ["", "p-1", "../../etc/passwd", "p-1-000000000000000/", "p-1-0000000000000000\n", "p-" + "f" * 4000, "\ud800"]


@pytest.mark.slow
@pytest.mark.parametrize("sid", NO_IDS)
async def test_text_that_is_not_an_id_is_not_found_and_unfinished_sessions_are_named(rig: Rig, sid: str) -> None:
    async with rig.pool() as pool:
        known, *_ = await run(pool, ASK_ONCE, title="review")
        for call in (say(pool, sid, "q-0", "A"), status_via_pool(pool, sid), stop_via_pool(pool, sid, "cancel")):
            with pytest.raises(Refused, match="not found") as raised:
                await call

            assert raised.value.code == "not_found"
            assert f'{known} "review" (waits for q-0)' in str(raised.value)
            assert len(str(raised.value)) < 400


async def test_forks_that_fail_hold_neither_the_event_loop_nor_the_call(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    sid = await session_without_server(rig, with_worker=False)
    async with rig.pool() as pool:
        failures: list[str] = []

        async def launch(failed_sid: str, journal_fd: int) -> None:
            failures.append(failed_sid)
            os.close(journal_fd)

        monkeypatch.setattr(pool, "launch", launch)
        with pytest.raises(Unreachable, match="nothing is lost"), anyio.fail_after(LIMIT_S):
            await reach(pool, sid, deadline=anyio.current_time() + 0.2)
        monkeypatch.undo()
        second = (await say(pool, sid, "q-0", "A")).result

    assert set(failures) == {sid}
    assert second["prompt"] == "second after A"
