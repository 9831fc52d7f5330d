"""Changes of alc.state and alc.card in PostgreSQL: each happens once, whoever dies, and none for a fenced node."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from algocline_mcp.cluster import card_rows, session_list
from algocline_mcp.cluster.connection import Connection, Database
from algocline_mcp.cluster.effects import IN_DOUBT, Effects
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Refused, StorageBroken, StorageFailed
from algocline_mcp.session.records import Record
from tests.cluster.effect_sender import message
from tests.cluster.postgres import Postgres
from tests.cluster.state_store import StateStore
from tests.rig.journals import sid_of
from tests.rig.processes import until_blocking

SID, OTHER = sid_of(1), sid_of(2)


@pytest.fixture
def store(database: Database) -> Iterator[StateStore]:
    opened = StateStore(database, Limits(), [SID, OTHER])
    yield opened
    opened.close()


def _taken_by_another(store: StateStore, sid: str = SID) -> None:
    ((epoch,),) = store.query("UPDATE alc.sessions SET epoch = epoch + 1 WHERE sid = %s RETURNING epoch", sid)
    store.epochs[sid] = int(str(epoch))


def _count(store: StateStore) -> list[object]:
    return [json.loads(str(value)) for (value,) in store.query("SELECT value FROM alc.state")]


# ── fencing ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_node_that_lost_the_session_changes_nothing(store: StateStore) -> None:
    late = store.request("state.incr", "c", 1, 0, sid=SID)
    _taken_by_another(store)

    with pytest.raises(StorageBroken, match="has a newer owner") as caught:
        store.send(late)

    assert caught.value.code == "fenced"
    assert _count(store) == []
    assert store.query("SELECT * FROM alc.effects") == []


def test_a_session_that_the_database_lacks_changes_nothing(store: StateStore) -> None:
    request = store.request("state.set", "k", 1, sid=SID) | {"sid": sid_of(3)}

    with pytest.raises(StorageBroken):
        store.send(request)

    assert _count(store) == []


def test_a_session_can_read_before_its_first_commit(store: StateStore) -> None:
    store.call("state.set", "k", 1)
    request = store.request("state.get", "k", sid=SID) | {"sid": sid_of(3)}

    assert store.send(request) == {"result": [1]}


def test_owners_are_separate_whatever_a_request_says(store: StateStore) -> None:
    request = store.request("state.set", "k", 1, sid=SID) | {"owner": "somebody else"}
    store.send(request)

    assert store.query("SELECT owner FROM alc.state") == [("ann",)]


def test_marks_go_with_their_session(store: StateStore) -> None:
    for sid in (SID, OTHER):
        store.call("state.incr", "c", 1, 0, sid=sid)
    store.query("DELETE FROM alc.sessions WHERE sid = %s", SID)

    assert store.query("SELECT sid FROM alc.effects") == [(OTHER,)]
    assert _count(store) == [2.0]


def test_cards_of_owners_are_separate(store: StateStore, database: Database) -> None:
    ben = StateStore(database, Limits(), [sid_of(3)], owner="ben")
    made = {"card_id": "c", "pkg": {"name": "p"}}
    store.call("card.create", {**made, "of": "ann"})
    store.call("card.alias_set", "best", "c", None)
    seen = [ben.call("card.get", "c"), ben.call("card.list", None), ben.call("card.get_by_alias", "best")]
    seen += [ben.call("card.alias_list", None), {"result": ben.reader.cards()}, {"result": ben.reader.card("c")}]
    created = ben.call("card.create", {**made, "of": "ben"})
    ben.close()

    assert [outcome["result"] for outcome in seen] == [None, [], None, [], [], []]
    assert created == {"result": {"card_id": "c"}}
    assert store.call("card.get", "c")["result"]["of"] == "ann"


def test_cards_that_would_fill_the_memory_of_the_server_are_not_read(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(3):
        fields = {"metadata": {"prior_card_id": "c0"}} if n else {}
        store.call("card.create", {"card_id": f"c{n}", "pkg": {"name": "p"}, "text": "x" * 500, **fields})
    monkeypatch.setattr(card_rows, "READ_BYTES", 1000)
    refused = [
        store.call("card.find", {"where": {}}),
        store.call("card.lineage", {"card_id": "c0", "direction": "down"}),
    ]
    monkeypatch.setattr(card_rows, "READ_BYTES", 100)
    refused.append(store.call("card.list", None))
    store.call("card.alias_set", "x", "c0", {"note": "x" * 100})
    refused.append(store.call("card.alias_list", None))

    assert [outcome.get("error", "").partition(": ")[2][:23] for outcome in refused] == ["the cards have over 0 M"] * 4
    with pytest.raises(Refused, match="name their pkg, or a limit") as caught:
        store.reader.cards()
    assert caught.value.code == "too_large"
    assert store.call("card.find", {"limit": 1})["result"][0]["card_id"] == "c2"
    assert store.call("card.get", "c0")["result"]["text"] == "x" * 500


def test_samples_that_are_too_long_for_a_message_are_refused(database: Database) -> None:
    store = StateStore(database, Limits(line_bytes=2000), [SID])
    store.call("card.create", {"card_id": "c", "pkg": {"name": "p"}})
    store.call("card.write_samples", "c", ["é" * 100, "é" * 100])

    assert store.call("card.read_samples", "c", {"limit": 1})["result"] == ["é" * 100]
    assert "is too long for one message: ask for less" in store.call("card.read_samples", "c", None)["error"]
    store.close()


def test_there_are_no_files_to_be_copied(store: StateStore) -> None:
    outcome = store.call("card.sink_backfill", {"sink": "file:///tmp"})

    assert outcome["error"].startswith(
        "alc.card.sink_backfill: this server keeps cards in a database, and none as files"
    )


def test_keys_that_are_too_long_for_a_message_are_refused(database: Database) -> None:
    store = StateStore(database, Limits(line_bytes=2000), [SID])
    for n in range(5):
        store.call("state.set", f"{n}{'é' * 50}", 1)

    assert store.call("state.keys")["error"].startswith("alc.state.keys: namespace 'default' has 5 keys, too long")
    store.close()


# ── the quota of bytes ────────────────────────────────────────────────────────────────────────────────────


def _quota_store(database: Database, number: int, max_bytes: int, owner: str = "ann") -> StateStore:
    return StateStore(database, Limits(owner_bytes=max_bytes), [sid_of(number)], owner)


def test_values_of_a_principal_count_with_its_sessions_at_all_nodes(database: Database) -> None:
    one, other, user = (_quota_store(database, number, 10_000, who) for number, who in enumerate(("ann", "ann", "")))
    for store in (one, user):
        store.call("state.set", "k", "v" * 6000)
    over = other.call("state.set", "ké", "v" * 4000)
    fits = other.call("state.set", "ké", "v" * 1000)
    users = user.call("state.set", "more", "v" * 9000)
    with one._rows.database.connect() as connection:
        total = session_list.usage(connection, "ann")[1]
        lines = sum(int(str(size)) for (size,) in other.query("SELECT bytes FROM alc.sessions WHERE owner = 'ann'"))
    for opened in (one, other, user):
        opened.close()

    assert over["error"].startswith("alc.state.set: your sessions and what they keep take 0.0 MiB with it, at most 0.0")
    assert (fits, users) == ({"result": None}, {"result": None})
    assert total == lines + 1 + 6002 + 3 + 1002  # keys and values, as JSON


def test_cards_of_a_principal_count_with_their_samples(database: Database) -> None:
    store, text = _quota_store(database, 1, 10_000), "v" * 3000
    outcomes = [
        store.call("card.create", {"card_id": "c", "pkg": {"name": "p"}, "text": text}),
        store.call("card.write_samples", "c", [text]),
        store.call("card.append", "c", {"more": "v" * 4000}),
        store.call("state.set", "k", "v" * 4000),
        store.call("card.alias_set", "x", "c", {"note": "v" * 4000}),
        store.call("card.append", "c", {"less": 1}),
        store.call("card.alias_set", "x", "c", {"note": "n"}),
    ]
    kept, listed = store.call("card.get", "c")["result"], store.call("card.alias_list", None)["result"]
    store.close()

    assert ["error" in outcome for outcome in outcomes] == [False, False, True, True, True, False, False]
    assert "your sessions and what they keep take" in outcomes[2]["error"]
    assert sorted(kept)[3:] == ["less", "pkg", "schema_version", "text"]
    assert [alias["note"] for alias in listed] == ["n"]


def test_over_the_quota_values_are_deleted_and_replaced_by_shorter_ones(database: Database) -> None:
    before = _quota_store(database, 1, 0)
    before.call("state.set", "k", "v" * 20_000)
    before.call("state.set", "other", 1)
    store = _quota_store(database, 1, 10_000)

    outcomes = [store.call("state.set", "k", "w" * length) for length in (20_001, 20_000, 19_000)]
    deleted = store.call("state.delete", "k")
    again = store.call("state.set", "other", "v" * 5000)
    for opened in (before, store):
        opened.close()

    assert ["error" in outcome for outcome in outcomes] == [True, False, False]
    assert (deleted, again) == ({"result": True}, {"result": None})


def test_the_rows_of_an_owner_are_not_summed_for_each_change(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, summed, usage = _quota_store(database, 1, 100_000), list[str](), session_list.usage

    def count(connection: Connection, owner: str) -> tuple[int, int]:
        summed.append(owner)
        return usage(connection, owner)

    monkeypatch.setattr(session_list, "usage", count)
    outcomes = [store.call("state.set", f"k{n}", "v" * 9000) for n in range(12)]
    store.close()

    assert ["error" in outcome for outcome in outcomes] == [False] * 11 + [True]
    assert summed == ["ann"] * 2  # at the first change, and before the refusal


# ── nodes that die ────────────────────────────────────────────────────────────────────────────────────────


class Sender:
    """tests/cluster/effect_sender.py, as a process that ends with the test."""

    def __init__(self, database: Database, output: Path, *arguments: str) -> None:
        self._output = output
        with open(output, "wb") as file:
            command = [sys.executable, "-m", "tests.cluster.effect_sender", *arguments]
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file, text=True)
        self.say(database._url)
        until_blocking(lambda: self.said()[:1] == ["ready"])

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def said(self) -> list[str]:
        """The whole lines."""
        return self._output.read_text().rpartition("\n")[0].split("\n")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)


@pytest.fixture
def sender(database: Database, store: StateStore, tmp_path: Path) -> Iterator[Callable[..., Sender]]:
    senders: list[Sender] = []

    def start(sid: str = SID, when: str = "-", call: str = "incr") -> Sender:
        arguments = (sid, str(store.epochs[sid]), when, call)
        senders.append(Sender(database, tmp_path / str(len(senders)), *arguments))
        return senders[-1]

    yield start
    for started in senders:
        started.close()


@pytest.mark.parametrize(("when", "left"), [("written", []), ("committed", [1.0])])
def test_a_change_happens_once_wherever_its_node_is_killed(
    store: StateStore, sender: Callable[..., Sender], when: str, left: list[object]
) -> None:
    killed = sender(when=when)
    killed.say("0")
    killed.process.wait(60)
    until_blocking(lambda: _count(store) == left)
    _taken_by_another(store)

    outcomes = [store.send(message(SID, store.epochs[SID], 0)) for _ in range(2)]

    assert outcomes == [{"result": 1.0}] * 2
    assert _count(store) == [1.0]


@pytest.mark.parametrize(("when", "left"), [("written", 0), ("committed", 1)])
def test_a_card_is_made_once_wherever_its_node_is_killed(
    store: StateStore, sender: Callable[..., Sender], when: str, left: int
) -> None:
    killed = sender(when=when, call="create")
    killed.say("0")
    killed.process.wait(60)
    until_blocking(lambda: len(store.reader.cards()) == left)
    _taken_by_another(store)

    first, again = (store.send(message(SID, store.epochs[SID], 0, "create")) for _ in range(2))

    assert first == again
    assert [line["card_id"] for line in store.reader.cards()] == [first["result"]["card_id"]]


def test_a_node_that_was_frozen_in_the_middle_of_a_change_has_not_made_it(
    store: StateStore, sender: Callable[..., Sender]
) -> None:
    frozen = sender(when="written:stop")
    frozen.say("0")
    until_blocking(lambda: "T" in Path(f"/proc/{frozen.process.pid}/stat").read_text().rpartition(")")[2].split()[0])
    _end_backend(store)
    _taken_by_another(store)
    made = store.send(message(SID, store.epochs[SID], 0))
    frozen.process.send_signal(signal.SIGCONT)
    until_blocking(lambda: len(frozen.said()) > 1)

    assert made == {"result": 1.0}
    assert "code" in json.loads(frozen.said()[1])
    assert _count(store) == [1.0]


def _end_backend(store: StateStore) -> None:
    """As the database does itself when a client was silent in a transaction for IDLE_S."""
    store.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE state = 'idle in transaction' AND pid <> pg_backend_pid()"
    )


@pytest.mark.slow
def test_nodes_that_change_one_key_at_once_lose_no_count(store: StateStore, sender: Callable[..., Sender]) -> None:
    senders = [sender(SID), sender(OTHER)]
    for n in range(50):
        for started in senders:
            started.say(str(n))
    for started in senders:
        until_blocking(lambda: len(started.said()) == 51)  # noqa: B023

    assert _count(store) == [100.0]


# ── connections and databases that fail ───────────────────────────────────────────────────────────────────


class LosesOnce(Effects):
    """Loses its connection `before` or `after` its first commit."""

    def __init__(self, database: Database, when: str) -> None:
        super().__init__(database, Limits())
        self._when = when
        self.attempts = 0

    def _attempt(self, connection: Connection, request: Record) -> Record:
        self.attempts += 1
        if self.attempts > 1:
            return super()._attempt(connection, request)
        if self._when == "after":
            super()._attempt(connection, request)
        connection.close()
        raise psycopg.OperationalError("the connection is lost")


def _sent(connect: Callable[[], Connection], effects: Effects, request: Record, limit_s: float = 60.0) -> Record:
    """As the service for keepers does it: again on another connection while the last one was lost."""
    deadline = time.monotonic() + limit_s
    while True:
        connection: Connection | None = None
        try:
            connection = connect()
            return effects.perform(connection, request)
        except StorageFailed:
            if (connection is not None and not connection.closed) or time.monotonic() > deadline:
                raise
        finally:
            if connection is not None:
                connection.close()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_connection_that_is_lost_at_the_commit_doubles_nothing(
    store: StateStore, database: Database, when: str
) -> None:
    effects = LosesOnce(database, when)

    reply = _sent(database.connect, effects, store.request("state.incr", "c", 1, 0, sid=SID))

    assert reply == {"outcome": {"result": 1.0}}
    assert effects.attempts == 2
    assert _count(store) == [1.0]


@pytest.mark.parametrize(("when", "left"), [("before", []), ("after", [1.0])])
def test_a_change_in_doubt_is_never_said_to_have_failed(
    store: StateStore, database: Database, when: str, left: list[object]
) -> None:
    effects = LosesOnce(database, when)
    request = store.request("state.incr", "c", 1, 0, sid=SID)
    lost, blocker, blocked = (database.connect() for _ in range(3))
    with pytest.raises(StorageFailed) as first:
        effects.perform(lost, request)
    blocked.execute("SET lock_timeout = 1")
    with blocker.transaction():
        blocker.execute("SELECT 1 FROM alc.sessions FOR UPDATE")
        with pytest.raises(StorageFailed, match="is changed by another process") as second:
            effects.perform(blocked, request)
    for connection in (blocker, blocked):
        connection.close()

    assert [first.value.code, second.value.code] == [IN_DOUBT] * 2
    assert _count(store) == left
    assert store.send(request) == {"result": 1.0}


def test_a_namespace_that_another_change_holds_is_a_failure_that_changes_nothing(
    store: StateStore, database: Database
) -> None:
    holder, other = database.connect(), database.connect()
    other.execute("SET lock_timeout = 1")
    with holder.transaction():
        store.effects._once(holder, store.request("state.incr", "c", 1, 0, sid=SID))
        with pytest.raises(StorageFailed, match="is changed by another process") as caught:
            store.effects.perform(other, store.request("state.incr", "c", 1, 0, sid=OTHER))
    for connection in (holder, other):
        connection.close()

    assert caught.value.code == "storage_failed"
    assert _count(store) == [1.0]


def test_two_nodes_do_not_change_the_cards_of_an_owner_at_the_same_time(store: StateStore, database: Database) -> None:
    holder, other = database.connect(), database.connect()
    other.execute("SET lock_timeout = 1")
    with holder.transaction():
        store.effects._once(holder, store.request("card.create", {"pkg": {"name": "p"}}, sid=SID))
        with pytest.raises(StorageFailed, match="is changed by another process"):
            store.effects.perform(other, store.request("card.create", {"pkg": {"name": "q"}}, sid=OTHER))
        assert store.call("state.set", "k", 1, sid=OTHER) == {"result": None}
    for connection in (holder, other):
        connection.close()

    assert [line["pkg"] for line in store.reader.cards()] == ["p"]


def test_other_namespaces_are_not_held(store: StateStore, database: Database) -> None:
    holder = database.connect()
    with holder.transaction():
        store.effects._once(holder, store.request("state.incr", "c", 1, 0, sid=SID))
        outcome = store.call("state.incr", "c", 1, 0, sid=OTHER, namespace="other")
    holder.close()

    assert outcome == {"result": 1.0}


def test_a_change_waits_for_a_database_that_comes_back(
    store: StateStore, database: Database, postgres: Postgres
) -> None:
    request = store.request("state.incr", "c", 1, 0, sid=SID)
    postgres.end(signal.SIGQUIT)
    replies: list[Record] = []
    is_tried = threading.Event()

    def connect() -> Connection:
        try:
            return database.connect()
        finally:
            is_tried.set()

    waiting = threading.Thread(target=lambda: replies.append(_sent(connect, store.effects, request)))
    waiting.start()
    try:
        assert is_tried.wait(60)
    finally:
        postgres.start()
    waiting.join(60)
    again = StateStore(database, Limits(), [])

    assert replies == [{"outcome": {"result": 1.0}}]
    assert again.query("SELECT key, value FROM alc.state") == [(b"c", "1.0")]
    again.close()


def test_a_database_that_stays_away_gets_a_sentence_in_bounded_time(
    store: StateStore, database: Database, postgres: Postgres
) -> None:
    request = store.request("state.incr", "c", 1, 0, sid=SID)
    postgres.end(signal.SIGQUIT)
    try:
        with pytest.raises(StorageFailed, match="start it, or correct the URL") as caught:
            _sent(database.connect, store.effects, request, limit_s=0.2)
    finally:
        postgres.start()

    assert caught.value.code == IN_DOUBT
