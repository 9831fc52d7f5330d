"""The state database of a home, one SQLite file: what strategies keep for later runs, and the marks that make each
change happen once.

Contract: keepers open the database, each with one connection and for a moment. Besides them only a server that deletes
a session opens it, to delete the marks of that session. A change is one transaction: it stores the effect together with
its mark (session, stream, number, digest) and its result. If the keeper dies before the journal has the record, the
replay calls the same effect with the same mark and gets the stored result; a different digest raises MarkDiffers. A
stream needs its last mark only, because the journal is flushed before the next change: so there is at most one mark per
stream of an unfinished session.

`synchronous=FULL`: a committed change must outlive a power cut as the journal does. WAL: a commit is then one flush
(measured: 0.2 ms, against 0.4 to 0.9 ms of the rollback modes; with four writers 0.2 against 1.8 ms), and a stopped
writer blocks no reader. SQLite before 3.51.3, which is what most systems have, can damage a WAL database when one
process begins a checkpoint while another process commits and restarts the log (sqlite.org/wal.html, "the WAL-reset
bug"). So a writer holds `flock` on the directory from before its transaction until after the checkpoint that its commit
may run, and the two never overlap. The lock costs 1 µs; fixed versions take it too. When the last connection closes,
SQLite itself makes sure that its checkpoint runs alone. Nothing waits: a lock of another process raises DatabaseLocked
at once. A connection that cannot be used is an outcome `{error}`, which names file, cause and cure.
"""

import _sqlite3 as sqlite3  # not `sqlite3`: its Python half and datetime are 1 MiB in each worker that uses it
import contextlib
import fcntl
import hashlib
import json
import os
import stat
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import StorageBroken
from algocline_mcp.session.records import Record
from algocline_mcp.storage.files import sync_directory
from algocline_mcp.storage.key_values import CallRefused
from algocline_mcp.worker.database import card_copies, card_import, card_tables, key_value
from algocline_mcp.worker.database.call_context import (
    CallContext,
    CardDirectories,
    DatabaseLocked,
    EffectMark,
    transaction,
)
from algocline_mcp.worker.database.quota import Quota, used_bytes
from algocline_mcp.worker.engine.messages import Call
from algocline_mcp.worker.lowlevel.failpoints import fail_point

_FAMILIES = {"state": key_value, "card": card_tables}  # by the first part of a host function's name
# Host function -> whether the function changes something.
FUNCTIONS = {name: changes for family in (key_value, card_tables) for name, (changes, _) in family.FUNCTIONS.items()}
_FORMAT = 2
_SCHEMA = (
    "CREATE TABLE state (namespace TEXT, key TEXT, value TEXT NOT NULL, PRIMARY KEY (namespace, key)) WITHOUT ROWID",
    "CREATE TABLE marks (sid TEXT, stream TEXT, n INTEGER NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, "
    "outcome TEXT NOT NULL, PRIMARY KEY (sid, stream)) WITHOUT ROWID",
    "CREATE TABLE sweep (last TEXT NOT NULL)",
    "INSERT INTO sweep VALUES ('')",
    *card_tables.SCHEMA,
    f"PRAGMA user_version = {_FORMAT}",
)
_CACHE_KIB = 256
_PATH_MAX_BYTES = 504  # of a database file: 512 (MAX_PATHNAME in SQLite's os_unix.c) less the names beside it; measured
_NO_CHECKPOINT_ON_CLOSE = 1006  # SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, which Python 3.11 does not name
_SWEPT = 50  # other sessions whose marks are checked when a session finishes; the next check continues after them
_WAL_WRITE_LOCK = 120  # the byte of the -shm file that a writer locks (WAL_WRITE_LOCK in SQLite's wal.c)
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
    """The session made another change under this mark. `recorded` describes that change: `{called, n}`."""

    def __init__(self, recorded: Record) -> None:
        super().__init__("mark differs")
        self.recorded = recorded


class Database:
    def __init__(self, path: Path, limits: Limits, directories: CardDirectories, quota: Quota | None = None) -> None:
        self._path = path
        self._quota = quota
        self._limits = limits
        self._directories = directories
        self._connection: sqlite3.Connection | None = None
        self._write_lock = -1  # descriptor of the directory, which a writer locks

    def perform(self, call: Call, namespace: str, mark: EffectMark | None) -> Record:
        """Returns `{result}` or `{error}`. A call with a mark happens once, whichever process dies.

        Raises DatabaseLocked, ImportUnfinished, MarkDiffers and StorageBroken.
        """
        try:
            connection = self._opened()
            context = CallContext(connection, self._limits, namespace, self._directories, mark, self._write_lock)
            if call.name.startswith("card."):
                card_import.import_cards(context, call)
            outcome = {"result": _perform(context, call)} if mark is None else self._once(context, call, mark)
            problem = card_copies.copy(context, card_tables.CardTables(context), call, outcome["result"])
            if problem and "path" in outcome["result"]:
                outcome["result"]["warning"] = problem
            return outcome
        except CallRefused as exc:
            return {"error": str(exc)}
        except (sqlite3.Error, OSError) as exc:
            return {"error": f"alc.{call.name}: {self._translated(exc)}"}

    def _once(self, context: CallContext, call: Call, mark: EffectMark) -> Record:
        connection = context.connection
        call_digest = digest(context.namespace, call)
        with transaction(connection, self._write_lock):
            query = "SELECT n, name, digest, outcome FROM marks WHERE sid = ? AND stream = ?"
            stored = connection.execute(query, (mark.sid, mark.stream)).fetchone()
            if stored is not None and stored[0] >= mark.n:
                n, name, stored_digest, stored_outcome = stored
                if (n, stored_digest) != (mark.n, call_digest):
                    raise MarkDiffers({"called": name, "n": n})
                outcome: Record = json.loads(stored_outcome)
                return outcome
            outcome = {"result": self._within_quota(context, call)}
            row = (mark.sid, mark.stream, mark.n, call.name, call_digest, json.dumps(outcome))
            connection.execute("REPLACE INTO marks VALUES (?, ?, ?, ?, ?, ?)", row)
            fail_point("effect.written")
            self._commit(connection)
            fail_point("effect.committed")
            return outcome

    def _within_quota(self, context: CallContext, call: Call) -> Any:
        if self._quota is None:
            return _perform(context, call)
        before = used_bytes(context.connection)
        result = _perform(context, call)
        self._quota.refuse_over(call.name, before, used_bytes(context.connection))
        return result

    def _commit(self, connection: sqlite3.Connection) -> None:
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as exc:
            if _code(exc, exact=True) in _UNKNOWN:
                raise StorageBroken(f"cannot flush {self._path}: {exc}; repair that disk, then retry") from exc
            raise

    def forget(self, sid: str, is_unfinished: Callable[[str], bool]) -> None:
        """Removes the marks of `sid` and of finished sessions. Never raises: the end of another session tries again."""
        with contextlib.suppress(sqlite3.Error, OSError, CallRefused, DatabaseLocked):
            connection = self._opened()
            with transaction(connection, self._write_lock):
                connection.execute("DELETE FROM marks WHERE sid = ?", (sid,))
                (last,) = connection.execute("SELECT last FROM sweep").fetchone()  # where the previous check stopped
                query = "SELECT DISTINCT sid FROM marks WHERE sid > ? ORDER BY sid LIMIT ?"
                others = [other for (other,) in connection.execute(query, (last, _SWEPT))]
                gone = [(other,) for other in others if not is_unfinished(other)]
                connection.executemany("DELETE FROM marks WHERE sid = ?", gone)
                connection.execute("UPDATE sweep SET last = ?", (others[-1] if len(others) == _SWEPT else "",))
                connection.execute("COMMIT")
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")  # a copy of state.db alone then holds the values

    def lock_holder(self) -> str:
        """The process that holds the write lock, for a sentence: `process 123` or `another process`.

        Closes the connection first: POSIX releases the locks of a process on a file when the process closes any
        descriptor of the file.
        """
        self.close()
        if sys.platform == "linux":
            with contextlib.suppress(OSError), open(f"{self._path}-shm", "rb") as file:
                query = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, _WAL_WRITE_LOCK, 1, 0)
                kind, _, _, _, pid = struct.unpack("hhqqi", fcntl.fcntl(file, fcntl.F_GETLK, query))
                if kind != fcntl.F_UNLCK:
                    return f"process {pid}"
        return "another process"

    def close(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            with contextlib.suppress(sqlite3.Error):
                connection.close()
            os.close(self._write_lock)

    # ── opening ───────────────────────────────────────────────────────────────────────────────────────────

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._check_path()
            self._create_file()
            with contextlib.ExitStack() as cleanup:
                self._write_lock = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                cleanup.callback(os.close, self._write_lock)
                connection = sqlite3.connect(self._path, timeout=0, isolation_level=None)
                cleanup.callback(connection.close)
                self._configure(connection)
                cleanup.pop_all()
            self._connection = connection
        return self._connection

    def _check_path(self) -> None:
        if (size := len(os.fsencode(self._path))) > _PATH_MAX_BYTES:
            raise CallRefused(
                f"the path of state.db has {size} bytes, SQLite opens at most {_PATH_MAX_BYTES}: set ALC_HOME to a "
                "shorter path to keep state and cards; sessions need none"
            )

    def _create_file(self) -> None:
        """Creates the file durably before SQLite opens it: SQLite flushes the directory only for its log."""
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            sync_directory(self._path.parent)
        for suffix in ("", "-wal", "-shm", "-journal"):  # SQLite writes to what it finds, also behind a link
            with contextlib.suppress(FileNotFoundError):
                status = os.lstat(path := f"{self._path}{suffix}")
                if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
                    raise CallRefused(f"{path} is a link, or no file: put a file of its own there, or remove it")

    def _configure(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        if hasattr(connection, "setconfig"):  # Python 3.12: the log stays, so the next connection need not create one
            connection.setconfig(_NO_CHECKPOINT_ON_CLOSE)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            connection.execute("PRAGMA journal_mode = WAL")
            with transaction(connection, self._write_lock):
                (version,) = connection.execute("PRAGMA user_version").fetchone()
                for statement in _SCHEMA if version == 0 else ():
                    connection.execute(statement)
                connection.execute("COMMIT")
        elif version != _FORMAT:
            raise CallRefused(
                f"{self._path} has format {version}, this program writes {_FORMAT}: use the version that wrote it, or "
                "move it away to begin with an empty one"
            )

    def _translated(self, exc: sqlite3.Error | OSError) -> str:
        """A sentence with file, cause and cure. Raises DatabaseLocked where trying again helps."""
        if isinstance(exc, sqlite3.Error) and _code(exc) in _LOCKED:
            raise DatabaseLocked from exc
        self.close()  # the next call opens it again: the cause may be gone by then
        if isinstance(exc, OSError):
            return f"cannot use {self._path}: {exc.strerror}; nothing was changed: free or repair that disk"
        cure = _CURES.get(_code(exc), "repair it or move it away")
        return f"cannot use {self._path}: {exc}; nothing was changed: {cure}"


def _code(exc: sqlite3.Error, *, exact: bool = False) -> int:
    code: int = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code if exact else code & 0xFF


def digest(namespace: str, call: Call) -> str:
    return hashlib.sha256(json.dumps([namespace, call.name, call.args]).encode()).hexdigest()[:32]


def _perform(context: CallContext, call: Call) -> Any:
    return _FAMILIES[call.name.partition(".")[0]].perform(context, call)
