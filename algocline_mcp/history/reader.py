"""Reads the journal of one session from the disk, without starting a worker."""

from contextlib import suppress

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import JournalCorrupt, Refused
from algocline_mcp.history.listing import not_found
from algocline_mcp.session.records import Record
from algocline_mcp.session.state import Session, fold
from algocline_mcp.storage import journal


def session_of(home: Home, limits: Limits, sid: str) -> Session:
    """The session that the journal folds to. Raises the errors of records_of, and IllegalRecord."""
    return fold(records_of(home, limits, sid))


def records_of(home: Home, limits: Limits, sid: str) -> list[Record]:
    """The records of an unfinished or finished session, flushed. Raises Refused for an unknown id, JournalCorrupt,
    StorageFailed."""
    for path in (home.journal(sid), home.finished_journal(sid), home.journal(sid)):
        try:  # the first path is tried again, because the journal may move between the two attempts
            if records := journal.read(path):
                return records
        except FileNotFoundError:
            continue
    raise Refused(not_found(home, limits, sid), code="not_found")


def readable_records(home: Home, limits: Limits, sid: str) -> tuple[list[Record], JournalCorrupt | None]:
    """The records of a session; for a damaged journal those before the damage, and the error.

    Only for callers that change nothing in the session: views, and branches. Raises the errors of records_of;
    JournalCorrupt only where the first line is damaged.
    """
    try:
        return records_of(home, limits, sid), None
    except JournalCorrupt as exc:
        with suppress(OSError):
            if records := journal.read_before_damage(exc.path):
                return records, exc
        raise
