"""A node commits for its keepers: together, each as a whole, once, and only what it holds."""

import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from algocline_mcp.cluster import commit_service, group_commit, session_list
from algocline_mcp.cluster.commit_service import Request
from algocline_mcp.cluster.connection import Connection, Database
from algocline_mcp.cluster.group_commit import Commit
from algocline_mcp.cluster.keeper_sockets import KeeperSocket, KeeperSockets
from algocline_mcp.cluster.link import Link
from algocline_mcp.errors import AlcError, StorageBroken
from algocline_mcp.session.records import Record
from algocline_mcp.worker.keeper import node_journal
from algocline_mcp.worker.keeper.node_journal import NodeJournal
from tests.cluster.postgres import Postgres
from tests.cluster.small_node import SmallNode, small_node, taken
from tests.rig.journals import answer, header, prompt, sid_of
from tests.rig.processes import until_blocking

SIDS = [sid_of(number) for number in range(12)]
SID = SIDS[0]
LIMIT_S = 60


@pytest.fixture
def node(database: Database, tmp_path: Path) -> Iterator[SmallNode]:
    with small_node(database, tmp_path / "node.socket") as started:
        yield started


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


def begun(node: SmallNode, sid: str = SID, *, is_counting: bool = False) -> NodeJournal:
    """A new session whose header is committed."""
    journal = node.journal(sid, is_counting=is_counting)
    journal.take(header(sid))
    commit(journal)
    return journal


def commit(journal: NodeJournal, *records: Record, phase: str = "paused") -> None:
    for record in records:
        journal.add(record)
    journal.commit(phase, {"session_id": "some", "status": phase}, "/project")


def test_what_a_keeper_appends_is_in_the_database_when_its_commit_returns(node: SmallNode) -> None:
    journal = begun(node)
    commit(journal, prompt("q-0"))
    commit(journal, answer("q-0"), phase="running")
    commit(journal)

    assert node.kinds(SID) == ["header", "prompt", "answer"]
    assert node.column(SID, "phase") == "running"
    assert node.column(SID, "held_by") == node.column(SID, "node") == node.holds.node
    assert node.column(SID, "project") == "/project"
    assert json.loads(str(node.column(SID, "summary")))["status"] == "running"
    assert node.column(SID, "bytes") == 3 + sum(len(line) for line in _lines(node))


def _lines(node: SmallNode) -> list[str]:
    with node.database.connect() as connection:
        return [str(line) for (line,) in connection.execute("SELECT line FROM alc.records").fetchall()]


def test_a_keeper_that_comes_later_commits_what_its_file_has_beyond_the_database(node: SmallNode) -> None:
    begun(node)
    later = node.journal(SID)
    for stored in (header(SID), {"kind": "flushed", "s": 9}, prompt("q-0"), answer("q-0")):
        later.take(stored)
    commit(later)

    assert node.kinds(SID) == ["header", "prompt", "answer"]


def test_a_file_that_lacks_what_is_committed_is_refused(node: SmallNode) -> None:
    commit(begun(node), prompt("q-0"))
    later = node.journal(SID)
    later.take(header(SID))
    later.add(answer("q-0"))

    with pytest.raises(StorageBroken, match=r"has 1 records, the database has 2: ask again"):
        commit(later)
    assert node.kinds(SID) == ["header", "prompt"]


def test_many_records_go_out_in_messages_and_transactions_of_limited_size(
    node: SmallNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = list[int]()
    real = group_commit.commit

    def seen(connection: Connection, name: str, commits: list[Commit]) -> set[str]:
        sizes.append(sum(each.size for each in commits))
        return real(connection, name, commits)

    monkeypatch.setattr(group_commit, "commit", seen)
    journal = begun(node)
    long = "x" * (1 << 20)
    commit(journal, *(answer("q", long) for _ in range(7)), answer("q", long * 5))

    assert node.kinds(SID) == ["header", *["answer"] * 8]
    assert [size >> 20 for size in sizes] == [0, 3, 3, 1, 5]


def test_a_session_that_another_node_has_taken_is_fenced_and_dropped(node: SmallNode) -> None:
    journal = begun(node)
    taken(node.database, SID, "other")
    node.holds.gives = False

    with pytest.raises(StorageBroken, match="held by another server") as caught:
        commit(journal, prompt("q-0"))
    again = node.journal(SID)
    with pytest.raises(StorageBroken) as refused:
        again.receive()

    assert caught.value.code == refused.value.code == "fenced"
    assert node.holds.of(SID) is None
    assert node.kinds(SID) == ["header"]


def test_a_keeper_of_an_older_hold_of_the_same_node_is_fenced(node: SmallNode) -> None:
    old = begun(node)
    node.holds.drop(SID)
    new = node.journal(SID)
    new.take(header(SID))
    commit(new, prompt("q-0"))

    with pytest.raises(StorageBroken) as caught:
        commit(old, prompt("q-1"))
    commit(new, answer("q-0"))

    assert caught.value.code == "fenced"
    assert new.epoch > old.epoch
    assert node.kinds(SID) == ["header", "prompt", "answer"]


def test_of_keepers_that_commit_together_the_fenced_one_alone_is_refused(
    node: SmallNode, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    journals = [begun(node, sid) for sid in SIDS]
    taken(node.database, SIDS[7], "other")

    replies, groups = committed_together(node, threads, monkeypatch, journals)

    assert [_code(reply) for reply in replies] == ["fenced" if sid == SIDS[7] else None for sid in SIDS]
    assert len(groups) <= 4
    assert [node.kinds(sid) for sid in SIDS] == [["header"] if sid == SIDS[7] else ["header", "prompt"] for sid in SIDS]


def committed_together(
    node: SmallNode, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, journals: list[NodeJournal]
) -> tuple[list[Future[None]], list[int]]:
    """A prompt of each, while the database lets nobody write: the first ones wait, and the rest gathers. Returns the
    results, and how many sessions each transaction had."""
    sizes, sent = list[int](), list[str]()
    real, send = group_commit.commit, NodeJournal._send

    def seen(connection: Connection, name: str, commits: list[Commit]) -> set[str]:
        sizes.append(len(commits))
        return real(connection, name, commits)

    def counted(journal: NodeJournal, message: Record) -> None:
        send(journal, message)
        sent.append(message["op"])

    monkeypatch.setattr(group_commit, "commit", seen)
    monkeypatch.setattr(NodeJournal, "_send", counted)
    with node.database.connect() as other, other.transaction():
        other.execute("LOCK TABLE alc.sessions IN ACCESS EXCLUSIVE MODE")
        replies = [threads.submit(commit, journal, prompt("q-0")) for journal in journals]
        until_blocking(lambda: sizes and len(sent) == len(journals))
    return replies, sizes


def _code(reply: Future[None]) -> str | None:
    error = reply.exception(LIMIT_S)
    assert error is None or isinstance(error, AlcError), error
    return error.code if error is not None else None


def test_a_commit_that_fails_alone_does_not_take_the_others_with_it(
    node: SmallNode, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    journals = [begun(node, sid) for sid in SIDS]
    with node.database.connect() as connection:
        connection.execute(f"ALTER TABLE alc.sessions ADD CHECK (sid <> '{SIDS[4]}' OR length < 2)".encode())

    replies, groups = committed_together(node, threads, monkeypatch, journals)

    assert [_code(reply) for reply in replies] == ["storage_failed" if sid == SIDS[4] else None for sid in SIDS]
    assert max(groups) > 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_connection_that_is_lost_at_the_commit_loses_and_doubles_nothing(
    node: SmallNode, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    monkeypatch.setattr(group_commit, "commit", lost_at_each_second_call(when))
    journal = begun(node)
    commit(journal, prompt("q-0"))
    commit(journal, answer("q-0"))

    assert node.kinds(SID) == ["header", "prompt", "answer"]


def lost_at_each_second_call(when: str) -> Callable[[Connection, str, list[Commit]], set[str]]:
    real, calls = group_commit.commit, list[int]()

    def lose(connection: Connection, name: str, commits: list[Commit]) -> set[str]:
        calls.append(1)
        is_lost = len(calls) % 2 == 1
        result = real(connection, name, commits) if not is_lost or when == "after" else set()
        if is_lost:
            connection.close()
            raise psycopg.OperationalError("the connection is lost")
        return result

    return lose


def test_a_commit_without_a_reply_counts_although_another_node_has_come(
    node: SmallNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = group_commit.commit
    journal = begun(node)

    def lost_and_taken(connection: Connection, name: str, commits: list[Commit]) -> set[str]:
        monkeypatch.setattr(group_commit, "commit", real)
        real(connection, name, commits)
        taken(node.database, SID, "other")
        connection.close()
        raise psycopg.OperationalError("the connection is lost")

    monkeypatch.setattr(group_commit, "commit", lost_and_taken)
    commit(journal, prompt("q-0"))
    with pytest.raises(StorageBroken) as caught:
        commit(journal, answer("q-0"))

    assert caught.value.code == "fenced"
    assert node.kinds(SID) == ["header", "prompt"]


def test_a_database_that_stays_away_is_one_sentence_in_bounded_time_and_the_hold_is_dropped(
    node: SmallNode, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit_service, "RECONNECT_S", 0.2)
    journal = begun(node)
    node.holds.gives = False
    postgres.end(signal.SIGQUIT)
    try:
        with pytest.raises(StorageBroken, match="start it, or correct the URL") as caught:
            commit(journal, prompt("q-0"))
    finally:
        postgres.start()

    assert caught.value.code == "database_unreachable"
    assert node.holds.of(SID) is None


def test_a_crash_of_the_database_delays_commits_and_loses_none(
    node: SmallNode, postgres: Postgres, threads: ThreadPoolExecutor
) -> None:
    sids = SIDS[:4]
    journals = [begun(node, sid) for sid in sids]
    postgres.end(signal.SIGQUIT)
    replies = [threads.submit(commit, journal, prompt("q-0")) for journal in journals]
    postgres.start()

    assert [_code(reply) for reply in replies] == [None] * 4
    assert [node.kinds(sid) for sid in sids] == [["header", "prompt"]] * 4


def test_the_commit_that_ends_a_session_deletes_its_marks(node: SmallNode) -> None:
    journals = [begun(node, sid) for sid in SIDS[:2]]
    with node.database.connect() as connection:
        for sid in SIDS[:2]:
            mark = (sid, "", 3, "state.set", "d", "{}")
            connection.execute("INSERT INTO alc.effects VALUES (%s, %s, %s, %s, %s, %s)", mark)
    for journal, phase in zip(journals, ("finished", "paused"), strict=True):
        commit(journal, {"kind": "note"}, phase=phase)

    with node.database.connect() as connection:
        assert connection.execute("SELECT sid FROM alc.effects").fetchall() == [(SIDS[1],)]


def test_a_commit_reads_sessions_by_their_key_however_many_there_are(node: SmallNode) -> None:
    link = Link(node.database, threading.Event())
    given = {"sid": SID, "epoch": 1, "length": 1, "ending": 2, "phase": "finished", "summary": "{}", "size": 9}
    record = {"sid": SID, "n": 1, "epoch": 1, "line": "line"}
    parameters = [json.dumps([given]), "node", "node", json.dumps([record])]
    parts = (group_commit._COMMIT, group_commit._FORGOTTEN, group_commit._COUNTED, group_commit._COMMITTED)
    sql = f"EXPLAIN {''.join(parts)}".encode()
    rows = link.run(lambda connection: connection.execute(sql, parameters).fetchall(), lambda: LIMIT_S)
    link.close()

    plan = "\n".join(str(line) for (line,) in rows)
    assert "Index" in plan
    assert "Seq Scan on" not in plan


def test_a_reply_that_was_read_since_the_poll_is_not_the_end_of_the_node(node: SmallNode) -> None:
    """Engine and node may be readable in one round: the commit for the engine reads the reply to `open`."""
    journal = begun(node)
    journal.receive()
    is_gone = journal.is_gone
    commit(journal, prompt("q-0"))
    node.service.end_keepers()
    journal.receive()

    assert (is_gone, journal.is_gone) == (False, True)
    assert node.kinds(SID) == ["header", "prompt"]


# ── the quota of prompts ──────────────────────────────────────────────────────────────────────────────────


def _prompts(node: SmallNode) -> int:
    with node.database.connect() as connection:
        return session_list.prompts_today(connection, "")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_prompt_counts_once_with_its_record(node: SmallNode, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    monkeypatch.setattr(group_commit, "commit", lost_at_each_second_call(when))
    journals = [begun(node, sid, is_counting=True) for sid in SIDS[:2]]
    for journal in journals:
        commit(journal, prompt("q-0", "q-1"), answer("q-0"), prompt("q-2"))
        commit(journal, answer("q-1"))

    assert _prompts(node) == 6


def test_prompts_of_sessions_that_commit_together_count_for_their_owner(
    node: SmallNode, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    journals = [begun(node, sid, is_counting=True) for sid in SIDS]
    taken(node.database, SIDS[7], "other")

    _, groups = committed_together(node, threads, monkeypatch, journals)

    until_blocking(lambda: _prompts(node) == len(SIDS) - 1)  # without the one that is fenced
    assert max(groups) > 1


def test_prompts_count_that_a_killed_keeper_left_in_its_file_and_not_those_of_a_branch(node: SmallNode) -> None:
    begun(node, is_counting=True)
    later, branch = node.journal(SID, is_counting=True), node.journal(SIDS[1], is_counting=True)
    for journal in (later, branch):
        for stored in (header(SID), prompt("q-0"), answer("q-0")):
            journal.take(stored)
        commit(journal)

    assert _prompts(node) == 1


def test_prompts_without_a_quota_are_not_counted(node: SmallNode) -> None:
    commit(begun(node), prompt("q-0"))

    assert _prompts(node) == 0


class CountedEffects:
    def perform(self, connection: Connection, request: dict[str, Any]) -> dict[str, Any]:
        row = connection.execute("SELECT count(*) FROM alc.sessions").fetchone()
        return {"outcome": {"result": [request["name"], row]}}


def test_an_effect_is_performed_on_a_connection_of_its_own(database: Database, tmp_path: Path) -> None:
    message = {"op": "effect", "sid": SID, "name": "state.set", "sent_at": time.monotonic()}
    with small_node(database, tmp_path / "effects", CountedEffects()) as node:
        begun(node)
        assert _asked(node, message) == [{"outcome": {"result": ["state.set", [1]]}}] * 2
    with small_node(database, tmp_path / "none") as node:
        (reply, _) = _asked(node, message)
        assert reply["error"].startswith("this server keeps no state of strategies in its database")


def _asked(node: SmallNode, message: dict[str, Any]) -> list[dict[str, Any]]:
    """The replies to the message, sent twice over one connection."""
    with socket.socket(socket.AF_UNIX) as sock, sock.makefile("rb") as replies:
        sock.connect(str(node.path))
        received = list[dict[str, Any]]()
        for _ in range(2):
            sock.sendall(json.dumps(message).encode() + b"\n")
            received.append(json.loads(replies.readline()))
        return received


@pytest.mark.parametrize(
    "nonsense", [b"nonsense\n", b"[]\n", b'{"op": "open"}\n', b'{"op": "commit", "length": 0}\n', b'{"op":"x"}\n' * 2]
)
def test_nonsense_ends_its_own_connection_only(
    node: SmallNode, nonsense: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    journal = begun(node)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(node.path))
        sock.settimeout(LIMIT_S)
        sock.sendall(nonsense)
        assert sock.recv(100) == b""
    commit(journal, prompt("q-0"))
    capfd.readouterr()

    assert node.kinds(SID) == ["header", "prompt"]


def test_keepers_of_some_sessions_or_of_all_see_the_end(node: SmallNode) -> None:
    first, second = begun(node, SIDS[0]), begun(node, SIDS[1])
    node.service.end_keepers([SIDS[0]])
    with pytest.raises(StorageBroken, match="the server of this worker has ended"):
        commit(first, prompt("q-0"))
    commit(second, prompt("q-0"))
    node.service.end_keepers()
    with pytest.raises(StorageBroken, match="the server of this worker has ended"):
        commit(second, answer("q-0"))


def test_a_node_that_does_not_reply_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_journal, "COMMIT_S", 0.05)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent"))
        silent.listen()
        journal = NodeJournal(SID, "", str(tmp_path / "silent"))
        with pytest.raises(StorageBroken, match=r"did not commit within 0.05 s"):
            journal.commit("paused", {}, "")
        journal.close()
    with pytest.raises(StorageBroken, match="has ended"):
        NodeJournal(SID, "", str(tmp_path / "none"))


def test_a_transaction_has_one_request_of_a_session_and_is_of_limited_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit_service, "_BATCH_BYTES", 10)
    keeper = KeeperSocket(socket.socket())

    def request(sid: str, size: int = 1) -> Request:
        return Request(keeper, sid, {}, 0.0, Commit(sid, 1, 1, ["x" * (size - 1)], "paused", "{}"))

    requests = [request("a"), request("b", 3), request("a"), request("c", 9), request("d", 12), request("e")]
    batches = list(commit_service._batches(requests))
    keeper.close()

    assert batches == [requests[0:2], requests[2:4], requests[4:5], requests[5:6]]


def test_the_time_for_which_a_message_was_not_read_counts(
    node: SmallNode, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(node)
    attempts = list[Link]()
    real = Link._opened

    def counted(link: Link) -> Connection:
        attempts.append(link)
        return real(link)

    monkeypatch.setattr(Link, "_opened", counted)
    postgres.end(signal.SIGQUIT)
    try:
        (reply, _) = _asked(node, {"op": "open", "sid": SID, "sent_at": time.monotonic() - commit_service.RECONNECT_S})
    finally:
        postgres.start()

    assert reply["code"] == "database_unreachable"
    assert len(attempts) == 2  # one for each message


def test_a_thread_that_ends_before_it_is_woken_harms_nobody(tmp_path: Path) -> None:
    """It looks whether it shall end after each round of messages, so a round may be its last one by itself."""
    last_round = threading.Event()

    def process() -> None:
        sockets._is_ending = True
        last_round.set()

    sockets = KeeperSockets(tmp_path / "socket", lambda keeper, message: None, process)
    sockets.start()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(tmp_path / "socket"))
        assert last_round.wait(LIMIT_S)
        sockets._thread.join(LIMIT_S)
        sockets.stop(LIMIT_S, lambda: None)
        assert sock.recv(1) == b""
