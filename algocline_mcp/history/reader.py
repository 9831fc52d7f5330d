"""Reads the journal of one session from the disk, without starting a worker."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import JournalCorrupt, Refused
from algocline_mcp.history.listing import not_found
from algocline_mcp.session.records import Record
from algocline_mcp.session.state import Session, fold
from algocline_mcp.storage import journal
from algocline_mcp.storage.stored_records import StoredRecords

Check = Callable[[], object]
Content = TypeVar("Content")


def session_of(home: Home, limits: Limits, sid: str, check: Check = bool) -> Session:
    """The session that the journal folds to, in bounded memory. Raises the errors of records_of, and IllegalRecord."""
    return _first_of(home, limits, sid, lambda path: _session(fold(journal.stream(path, check=check))))


def records_of(home: Home, limits: Limits, sid: str, check: Check = bool) -> StoredRecords:
    """The records of an unfinished or finished session, flushed, in bounded memory. `check` is called now and then, and
    may raise to end a read that nobody waits for. Raises Refused for an unknown id, JournalCorrupt, StorageFailed."""
    records = stored_records(home, limits, sid, check)
    if records.damage is not None:
        raise records.damage
    return records


def first_record(home: Home, limits: Limits, sid: str) -> Record:
    """The header of a session, whose journal is not read further. Raises as records_of."""
    return _first_of(home, limits, sid, lambda path: next(journal.stream(path), None))


def readable_records(
    home: Home, limits: Limits, sid: str, check: Check = bool
) -> tuple[StoredRecords, JournalCorrupt | None]:
    """The records of a session; for a damaged journal those before the damage, and the error.

    Only for callers that change nothing in the session: views, and branches. Raises the errors of records_of;
    JournalCorrupt only where the first line is damaged.
    """
    records = stored_records(home, limits, sid, check)
    return records, records.damage


def stored_records(home: Home, limits: Limits, sid: str, check: Check = bool) -> StoredRecords:
    """As readable_records, before the records are read for the first time: the caller does it, then asks for `damage`,
    and shows nothing before. Each access raises StorageFailed."""
    return _first_of(home, limits, sid, lambda path: _stored(StoredRecords(path, check)))


def _stored(records: StoredRecords) -> StoredRecords | None:
    """None for an empty journal."""
    if not records and records.damage is not None:
        raise records.damage
    return records or None


def _session(session: Session) -> Session | None:
    return session if session.sid else None


def _first_of(home: Home, limits: Limits, sid: str, read: Callable[[Path], Content | None]) -> Content:
    for path in (home.journal(sid), home.finished_journal(sid), home.journal(sid)):
        try:  # the first path is tried again, because the journal may move between the two attempts
            if content := read(path):
                return content
        except FileNotFoundError:
            continue
    raise Refused(not_found(home, limits, sid), code="not_found")
