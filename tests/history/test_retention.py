"""Retention, deletion and scrubbing of sessions, and `alc purge`."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import HomeUnusable, Refused
from algocline_mcp.history import retention
from algocline_mcp.history.retention import Usage, delete_session, usage_of
from algocline_mcp.pool.dispatch import Pool, list_via_pool, status_via_pool, stop_via_pool, view_via_pool
from algocline_mcp.session.results import metrics
from algocline_mcp.session.state import fold
from algocline_mcp.storage import home_setup, journal
from tests.history.terminal import alc
from tests.rig.fixtures import on_both_storages
from tests.rig.journals import answer, final, header, prompt, sid_of, write
from tests.rig.rig import ASK_ONCE, ASK_TWICE, ENDLESS, WAIT_S, Rig, kill, run, say, stopped, until

DAY_S = 86_400.0
OLD_S = 1.6e9
SECRET = "a text that must not stay"


def finished(home: Home, number: int, age_days: float) -> str:
    sid = sid_of(number, created_s=OLD_S)
    write(home.finished_journal(sid), [header(sid), final()], age_s=age_days * DAY_S)
    return sid


def unfinished(home: Home, number: int, age_days: float) -> str:
    sid = sid_of(number, created_s=OLD_S)
    write(home.journal(sid), [header(sid), prompt("q-0")], age_s=age_days * DAY_S)
    return sid


def left(home: Home) -> set[str]:
    return {path.stem for path in home.sessions.rglob("*.journal")}


@pytest.mark.anyio
async def test_a_server_deletes_at_its_start_what_finished_before_the_retention_and_nothing_else(rig: Rig) -> None:
    gone = finished(rig.home, 1, 31)
    kept = {finished(rig.home, 2, 29), unfinished(rig.home, 3, 400)}
    async with rig.pool():
        await until(lambda: gone not in left(rig.home))

    assert left(rig.home) == kept


@pytest.mark.anyio
async def test_a_server_looks_again_after_a_run(rig: Rig) -> None:
    async with rig.pool(sweep_s=0.0) as pool:
        old = finished(rig.home, 1, 31)
        sid, *_ = await run(pool, "return 1")
        await until(lambda: old not in left(rig.home))

        assert left(rig.home) == {sid}


@pytest.mark.anyio
async def test_retention_of_zero_keeps_for_ever(rig: Rig) -> None:
    sid = finished(rig.home, 1, 4000)
    async with rig.pool(retention_days=0.0, sweep_s=0.0) as pool:
        other, *_ = await run(pool, "return 1")
        await pool.apply_retention(other)

    assert left(rig.home) == {sid, other}


# ── delete ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.parametrize("state", ["paused", "computing", "killed", "finished"])
async def test_deleted_session_leaves_nothing(rig: Rig, state: str) -> None:
    code = {"computing": ENDLESS, "finished": "return 1"}.get(state, ASK_TWICE)
    async with rig.pool() as pool:
        sid, *_ = await run(pool, code, wait_s=0 if state == "computing" else WAIT_S)
        if state == "killed":
            await kill(rig.keeper(sid))
        reply = (await stop_via_pool(pool, sid, "delete")).result
        await until(lambda: not rig.workers())
        with pytest.raises(Refused, match="not found"):
            await status_via_pool(pool, sid)
        with pytest.raises(Refused, match="not found"):
            await stop_via_pool(pool, sid, "delete")

    assert reply == {"status": "deleted", "session_id": sid}
    assert left(rig.home) == set()


@pytest.mark.anyio
async def test_corrupt_session_can_be_deleted(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        await say(pool, sid, "q-0", "A")
        await stop_via_pool(pool, sid, "hibernate")
        content = bytearray(rig.journal(sid).read_bytes())
        content[content.index(b'"kind":"answer"') + 3] ^= 1
        rig.journal(sid).write_bytes(content)
        reply = (await stop_via_pool(pool, sid, "delete")).result

    assert reply["status"] == "deleted"
    assert left(rig.home) == set()


@pytest.mark.slow
@pytest.mark.anyio
async def test_session_of_a_stopped_worker_can_be_deleted(rig: Rig) -> None:
    async with rig.pool(leave_s=0.2) as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        with stopped(rig.keeper(sid)):
            reply = (await stop_via_pool(pool, sid, "delete")).result

    assert reply["status"] == "deleted"


# ── scrubbing ─────────────────────────────────────────────────────────────────────────────────────────────


RECORDS = [
    header("p-1-0123456789abcdef", ctx=json.dumps({"a": SECRET}), code=f"-- {SECRET}", title=SECRET),
    {"kind": "effect", "name": "env", "args": ["A"], "result": SECRET},
    {"kind": "note", "bytes": 1, "level": "info", "message": SECRET},
    prompt("q-0", about=SECRET),
    answer("q-0", SECRET, by="human"),
    final(result=SECRET),
]


@pytest.mark.parametrize(("keep", "left_over"), [("result", 3), ("none", 0)])
def test_scrubbed_records_hold_how_it_ended_and_no_more(keep: str, left_over: int) -> None:
    records = retention.scrubbed(RECORDS, keep)
    before, after = fold(RECORDS), fold(records)

    assert json.dumps(records).count(SECRET) == left_over  # with result: the code, the title, the result
    assert metrics(after, 0.0) == metrics(before, 0.0)
    assert after.phase == before.phase
    assert (after.answered == before.answered) == (keep == "result")
    assert retention.scrubbed(records, "none") == records


@pytest.mark.parametrize("outcome", [{"result": SECRET}, {"error": SECRET}])
def test_with_keep_none_neither_result_nor_error_is_left(outcome: dict[str, Any]) -> None:
    assert SECRET not in json.dumps(retention.scrubbed([*RECORDS[:-1], final(**outcome)], "none"))


@pytest.mark.anyio
@on_both_storages
@pytest.mark.parametrize("keep", ["result", "none"])
async def test_finished_session_is_scrubbed_and_still_readable(rig: Rig, keep: str) -> None:
    async with rig.pool(environ={**os.environ, "ALC_KEEP": keep}) as pool:
        sid, *_ = await run(pool, ASK_ONCE)
        end = (await say(pool, sid, "q-0", SECRET)).result
        await until(lambda: [record["kind"] for record in rig.records(sid)][:2] == ["header", "final"])
        content = rig.journal(sid).read_text() + json.dumps(rig.records(sid))
        again = (await status_via_pool(pool, sid)).result
        history = await view_via_pool(pool, sid, "history")

        assert (SECRET in content) == (keep == "result")  # it is part of the result
        assert "question" not in content or keep == "result"  # part of the code
        assert again == end | {"result": end["result"] if keep == "result" else None}
        assert history["history"] == []
        if keep == "result":
            assert (await say(pool, sid, "q-0", SECRET)).result == end  # a reply may have been lost
        assert list(rig.home.finished.glob(".*")) == []


@pytest.mark.anyio
@on_both_storages
async def test_server_that_leaves_with_the_end_of_its_last_session_scrubs_it_first(rig: Rig) -> None:
    """As after alc run, or in a host that was opened only for this run: the next server may start a year later."""
    async with rig.pool(environ={**os.environ, "ALC_KEEP": "none"}) as pool:
        sid, *_ = await run(pool, f'alc.log("info", "{SECRET}") return 1')

    assert SECRET not in rig.journal(sid).read_text()
    assert [record["kind"] for record in rig.records(sid)][:2] == ["header", "final"]


@pytest.mark.slow
@pytest.mark.anyio
async def test_an_unfinished_session_is_never_scrubbed_and_a_server_makes_up_for_what_another_left(rig: Rig) -> None:
    async with rig.pool() as pool:
        open_, *_ = await run(pool, ASK_ONCE)
        sid, *_ = await run(pool, f'alc.log("info", "{SECRET}") return 1')
        await pool.apply_retention(sid)
    before = rig.journal(open_).read_bytes()
    async with rig.pool(environ={**os.environ, "ALC_KEEP": "none"}) as pool:
        await until(lambda: SECRET not in rig.journal(sid).read_text())
        listed = await list_via_pool(pool)

    assert rig.journal(open_).read_bytes() == before
    assert [line["session_id"] for line in listed["sessions"]] == [open_]


def test_scrubbing_keeps_the_time_from_which_retention_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "a.journal", [header("p-1-0123456789abcdef"), final()], age_s=5 * DAY_S)
    before = path.stat().st_mtime
    assert retention.scrub(path, "none")

    assert path.stat().st_mtime == pytest.approx(before)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_held_journal_is_left_alone(tmp_path: Path) -> None:
    held = journal.Journal.create(tmp_path / "a.journal", header("p-1-0123456789abcdef"))
    held.append(final())

    assert not retention.scrub(held.path, "none")
    held.close()


def test_an_unknown_value_of_alc_keep_is_refused(rig: Rig) -> None:
    with pytest.raises(HomeUnusable, match="ALC_KEEP='some' is not one of all, result, none"):
        Pool(rig.home, Limits(), environ={"ALC_KEEP": "some"})


# ── alc purge ─────────────────────────────────────────────────────────────────────────────────────────────


def test_purge_names_what_it_deletes_and_spares_the_unfinished_unless_told(rig: Rig) -> None:
    old, young = finished(rig.home, 1, 10), finished(rig.home, 2, 3)
    waiting = unfinished(rig.home, 3, 10)
    dry = alc(rig.home, "purge", "--days", "5", "--all", "--dry-run")
    still = left(rig.home)
    first = alc(rig.home, "purge", "--days", "5")
    between = left(rig.home)
    second = alc(rig.home, "purge", "--days", "5", "--all")

    assert dry.stdout == f"{old} finished\n{waiting} unfinished\n"
    assert still == {old, young, waiting}
    assert first.stdout == f"{old} finished\n"
    assert between == {young, waiting}
    assert second.stdout == f"{waiting} unfinished\n"
    assert left(rig.home) == {young}
    assert dry.stderr == "alc: 2 sessions would be deleted, of those without a change for 5 days\n"
    assert first.stderr == "alc: 1 session deleted, of those without a change for 5 days\n"


def test_purge_without_days_deletes_nothing_where_sessions_are_kept_for_ever(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALC_RETENTION_DAYS", "0")
    old = finished(rig.home, 1, 4000)

    done = alc(rig.home, "purge", "--all")
    assert done.returncode == 1
    assert "ALC_RETENTION_DAYS is 0, sessions are kept for ever: give --days N" in done.stderr
    assert left(rig.home) == {old}


@pytest.mark.anyio
async def test_a_dry_purge_lists_what_a_purge_deletes_and_not_what_has_a_worker(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, ASK_ONCE)
        dry = alc(rig.home, "purge", "--days", "0", "--all", "--dry-run")
        wet = alc(rig.home, "purge", "--days", "0", "--all")

    assert dry.stdout == wet.stdout == ""
    assert f"alc: {sid} has a worker and is not deleted" in dry.stderr
    assert "alc: 0 sessions would be deleted" in dry.stderr


@pytest.mark.anyio
@pytest.mark.parametrize("limits", [{"home_sessions": 3}, {"home_bytes": 1}], ids=str)
async def test_a_full_home_starts_no_session_until_it_is_purged(rig: Rig, limits: dict[str, Any]) -> None:
    home_setup.prepare(rig.home)
    sids = [sid_of(number) for number in range(3)]
    for sid in sids:
        write(rig.home.finished_journal(sid), [header(sid), final()])
    async with rig.pool(**limits) as pool:
        await until(lambda: pool.usage.sessions == 3)
        with pytest.raises(Refused, match="alc purge") as caught:
            await run(pool, "return 1")
        for sid in sids:
            delete_session(rig.home, sid)
        _, end, _ = await run(pool, "return 1")

    assert caught.value.code == "home_full"
    assert end["result"] == 1


def test_usage_of_a_home_counts_journals_of_both_kinds(tmp_path: Path) -> None:
    home = Home(tmp_path)
    write(home.journal(sid_of(1)), [header(sid_of(1))])
    write(home.finished_journal(sid_of(2)), [header(sid_of(2)), final()])

    assert usage_of(home) == Usage(2, sum(path.stat().st_size for path in tmp_path.rglob("*.journal")))
