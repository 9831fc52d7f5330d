"""Moves sessions between a home and a database: copies what the other side lacks.

Contract. Either way a session that is new there comes as a whole or not at all, and one that is there already gets the
records that follow its own. A session that went on in both places is refused, and neither is changed. So a move that
was killed, or is made again, ends where one move ends. The session stays where it came from: answer it in one place.
Its owner stays, too.

Marks of a file are left out, and limits in a header are not compared: each home lowers them to its own.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, zip_longest

from algocline_mcp.cluster.rows import LEASE_S, SessionRows
from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Refused, StorageFailed
from algocline_mcp.history.export import import_session
from algocline_mcp.history.reader import records_of
from algocline_mcp.session.owner import USER
from algocline_mcp.session.records import IllegalRecord, Record
from algocline_mcp.session.state import Phase, Session, evolve
from algocline_mcp.storage import journal, journal_lines
from algocline_mcp.storage.files import sync_directory
from algocline_mcp.storage.owners import home_with
from algocline_mcp.storage.session_journal import SessionJournal

Read = Callable[[], Iterator[Record]]  # the records of a session from its beginning


def export_rows(home: Home, limits: Limits, rows: SessionRows, sid: str) -> str:
    """What was done, in words that follow the id. Raises Refused, JournalCorrupt, StorageFailed."""
    stored = records_of(home_with(home, sid), limits, sid)

    def here() -> Iterator[Record]:
        return _content(stored)

    label = rows.database.label
    known, is_behind = _compare(sid, here, lambda: _content(rows.records(sid)), f"{home.root} and {label}")
    if not is_behind:
        return f"is in {label} already"
    try:
        target = _rows_to_extend(rows, here, limits, sid, known)
        try:
            count = _extend(target, islice(here(), max(known, 1), None))
        finally:
            target.close()
    except IllegalRecord as exc:
        raise Refused(f"session {sid} is not of this version, export it with the one that wrote it: {exc}") from exc
    return f"has {count} more records in {label}" if known else f"copied to {label}"


def _rows_to_extend(rows: SessionRows, here: Read, limits: Limits, sid: str, known: int) -> SessionJournal:
    if not known:
        return rows.create(next(here()), limit=limits.journal_bytes)
    count: list[int] = []
    target = rows.lock(sid, lambda record, place: count.append(place), limit=limits.journal_bytes)
    if target is None:
        raise Refused(f"session {sid} is being written in {rows.database.label}: try again in {LEASE_S:g} s")
    if len(count) != known:
        target.close()
        raise Refused(f"session {sid} went on in {rows.database.label} meanwhile: try again")
    return target


def import_rows(home: Home, limits: Limits, rows: SessionRows, sid: str) -> str:
    """What was done, in words that follow the id. Raises Refused, JournalCorrupt, StorageFailed, HomeUnusable."""

    def there() -> Iterator[Record]:
        return _content(rows.records(sid))

    own = home_with(home, sid)
    if not any(os.path.lexists(path) for path in (own.journal(sid), own.finished_journal(sid))):
        return f"copied, it is {_import_new(home, limits, there)}"
    stored = records_of(own, limits, sid)
    known, is_behind = _compare(sid, there, lambda: _content(stored), f"{rows.database.label} and {home.root}")
    if not is_behind:
        return f"is in {home.root} already"
    return _extend_home(own, limits, there, sid, known)


def _import_new(home: Home, limits: Limits, there: Read) -> Phase:
    owner = next(there(), {}).get("owner") or USER
    try:
        with tempfile.TemporaryFile() as file:
            file.writelines(journal_lines.lines_flushed(there()))
            return import_session(home, file, limits, owner)[1]
    except OSError as exc:
        raise StorageFailed(f"cannot write a temporary file: {exc.strerror}; free that disk, or set TMPDIR") from exc


def _extend_home(home: Home, limits: Limits, there: Read, sid: str, known: int) -> str:
    path, session, count = home.journal(sid), Session(), 0

    def take(record: Record, start: int) -> None:
        nonlocal count
        evolve(session, record)
        count += record["kind"] != "flushed"

    try:
        fd = journal.lock(path)
    except FileNotFoundError:
        raise Refused(f"session {sid} has finished in {home.root} meanwhile: try again") from None
    if fd is None:
        raise Refused(f"session {sid} has a worker in {home.root}: alc stop {sid}, then import it again")
    try:
        target = journal.Journal.adopt(fd, path, take, limit=limits.journal_bytes)
        if count != known:
            raise Refused(f"session {sid} went on in {home.root} meanwhile: try again")
        for record in islice(there(), known, None):  # before the first one is appended
            evolve(session, record)
        count = _extend(target, islice(there(), known, None))
        if session.phase is Phase.FINISHED:
            target.move(home.finished_journal(sid))
            sync_directory(home.finished)
        sync_directory(home.sessions)
    except IllegalRecord as exc:
        raise Refused(f"session {sid} is not of this version, or used more than this home allows: {exc}") from exc
    finally:
        os.close(fd)
    return f"has {count} more records, it is {session.phase}"


def _extend(target: SessionJournal, records: Iterable[Record]) -> int:
    """How many there were. On return they are durable."""
    count = 0
    for record in records:
        target.append(record)
        count += 1
    target.flush()
    return count


def _content(records: Iterable[Record]) -> Iterator[Record]:
    """What a session consists of, in either place."""
    for record in records:
        if record["kind"] != "flushed":
            yield {key: value for key, value in record.items() if key != "s"}


def _compare(sid: str, source: Read, target: Read, places: str) -> tuple[int, bool]:
    """How many records the target has, where those of the source begin with them, and whether the source has more.
    Raises Refused where both have records that the other lacks."""
    count = 0
    for ours, theirs in zip_longest(source(), target()):
        if theirs is None:
            return count, True
        if ours is None:
            break
        if _compared(ours) != _compared(theirs):
            raise Refused(
                f"session {sid} differs between {places}, it went on in both: keep one, delete the "
                "other (alc stop SID --delete), or go on with a branch of each (alc branch)"
            )
        count += 1
    return count, False


def _compared(record: Record) -> Record:
    return {**record, "limits": None} if record["kind"] == "header" else record
