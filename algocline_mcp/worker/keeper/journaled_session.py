"""A journal and the session it folds to, kept as one: what is appended is folded, and nothing else changes the session.

Contract: `flush` precedes whatever is told to anybody outside. Methods raise StorageBroken where what the disk holds is
unknown, any other StorageFailed where nothing was taken.
"""

from collections.abc import Sequence

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import AlcError, JournalCorrupt
from algocline_mcp.session.decisions import decide
from algocline_mcp.session.events import EngineEvent
from algocline_mcp.session.records import Record
from algocline_mcp.session.state import Session, evolve, fold
from algocline_mcp.storage import journal, journal_lines
from algocline_mcp.storage.files import sync_directory
from algocline_mcp.worker.lowlevel.failpoints import fail_point


class JournaledSession:
    def __init__(self, sid: str, home: Home, limits: Limits) -> None:
        self.session = Session(sid=sid)
        self._home = home
        self._limits = limits
        self._journal: journal.Journal | None = None
        self._is_directory_synced = False
        self._is_revived = False  # another worker has told something of this session, and nothing was appended since

    @property
    def is_open(self) -> bool:
        """There is a journal that can be appended to."""
        return self._journal is not None

    def adopt(self, journal_fd: int) -> list[Record]:
        """Takes over a locked journal. One of another format is not folded. Raises AlcError: there is no going on."""
        path = self._home.journal(self.session.sid)
        self._journal, records = journal.Journal.adopt(journal_fd, path, limit=self._limits.journal_bytes)
        if not records:
            raise AlcError(f"the disk lost {path} before anything in it was acknowledged", code="lost")
        if records[0].get("sid") != self.session.sid:
            raise JournalCorrupt(path, 1)
        self._is_revived = any(record["kind"] == "flushed" for record in records)
        if records[0].get("format") == journal_lines.FORMAT:
            self.session = fold(records)
        return records

    def records(self) -> list[Record]:
        """All of them, read again. Raises AlcError."""
        assert self._journal is not None
        return self._journal.records()

    def record(self, event: EngineEvent) -> tuple[Record, ...]:
        """Appends what the event deserves."""
        records = decide(self.session, event).records
        self.extend(records)
        return records

    def extend(self, records: Sequence[Record]) -> None:
        for record in records:
            self.append(record)

    def append(self, record: Record) -> None:
        assert self._journal is not None
        self._journal.append({**record, "revived": True} if self._is_revived else record)
        self._is_revived = False
        evolve(self.session, record)

    def flush(self) -> None:
        """On return all that was recorded is on the disk."""
        assert self._journal is not None
        self._journal.flush()
        if not self._is_directory_synced:
            sync_directory(self._journal.path.parent)
            self._is_directory_synced = True

    def archive(self) -> None:
        """Moves the journal to where finished ones lie. A failure leaves it where it is."""
        assert self._journal is not None
        self._journal.move(self._home.finished_journal(self.session.sid))
        fail_point("archive.moved")
