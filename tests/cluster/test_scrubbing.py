"""ALC_KEEP with a database: what is removed of which sessions, once, whoever dies and whoever still writes."""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import anyio
import psycopg
import pytest

from algocline_mcp.cluster import ownership, scrubbing
from algocline_mcp.cluster.connection import Connection, Database
from algocline_mcp.cluster.group_commit import Commit, commit
from algocline_mcp.cluster.node import Node
from algocline_mcp.cluster.rows import SessionRows
from algocline_mcp.errors import JournalCorrupt
from algocline_mcp.pool.dispatch import list_finished_via_pool, status_via_pool, stop_via_pool
from algocline_mcp.session.records import Record
from tests.rig.journals import answer, final, header, prompt, sid_of
from tests.rig.processes import until_blocking
from tests.rig.rig import ASK_ONCE, Rig, run, say, until

SID = sid_of(1)
SECRET = "a text that must not stay"
HOUR_S = 3600.0


@pytest.fixture
def rows(database: Database) -> Iterator[SessionRows]:
    opened = SessionRows(database)
    yield opened
    opened.close()


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.connect() as opened:
        yield opened


def store(rows: SessionRows, sid: str = SID, *, ends: bool = True, owner: str = "") -> None:
    asked = prompt("q-0", about=SECRET)
    journal = rows.create(header(sid, owner=owner, code=f"-- {SECRET}", title=SECRET))
    for record in (asked, answer("q-0", SECRET), *([final(result=SECRET)] if ends else [])):
        journal.append(record)
    journal.flush()
    journal.close()


def scrub(connection: Connection, sid: str = SID, *, node: str = "me", keep: str = "none", owner: str = "") -> bool:
    return scrubbing.scrub(connection, node, owner, sid, keep)


def everything(rows: SessionRows) -> str:
    """The content of all rows, but for what never changes."""
    lines = [str(line) for (line,) in rows.query("SELECT line FROM alc.records")]
    return "\n".join([*lines, *(str(line) for (line,) in rows.query("SELECT summary FROM alc.sessions"))])


def kinds(rows: SessionRows, sid: str = SID) -> list[str]:
    return [record["kind"] for record in rows.records(sid)]


@pytest.mark.parametrize(("keep", "left"), [("result", 4), ("none", 0)])
def test_what_is_not_kept_is_in_no_row_and_the_time_of_the_end_stays(
    rows: SessionRows, connection: Connection, keep: str, left: int
) -> None:
    store(rows)
    rows.query("UPDATE alc.sessions SET changed_at = 'yesterday'")
    (before,) = rows.query("SELECT changed_at, epoch FROM alc.sessions")

    results = [scrub(connection, keep=keep), scrub(connection, keep="none")]

    (after,) = rows.query("SELECT changed_at, epoch FROM alc.sessions")
    lines = rows.query("SELECT sum(length(line) + 1), count(*) FROM alc.records")
    assert results == [True, False]
    assert everything(rows).count(SECRET) == left  # title, in the list too, code, result
    assert kinds(rows) == ["header", "final"]
    assert rows.query("SELECT bytes, length FROM alc.sessions") == lines
    assert rows.query("SELECT kept, held_by FROM alc.sessions") == [(keep, "")]
    assert (after[0], int(str(after[1])) > int(str(before[1]))) == (before[0], True)


def test_sessions_that_are_unfinished_held_elsewhere_or_of_others_are_left_alone(
    rows: SessionRows, connection: Connection
) -> None:
    sids = [sid_of(number) for number in range(6)]
    unfinished, held, orphan, own, exported, anns = sids
    for sid in sids:
        store(rows, sid, ends=sid != unfinished, owner="ann" if sid == anns else "")
    ownership.register(connection, "other", HOUR_S)
    ownership.register(connection, "me", HOUR_S)
    for sid, node in ((held, "other"), (orphan, "gone"), (own, "me")):
        rows.query("UPDATE alc.sessions SET held_by = %s WHERE sid = %s", (node, sid))
    exporting = rows.lock(exported)

    found = scrubbing.waiting(connection, "me")
    results = [scrub(connection, sid) for sid in sids]

    assert exporting is not None
    assert found == [(orphan, ""), (own, ""), (anns, "ann")]
    assert results == [False, False, True, True, False, False]
    assert scrub(connection, anns, owner="ann")
    assert scrubbing.waiting(connection, "me") == []


def test_a_session_that_is_being_given_back_is_waited_for(
    rows: SessionRows, database: Database, connection: Connection
) -> None:
    store(rows)
    rows.query("UPDATE alc.sessions SET held_by = 'me'")
    with database.connect() as other, ThreadPoolExecutor(1) as threads:
        with other.transaction():
            other.execute("UPDATE alc.sessions SET held_by = ''")
            result = threads.submit(scrub, connection)
            until_blocking(lambda: rows.query("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))

        assert result.result(60)


def test_a_writer_of_the_earlier_epoch_is_fenced(rows: SessionRows, connection: Connection) -> None:
    store(rows)
    ((epoch, length),) = rows.query("SELECT epoch, length FROM alc.sessions")
    scrub(connection)

    late = [Commit(SID, int(str(epoch)), number, ["line"], "finished", "{}") for number in (int(str(length)), 2)]

    assert [commit(connection, "me", [each]) for each in late] == [set(), set()]
    assert kinds(rows) == ["header", "final"]


def test_who_is_killed_in_the_middle_has_changed_nothing(
    rows: SessionRows, database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(rows)

    def killed(records: list[Record]) -> str:
        rows.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'")
        return "{}"

    with monkeypatch.context() as patch, database.connect() as lost:
        patch.setattr(scrubbing, "_line", killed)
        with pytest.raises(psycopg.Error):
            scrub(lost)
    before = kinds(rows)

    assert before == ["header", "prompt", "answer", "final"]
    assert scrubbing.waiting(connection, "me") == [(SID, "")]
    assert scrub(connection)


def test_a_damaged_session_stays_as_it_is(rows: SessionRows, connection: Connection) -> None:
    store(rows)
    rows.query("UPDATE alc.records SET line = replace(line, 'kind', 'kinD') WHERE n = 1")

    with pytest.raises(JournalCorrupt):
        scrub(connection)
    assert rows.query("SELECT count(*) FROM alc.records") == [(4,)]


@pytest.mark.anyio
@pytest.mark.parametrize("rig", ["database"], indirect=True)
async def test_copies_at_other_nodes_go_and_what_an_earlier_server_left_is_made_up_for(rig: Rig) -> None:
    other = Rig(rig.database)
    scrubs = {**os.environ, "ALC_KEEP": "none"}
    assert rig.database is not None
    with rig.database.connect() as connection:
        async with rig.pool(environ=scrubs) as pool, other.pool() as second:
            assert isinstance(pool.node, Node)
            sid, *_ = await run(pool, ASK_ONCE, title=SECRET)
            await stop_via_pool(pool, sid, "hibernate")
            await until(lambda: not connection.execute("SELECT 1 FROM alc.sessions WHERE held_by <> ''").fetchone())
            await say(second, sid, "q-0", SECRET)
            await second.apply_retention(sid)
            await until(lambda: not second.has_worker(sid))
            kept = await status_via_pool(second, sid)
            is_left = rig.home.journal(sid).exists()
            with anyio.fail_after(60):
                while rig.home.journal(sid).exists() or SECRET in json.dumps(rig.records(sid)):
                    connection.execute("UPDATE alc.sessions SET changed_at = changed_at - interval '1 hour'")
                    await pool.node.apply_retention(pool, 0)
            shown = await status_via_pool(second, sid)
            listed = await list_finished_via_pool(second)
        rows = json.dumps(rig.records(sid))
    leaks = other.end()

    assert not leaks
    assert is_left
    assert kept.result["result"] == f"got {SECRET}"
    assert shown.result["result"] is None
    assert SECRET not in rows + json.dumps(listed)
