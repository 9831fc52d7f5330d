"""The home of a node: a cache of what the database has, used by one node alone.

Contract. `claim` takes the home for the life of this process, and removes what an earlier node has left: the database
has the sessions. A home with sessions of its own is refused and stays as it is. `Copies` writes the rows of a session
to its file, line by line, and remembers of which state of the rows a file is the copy, so a session that nobody else
has touched is not read again. A file that a worker writes is never a copy.
"""

import fcntl
import os
import secrets
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from algocline_mcp.cluster.connection import Connection
from algocline_mcp.config.home import Home
from algocline_mcp.errors import AlcError, HomeUnusable, JournalCorrupt, Refused, StorageFailed
from algocline_mcp.storage import home_setup, journal, journal_lines
from algocline_mcp.storage.files import open_in_place, replace_by_parts
from algocline_mcp.storage.owners import parts_of

_MARK = b"the home of a node: its sessions are those of a database\n"
_PAGE = 64  # rows; each may be as large as a pause
_KEPT = 10_000  # copies that are remembered, 200 bytes each
_COUNTED_BYTES = 1 << 20  # a longer file is written again, which takes as long as counting its records

State = tuple[int, int]  # epoch and length of the rows


def claim(home: Home) -> int:
    """A descriptor that holds the home. Raises Refused where another node or sessions of an embedded server are in it,
    HomeUnusable."""
    home_setup.prepare(home)
    path = home.pool / "node.lock"
    try:
        fd = open_in_place(path, os.O_RDWR | os.O_CREAT)
    except OSError as exc:
        raise HomeUnusable(f"cannot open {path}: {exc.strerror}; repair it, or set ALC_HOME elsewhere") from exc
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_a_cache = os.fstat(fd).st_size > 0
        if not is_a_cache and any(_journals(home)):
            raise Refused(
                f"{home.root} has sessions of its own: copy them with alc export --all --database -, and give this "
                "node an ALC_HOME without sessions"
            )
        for path in _journals(home):
            path.unlink(missing_ok=True)
        if not is_a_cache:
            os.write(fd, _MARK)
    except BlockingIOError:
        os.close(fd)
        raise Refused(f"another node uses {home.root}: give each node an ALC_HOME of its own") from None
    except BaseException:
        os.close(fd)
        raise
    return fd


def _journals(home: Home) -> Iterator[Path]:
    for part in parts_of(home):
        for directory in (part.sessions, part.finished):
            yield from directory.glob("p-*.journal")


class Copies:
    """Which file is the copy of what. `write` and `confirm` block, and run on threads; of a session one at a time."""

    def __init__(self) -> None:
        self._states: OrderedDict[str, State] = OrderedDict()  # by Home.worker_key

    def is_current(self, home: Home, sid: str, state: State, *, is_finished: bool) -> bool:
        path = home.finished_journal(sid) if is_finished else home.journal(sid)
        return self._states.get(home.worker_key(sid)) == state and path.exists()

    def note(self, home: Home, sid: str, state: State) -> None:
        key = home.worker_key(sid)
        self._states[key] = state
        self._states.move_to_end(key)
        if len(self._states) > _KEPT:
            self._states.popitem(last=False)

    def forget(self, home: Home, sid: str) -> None:
        """From now on a worker writes the file, or it is not known what is in it."""
        self._states.pop(home.worker_key(sid), None)

    def state_of(self, home: Home, sid: str) -> State | None:
        return self._states.get(home.worker_key(sid))

    def remove(self, home: Home, sid: str) -> None:
        self.forget(home, sid)
        for path in (home.journal(sid), home.finished_journal(sid)):
            with suppress(OSError):
                path.unlink()

    def write(self, connection: Connection, home: Home, sid: str, state: State, *, is_finished: bool) -> bool:
        """Makes the file a copy of the first rows. False where a worker still holds it. Raises JournalCorrupt where a
        row is missing, StorageFailed."""
        self.forget(home, sid)
        unfinished, finished = home.journal(sid), home.finished_journal(sid)
        try:
            fd = journal.lock(unfinished)
        except FileNotFoundError:
            fd = -1
        if fd is None:
            return False
        try:
            draft = home.sessions / f".draft-{secrets.token_hex(8)}"
            target, other = (finished, unfinished) if is_finished else (unfinished, finished)
            replace_by_parts(target, _content(connection, sid, state[1]), draft=draft)
            other.unlink(missing_ok=True)
        except OSError as exc:
            raise StorageFailed(f"cannot write the copy of {sid}: {exc.strerror}; free or repair that disk") from exc
        finally:
            if fd >= 0:
                os.close(fd)
        self.note(home, sid, state)
        return True

    def confirm(self, home: Home, sid: str, state: State) -> None:
        """After a worker has left: remembers the file as a copy, if it has exactly as many records as the rows."""
        self.forget(home, sid)
        with suppress(AlcError, OSError):
            path = home.journal(sid)
            if path.stat().st_size <= _COUNTED_BYTES:
                records = journal.stream(path, is_for_host=False)
                if sum(record["kind"] != "flushed" for record in records) == state[1]:
                    self.note(home, sid, state)


def _content(connection: Connection, sid: str, length: int) -> Iterator[bytes]:
    """Of a journal."""
    size = 0
    for line in lines_of(connection, sid, length):
        size += len(line) + 1
        yield line + b"\n"
    yield journal_lines.encode_mark(size)


def lines_of(connection: Connection, sid: str, length: int) -> Iterator[bytes]:
    """The first records of a session, page by page: in bounded memory. Raises JournalCorrupt where one is missing."""
    for start in range(0, length, _PAGE):
        end = min(start + _PAGE, length)
        rows = connection.execute(
            "SELECT line FROM alc.records WHERE sid = %s AND n >= %s AND n < %s ORDER BY n", (sid, start, end)
        ).fetchall()
        if len(rows) != end - start:
            raise JournalCorrupt(f"{sid} in the database", start + len(rows) + 1)
        for (line,) in rows:
            yield str(line).encode("ascii", "replace")
