"""alc.state in PostgreSQL: a row for each key of each owner. What the tools read of it and of cards.

Contract. A key is stored as its bytes: it may hold NUL, which `text` refuses, and the order of bytes is that of the
home's database. `Entries` is a namespace as storage/key_values.py wants it, on a connection of its caller; where the
caller changes something, `lock_namespace` keeps every other change of that namespace out until its transaction ends.
`StateRows` is what the tools read, as StateReader says.
"""

import json
from typing import Any

from algocline_mcp.cluster.card_rows import CardRows, Query
from algocline_mcp.cluster.connection import Connection
from algocline_mcp.errors import Refused
from algocline_mcp.history.database_reader import SHOWN_CHARS

CARDS = "/cards"  # all cards of an owner, to be locked as a namespace: no namespace has a slash

_PUT = """
WITH before AS (
    SELECT octet_length(value) AS size FROM alc.state WHERE owner = %s AND namespace = %s AND key = %s
)
INSERT INTO alc.state (owner, namespace, key, value) VALUES (%s, %s, %s, %s)
ON CONFLICT (owner, namespace, key) DO UPDATE SET value = EXCLUDED.value
RETURNING (SELECT size FROM before)
"""


def lock_namespace(connection: Connection, owner: str, namespace: str) -> None:
    """Until the transaction ends. Statements after it see what the holder before has committed."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (json.dumps([owner, namespace]),))


class Entries:
    def __init__(self, connection: Connection, owner: str, namespace: str) -> None:
        self._connection = connection
        self._scope = (owner, namespace)
        self.growth = 0  # bytes of keys and values, by what was put

    def stored(self, key: str) -> str | None:
        query = "SELECT value FROM alc.state WHERE owner = %s AND namespace = %s AND key = %s"
        row = self._connection.execute(query, (*self._scope, key.encode())).fetchone()
        return None if row is None else str(row[0])

    def keys(self) -> list[str]:
        query = "SELECT key FROM alc.state WHERE owner = %s AND namespace = %s ORDER BY key"
        return [_text(key) for (key,) in self._connection.execute(query, self._scope)]

    def count(self) -> int:
        query = "SELECT count(*) FROM alc.state WHERE owner = %s AND namespace = %s"
        row = self._connection.execute(query, self._scope).fetchone()
        return int(str(row[0])) if row else 0

    def put(self, key: str, value: str) -> None:
        name = key.encode()
        row = self._connection.execute(_PUT, (*self._scope, name, *self._scope, name, value)).fetchone()
        before = int(str(row[0])) if row and row[0] is not None else -len(name)
        self.growth += len(value.encode()) - before

    def delete(self, key: str) -> bool:
        query = "DELETE FROM alc.state WHERE owner = %s AND namespace = %s AND key = %s"
        return self._connection.execute(query, (*self._scope, key.encode())).rowcount > 0


class StateRows:
    """Each method is one or two statements, and more for many cards. Raises StorageFailed; Refused for too many."""

    def __init__(self, query: Query, owner: str) -> None:
        self._query = query
        self._owner = owner

    def namespaces(self) -> dict[str, int]:
        sql = "SELECT namespace, count(*) FROM alc.state WHERE owner = %s GROUP BY namespace ORDER BY namespace"
        return {str(name): int(str(count)) for name, count in self._query(sql, (self._owner,))}

    def names(self, namespace: str) -> list[str]:
        return [_text(key) for key in self._keys(namespace)]

    def keys(self, namespace: str, *, query: str, after: str, limit: int) -> tuple[list[tuple[str, str]], int]:
        wanted = _bytes(query).lower()  # bytes: letters of ASCII alone, as SQLite's lower
        matching = [key for key in self._keys(namespace) if wanted in key.lower()]
        page = [key for key in matching if key > _bytes(after)][:limit]
        sql = (
            "SELECT key, left(value, %s) FROM alc.state WHERE owner = %s AND namespace = %s AND key = ANY(%s) "
            "ORDER BY key"
        )
        rows = self._query(sql, (SHOWN_CHARS, self._owner, _whole(namespace), page)) if page else []
        return [(_text(key), str(value)) for key, value in rows], len(matching)

    def value(self, namespace: str, key: str) -> list[Any]:
        sql = "SELECT value FROM alc.state WHERE owner = %s AND namespace = %s AND key = %s"
        return [json.loads(str(text)) for (text,) in self._query(sql, (self._owner, _whole(namespace), _bytes(key)))]

    def cards(self) -> list[dict[str, Any]]:
        try:
            return [json.loads(text) for text in self._cards.summaries(None, offset=0, limit=None)]
        except ValueError as exc:
            raise Refused(str(exc), code="too_large") from exc

    def card(self, card_id: str) -> list[dict[str, Any]]:
        row = self._cards.card(card_id)
        return [] if row is None else [json.loads(row[1])]

    @property
    def _cards(self) -> CardRows:
        return CardRows(self._query, self._owner)  # for one call

    def _keys(self, namespace: str) -> list[bytes]:
        """All of a namespace: at most ALC_STATE_KEYS."""
        sql = "SELECT key FROM alc.state WHERE owner = %s AND namespace = %s ORDER BY key"
        return [bytes(key) for (key,) in self._query(sql, (self._owner, _whole(namespace))) if isinstance(key, bytes)]


def _text(key: object) -> str:
    assert isinstance(key, bytes)
    return key.decode()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _whole(namespace: str) -> str:
    """As it is stored. No namespace holds NUL, and PostgreSQL refuses to look for one."""
    return _bytes(namespace).decode().replace("\0", "\\")
