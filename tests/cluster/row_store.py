"""The rows of a database, as the contract of a journal wants them."""

from collections.abc import Iterator

from algocline_mcp.cluster.connection import Database
from algocline_mcp.cluster.rows import RowsJournal, SessionRows
from algocline_mcp.session.records import Record
from algocline_mcp.storage.session_journal import Take


class RowStore:
    def __init__(self, database: Database) -> None:
        self._rows = SessionRows(database)
        self._others = SessionRows(database)  # another connection: what is not committed is not seen

    def create(self, header: Record, limit: int = 1 << 62) -> RowsJournal:
        return self._rows.create(header, limit=limit)

    def lock(self, sid: str, take: Take = lambda record, place: None, limit: int = 1 << 62) -> RowsJournal | None:
        return self._others.lock(sid, take, limit=limit)

    def records(self, sid: str) -> Iterator[Record]:
        return self._others.records(sid)

    def damage(self, sid: str, number: int) -> None:
        sql = "UPDATE alc.records SET line = replace(line, 'kind', 'kinD') WHERE sid = %s AND n = %s"
        self._rows.query(sql, (sid, number))

    def sids(self) -> list[str]:
        return self._others.sids()

    def close(self) -> None:
        self._rows.close()
        self._others.close()
