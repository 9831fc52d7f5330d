"""alc.state with real workers: what it answers, that a change happens once whatever dies, and that nothing waits."""

import contextlib
import fcntl
import os
import re
import signal
import sqlite3
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from algocline_mcp.errors import AlcError
from algocline_mcp.pool.dispatch import Pool, PoolReply, status_via_pool, stop_via_pool
from algocline_mcp.worker.lowlevel.failpoints import POINTS
from tests.rig.rig import (
    KEEPER_DESCRIPTORS,
    ORDINARY,
    SOON_S,
    WAIT_S,
    Program,
    Rig,
    descriptors,
    finish,
    kill,
    run,
    say,
    until,
)
from tests.worker.keeper.test_full_disk import full_disk, needs_strace, traced

pytestmark = pytest.mark.anyio


def failing(point: str) -> dict[str, str]:
    return {**os.environ, "ALC_FAILPOINT": point}


async def result_of(pool: Pool, code: str, **fields: Any) -> Any:
    ended = await finish(pool, await run(pool, code, **fields))
    return ended.get("result", ended.get("error"))


def rows(rig: Rig, query: str, *values: Any) -> list[Any]:
    """Asks or changes the database from outside, while no worker uses it."""
    with contextlib.closing(sqlite3.connect(rig.home.state_database, timeout=SOON_S)) as connection, connection:
        return connection.execute(query, values).fetchall()


def stored(rig: Rig) -> dict[str, str]:
    return dict(rows(rig, "SELECT key, value FROM state"))


def marks(rig: Rig) -> int:
    (found,) = rows(rig, "SELECT count(*) FROM marks")
    return int(found[0])


# ── what it answers ───────────────────────────────────────────────────────────────────────────────────────

TABLE: dict[str, tuple[str, Any]] = {
    "S01": ("alc.state.set('x', 99) return {alc.state.get('x'), alc.state.get('m', 0), alc.state.get('m') == nil}",
            [99, 0, True]),
    "S02 has": ("local a = alc.state.has('x')"
                " alc.state.set('x', false) return {a, alc.state.has('x'), alc.state.get('x')}",
                [False, True, False]),
    "S02 set_nx": ("return {alc.state.set_nx('x', 'first'), alc.state.set_nx('x', 'second'), alc.state.get('x')}",
                   [True, False, "first"]),
    "S03": ("return {alc.state.incr('c'), alc.state.incr('c', 5), alc.state.incr('c', 10, 100)}", [1.0, 6.0, 16.0]),
    "S03 kind": ("return math.type(alc.state.incr('c')) .. math.type(alc.state.get('c'))", "floatfloat"),
    "S04": ("return {alc.state.incr('c', 10, 100), alc.state.incr('c', -2)}", [110.0, 108.0]),
    "S05": ("alc.state.set('x', 'text') return select(2, pcall(alc.state.incr, 'x'))",
            "strategy:1: incr: value at 'x' is not a number"),
    "S06": ("alc.state.set('x', 1) return {alc.state.delete('x'), alc.state.delete('x'), alc.state.has('x')}",
            [True, False, False]),
    "S12 nil": ("alc.state.set('x', 1) alc.state.set('x', nil) return {alc.state.get('x', 'd'), alc.state.has('x')}",
                ["d", False]),
    "S12 null": ("alc.state.set('x', ctx.null) return {alc.state.get('x', 'd') == ctx.null, alc.state.has('x')}",
                 [True, True]),
    "keys": ("alc.state.set('b', 1) alc.state.set('a', 1) alc.state.set(7, 1) return alc.state.keys()",
             ["7", "a", "b"]),
    "no keys": ("return alc.state.keys()", []),
    "values": ("alc.state.set('x', {a = {1, 2.5, 'é', true}, b = {}}) return alc.state.get('x')",
               {"a": [1, 2.5, "é", True], "b": {}}),
    "update": ("local function more(t) t.n = t.n + 1 return t end"
               " return {alc.state.update('x', more, {n = 0}), alc.state.update('x', more), alc.state.get('x')}",
               [{"n": 1}, {"n": 2}, {"n": 2}]),
    "update to nil": ("alc.state.set('x', 1) return {alc.state.update('x', function() end) == nil, alc.state.has('x')}",
                      [True, False]),
    "incr too far": ("alc.state.set('x', 1.7e308) return select(2, pcall(alc.state.incr, 'x', 1.7e308))",
                     "strategy:1: incr: value at 'x' would leave the range of numbers"),
}  # fmt: skip


@pytest.mark.parametrize(("code", "expected"), TABLE.values(), ids=TABLE.keys())
async def test_state_answers(rig: Rig, code: str, expected: Any) -> None:
    async with rig.pool() as pool:
        assert await result_of(pool, code, ctx={"null": None}) == expected


@pytest.mark.parametrize("namespace", ["../evil", "foo/bar", "foo\\bar", "", "a\0b", ".."])
async def test_s07_namespace_that_is_none_is_an_error_that_can_be_caught(rig: Rig, namespace: str) -> None:
    code = "local ok, e = pcall(alc.state.set, 'x', 1) return {ok, e}"
    async with rig.pool() as pool:
        ok, error = await result_of(pool, code, ctx={"_ns": namespace})

    assert not ok
    assert f"Invalid namespace: '{namespace}'" in error


async def test_s08_namespaces_are_apart_and_one_that_is_no_text_is_the_default(rig: Rig) -> None:
    code = "alc.state.incr('c') return alc.state.get('c')"
    async with rig.pool() as pool:
        found = [await result_of(pool, code, ctx=ctx) for ctx in ({}, {"_ns": "a"}, {"_ns": 5}, {"_ns": "default"})]

    assert found == [1.0, 1.0, 2.0, 3.0]


async def test_s11_state_outlives_the_session_and_the_server(rig: Rig) -> None:
    async with rig.pool() as pool:
        await result_of(pool, "alc.state.set('x', {1}) return 1")
    async with rig.pool() as pool:
        found = await result_of(pool, "return alc.state.get('x')")

    assert found == [1]
    assert stat.S_IMODE(rig.home.state_database.stat().st_mode) == 0o600


LIMITED = {
    "key": ("alc.state.set(('k'):rep(11), 1)", "a key of 11 bytes as JSON, at most 10"),
    "value": ("alc.state.set('k', ('v'):rep(101))", "a value of 101 bytes as JSON, at most 100"),
    "keys": ("for i = 1, 4 do alc.state.set('k' .. i, i) end", "namespace 'default' has 3 keys, at most 3"),
}


@pytest.mark.parametrize(("call", "sentence"), LIMITED.values(), ids=LIMITED.keys())
async def test_what_is_over_a_limit_is_an_error_and_changes_nothing(rig: Rig, call: str, sentence: str) -> None:
    code = f"local ok, e = pcall(function() {call} end) return {{e, #alc.state.keys()}}"
    async with rig.pool(state_key_bytes=10, state_value_bytes=100, state_keys=3) as pool:
        error, count = await result_of(pool, code)

    assert sentence in error
    assert count == (3 if "keys" in sentence else 0)


# ── once ──────────────────────────────────────────────────────────────────────────────────────────────────

CONTENT = ("header", "effect", "prompt", "answer", "note", "final", "crash")
TWICE = "local a = alc.state.incr('c') alc.llm('p') alc.llm('q') local b = alc.state.incr('c', 10) return {a, b}"
PASSED_ONCE = ("final.recorded:kill:2", "retire.moved:kill:2")  # no keeper comes there twice
FORKING = ("fork.recorded",)  # see test_fork.py
PASSAGES = [f"{point}:kill{passage}" for point in POINTS for passage in ("", ":1", ":2") if point not in FORKING]


def only_session(rig: Rig) -> str:
    (path,) = [*rig.home.sessions.glob("p-*.journal"), *rig.home.finished.glob("p-*.journal")]
    return path.stem


@pytest.mark.parametrize("point", PASSAGES)
async def test_each_change_happens_once_wherever_its_keeper_is_killed(rig: Rig, point: str) -> None:
    async with rig.pool(environ=failing(point), resends=2) as pool:
        with contextlib.suppress(AlcError):
            await finish(pool, await run(pool, TWICE))
            await until(lambda: not rig.workers() and not rig.home.socket(only_session(rig)).exists())
    sid = only_session(rig)
    rig.expected_reports.add(sid)
    told = rig.home.stderr(sid).read_text() if rig.home.stderr(sid).exists() else ""
    async with rig.pool() as pool:
        ended = await finish(pool, await status_via_pool(pool, sid, wait_s=WAIT_S))

    assert ended["result"] == [1.0, 11.0]
    assert stored(rig) == {"c": "11.0"}
    assert bool(told) == (point not in PASSED_ONCE)


async def test_control_without_its_mark_the_change_happens_again(rig: Rig) -> None:
    async with rig.pool(environ=failing("effect.committed:kill:1"), resends=0) as pool:
        with pytest.raises(AlcError):
            await run(pool, TWICE)
    rig.expected_reports.add(only_session(rig))
    assert (stored(rig), marks(rig)) == ({"c": "1.0"}, 1)
    rows(rig, "DELETE FROM marks")
    async with rig.pool() as pool:
        ended = await finish(pool, await status_via_pool(pool, only_session(rig), wait_s=WAIT_S))

    assert ended["result"] == [2.0, 12.0]


async def test_mark_of_another_effect_is_a_divergence_and_nothing_is_changed(rig: Rig) -> None:
    async with rig.pool(environ=failing("effect.committed:kill:1"), resends=0) as pool:
        with pytest.raises(AlcError):
            await run(pool, TWICE)
    rig.expected_reports.add(only_session(rig))
    rows(rig, "UPDATE marks SET digest = 'other'")
    before = rig.records(only_session(rig), *CONTENT)
    async with rig.pool() as pool:
        told = (await status_via_pool(pool, only_session(rig), wait_s=WAIT_S)).result

    assert told["error_code"] == "diverged"
    assert stored(rig) == {"c": "1.0"}
    assert rig.records(only_session(rig), *CONTENT) == before


async def test_what_was_read_before_a_change_is_read_again_whatever_others_have_written(rig: Rig) -> None:
    code = """
    local seen = alc.state.get("c", 0)
    alc.state.set("a", seen == 0 and "none" or "some")
    return {seen, alc.state.get("a")}
    """
    async with rig.pool(environ=failing("effect.committed:kill:1"), resends=0) as pool:
        with pytest.raises(AlcError):
            await run(pool, code)
    sid = only_session(rig)
    rig.expected_reports.add(sid)
    async with rig.pool() as pool:
        await result_of(pool, "alc.state.set('c', 5) return 1")
        ended = await finish(pool, await status_via_pool(pool, sid, wait_s=WAIT_S))

    assert ended["result"] == [0, "none"]


async def test_marks_are_one_per_stream_and_gone_with_the_session(rig: Rig) -> None:
    code = "for _ = 1, 20 do alc.state.incr('c') end alc.llm('p') return 1"
    async with rig.pool() as pool:
        paused = await run(pool, code)
        await until(lambda: len(descriptors(rig.keeper(paused.session_id))) == KEEPER_DESCRIPTORS)
        while_paused = marks(rig)
        await finish(pool, paused)
        await until(lambda: not rig.workers())

    assert (while_paused, marks(rig)) == (1, 0)


async def test_deleted_session_takes_its_marks_along(rig: Rig) -> None:
    async with rig.pool() as pool:
        sids = [(await run(pool, "alc.state.incr('c') alc.llm('p')")).session_id for _ in range(2)]
        await stop_via_pool(pool, sids[0], "delete")
        left = rows(rig, "SELECT sid FROM marks")

    assert left == [(sids[1],)]
    assert stored(rig) == {"c": "2.0"}


async def test_marks_that_a_killed_keeper_left_are_removed_when_another_session_ends(rig: Rig) -> None:
    async with rig.pool(environ=failing("retire.moved:kill")) as pool:
        await result_of(pool, "alc.state.incr('c') return 1")
        await until(lambda: not rig.workers())
    rig.expected_reports.add(only_session(rig))
    assert marks(rig) == 1
    async with rig.pool() as pool:
        paused = await run(pool, "alc.state.incr('c') alc.llm('p') return 1")
        await result_of(pool, "alc.state.incr('c') return 1")
        await until(lambda: len(rig.keepers()) == 1)
        left = rows(rig, "SELECT sid FROM marks")
        await finish(pool, paused)

    assert left == [(paused.session_id,)]


async def test_session_that_is_killed_at_each_pause_counts_right(rig: Rig) -> None:
    code = "for i = 1, 4 do alc.state.incr('c') alc.llm('p' .. i) end return alc.state.get('c')"
    async with rig.pool() as pool:
        reply = await run(pool, code)
        for i in range(4):
            await kill(rig.keeper(reply.session_id))
            reply = await say(pool, reply.session_id, f"q-{i}", "a")

    assert reply.result["result"] == 4.0


async def test_s10_two_servers_sessions_lose_no_count(rig: Rig) -> None:
    code = "for _ = 1, 50 do alc.state.incr('c') end return 1"
    async with rig.pool() as one, rig.pool() as two, anyio.create_task_group() as tasks:
        for pool in (one, two):
            tasks.start_soon(result_of, pool, code)

    assert stored(rig) == {"c": "100.0"}


async def test_update_of_two_sessions_at_once_loses_nothing(rig: Rig) -> None:
    code = "for _ = 1, 25 do alc.state.update('c', function(n) return n + 1 end, 0) end return 1"
    async with rig.pool() as pool, anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(result_of, pool, code)

    assert stored(rig) == {"c": "50"}


# ── a database that cannot be used ────────────────────────────────────────────────────────────────────────

TRY = "local ok, e = pcall(alc.state.set, 'x', 1) alc.llm('p') return {ok, e or 0}"


@contextmanager
def held(rig: Rig) -> Iterator[None]:
    """Somebody else is in the middle of a change."""
    connection = sqlite3.connect(rig.home.state_database, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.close()


async def test_stopped_writer_locks_nobody_out_beyond_the_limit(rig: Rig) -> None:
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
        ok, error = await result_of(two, TRY)
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


async def test_keeper_that_waits_for_the_database_answers_and_can_be_stopped(rig: Rig) -> None:
    async with rig.pool(state_busy_s=WAIT_S) as pool:
        await result_of(pool, "alc.state.set('x', 0) return 1")
        with held(rig):
            began = time.monotonic()
            sid, first, _ = await run(pool, TRY, wait_s=0.1)
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
        with held(rig):
            sid, *_ = await run(pool, TRY, wait_s=0.1)
        ended = await finish(pool, await status_via_pool(pool, sid, wait_s=WAIT_S))

    assert ended["result"] == [True, 0]
    assert stored(rig) == {"x": "1"}


async def test_change_waits_for_the_turn_of_another_writer_whose_checkpoint_may_still_run(rig: Rig) -> None:
    async with rig.pool(state_busy_s=1.0) as pool:
        await result_of(pool, "alc.state.set('x', 0) return 1")
        directory = os.open(rig.home.state_database.parent, os.O_RDONLY)
        fcntl.flock(directory, fcntl.LOCK_EX)
        refused = await result_of(pool, TRY)
        read = await result_of(pool, "return alc.state.get('x')")
        os.close(directory)
        done = await result_of(pool, TRY)

    assert refused[0] is False
    assert "was locked for 1 s by another process" in refused[1]
    assert (read, done) == (0, [True, 0])


@pytest.mark.parametrize("content", [b"no database at all" * 300, b"SQLite format 3\0" + b"\xff" * 5000])
async def test_damaged_database_is_an_error_that_names_it_and_the_session_goes_on(rig: Rig, content: bytes) -> None:
    async with rig.pool() as pool:
        rig.home.state_database.write_bytes(content)
        ok, error = await result_of(pool, TRY)
        untouched = rig.home.state_database.read_bytes() == content
        rig.home.state_database.unlink()
        again = await result_of(pool, TRY)

    assert not ok
    assert re.search(rf"cannot use {rig.home.state_database}: .*; nothing was changed: .*move it away", error)
    assert untouched
    assert again == [True, 0]


async def test_newer_database_is_left_alone(rig: Rig) -> None:
    async with rig.pool() as pool:
        await result_of(pool, "alc.state.set('x', 0) return 1")
        rows(rig, "PRAGMA user_version = 99")
        ok, error = await result_of(pool, TRY)

    assert not ok
    assert "has format 99, this program writes" in error


@pytest.mark.skipif(os.geteuid() == 0 and not ORDINARY, reason="root may write everywhere")
async def test_read_only_database_is_an_error_and_can_still_be_read(rig: Rig) -> None:
    code = "local ok, e = pcall(alc.state.set, 'x', 1) return {ok, e, alc.state.get('x')}"
    async with rig.pool() as pool:
        await result_of(pool, "alc.state.set('x', 0) return 1")
        await until(lambda: not rig.workers())
    rig.home.state_database.chmod(0o400)
    with Program(rig, "server.py", prefix=ORDINARY) as server:
        ok, error, read = server.ask("run", code=code)["result"]["result"]

    assert (ok, read) == (False, 0)
    assert "readonly database; nothing was changed: make it and its directory writable" in error


async def test_full_disk_is_an_error_that_changes_nothing_and_the_session_goes_on(rig: Rig) -> None:
    code = "alc.llm('p') local ok, e = pcall(alc.state.set, 'x', 1) alc.llm('q') return {ok, e, alc.state.has('x')}"
    async with rig.pool() as pool:
        await result_of(pool, "alc.state.set('y', 0) return 1")
        sid, *_ = await run(pool, code)
        with full_disk(rig.keeper(sid), 6000):  # room for the journal, not for two pages of the database
            second = await say(pool, sid, "q-0", "a")
        ended = await finish(pool, second)

    ok, error, is_there = ended["result"]
    assert (ok, is_there) == (False, False)
    assert f"cannot use {rig.home.state_database}: " in error


async def test_full_disk_in_the_middle_of_a_change_takes_it_back(rig: Rig) -> None:
    async with rig.pool(environ=failing("effect.written:full:1")) as pool:
        code = "local ok, e = pcall(alc.state.incr, 'c') return {ok, e, alc.state.incr('c')}"
        ok, error, count = await result_of(pool, code)

    assert (ok, count) == (False, 1.0)
    assert "No space left on device; nothing was changed" in error


# ── its price ─────────────────────────────────────────────────────────────────────────────────────────────


@needs_strace
async def test_change_costs_one_flush_of_the_journal_before_and_one_of_its_commit(rig: Rig, tmp_path: Path) -> None:
    code = "alc.llm('p') for _ = 1, 10 do alc.state.get('c') alc.state.incr('c') end alc.llm('q') return 1"
    async with rig.pool() as pool:
        await result_of(pool, "alc.state.incr('c') return 1")
        sid, *_ = await run(pool, code)
        with traced(rig.keeper(sid), tmp_path / "trace", "-e", "trace=fdatasync,fsync,sendto"):
            await say(pool, sid, "q-0", "a")
        lines = (tmp_path / "trace").read_text().splitlines()

    reply = next(i for i, line in enumerate(lines) if '\\"protocol\\":' in line)
    names = {".journal>": "journal", "-wal>": "commit"}
    flushed = [
        next((name for end, name in names.items() if end in line), "other")
        for line in lines[:reply]
        if re.match(r"f(data)?sync\(", line)
    ]
    at_rest = ["journal", "commit"] * 9 + ["journal"]  # after the first change, which may begin a new log
    assert flushed[-len(at_rest) :] == at_rest
    assert len(flushed) <= len(at_rest) + (4 if sys.version_info < (3, 12) else 3)


async def test_session_that_used_the_database_holds_nothing_of_it_while_it_waits(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, "alc.state.incr('c') alc.llm('p') return 1")
        await until(lambda: len(descriptors(rig.keeper(sid))) == KEEPER_DESCRIPTORS)
