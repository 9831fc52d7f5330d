"""alc.state and alc.card in a database, as their contracts (tests/storage/) want them."""

from collections.abc import Sequence
from typing import Any

from algocline_mcp.cluster.connection import Database
from algocline_mcp.cluster.effects import Effects
from algocline_mcp.cluster.rows import SessionRows
from algocline_mcp.cluster.state_rows import StateRows
from algocline_mcp.config.limits import Limits
from algocline_mcp.history.database_reader import StateReader
from algocline_mcp.session.records import Record
from algocline_mcp.worker.database.connection import FUNCTIONS, digest
from algocline_mcp.worker.engine.messages import Call
from tests.rig.journals import header


class StateStore:
    def __init__(self, database: Database, limits: Limits, sids: Sequence[str], owner: str = "ann") -> None:
        self._rows = SessionRows(database)
        self._others = SessionRows(database)  # another connection: what is not committed is not seen
        self.reader: StateReader = StateRows(self._others.query, owner)
        self.owner = owner
        self.effects = Effects(database, limits)
        self.epochs = {sid: self._created(sid) for sid in sids}
        self._next = 0

    def _created(self, sid: str) -> int:
        """The epoch of the session, whose marks are forgotten."""
        self._rows.query("DELETE FROM alc.sessions WHERE sid = %s", (sid,))
        journal = self._rows.create(header(sid, owner=self.owner))
        journal.flush()
        return journal.epoch

    def request(
        self, name: str, *args: Any, namespace: str = "default", sid: str, stream: str = "", n: int | None = None
    ) -> Record:
        """As a keeper sends it. `n`: number of the change in its stream; None: the next one."""
        message: Record = {"sid": sid, "epoch": self.epochs[sid], "owner": self.owner}
        message |= {"namespace": namespace, "name": name, "args": list(args)}
        if FUNCTIONS[name]:
            self._next = max(self._next, n or 0) + 1
            message |= {"stream": stream, "n": self._next if n is None else n}
            message["digest"] = digest(namespace, Call(name, args))
        return message

    def send(self, request: Record) -> Record:
        reply = self.effects.perform(self._rows.connection, request)
        outcome: Record = reply.get("outcome", reply)
        return outcome

    def call(self, name: str, *args: Any, sid: str = "", **fields: Any) -> Record:
        return self.send(self.request(name, *args, sid=sid or next(iter(self.epochs)), **fields))

    def query(self, sql: str, *parameters: object) -> list[tuple[object, ...]]:
        return self._others.query(sql, parameters)

    def close(self) -> None:
        self._rows.close()
        self._others.close()
