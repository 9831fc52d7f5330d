"""alc.state in the state database of a home: a row for each key.

Contract: `perform` performs one call in its context and returns the result, a JSON value, or raises CallRefused. What
the functions do stands in storage/key_values.py.
"""

from typing import Any

from algocline_mcp.storage import key_values
from algocline_mcp.storage.key_values import FUNCTIONS
from algocline_mcp.worker.database.call_context import CallContext
from algocline_mcp.worker.engine.messages import Call

__all__ = ["FUNCTIONS", "perform"]


def perform(context: CallContext, call: Call) -> Any:
    def open_namespace(name: str) -> _Entries:
        return _Entries(context, name)

    return key_values.perform(
        open_namespace, context.namespace, call.name, call.args, max_keys=context.limits.state_keys
    )


class _Entries:
    def __init__(self, context: CallContext, namespace: str) -> None:
        self._execute = context.connection.execute
        self._namespace = namespace

    def stored(self, key: str) -> str | None:
        query = "SELECT value FROM state WHERE namespace = ? AND key = ?"
        row = self._execute(query, (self._namespace, key)).fetchone()
        return None if row is None else str(row[0])

    def keys(self) -> list[str]:
        rows = self._execute("SELECT key FROM state WHERE namespace = ? ORDER BY key", (self._namespace,))
        return [key for (key,) in rows]

    def count(self) -> int:
        (count,) = self._execute("SELECT count(*) FROM state WHERE namespace = ?", (self._namespace,)).fetchone()
        return int(count)

    def put(self, key: str, value: str) -> None:
        self._execute("REPLACE INTO state VALUES (?, ?, ?)", (self._namespace, key, value))

    def delete(self, key: str) -> bool:
        where = (self._namespace, key)
        return self._execute("DELETE FROM state WHERE namespace = ? AND key = ?", where).rowcount > 0
