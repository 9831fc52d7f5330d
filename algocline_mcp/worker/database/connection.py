"""The state database of a home, one SQLite file: what strategies keep for later runs, and the marks that make each
change happen once.

Contract: only keepers open it, each with one connection, for a moment, and a server that deletes a session, to take its
marks along. A change is one transaction: it stores the effect together with its mark (session, stream, number, digest)
and its result. If its keeper dies before the journal has the record, the replay asks for the same effect with the same
mark and gets the stored result; another digest raises MarkDiffers. A stream needs its last mark only, because the
journal is flushed before the next change: so there is at most one mark per stream of an unfinished session.

`synchronous=FULL`, since what the database has promised must outlive a power cut as the journal does. WAL, since a
commit is then one flush (measured: 0.2 ms, against 0.4 to 0.9 ms of the rollback modes; with four writers 0.2 against
1.8 ms), and a writer that was stopped keeps no reader out. SQLite before 3.51.3, which is what most systems have, can
damage a WAL database when one process begins a checkpoint while another commits and starts the log anew
(sqlite.org/wal.html, "the WAL-reset bug"): so a writer holds `flock` on the directory from before its transaction until
after the checkpoint that its commit may run, and the two never meet. It costs 1 µs, on fixed versions too. The last
connection to close runs its checkpoint alone: SQLite sees to that. Nothing waits: a lock that somebody else holds
raises Busy at once. A connection that cannot be used is an outcome `{error}`, which names file, cause and cure.
"""

import _sqlite3 as sqlite3  # not `sqlite3`: its Python half and datetime are 1 MiB in each worker that uses it
import contextlib
import fcntl
import hashlib
import json
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import StorageBroken
from algocline_mcp.session.records import Record
from algocline_mcp.storage.files import sync_directory
from algocline_mcp.worker.database import cards, key_value
from algocline_mcp.worker.database.call_scope import Busy, Declined, Mark, Places, Scope, change
from algocline_mcp.worker.engine.messages import Call
from algocline_mcp.worker.lowlevel.failpoints import reach

_FAMILIES = {"state": key_value, "card": cards}  # by the first part of a host function's name
_ARITIES = {name: arity for family in (key_value, cards) for name, (_, arity) in family.FUNCTIONS.items()}
# Host function -> whether it changes something.
FUNCTIONS = {name: changes for family in (key_value, cards) for name, (changes, _) in family.FUNCTIONS.items()}
_FORMAT = 2
_SCHEMA = (
    "CREATE TABLE state (namespace TEXT, key TEXT, value TEXT NOT NULL, PRIMARY KEY (namespace, key)) WITHOUT ROWID",
    "CREATE TABLE marks (sid TEXT, stream TEXT, n INTEGER NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, "
    "outcome TEXT NOT NULL, PRIMARY KEY (sid, stream)) WITHOUT ROWID",
    "CREATE TABLE sweep (last TEXT NOT NULL)",
    "INSERT INTO sweep VALUES ('')",
    *cards.SCHEMA,
    f"PRAGMA user_version = {_FORMAT}",
)
_CACHE_KIB = 256
_NO_CHECKPOINT_ON_CLOSE = 1006  # SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, which Python 3.11 does not name
_SWEPT = 50  # other sessions that are looked at when one is finished, round by round
_WRITE_LOCK = 120  # the byte of the -shm file that a writer locks (WAL_WRITE_LOCK in SQLite's wal.c)
_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_UNKNOWN = (sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_CURES = {
    sqlite3.SQLITE_FULL: "free some space there",
    sqlite3.SQLITE_CORRUPT: "restore it from a copy, or move it away to begin with an empty one",
    sqlite3.SQLITE_NOTADB: "restore it from a copy, or move it away to begin with an empty one",
    sqlite3.SQLITE_READONLY: "make it and its directory writable",
    sqlite3.SQLITE_CANTOPEN: "make it and its directory readable and writable",
}


class MarkDiffers(Exception):
    """This effect of the session has happened, but then it was another one. `recorded` is for people to read."""

    def __init__(self, recorded: Record) -> None:
        super().__init__("mark differs")
        self.recorded = recorded


class Database:
    def __init__(self, path: Path, limits: Limits, places: Places) -> None:
        self._path = path
        self._limits = limits
        self._places = places
        self._connection: sqlite3.Connection | None = None
        self._turn = -1  # descriptor of the directory, which is locked by whoever changes something

    def perform(self, call: Call, namespace: str, mark: Mark | None) -> Record:
        """`{result}` or `{error}`. With a mark: once, whatever dies. Raises Busy, Unfinished, MarkDiffers,
        StorageBroken."""
        try:
            connection = self._opened()
            scope = Scope(connection, self._limits, namespace, self._places, mark, self._turn)
            if len(call.args) != _ARITIES[call.name]:
                raise Declined(f"host function {call.name!r} cannot take {len(call.args)} such arguments")
            if call.name.startswith("card."):
                cards.take_in(scope, call)
            outcome = {"result": _carry_out(scope, call)} if mark is None else self._once(scope, call, mark)
            if (problem := cards.copy(scope, call, outcome["result"])) and "path" in outcome["result"]:
                outcome["result"]["warning"] = problem
            return outcome
        except Declined as exc:
            return {"error": str(exc)}
        except (sqlite3.Error, OSError) as exc:
            return {"error": f"alc.{call.name}: {self._translated(exc)}"}

    def _once(self, scope: Scope, call: Call, mark: Mark) -> Record:
        connection = scope.connection
        mine = digest(scope.namespace, call)
        with change(connection, self._turn):
            query = "SELECT n, name, digest, outcome FROM marks WHERE sid = ? AND stream = ?"
            found = connection.execute(query, (mark.sid, mark.stream)).fetchone()
            if found is not None and found[0] >= mark.n:
                if (found[0], found[2]) != (mark.n, mine):
                    raise MarkDiffers({"called": found[1], "n": found[0]})
                outcome: Record = json.loads(found[3])
                return outcome
            outcome = {"result": _carry_out(scope, call)}
            row = (mark.sid, mark.stream, mark.n, call.name, mine, json.dumps(outcome))
            connection.execute("REPLACE INTO marks VALUES (?, ?, ?, ?, ?, ?)", row)
            reach("effect.written")
            self._commit(connection)
            reach("effect.committed")
            return outcome

    def _commit(self, connection: sqlite3.Connection) -> None:
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as exc:
            if _code(exc, exact=True) in _UNKNOWN:
                raise StorageBroken(f"cannot flush {self._path}: {exc}; mend that disk, then ask again") from exc
            raise

    def forget(self, sid: str, is_unfinished: Callable[[str], bool]) -> None:
        """Never raises: what stays is removed when another session ends."""
        with contextlib.suppress(sqlite3.Error, OSError, Declined, Busy):
            connection = self._opened()
            with change(connection, self._turn):
                connection.execute("DELETE FROM marks WHERE sid = ?", (sid,))
                (last,) = connection.execute("SELECT last FROM sweep").fetchone()  # where the one before stopped
                query = "SELECT DISTINCT sid FROM marks WHERE sid > ? ORDER BY sid LIMIT ?"
                others = [each for (each,) in connection.execute(query, (last, _SWEPT))]
                gone = [(each,) for each in others if not is_unfinished(each)]
                connection.executemany("DELETE FROM marks WHERE sid = ?", gone)
                connection.execute("UPDATE sweep SET last = ?", (others[-1] if len(others) == _SWEPT else "",))
                connection.execute("COMMIT")

    def holder(self) -> str:
        """Who keeps it locked, for a sentence. Closes the connection first: POSIX takes the locks of a process off a
        file as soon as any descriptor of it is closed."""
        self.close()
        if sys.platform == "linux":
            with contextlib.suppress(OSError), open(f"{self._path}-shm", "rb") as file:
                asked = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, _WRITE_LOCK, 1, 0)
                kind, _, _, _, pid = struct.unpack("hhqqi", fcntl.fcntl(file, fcntl.F_GETLK, asked))
                if kind != fcntl.F_UNLCK:
                    return f"process {pid}"
        return "another process"

    def close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            with contextlib.suppress(sqlite3.Error):
                connection.close()
            os.close(self._turn)

    # ── opening ───────────────────────────────────────────────────────────────────────────────────────────

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._create_file()
            with contextlib.ExitStack() as undone:
                self._turn = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                undone.callback(os.close, self._turn)
                connection = sqlite3.connect(self._path, timeout=0, isolation_level=None)
                undone.callback(connection.close)
                self._settle(connection)
                undone.pop_all()
            self._connection = connection
        return self._connection

    def _create_file(self) -> None:
        """Durably, before SQLite sees it: it flushes the directory for its log, not for the database."""
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            sync_directory(self._path.parent)

    def _settle(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        if hasattr(connection, "setconfig"):  # Python 3.12: the log stays, and its next user need not begin a new one
            connection.setconfig(_NO_CHECKPOINT_ON_CLOSE)
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        if found == 0:
            connection.execute("PRAGMA journal_mode = WAL")
            with change(connection, self._turn):
                (found,) = connection.execute("PRAGMA user_version").fetchone()
                for statement in _SCHEMA if found == 0 else ():
                    connection.execute(statement)
                connection.execute("COMMIT")
        elif found != _FORMAT:
            raise Declined(
                f"{self._path} has format {found}, this program writes {_FORMAT}: use the version that wrote it, or "
                "move it away to begin with an empty one"
            )

    def _translated(self, exc: sqlite3.Error | OSError) -> str:
        """Raises Busy where trying again helps."""
        if isinstance(exc, sqlite3.Error) and _code(exc) in _LOCKED:
            raise Busy from exc
        self.close()  # the next call may find it mended
        if isinstance(exc, OSError):
            return f"cannot use {self._path}: {exc.strerror}; nothing was changed: free or mend that disk"
        cure = _CURES.get(_code(exc), "mend it or move it away")
        return f"cannot use {self._path}: {exc}; nothing was changed: {cure}"


def _code(exc: sqlite3.Error, *, exact: bool = False) -> int:
    code: int = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code if exact else code & 0xFF


def digest(namespace: str, call: Call) -> str:
    return hashlib.sha256(json.dumps([namespace, call.name, call.args]).encode()).hexdigest()[:32]


def _carry_out(scope: Scope, call: Call) -> Any:
    return _FAMILIES[call.name.partition(".")[0]].perform(scope, call)
