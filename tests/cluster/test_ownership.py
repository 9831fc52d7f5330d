"""Who holds a session: one statement each, judged by the clock of the database."""

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from algocline_mcp.cli.main import alc
from algocline_mcp.cluster import ownership, session_list
from algocline_mcp.cluster.connection import Connection, Database
from algocline_mcp.cluster.rows import SessionRows
from algocline_mcp.errors import Refused
from algocline_mcp.session.state import fold
from tests.rig.journals import final, header
from tests.rig.journals import sid_of as sid_created_at

HOUR_S = 3600.0


def sid_of(number: int) -> str:
    return sid_created_at(number, created_s=1000.0)


SID = sid_of(1)


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.connect() as connection:
        yield connection


def store(database: Database, number: int = 1, *, owner: str = "", ends: bool = False) -> str:
    """A session as `alc export` writes it."""
    sid = sid_of(number)
    rows = SessionRows(database)
    journal = rows.create({**header(sid), "owner": owner or None})
    if ends:
        journal.append(final())
    journal.flush()
    journal.close()
    rows.close()
    return sid


def expire(connection: Connection, node: str) -> None:
    connection.execute(
        "UPDATE alc.nodes SET lease_until = clock_timestamp() - interval '1 second' WHERE node = %s", (node,)
    )


def test_a_free_session_is_taken_once_and_each_time_with_a_new_epoch(
    database: Database, connection: Connection
) -> None:
    store(database)
    for node in ("a", "b"):
        ownership.register(connection, node, HOUR_S)

    first = ownership.take(connection, "a", "", SID)
    other = ownership.take(connection, "b", "", SID)
    standing = ownership.standing(connection, "", SID)
    again = ownership.take(connection, "a", "", SID)

    assert first is not None
    assert again is not None
    assert other is None
    assert standing == ownership.Standing(False, first.epoch, 1, False, "a")
    assert again.before == first.epoch < again.epoch


def test_a_session_is_not_taken_by_who_may_not(database: Database, connection: Connection) -> None:
    store(database)
    ended = store(database, 2, ends=True)
    leased = store(database, 3)
    ownership.register(connection, "a", HOUR_S)
    connection.execute(
        "UPDATE alc.sessions SET lease_until = clock_timestamp() + interval '1 hour' WHERE sid = %s", (leased,)
    )
    table = [("unregistered", "", SID), ("a", "ann", SID), ("a", "", ended), ("a", "", leased), ("a", "", sid_of(9))]

    for node, owner, sid in table:
        assert ownership.take(connection, node, owner, sid) is None, (node, owner, sid)

    assert ownership.standing(connection, "ann", SID) is None
    assert ownership.take(connection, "a", "", SID) is not None


def test_what_a_dead_node_held_is_free_and_what_it_still_gives_back_changes_nothing(
    database: Database, connection: Connection
) -> None:
    store(database)
    for node in ("a", "b"):
        ownership.register(connection, node, HOUR_S)
    first = ownership.take(connection, "a", "", SID)
    expire(connection, "a")

    taken = ownership.take(connection, "b", "", SID)
    late = [ownership.renew(connection, "a", HOUR_S), ownership.take(connection, "a", "", SID)]
    assert first is not None
    given = ownership.give_back(connection, "a", SID, first.epoch)
    standing = ownership.standing(connection, "", SID)

    assert taken is not None
    assert (late, given) == ([False, None], None)
    assert standing is not None
    assert standing.holder == "b"
    assert ownership.give_back(connection, "b", SID, taken.epoch) == 1


def test_a_node_that_registers_again_or_leaves_holds_nothing(database: Database, connection: Connection) -> None:
    store(database)
    ownership.register(connection, "a", HOUR_S)
    ownership.take(connection, "a", "", SID)
    expire(connection, "a")

    ownership.register(connection, "a", HOUR_S)
    again = ownership.standing(connection, "", SID)
    is_valid = ownership.renew(connection, "a", HOUR_S)
    ownership.take(connection, "a", "", SID)
    ownership.leave(connection, "a")
    left = ownership.standing(connection, "", SID)

    assert again is not None
    assert left is not None
    assert (again.holder, left.holder, is_valid) == ("", "", True)
    assert not ownership.renew(connection, "a", HOUR_S)


def test_the_last_records_are_written_under_the_epoch_of_the_hold_alone(
    database: Database, connection: Connection
) -> None:
    store(database)
    ownership.register(connection, "a", HOUR_S)
    taken = ownership.take(connection, "a", "", SID)
    assert taken is not None
    session = fold([header(SID), final()])

    results = [
        ownership.finish(connection, epoch, length, session, [final()])
        for epoch, length in ((taken.before, 1), (taken.epoch, 2), (taken.epoch, 1), (taken.epoch, 1))
    ]

    assert results == [False, False, True, False]
    rows = SessionRows(database)
    assert [record["kind"] for record in rows.records(SID)] == ["header", "final"]
    rows.close()
    assert session_list.finished_page(connection, "", 9, None)["finished"][0]["status"] == "completed"


def test_lists_are_those_of_the_owner_newest_first_page_by_page(database: Database, connection: Connection) -> None:
    sids = [store(database, number, owner="ann") for number in range(5)]
    ended = store(database, 7, owner="ann", ends=True)
    store(database, 8, owner="ben")
    ownership.register(connection, "a", HOUR_S)
    ownership.take(connection, "a", "ann", sids[2])

    pages = [session_list.unfinished_page(connection, "ann", 2, None)]
    while "cursor" in pages[-1]:
        pages.append(session_list.unfinished_page(connection, "ann", 2, pages[-1]["cursor"]))
    entries = [entry for page in pages for entry in page["sessions"]]
    finished = session_list.finished_page(connection, "ann", 2, None)

    assert [entry["session_id"] for entry in entries] == sids[::-1]
    assert [entry["worker"] for entry in entries] == ["none", "none", "live", "none", "none"]
    assert {str(page["counts"]) for page in pages} == {str({"unfinished": 5, "live": 1, "finished": 1})}
    assert (finished["finished_sessions"], finished["finished"][0]["session_id"]) == (1, ended)
    assert session_list.unfinished_page(connection, "eve", 2, None) == {"active_sessions": 0, "sessions": []}
    assert session_list.ids(connection, "ann", sids[1]) == [sids[1]]
    assert session_list.usage(connection, "ben")[0] == 1
    with pytest.raises(Refused, match="is not from a list"):
        session_list.unfinished_page(connection, "ann", 2, "elsewhere")


def test_ps_lists_those_of_every_owner_and_the_nodes_that_hold_them(database: Database, connection: Connection) -> None:
    first, ended = store(database, 1, owner="ann"), store(database, 3, owner="ann", ends=True)
    second = store(database, 2)
    for node in ("here:11:aaaa", "there:12:bbbb", "gone:13:cccc"):
        ownership.register(connection, node, HOUR_S)
    ownership.take(connection, "here:11:aaaa", "ann", first)
    ownership.take(connection, "gone:13:cccc", "", second)
    expire(connection, "gone:13:cccc")

    def ps(*arguments: str) -> str:
        done = CliRunner().invoke(alc, ["ps", *arguments], env={"ALC_DATABASE": database._url})
        assert done.exit_code == 0, done.output
        return done.output

    listed = json.loads(ps("--all-nodes", "--all", "--json"))
    table = ps("--all-nodes").splitlines()

    lines = [*listed["sessions"], *listed["finished"]]
    assert [(line["session_id"], line["owner"], line["node"], line["worker"]) for line in lines] == [
        (second, "", "", "none"),
        (first, "ann", "here:11", "live"),
        (ended, "ann", "", "none"),
    ]
    assert listed["nodes"] == [{"node": "here:11", "sessions": 1}, {"node": "there:12", "sessions": 0}]
    assert table[0].split()[:4] == ["SESSION", "OWNER", "NODE", "STATUS"]
    assert table[2].split()[:4] == [first, "ann", "here:11", "running"]
    assert table[3] == "nodes, and how many sessions each holds: here:11 (1), there:12 (0)"
    assert ps("--database", database._url).splitlines() == table


def test_ps_of_an_empty_database_and_without_one(database: Database) -> None:
    empty = CliRunner().invoke(alc, ["ps", "--all-nodes"], env={"ALC_DATABASE": database._url})
    without = CliRunner().invoke(alc, ["ps", "--all-nodes"], env={"ALC_DATABASE": ""})

    assert empty.output.splitlines()[1:] == ["nodes, and how many sessions each holds: none"]
    assert (without.exit_code, "set ALC_DATABASE" in without.output) == (2, True)


def test_a_session_is_deleted_where_it_is_held_or_has_finished(database: Database, connection: Connection) -> None:
    store(database)
    ended = store(database, 2, owner="ann", ends=True)
    ownership.register(connection, "a", HOUR_S)
    refused = [ownership.delete(connection, "a", "", SID), ownership.delete(connection, "a", "ben", ended)]
    ownership.take(connection, "a", "", SID)

    done = [ownership.delete(connection, "a", "", SID), ownership.delete(connection, "a", "ann", ended)]

    assert (refused, done) == ([False, False], [True, True])
    assert connection.execute("SELECT count(*) FROM alc.records").fetchone() == (0,)


def test_sessions_past_their_retention_are_deleted(database: Database, connection: Connection) -> None:
    store(database)
    old, young = store(database, 2, ends=True), store(database, 3, ends=True)
    connection.execute(
        "UPDATE alc.sessions SET changed_at = clock_timestamp() - interval '3 days' WHERE sid IN (%s, %s)", (SID, old)
    )

    ownership.delete_expired(connection, 2.0)

    left = connection.execute("SELECT sid FROM alc.sessions ORDER BY sid").fetchall()
    assert left == [(SID,), (young,)]
