"""registry.json lists every live worker, and no session depends on the file."""

import json
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from algocline_mcp.errors import Unreachable
from algocline_mcp.pool.dispatch import PoolReply, list_via_pool, status_via_pool, stop_via_pool
from algocline_mcp.pool.process_identity import identify
from algocline_mcp.pool.registry import PoolSessionEntry, with_registry_lock
from tests.rig.rig import (
    ASK_ONCE,
    ASK_TWICE,
    ORDINARY,
    SOON_S,
    Program,
    Rig,
    ended,
    kill,
    run,
    say,
    until,
    wait_until_ended,
)

pytestmark = pytest.mark.anyio

LINE = {"sid": "p-1-0000000000000000", "pid": 1, "sock": "", "version": "", "created_at": ""}
CORRUPT = {
    "half": b'{"sessions": [{"sid": "p-1-00',
    "nul": b"\0" * 300,
    "list": b"[]",
    "number": b'{"sessions": 5}',
    "pid": json.dumps({"sessions": [LINE | {"pid": -1}]}).encode(),
    "bytes": b'{"sessions": ["\xff"]}',
    "deep": b'{"sessions":' + b"[" * 100_000,
    "empty": b"",
}


@pytest.fixture
def innocent() -> Iterator[int]:
    """A process that is not a worker."""
    process = subprocess.Popen(["sleep", "600"])
    yield process.pid
    process.kill()
    process.wait()


async def test_registry_lists_a_worker_in_upstreams_shape_while_it_lives(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid, _, error = await run(pool, ASK_ONCE)
        (entry,) = rig.registry()
        keeper = rig.keeper(sid)
        await say(pool, sid, "q-0", "A")
        await until(lambda: rig.registry() == [])

    assert error is None
    assert (entry["sid"], entry["pid"], entry["sock"]) == (sid, keeper, str(rig.home.socket(sid)))
    assert entry["version"]
    assert entry["created_at"].endswith("Z")
    assert set(entry) == {*LINE, "boot_id", "pid_ns", "start_time", "pidfd_ino"}


@pytest.mark.slow
async def test_twenty_workers_started_at_once_are_all_listed_and_none_when_they_have_ended(rig: Rig) -> None:
    replies: list[PoolReply] = []
    async with rig.pool() as pool:

        async def one() -> None:
            replies.append(await run(pool, ASK_ONCE))

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(one)
        listed = rig.registered()
        async with anyio.create_task_group() as tasks:
            for reply in replies:
                tasks.start_soon(stop_via_pool, pool, reply.session_id, "cancel")

        assert listed == {reply.session_id for reply in replies}
        assert rig.registered() == set()


@pytest.mark.slow
@pytest.mark.parametrize("name", CORRUPT)
async def test_corrupt_registry_is_set_aside_and_rebuilt(rig: Rig, name: str) -> None:
    async with rig.pool() as pool:
        one, *_ = await run(pool, ASK_ONCE)
        rig.home.registry.write_bytes(CORRUPT[name])
        two, _, error = await run(pool, ASK_ONCE)
        (aside,) = rig.home.pool.glob("registry.json.corrupt-*")

        assert error is None
        assert rig.registered() == {one, two}
        assert aside.read_bytes() == CORRUPT[name]


async def test_registry_that_is_corrupt_when_a_server_starts_delays_no_session(rig: Rig) -> None:
    rig.home.pool.mkdir(parents=True)
    rig.home.registry.write_bytes(CORRUPT["half"])
    async with rig.pool() as pool:
        sid, _, error = await run(pool, ASK_ONCE)

        assert (error, rig.registered()) == (None, {sid})


async def test_registry_that_vanished_is_written_again_with_all_that_this_server_knows(rig: Rig) -> None:
    async with rig.pool() as pool:
        one, *_ = await run(pool, ASK_ONCE)
        rig.home.registry.unlink()
        two, _, error = await run(pool, ASK_ONCE)

        assert (error, rig.registered()) == (None, {one, two})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["registry.json", "registry.lock"])
async def test_directory_in_its_place_is_a_pool_save_error_and_the_run_continues(rig: Rig, name: str) -> None:
    async with rig.pool() as pool:
        assert await pool.registry.prune().error(SOON_S) is None  # so no write of the start comes in between
        (rig.home.pool / name).unlink(missing_ok=True)
        (rig.home.pool / name).mkdir()
        sid, first, at_start = await run(pool, ASK_TWICE)
        _, second, later = await say(pool, sid, "q-0", "A")
        await kill(rig.keeper(sid))
        _, again, revived = await say(pool, sid, "q-0", "A")
        _, end, over = await say(pool, sid, "q-1", "B")

    assert (first["prompt"], second["prompt"], end["result"]) == ("first", "second after A", "A+B")
    assert again == second
    for error in (at_start, revived):
        assert error is not None
        assert error.startswith(f"cannot write {rig.home.registry}: Is a directory")
    assert (later, over) == (None, None)  # nothing was to be written; the removal is written behind the reply


async def test_run_that_ends_at_once_reports_that_its_entry_could_not_be_saved(rig: Rig) -> None:
    async with rig.pool() as pool:
        assert await pool.registry.prune().error(SOON_S) is None  # so no write of the start comes in between
        rig.home.registry.unlink(missing_ok=True)
        rig.home.registry.mkdir()
        _, end, error = await run(pool, "return 1")

    assert end["status"] == "completed"
    assert error is not None
    assert error.startswith(f"cannot write {rig.home.registry}: Is a directory")


@pytest.mark.slow
async def test_directory_that_became_read_only_stops_no_live_session_and_refuses_new_ones(rig: Rig) -> None:
    with Program(rig, "server.py", prefix=ORDINARY) as server:
        sid = server.ask("run", code=ASK_TWICE)["result"]["session_id"]
        rig.home.pool.chmod(0o500)
        second = server.ask("continue", sid=sid, answer=["q-0", "A"])
        refused = server.ask("run", code=ASK_ONCE)
        rig.home.pool.chmod(0o700)
        end = server.ask("continue", sid=sid, answer=["q-1", "B"])

    assert second["result"]["prompt"] == "second after A"
    assert refused["code"] == "home_unusable"
    assert "Permission denied; set ALC_HOME elsewhere" in refused["error"]
    assert end["result"]["result"] == "A+B"
    assert [path.stem for path in rig.home.sessions.rglob("p-*.journal")] == [sid]


@pytest.mark.slow
async def test_lock_that_another_process_holds_is_awaited_and_then_an_error(rig: Rig) -> None:
    async with rig.pool(registry_lock_s=1.0) as pool:
        await until(rig.home.registry_lock.exists)
        with Program(rig, "lock_holder.py", rig.home.registry_lock):
            began = anyio.current_time()
            sid, first, error = await run(pool, ASK_ONCE)
            took_s = anyio.current_time() - began
        other, _, none = await run(pool, ASK_ONCE)

        assert first["prompt"] == "question"
        assert error is not None
        assert "is held by another process" in error or "is not written yet" in error
        assert took_s < SOON_S
        assert none is None
        assert rig.registered() == {sid, other}  # the entry that could not be written then is written now


@pytest.mark.slow
@pytest.mark.parametrize("starter", ["this server", "another"])
async def test_entry_is_removed_when_its_worker_dies_also_of_another_server(rig: Rig, starter: str) -> None:
    async with rig.pool() as pool:
        if starter == "another":
            with Program(rig, "server.py") as server:
                sid = server.ask("run", code=ASK_TWICE)["result"]["session_id"]
            await say(pool, sid, "q-0", "A")
        else:
            sid, *_ = await run(pool, ASK_TWICE)
        listed = rig.registered()
        await kill(rig.keeper(sid))
        await until(lambda: rig.registered() == set())
        await until(lambda: not rig.home.socket(sid).exists())

    assert listed == {sid}


@pytest.mark.slow
async def test_server_drops_the_entries_of_the_dead_when_it_starts_and_keeps_the_living(rig: Rig) -> None:
    with Program(rig, "server.py") as server:
        live, dead = (server.ask("run", code=ASK_ONCE)["result"]["session_id"] for _ in range(2))
    await kill(rig.keeper(dead))
    before = rig.registered()
    async with rig.pool():
        await until(lambda: rig.registered() == {live})
        await until(lambda: not rig.home.socket(dead).exists())

    assert before == {live, dead}


@pytest.mark.slow
async def test_server_killed_between_the_last_reply_and_the_removal_leaves_no_entry_for_long(rig: Rig) -> None:
    with Program(rig, "server.py") as server:
        sid = server.ask("run", code=ASK_ONCE)["result"]["session_id"]
        keeper = rig.keeper(sid)
        with with_registry_lock(rig.home.registry_lock, timeout_s=SOON_S):
            end = server.ask("continue", sid=sid, answer=["q-0", "A"])
            await ended(keeper)
            server.kill()
        before = rig.registered()
    async with rig.pool() as pool:
        await until(lambda: rig.registered() == set())
        status = await status_via_pool(pool, sid)

    assert (end["result"]["status"], end["pool_save_error"]) == ("completed", None)
    assert before == {sid}
    assert status.result["status"] == "completed"


@pytest.mark.slow
async def test_three_hundred_entries_delay_no_session(rig: Rig, innocent: int) -> None:
    entry = PoolSessionEntry.of("p-1-0000000000000000", rig.home.socket("p"), identify(innocent)).model_dump()
    foreign = [entry | {"sid": f"p-1-{n:016x}", "ours": n} for n in range(300)]
    rig.home.pool.mkdir(parents=True)
    rig.home.registry.write_text(json.dumps({"sessions": foreign, "note": "kept"}))
    async with rig.pool() as pool:
        sid, first, error = await run(pool, ASK_ONCE)
        listed = rig.registered()
        await say(pool, sid, "q-0", "A")

        assert (first["prompt"], error) == ("question", None)
        assert listed == {entry["sid"] for entry in foreign} | {sid}
        await until(lambda: rig.registry() == foreign)
        assert json.loads(rig.home.registry.read_text())["note"] == "kept"
        assert (await list_via_pool(pool))["active_sessions"] == 0


async def test_entry_of_a_worker_that_has_ended_meanwhile_is_not_written(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, ASK_ONCE)
        entry = pool.registry.known[sid]
        await kill(entry.pid)
        await until(lambda: not rig.registered())
        error = await pool.registry.add(entry).error(pool.limits.registry_lock_s)

        assert (error, rig.registry()) == (None, [])


IDENTITIES: dict[str, dict[str, Any]] = {
    "the same process": {},
    "another start time": {"start_time": 1},
    "another pidfd": {"pidfd_ino": 1},
    "another boot": {"boot_id": "00000000-0000-0000-0000-000000000000"},
    "another pid namespace": {"pid_ns": 1},
    "no identity": {"start_time": None, "pidfd_ino": None, "boot_id": None, "pid_ns": None},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", IDENTITIES)
async def test_only_the_process_that_was_registered_is_ever_signalled(rig: Rig, innocent: int, name: str) -> None:
    """A pid that is used again: the entry names it, another process holds the journal, and no socket exists."""
    reach_s = 1.5 if name == "the same process" else 0.3  # it has ended by then
    async with rig.pool(stubborn_s=0.05, reach_s=reach_s, leave_s=0.1) as pool:
        sid, *_ = await run(pool, ASK_ONCE)
        await stop_via_pool(pool, sid, "hibernate")
        await pool.wait_for_exit(sid, SOON_S)
        assert await pool.registry.prune().error(SOON_S) is None  # so no write about its end comes after ours
        entry = PoolSessionEntry.of(sid, rig.home.socket(sid), identify(innocent)).model_dump() | IDENTITIES[name]
        rig.home.registry.write_text(json.dumps({"sessions": [entry]}))
        with Program(rig, "lock_holder.py", rig.home.journal(sid)):
            with pytest.raises(Unreachable, match="held by") as raised:
                await say(pool, sid, "q-0", "A")
            with pytest.raises(Unreachable):
                await stop_via_pool(pool, sid, "cancel")
        has_ended = wait_until_ended(innocent, 0)
        await say(pool, sid, "q-0", "A")

    assert has_ended == (name == "the same process")
    assert "unknown process" in str(raised.value)  # the process that was signalled has ended by then


async def test_signal_reaches_the_identified_process(innocent: int) -> None:
    assert identify(innocent).signal(signal.SIGTERM)
    await ended(innocent)


@pytest.mark.slow
async def test_rebuilt_registry_lists_the_workers_of_other_servers(rig: Rig) -> None:
    """The kernel names the keeper that listens on a socket: the owner is known if the socket is deleted later."""
    with Program(rig, "server.py") as server:
        sids = [server.ask("run", code=ASK_TWICE)["result"]["session_id"] for _ in range(2)]
    keepers = {sid: rig.keeper(sid) for sid in sids}
    rig.home.registry.write_bytes(CORRUPT["nul"])
    async with rig.pool(stubborn_s=0.05) as pool:
        await until(lambda: list(rig.home.pool.glob("registry.json.corrupt-*")) and rig.home.registry.exists())
        listed = {entry["sid"]: entry["pid"] for entry in rig.registry()}
        rig.home.socket(sids[0]).unlink()
        second = (await say(pool, sids[0], "q-0", "A")).result

        assert listed == keepers
        assert rig.keeper(sids[0]) != keepers[sids[0]]  # that worker was terminated
        assert second["prompt"] == "second after A"
