"""Journals as rows: one row per record, appended by one owner, durable with the commit of their transaction.

Owning. `create` and `lock` give a journal a new epoch and a lease, by the clock of the database. While the lease holds,
nobody else gets the lock; each flush renews it, `close` gives it back, and after the end of its owner it runs out. A
session that a live node holds (see commit_service.py) is not given away either. Each write compares the epoch in the
same statement that locks the row of the session. So an owner that was frozen beyond its lease, or cut off, finds a
newer epoch and writes nothing (StorageBroken, code `fenced`); where nobody has come in between, it goes on.

Flushing. Records wait in memory and go out in one transaction, with the length of the journal. Where the connection is
lost, the commit may have happened or not. Then the connection is opened again within RECONNECT_S, and the same
transaction is sent again: the length that it expects is there only if the first one did not commit. If it is not, the
rows with this epoch tell whether they came from here. Epochs are of one sequence, so no two owners have the same.

Lines are those of a file, with their checksum, but without marks: what is committed is flushed. A row that is missing
or damaged makes the journal corrupt, as in a file.
"""

import json
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import count

from algocline_mcp.cluster import schema
from algocline_mcp.cluster.connection import STATEMENT_S, Connection, Database, bounded
from algocline_mcp.errors import AlcError, JournalCorrupt, Refused, StorageBroken, StorageFailed, whole
from algocline_mcp.session.owner import USER
from algocline_mcp.session.records import Record
from algocline_mcp.session.results import line_of, reads_environment
from algocline_mcp.session.state import Session, evolve
from algocline_mcp.storage.journal_lines import decode, encode
from algocline_mcp.storage.session_journal import Take

LEASE_S = 30.0
RECONNECT_S = 60.0  # a database that was killed replays its log before it takes connections
_BACK_OFF_S = (0.05, 1.0)  # between two attempts: the first, the longest
_BATCH_BYTES = 1 << 23  # go out in one statement
_PAGE = 64  # rows; each may be as large as a pause


class SessionRows:
    """The sessions of one database, over one connection, which is opened again after it was lost."""

    def __init__(self, database: Database, *, lease_s: float = LEASE_S) -> None:
        """Raises as `connection`."""
        self.database = database
        self.lease_s = lease_s
        self.node = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._connection = self._connect()

    @property
    def connection(self) -> Connection:
        """Raises StorageFailed; Refused where the tables are of another version."""
        if self._connection.closed:
            self._connection = self._connect()
        return self._connection

    def _connect(self) -> Connection:
        connection = self.database.connect()
        try:
            schema.check(connection, self.database)
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        self._connection.close()

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """The rows of one statement, a transaction of its own. Raises StorageFailed."""
        connection = self.connection
        with self.database.sentences(), bounded(connection):
            cursor = connection.execute(sql.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def sids(self) -> list[str]:
        """Newest first."""
        rows = self.query("""SELECT sid FROM alc.sessions WHERE length > 0 ORDER BY sid COLLATE "C" DESC""")
        return [str(sid) for (sid,) in rows]

    def records(self, sid: str) -> Iterator[Record]:
        """What is committed, in bounded memory; nothing for an unknown id. Raises JournalCorrupt, StorageFailed."""
        for start in count(step=_PAGE):
            rows = self.query(
                "SELECT n, line FROM alc.records WHERE sid = %s AND n >= %s ORDER BY n LIMIT %s", (sid, start, _PAGE)
            )
            for expected, (n, line) in enumerate(rows, start):
                record = decode(str(line).encode("ascii", "replace"))
                if n != expected or record is None:
                    raise JournalCorrupt(f"{sid} in {self.database.label}", expected + 1)
                yield record
            if len(rows) < _PAGE:
                return

    def create(self, header: Record, *, limit: int = 1 << 62) -> "RowsJournal":
        """A new journal with its header appended, not yet flushed: until then nobody sees it. Raises StorageFailed;
        `flush` raises Refused where the session is there already."""
        ((epoch,),) = self.query("SELECT nextval('alc.epochs')")
        journal = RowsJournal(self, str(header["sid"]), int(str(epoch)), Session(), limit=limit)
        journal.append(header)
        return journal

    def lock(self, sid: str, take: Take = lambda record, place: None, *, limit: int = 1 << 62) -> "RowsJournal | None":
        """The journal, whose records went to `take`, or None where another owner has it. Raises FileNotFoundError,
        JournalCorrupt, StorageFailed; IllegalRecord where the records make no session of this version."""
        rows = self.query(
            "UPDATE alc.sessions SET epoch = nextval('alc.epochs'), node = %s, held_by = '', "
            "lease_until = clock_timestamp() + make_interval(secs => %s) "
            "WHERE sid = %s AND lease_until < clock_timestamp() AND NOT EXISTS "
            "(SELECT 1 FROM alc.nodes WHERE nodes.node = held_by AND nodes.lease_until > clock_timestamp()) "
            "RETURNING epoch, length",
            (self.node, self.lease_s, sid),
        )
        if not rows:
            if not self.query("SELECT 1 FROM alc.sessions WHERE sid = %s", (sid,)):
                raise FileNotFoundError(sid)
            return None
        epoch, length = (int(str(value)) for value in rows[0])
        journal = RowsJournal(self, sid, epoch, Session(), limit=limit)
        try:
            journal.adopt(take, length)
        except BaseException:
            with suppress(AlcError):
                journal.close()
            raise
        return journal


class RowsJournal:
    """As SessionJournal says; used on one thread."""

    def __init__(self, rows: SessionRows, sid: str, epoch: int, session: Session, *, limit: int) -> None:
        self.size = 0
        self.sid, self.epoch = sid, epoch
        self._rows = rows
        self._session = session
        self._hides = False  # the session has read its environment
        self._limit = limit
        self._length = 0  # records that are committed
        self._unflushed: list[str] = []

    def adopt(self, take: Take, length: int) -> None:
        """Raises as SessionRows.lock."""

        def fold(record: Record, place: int) -> None:
            self._fold(record)
            self.size += len(encode(record, 0))
            take(record, place)

        self.read(fold)
        if self._length != length:
            raise JournalCorrupt(f"{self.sid} in {self._rows.database.label}", self._length + 1)

    def read(self, take: Take) -> None:
        number = -1
        for number, record in enumerate(self._rows.records(self.sid)):
            take(record, number)
        self._length = number + 1
        for place, line in enumerate(self._unflushed, self._length):
            take(self._decoded(line), place)

    def record_at(self, place: int) -> Record:
        if place >= self._length:
            return self._decoded(self._unflushed[place - self._length])
        rows = self._rows.query("SELECT line FROM alc.records WHERE sid = %s AND n = %s", (self.sid, place))
        return self._decoded(str(rows[0][0]) if rows else "")

    def _decoded(self, line: str) -> Record:
        record = decode(line.encode("ascii", "replace"))
        if record is None:
            raise StorageBroken(f"{self._rows.database.label} lost a record of {self.sid}: restore it from a copy")
        return record

    def append(self, record: Record) -> None:
        line = encode(record, 0)
        if self.size + len(line) > self._limit:
            raise StorageFailed(
                f"journal {self.sid} in {self._rows.database.label} would grow over {self._limit} bytes: start the "
                "strategy again with less work, or raise ALC_JOURNAL_BYTES",
                code="journal_full",
            )
        self._fold(record)
        self._unflushed.append(line[:-1].decode())
        self.size += len(line)

    def _fold(self, record: Record) -> None:
        evolve(self._session, record)
        self._hides = self._hides or reads_environment(record)

    def flush(self) -> None:
        if not self._unflushed:
            return
        self._until_connected(self._commit)
        self._length += len(self._unflushed)
        self._unflushed = []

    def close(self) -> None:
        self._rows.query(
            "UPDATE alc.sessions SET lease_until = clock_timestamp() WHERE sid = %s AND epoch = %s",
            (self.sid, self.epoch),
        )

    def _until_connected(self, commit: Callable[[Connection], None]) -> None:
        """Tries again while the connection is lost. Raises StorageBroken."""
        deadline = time.monotonic() + RECONNECT_S
        pause_s, longest_s = _BACK_OFF_S
        while True:
            connection: Connection | None = None
            try:
                connection = self._rows.connection
                with self._rows.database.sentences():
                    commit(connection)
                return
            except StorageBroken:
                raise
            except StorageFailed as exc:
                is_lost = connection is None or connection.closed
                if not is_lost or time.monotonic() > deadline:
                    raise StorageBroken(str(exc), code=exc.code) from exc
            time.sleep(pause_s)  # nothing announces that a database is back; RECONNECT_S in all
            pause_s = min(2 * pause_s, longest_s)

    def _commit(self, connection: Connection) -> None:
        batches = _batches(self._unflushed)
        with bounded(connection, (2 + len(batches)) * STATEMENT_S), connection.transaction():
            if not self._extend(connection):
                if self._is_committed(connection):
                    return
                raise (
                    self._fenced()
                    if self._length
                    else Refused(f"session {self.sid} is in {self._rows.database.label} already: try again")
                )
            numbers = count(self._length)
            for batch in batches:
                with connection.cursor().copy("COPY alc.records (sid, n, epoch, line) FROM STDIN") as copy:
                    for line in batch:
                        copy.write_row((self.sid, next(numbers), self.epoch, line))

    def _extend(self, connection: Connection) -> bool:
        """Locks the row of the session and makes it longer, or makes the row; not if there is another owner, or it is
        of another length."""
        end = self._length + len(self._unflushed)
        summary = json.dumps(line_of(self._session, hides=self._hides))
        size = sum(len(line) + 1 for line in self._unflushed)
        values = (str(self._session.phase), end, summary, size, self._rows.lease_s)
        if self._length:
            sql = (
                "UPDATE alc.sessions SET phase = %s, length = %s, summary = %s, bytes = bytes + %s, "
                "changed_at = clock_timestamp(), lease_until = clock_timestamp() + make_interval(secs => %s) "
                "WHERE sid = %s AND epoch = %s AND length = %s"
            )
            return connection.execute(sql, (*values, self.sid, self.epoch, self._length)).rowcount == 1
        sql = (
            "INSERT INTO alc.sessions (phase, length, summary, bytes, lease_until, sid, epoch, node, owner, project) "
            "VALUES (%s, %s, %s, %s, clock_timestamp() + make_interval(secs => %s), %s, %s, %s, %s, %s) "
            "ON CONFLICT DO NOTHING"
        )
        header = self._session.header
        names = (header.get("owner") or USER, whole(header.get("project") or ""))
        return connection.execute(sql, (*values, self.sid, self.epoch, self._rows.node, *names)).rowcount == 1

    def _is_committed(self, connection: Connection) -> bool:
        """An earlier attempt, of which no reply came, did it."""
        row = connection.execute(
            "SELECT count(*) FROM alc.records WHERE sid = %s AND epoch = %s AND n >= %s AND n < %s",
            (self.sid, self.epoch, self._length, self._length + len(self._unflushed)),
        ).fetchone()
        return row == (len(self._unflushed),)

    def _fenced(self) -> StorageBroken:
        return StorageBroken(
            f"session {self.sid} has a newer owner in {self._rows.database.label}, nothing was written: read it there",
            code="fenced",
        )


def _batches(lines: Sequence[str]) -> list[list[str]]:
    batches: list[list[str]] = [[]]
    size = 0
    for line in lines:
        if size > _BATCH_BYTES:
            batches.append([])
            size = 0
        batches[-1].append(line)
        size += len(line)
    return batches
