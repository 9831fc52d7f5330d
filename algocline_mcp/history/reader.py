"""Reads the journal of one session from disk."""

from contextlib import suppress

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import JournalCorrupt, Refused
from algocline_mcp.history.listing import not_found
from algocline_mcp.session.records import Record
from algocline_mcp.session.state import Session, fold
from algocline_mcp.storage import journal


def session_of(home: Home, limits: Limits, sid: str) -> Session:
    """The session that the journal folds to. Raises as records_of, and IllegalRecord."""
    return fold(records_of(home, limits, sid))


def records_of(home: Home, limits: Limits, sid: str) -> list[Record]:
    """Of a session, wherever its journal lies. Raises Refused where there is none, JournalCorrupt, StorageFailed."""
    for path in (home.journal(sid), home.finished_journal(sid), home.journal(sid)):
        try:  # the first place again at last: it may have moved between the two looks
            if records := journal.read(path):
                return records
        except FileNotFoundError:
            continue
    raise Refused(not_found(home, limits, sid), code="not_found")


def readable_records(home: Home, limits: Limits, sid: str) -> tuple[list[Record], JournalCorrupt | None]:
    """As records_of; of a damaged journal what stands before the damage, and the error, raised where that is nothing.

    Only for what changes nothing there: to look at it, and to begin another session with it.
    """
    try:
        return records_of(home, limits, sid), None
    except JournalCorrupt as exc:
        with suppress(OSError):
            if records := journal.read_before_damage(exc.path):
                return records, exc
        raise
