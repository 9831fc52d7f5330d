"""A node without a pool of its own: the commit service, and holds that are taken when a worker needs them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from algocline_mcp.cluster.commit_service import CommitService, Effects
from algocline_mcp.cluster.connection import Database
from algocline_mcp.cluster.holds import Hold, Holds, node_name
from algocline_mcp.session.records import Record
from algocline_mcp.storage.files import make_directories
from algocline_mcp.storage.journal_lines import decode
from algocline_mcp.worker.keeper.node_journal import NodeJournal


class GivenHolds(Holds):
    """Gives each session to whoever asks, under a new epoch, while `gives`."""

    def __init__(self, database: Database) -> None:
        super().__init__(node_name())
        self.database = database
        self.gives = True

    def of(self, sid: str) -> Hold | None:
        if super().of(sid) is None and self.gives:
            self.take(sid, Hold(taken(self.database, sid, self.node), ""))
        return super().of(sid)


def taken(database: Database, sid: str, node: str) -> int:
    """The new epoch of the session, whoever holds it."""
    with database.connect() as connection:
        sql = "UPDATE alc.sessions SET epoch = nextval('alc.epochs'), held_by = %s WHERE sid = %s RETURNING epoch"
        row = connection.execute(sql, (node, sid)).fetchone()
        row = row or connection.execute("SELECT nextval('alc.epochs')").fetchone()
    assert row is not None
    return int(str(row[0]))


class SmallNode:
    def __init__(self, database: Database, path: Path, effects: Effects | None = None) -> None:
        self.database = database
        self.path = path
        self.holds = GivenHolds(database)
        self.journals: list[NodeJournal] = []
        self.service = CommitService(database, self.holds, path, effects)

    @property
    def environ(self) -> dict[str, str]:
        """Of a pool whose workers commit here."""
        return {**os.environ, "ALC_NODE_SOCKET": os.fspath(self.path)}

    def journal(self, sid: str, *, is_counting: bool = False) -> NodeJournal:
        self.journals.append(NodeJournal(sid, "", os.fspath(self.path), is_counting=is_counting))
        return self.journals[-1]

    def records(self, sid: str) -> list[Record]:
        """What is committed, in order and without gaps."""
        with self.database.connect() as connection:
            sql = "SELECT n, line FROM alc.records WHERE sid = %s ORDER BY n"
            rows = connection.execute(sql, (sid,)).fetchall()
            ends = connection.execute("SELECT length FROM alc.sessions WHERE sid = %s", (sid,)).fetchall()
        assert [n for n, _ in rows] == list(range(len(rows)))
        assert ends == ([(len(rows),)] if rows else [])
        records = [decode(str(line).encode()) for _, line in rows]
        return [record for record in records if record is not None]

    def kinds(self, sid: str) -> list[str]:
        return [str(record["kind"]) for record in self.records(sid)]

    def column(self, sid: str, name: str) -> object:
        with self.database.connect() as connection:
            row = connection.execute(f"SELECT {name} FROM alc.sessions WHERE sid = %s".encode(), (sid,)).fetchone()
        return row[0] if row is not None else None


@contextmanager
def small_node(database: Database, path: Path, effects: Effects | None = None) -> Iterator[SmallNode]:
    make_directories(path.parent)
    node = SmallNode(database, path, effects)
    node.service.start()
    try:
        yield node
    finally:
        node.service.stop()
        for journal in node.journals:
            journal.close()
