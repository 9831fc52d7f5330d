"""Changes of alc.state and alc.card, and their reading, as keepers ask for them: each change happens once, while the
node of the keeper has the session.

Contract. A change is one transaction. It locks the row of its session and compares the epoch under which the keeper
writes, so a node that was frozen while another took the session changes nothing (StorageBroken, code `fenced`). It then
stores the effect together with its mark (session, stream, number, digest) and its result. If the keeper, its node or
the connection dies before the journal has the record, the replay sends the same change with the same mark, maybe to
another node, and gets the stored result; another digest is a divergence. A stream needs its last mark only, because the
journal is committed before the next change. The marks go with the commit that finishes the session.

Two locks, always in this order: the row of the session, then the namespace, or all cards of the owner. Whoever has the
second waits for nothing more, and nobody takes the row of a session under it; so no two wait for each other. The mark
is read by a statement after the first lock, and the values by statements after the second: each of them sees what the
holder before committed.

A reading call is a few statements and compares nothing: whatever a fenced keeper reads, it can record nothing.
"""

import json
from functools import partial
from typing import Any

from algocline_mcp.cluster.card_rows import CardRows
from algocline_mcp.cluster.connection import Connection, Database, fetch
from algocline_mcp.cluster.owner_bytes import OwnerBytes
from algocline_mcp.cluster.state_rows import CARDS, Entries, lock_namespace
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import StorageBroken, StorageFailed
from algocline_mcp.protocol.messages import encode
from algocline_mcp.session.records import Record
from algocline_mcp.storage import card_functions, key_values
from algocline_mcp.storage.card_functions import CardCall
from algocline_mcp.storage.key_values import CallRefused, well_formed

IN_DOUBT = "database_unreachable"  # code of an error: the change has happened or not


class Effects:
    def __init__(self, database: Database, limits: Limits) -> None:
        self._database = database
        self._limits = limits
        self._owner_bytes = OwnerBytes(limits.owner_bytes, limits.sweep_s) if limits.owner_bytes else None

    def perform(self, connection: Connection, request: Record) -> Record:
        """`request`: `{sid, epoch, owner, namespace, stream, n, name, args, digest}`, of a call that reads without `n`.

        Returns `{outcome: {result}}`, `{outcome: {error}}`, which changed nothing, or `{differs: {called, n}}`, where
        the session made another change under this mark. Raises StorageBroken, code `fenced`, and StorageFailed: then
        nothing was changed, unless its code is IN_DOUBT. The connection was lost then, now or in an earlier attempt
        with the same `request`, which remembers it; another attempt, on any connection, gets the outcome.
        """
        try:
            with self._database.sentences():
                return self._attempt(connection, request)
        except StorageBroken:
            raise
        except StorageFailed as exc:
            if connection.closed:
                request["in_doubt"] = True
            if "in_doubt" in request:
                raise StorageFailed(str(exc), code=IN_DOUBT) from exc.__cause__
            raise

    def _attempt(self, connection: Connection, request: Record) -> Record:
        try:
            if request.get("n") is None:
                stored = _stored(connection, str(request["owner"]), request)
                return {"outcome": {"result": self._result(stored, request)}}
            with connection.transaction():
                return self._once(connection, request)
        except CallRefused as exc:
            return {"outcome": {"error": str(exc)}}

    def _once(self, connection: Connection, request: Record) -> Record:
        owner = self._lock_session(connection, str(request["sid"]), request["epoch"])
        stream, n = (str(request["sid"]), str(request["stream"])), request["n"]
        query = "SELECT n, name, digest, outcome FROM alc.effects WHERE sid = %s AND stream = %s"
        mark = connection.execute(query, stream).fetchone()
        if mark is not None and int(str(mark[0])) >= n:
            if (mark[0], mark[2]) != (n, request["digest"]):
                return {"differs": {"called": mark[1], "n": mark[0]}}
            return {"outcome": json.loads(str(mark[3]))}
        lock_namespace(connection, owner, CARDS if _is_of_cards(request) else well_formed(str(request["namespace"])))
        stored = _stored(connection, owner, request)
        outcome = {"result": self._result(stored, request)}
        if owner and self._owner_bytes is not None:
            self._owner_bytes.refuse_over(connection, owner, request["name"], stored.growth)
        connection.execute(
            "INSERT INTO alc.effects (sid, stream, n, name, digest, outcome) VALUES (%s, %s, %s, %s, %s, %s) "
            "ON CONFLICT (sid, stream) DO UPDATE SET (n, name, digest, outcome) = "
            "(EXCLUDED.n, EXCLUDED.name, EXCLUDED.digest, EXCLUDED.outcome)",
            (*stream, n, request["name"], request["digest"], json.dumps(outcome)),
        )
        return {"outcome": outcome}

    def _lock_session(self, connection: Connection, sid: str, epoch: int) -> str:
        """Returns its owner."""
        query = "SELECT owner FROM alc.sessions WHERE sid = %s AND epoch = %s FOR NO KEY UPDATE"
        row = connection.execute(query, (sid, epoch)).fetchone()
        if row is None:
            raise StorageBroken(
                f"session {sid} has a newer owner in {self._database.label}, nothing was changed: read it there",
                code="fenced",
            )
        return str(row[0])

    def _result(self, stored: Entries | CardRows, request: Record) -> Any:
        namespace, name, args = str(request["namespace"]), str(request["name"]), tuple(request["args"])
        if isinstance(stored, CardRows):
            identity = f"{request['sid']} {request.get('stream')} {request.get('n')}"
            result = card_functions.perform(CardCall(stored, self._limits, identity), name, args)
            excess = "the result is too long for one message: ask for less with limit and offset"
        else:
            result = key_values.perform(lambda checked: stored, namespace, name, args, max_keys=self._limits.state_keys)
            if name != "state.keys":
                return result
            excess = (
                f"namespace '{namespace}' has {len(result)} keys, too long for one message: delete some, "
                "or raise ALC_LINE_BYTES"
            )
        if len(encode({"": result})) > self._limits.line_bytes // 2:
            raise CallRefused(f"alc.{name}: {excess}")
        return result


def _is_of_cards(request: Record) -> bool:
    return str(request["name"]).startswith("card.")


def _stored(connection: Connection, owner: str, request: Record) -> Entries | CardRows:
    if _is_of_cards(request):
        return CardRows(partial(fetch, connection), owner)
    return Entries(connection, owner, well_formed(str(request["namespace"])))
