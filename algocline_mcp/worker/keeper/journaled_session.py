"""A journal and the session that it folds to, kept as one.

Contract: every record that is appended is folded, and nothing else changes the session. `flush` precedes every reply
that leaves this process. Methods raise StorageBroken where the content of the disk, or of the database, is unknown, and
any other StorageFailed where nothing was written.
"""

from collections.abc import Sequence

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import AlcError, JournalCorrupt, whole
from algocline_mcp.session.decisions import decide
from algocline_mcp.session.events import EngineEvent
from algocline_mcp.session.records import Record
from algocline_mcp.session.results import line_of, reads_environment
from algocline_mcp.session.state import Session, evolve
from algocline_mcp.storage import journal, journal_lines, prompt_count
from algocline_mcp.storage.files import sync_directory
from algocline_mcp.worker.keeper.inherited import Inherited
from algocline_mcp.worker.keeper.node_journal import NodeJournal
from algocline_mcp.worker.keeper.replay import Read, Replay
from algocline_mcp.worker.lowlevel.failpoints import fail_point

_KEPT_BYTES = 1 << 18  # the beginning of a journal, which is nearly always the whole of it


class Content:
    """What the engines of a journal are started with: its header, and what its records mean to them."""

    def __init__(self, read: Read) -> None:
        """Empty: every record is to be taken, in order. `read`: reads one again."""
        self.header: Record = {}
        self.inherited = Inherited({})
        kept: dict[int, Record] = {}  # by place; to read a record again takes 20 us
        self.replay = Replay(lambda place: kept[place] if place in kept else read(place))
        self._kept = kept

    def take(self, record: Record, place: int) -> None:
        if not self.header:
            self.header, self.inherited = record, Inherited(record)
        elif place < _KEPT_BYTES:
            self._kept[place] = record
        self.inherited.add(record)
        self.replay.add(record, place)


class JournaledSession:
    def __init__(self, sid: str, home: Home, limits: Limits, node_socket: str = "") -> None:
        """`node_socket`: see Preloaded. Raises StorageBroken where no node is there."""
        self.session = Session(sid=sid)
        self._home = home
        self._limits = limits
        self._journal: journal.Journal | None = None
        self._is_directory_synced = False
        self._hides = False  # the session has read its environment
        is_counting = bool(home.part and limits.owner_prompts)  # prompts, for the quota of their owner
        self._is_counting = is_counting and not node_socket
        self.node = NodeJournal(sid, home.part, node_socket, is_counting=is_counting) if node_socket else None
        self._is_revived = False  # another worker has acknowledged something, and nothing was appended since

    @property
    def is_open(self) -> bool:
        """There is a journal to which records can be appended."""
        return self._journal is not None

    @property
    def epoch(self) -> int:
        """Under which the node commits this session; 0 without a node. Raises StorageBroken."""
        return self.node.epoch if self.node is not None else 0

    def adopt(self, journal_fd: int) -> Content:
        """Takes over a locked journal. A journal of another format is not folded. Raises AlcError where the session
        cannot go on."""
        path = self._home.journal(self.session.sid)
        session, content = Session(), Content(self._record_at)

        def take(record: Record, place: int) -> None:
            if not content.header and record.get("sid") != self.session.sid:
                raise JournalCorrupt(path, 1)
            if self.node is not None:
                self.node.take(record)
            if (content.header or record).get("format") != journal_lines.FORMAT:
                content.header = content.header or record
                return
            evolve(session, record)
            content.take(record, place)
            self._hides = self._hides or reads_environment(record)
            self._is_revived = self._is_revived or record["kind"] == "flushed"

        self._journal = journal.Journal.adopt(journal_fd, path, take, limit=self._limits.journal_bytes)
        if not content.header:
            raise AlcError(f"the disk lost {path} before anything in it was acknowledged", code="lost")
        if session.sid:
            self.session = session
        return content

    def read(self) -> Content:
        """Reads the journal again. Raises AlcError."""
        assert self._journal is not None
        content = Content(self._record_at)
        self._journal.read(content.take)
        return content

    def _record_at(self, place: int) -> Record:
        assert self._journal is not None
        return self._journal.record_at(place)

    def record(self, event: EngineEvent) -> tuple[Record, ...]:
        """Appends the records that the event deserves; returns them."""
        records = decide(self.session, event).records
        self.extend(records)
        return records

    def extend(self, records: Sequence[Record]) -> None:
        for record in records:
            self.append(record)

    def append(self, record: Record) -> None:
        assert self._journal is not None
        stored = {**record, "revived": True} if self._is_revived else record
        self._journal.append(stored)
        if self.node is not None:
            self.node.add(stored)
        self._is_revived = False
        evolve(self.session, record)
        self._hides = self._hides or reads_environment(record)
        if self._is_counting and record["kind"] == "prompt":
            prompt_count.add(self._home, len(record["queries"]))

    def flush(self) -> None:
        """On return everything that was recorded is on the disk, or in the database where there is one."""
        assert self._journal is not None
        if self.node is not None:
            self._commit(self.node)
        is_long = self._journal.size > journal.SHORT_BYTES
        line = line_of(self.session, hides=self._hides) if is_long else None
        self._journal.flush(line, is_cache=self.node is not None)
        if not self._is_directory_synced and self.node is None:
            sync_directory(self._journal.path.parent)
            self._is_directory_synced = True

    def _commit(self, node: NodeJournal) -> None:
        fail_point("commit.due")
        session = self.session
        if session.header:  # else of another format: then nothing was recorded
            project = session.header.get("project") or ""
            node.commit(str(session.phase), line_of(session, hides=self._hides), whole(project))
        fail_point("commit.done")

    def archive(self) -> None:
        """Moves the journal to the finished ones. A failure leaves it where it is."""
        assert self._journal is not None
        self._journal.move(self._home.finished_journal(self.session.sid))
        fail_point("archive.moved")
