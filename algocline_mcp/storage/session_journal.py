"""The seam between a session and what makes it durable: a file (journal.py) or rows of a database (cluster/rows.py).

One set of tests holds for both: tests/storage/test_session_journal.py.
"""

from collections.abc import Callable
from typing import Protocol

from algocline_mcp.session.records import Record

Take = Callable[[Record, int], object]  # gets a record, and its place in the journal


class SessionJournal(Protocol):
    """An open journal, of which this process is the owner. Another process that asks for the lock does not get it."""

    size: int  # bytes of the records

    def append(self, record: Record) -> None:
        """On return the record is the last of the journal, not yet durable. Raises StorageFailed; then nothing was
        added: code `journal_full` beyond the limit."""
        ...

    def flush(self) -> None:
        """On return all records are durable. Raises StorageBroken; then nothing may be acknowledged, and the journal is
        used no more: code `fenced` where there is a newer owner."""
        ...

    def read(self, take: Take) -> None:
        """Hands over all records again. Raises JournalCorrupt, StorageFailed."""
        ...

    def record_at(self, place: int) -> Record:
        """The record at a place that `read` has shown. Raises StorageFailed."""
        ...

    def close(self) -> None:
        """Gives the lock back. Records that were not flushed may be lost."""
        ...
