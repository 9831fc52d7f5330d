"""Marks make each change happen once, whatever dies; an unusable database is an error and changes nothing."""

import contextlib
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from algocline_mcp.errors import AlcError
from algocline_mcp.history.database_reader import StateFile
from algocline_mcp.pool.dispatch import status_via_pool, stop_via_pool
from algocline_mcp.worker.lowlevel.failpoints import POINTS
from tests.rig.rig import (
    KEEPER_DESCRIPTORS,
    ORDINARY,
    WAIT_S,
    Program,
    Rig,
    descriptors,
    finish,
    run,
    say,
    until,
)
from tests.worker.database.steps import TRY_TO_SET, failing, marks, only_session, result_of, rows, stored
from tests.worker.keeper.test_full_disk import full_disk, needs_strace, traced

pytestmark = pytest.mark.anyio

# ── each change happens once ──────────────────────────────────────────────────────────────────────────────

CONTENT = ("header", "effect", "prompt", "answer", "note", "final", "crash")
TWICE = "local a = alc.state.incr('c') alc.llm('p') alc.llm('q') local b = alc.state.incr('c', 10) return {a, b}"
# No keeper reaches these points twice, or its log is unlinked before.
UNREPORTED = (
    *(f"{point}:kill:2" for point in ("final.recorded", "archive.moved", "reply.sent")),
    *(f"worker.left:kill{passage}" for passage in ("", ":1", ":2")),
)
ELSEWHERE = (
    "fork.recorded",
    "delivery.recorded",
    "misfit.recorded",
    "commit.due",
    "commit.done",
    "effect.replied",
)  # this strategy reaches none: see test_fork.py, test_wait_kills.py, test_misfits.py, tests/cluster
PASSAGES = [f"{point}:kill{passage}" for point in POINTS for passage in ("", ":1", ":2") if point not in ELSEWHERE]


@pytest.mark.slow
@pytest.mark.parametrize("point", PASSAGES)
async def test_each_change_happens_once_wherever_its_keeper_is_killed(rig: Rig, point: str) -> None:
    async with rig.pool(environ=failing(point), resends=2) as pool:
        with contextlib.suppress(AlcError):
            await finish(pool, await run(pool, TWICE))
            await until(lambda: not rig.workers() and not rig.home.socket(only_session(rig)).exists())
    sid = only_session(rig)
    rig.expected_reports.add(sid)
    report = rig.home.stderr(sid).read_text() if rig.home.stderr(sid).exists() else ""
    async with rig.pool() as pool:
        ended = await finish(pool, await status_via_pool(pool, sid, wait_s=WAIT_S))

    assert ended["result"] == [1.0, 11.0]
    assert stored(rig) == {"c": "11.0"}
    assert bool(report) == (point not in UNREPORTED)


@pytest.mark.slow
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


@pytest.mark.slow
async def test_mark_of_another_effect_is_a_divergence_and_nothing_is_changed(rig: Rig) -> None:
    async with rig.pool(environ=failing("effect.committed:kill:1"), resends=0) as pool:
        with pytest.raises(AlcError):
            await run(pool, TWICE)
    rig.expected_reports.add(only_session(rig))
    rows(rig, "UPDATE marks SET digest = 'other'")
    before = rig.records(only_session(rig), *CONTENT)
    async with rig.pool() as pool:
        stuck = (await status_via_pool(pool, only_session(rig), wait_s=WAIT_S)).result

    assert stuck["error_code"] == "diverged"
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


@pytest.mark.slow
async def test_each_stream_has_one_mark_that_goes_with_the_session(rig: Rig) -> None:
    code = "for _ = 1, 20 do alc.state.incr('c') end alc.llm('p') return 1"
    async with rig.readable_pool() as pool:
        paused = await run(pool, code)
        await until(lambda: len(descriptors(rig.keeper(paused.session_id))) == KEEPER_DESCRIPTORS)
        while_paused = marks(rig)
        await finish(pool, paused)
        await until(lambda: not rig.workers())

    assert (while_paused, marks(rig)) == (1, 0)


def has_open(pid: int, path: Path) -> bool:
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            if os.readlink(link) == os.path.realpath(path):
                return True
    return False


async def test_marks_of_a_deleted_session_are_deleted(rig: Rig) -> None:
    async with rig.readable_pool() as pool:
        sids = [(await run(pool, "alc.state.incr('c') alc.llm('p')")).session_id for _ in range(2)]
        # A keeper closes the database after its reply; of one in use, the marks stay until another session ends.
        keepers = [rig.keeper(sid) for sid in sids]
        await until(lambda: not any(has_open(keeper, rig.home.state_database) for keeper in keepers))
        await stop_via_pool(pool, sids[0], "delete")
        left = rows(rig, "SELECT sid FROM marks")

    assert left == [(sids[1],)]
    assert stored(rig) == {"c": "2.0"}


@pytest.mark.slow
async def test_marks_that_a_killed_keeper_left_are_removed_when_another_session_ends(rig: Rig) -> None:
    async with rig.pool(environ=failing("archive.moved:kill")) as pool:
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


# ── a database that cannot be used ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("content", [b"no database at all" * 300, b"SQLite format 3\0" + b"\xff" * 5000])
async def test_damaged_database_is_an_error_that_names_it_and_the_session_goes_on(rig: Rig, content: bytes) -> None:
    async with rig.pool() as pool:
        rig.home.state_database.write_bytes(content)
        ok, error = await result_of(pool, TRY_TO_SET)
        untouched = rig.home.state_database.read_bytes() == content
        rig.home.state_database.unlink()
        again = await result_of(pool, TRY_TO_SET)

    assert not ok
    assert re.search(rf"cannot use {rig.home.state_database}: .*; nothing was changed: .*move it away", error)
    assert untouched
    assert again == [True, 0]


async def test_newer_database_is_left_alone(rig: Rig) -> None:
    async with rig.pool() as pool:
        await result_of(pool, "alc.state.set('x', 0) return 1")
        rows(rig, "PRAGMA user_version = 99")
        ok, error = await result_of(pool, TRY_TO_SET)

    assert not ok
    assert "has format 99, this program writes" in error


@pytest.mark.slow
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


# ── cost ──────────────────────────────────────────────────────────────────────────────────────────────────


@needs_strace
async def test_change_costs_one_flush_of_the_journal_before_and_one_of_its_commit(rig: Rig, tmp_path: Path) -> None:
    code = "alc.llm('p') for _ = 1, 10 do alc.state.get('c') alc.state.incr('c') end alc.llm('q') return 1"
    async with rig.readable_pool() as pool:
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


async def test_paused_session_holds_no_descriptor_of_the_database(rig: Rig) -> None:
    async with rig.readable_pool() as pool:
        sid, *_ = await run(pool, "alc.state.incr('c') alc.llm('p') return 1")
        await until(lambda: len(descriptors(rig.keeper(sid))) == KEEPER_DESCRIPTORS)


async def test_copy_of_the_database_file_alone_holds_what_ended_sessions_have_set(rig: Rig, tmp_path: Path) -> None:
    async with rig.pool() as pool:
        await run(pool, 'alc.state.set("k", "kept") return 1')
        await until(lambda: not rig.workers())
    shutil.copyfile(rig.home.state_database, copy := tmp_path / "copy.db")

    assert StateFile(copy).value("default", "k") == ["kept"]
