"""The rows of a journal where owners freeze, connections break and the database crashes."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from algocline_mcp.cluster import rows as rows_module
from algocline_mcp.cluster.connection import Connection, Database
from algocline_mcp.cluster.rows import RowsJournal, SessionRows
from algocline_mcp.errors import Refused, StorageBroken
from tests.cluster.postgres import Postgres
from tests.cluster.writer import record
from tests.rig.journals import answer, header, prompt, sid_of
from tests.rig.processes import until_blocking

SID = sid_of(1)


@pytest.fixture
def rows(database: Database) -> Iterator[SessionRows]:
    opened = SessionRows(database)
    yield opened
    opened.close()


def _kinds(rows: SessionRows) -> list[str]:
    return [str(stored["kind"]) for stored in rows.records(SID)]


class Writer:
    """tests/cluster/writer.py, as a process that ends with the test."""

    def __init__(self, database: Database, sid: str, output: Path, lease_s: float) -> None:
        self._output = output
        with open(output, "wb") as file:
            command = [sys.executable, "-m", "tests.cluster.writer", sid, str(lease_s)]
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file, text=True)
        self.say(database._url)

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def said(self) -> list[str]:
        """The whole lines."""
        return self._output.read_text().rpartition("\n")[0].split()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)


@pytest.fixture
def writer(database: Database, tmp_path: Path) -> Iterator[Callable[..., Writer]]:
    writers: list[Writer] = []

    def start(sid: str = SID, lease_s: float = 30.0) -> Writer:
        writers.append(Writer(database, sid, tmp_path / sid, lease_s))
        return writers[-1]

    yield start
    for started in writers:
        if started.process.poll() is None:
            started.process.kill()
        started.close()


def test_an_owner_that_was_frozen_past_its_lease_writes_nothing(
    rows: SessionRows, writer: Callable[..., Writer]
) -> None:
    frozen = writer(lease_s=0.2)
    until_blocking(lambda: frozen.said() == ["0"])
    frozen.process.send_signal(signal.SIGSTOP)
    taken = list[RowsJournal]()

    def take() -> bool:
        taken.extend(filter(None, [rows.lock(SID)]))
        return bool(taken)

    until_blocking(take)  # and has written nothing yet: only the epoch is another

    frozen.say("1")
    frozen.process.send_signal(signal.SIGCONT)
    frozen.process.wait(60)
    taken[0].append(record(1))
    taken[0].flush()

    assert frozen.said() == ["0", "fenced"]
    assert _kinds(rows) == ["header", "prompt"]


def test_an_owner_that_was_frozen_and_not_replaced_goes_on(rows: SessionRows, writer: Callable[..., Writer]) -> None:
    frozen = writer(lease_s=0.001)
    until_blocking(lambda: frozen.said() == ["0"])

    frozen.say("2")
    until_blocking(lambda: frozen.said() == ["0", "1", "2"])

    assert _kinds(rows) == ["header", "prompt", "answer"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_connection_that_is_lost_at_the_commit_loses_and_doubles_nothing(
    rows: SessionRows, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    journal = rows.create(header(SID))
    for stage in (prompt("q-0"), answer("q-0")):  # the first makes the row of the session, the second changes it
        journal.append(stage)
        monkeypatch.setattr(journal, "_commit", _lost_once(journal, when))
        journal.flush()

    assert _kinds(rows) == ["header", "prompt", "answer"]


def _lost_once(journal: RowsJournal, when: str) -> Callable[[Connection], None]:
    commit, attempts = RowsJournal._commit, list[int]()

    def lost(connection: Connection) -> None:
        attempts.append(1)
        if len(attempts) > 1 or when == "after":
            commit(journal, connection)
        if len(attempts) == 1:
            connection.close()
            raise psycopg.OperationalError("the connection is lost")

    return lost


def test_a_commit_without_a_reply_counts_although_a_newer_owner_has_come(
    rows: SessionRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows.lease_s = 0.0
    other = SessionRows(rows.database)
    journal = rows.create(header(SID))
    lose = _lost_once(journal, "after")

    def lost_and_replaced(connection: Connection) -> None:
        try:
            lose(connection)
        except psycopg.OperationalError:
            assert other.lock(SID) is not None
            raise

    monkeypatch.setattr(journal, "_commit", lost_and_replaced)
    journal.flush()
    journal.append(prompt("q-0"))
    with pytest.raises(StorageBroken, match="has a newer owner") as caught:
        journal.flush()
    other.close()

    assert caught.value.code == "fenced"
    assert _kinds(rows) == ["header"]


def test_of_two_that_create_the_same_session_one_does(rows: SessionRows) -> None:
    first, second = rows.create(header(SID)), rows.create(header(SID, title="second"))
    first.flush()

    with pytest.raises(Refused, match="already"):
        second.flush()

    assert [stored["title"] for stored in rows.records(SID)] == ["made"]


def test_a_database_that_stays_away_gets_a_sentence_in_bounded_time(
    rows: SessionRows, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows_module, "RECONNECT_S", 0.2)
    journal = rows.create(header(SID))
    postgres.end(signal.SIGQUIT)
    try:
        with pytest.raises(StorageBroken, match="start it, or correct the URL"):
            journal.flush()
    finally:
        postgres.start()

    again = SessionRows(rows.database)
    assert again.sids() == []
    again.close()


def test_many_records_go_out_in_batches(rows: SessionRows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "_BATCH_BYTES", 1000)
    journal = rows.create(header(SID))
    for number in range(1, 301):
        journal.append(record(number))
    journal.flush()

    stored = list(rows.records(SID))

    assert [kept["t"] for kept in stored] == [1000.0 + number for number in range(301)]


def _has_said_more(writers: list[Writer], count: int) -> Callable[[], bool]:
    """Each of them, since this call."""
    before = [len(started.said()) for started in writers]
    return lambda: all(len(one.said()) > said + count for one, said in zip(writers, before, strict=True))


@pytest.mark.slow
def test_crashes_of_the_database_lose_and_double_nothing_that_was_flushed(
    database: Database, postgres: Postgres, writer: Callable[..., Writer]
) -> None:
    sids = [sid_of(number) for number in range(3)]
    writers = [writer(sid) for sid in sids]
    for started in writers:
        started.say("-")
    for _ in range(4):
        until_blocking(_has_said_more(writers, 20), 120)
        postgres.end(signal.SIGQUIT)
        postgres.start()
    for started in writers:
        started.close()

    rows = SessionRows(database)
    for sid, started in zip(sids, writers, strict=True):
        acknowledged = [int(number) for number in started.said()]
        times = [stored["t"] for stored in rows.records(sid)]
        assert acknowledged == list(range(len(acknowledged)))
        assert len(acknowledged) > 80
        assert times == [1000.0 + number for number in acknowledged]
    rows.close()
