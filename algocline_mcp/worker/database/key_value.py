"""alc.state: keys and values that all sessions of a home share, by namespace.

Contract: `perform` carries one call out in its Scope and returns the result, a JSON value, or raises Declined.
"""

import json
import math
from typing import Any

from algocline_mcp.worker.database.call_scope import Declined, Scope, json_text, plain
from algocline_mcp.worker.engine.messages import Call

# Host function -> whether it changes something, number of its arguments.
FUNCTIONS = {
    "state.get": (False, 1),
    "state.has": (False, 1),
    "state.keys": (False, 0),
    "state.set": (True, 2),
    "state.set_nx": (True, 2),
    "state.delete": (True, 1),
    "state.incr": (True, 3),
    "state.swap": (True, 3),
}


def perform(scope: Scope, call: Call) -> Any:
    _check_namespace(scope.namespace)
    if call.args and not isinstance(call.args[0], str):
        raise Declined(f"alc.{call.name}: a key is a string")
    method = getattr(_Values(scope, call.name), call.name.partition(".")[2])
    return method(*(plain(call.args[0]), *call.args[1:]) if call.args else ())


def _check_namespace(namespace: str) -> None:
    if not namespace or any(part in namespace for part in ("/", "\\", "..", "\0")):
        raise Declined(f"Invalid namespace: '{namespace}': ctx._ns is a text without /, \\, .. and NUL")


class _Values:
    def __init__(self, scope: Scope, name: str) -> None:
        self._scope = scope
        self._namespace = plain(scope.namespace)
        self._name = name

    def get(self, key: str) -> list[Any]:
        """The value in a list, or an empty one: null is a value."""
        found = self._found(key)
        return [] if found is None else [json.loads(found)]

    def has(self, key: str) -> bool:
        return self._found(key) is not None

    def keys(self) -> list[str]:
        query = "SELECT key FROM state WHERE namespace = ? ORDER BY key"
        rows = self._scope.connection.execute(query, (self._namespace,))
        return [key for (key,) in rows]

    def set(self, key: str, value: Any) -> None:
        self._put(key, json_text(value), is_new=self._found(key) is None)

    def set_nx(self, key: str, value: Any) -> bool:
        is_new = self._found(key) is None
        if is_new:
            self._put(key, json_text(value), is_new=True)
        return is_new

    def delete(self, key: str) -> bool:
        where = (self._namespace, key)
        return self._scope.connection.execute("DELETE FROM state WHERE namespace = ? AND key = ?", where).rowcount > 0

    def incr(self, key: str, delta: Any, default: Any) -> float:
        found = self._found(key)
        value = default if found is None else json.loads(found)
        if not _is_number(value):
            raise Declined(f"incr: value at '{key}' is not a number")
        if not _is_number(delta):
            raise Declined("incr: delta is not a number")
        total = float(value) + float(delta)
        if not math.isfinite(total):
            raise Declined(f"incr: value at '{key}' would leave the range of numbers")
        self._put(key, json_text(total), is_new=found is None)
        return total

    def swap(self, key: str, old: Any, new: Any) -> bool:
        """Sets `[new]` where `[old]` still stands; an empty list means no value. Returns whether it did."""
        found = self._found(key)
        if found != (json_text(old[0]) if old else None):
            return False
        if new:
            self._put(key, json_text(new[0]), is_new=found is None)
        elif found is not None:
            self.delete(key)
        return True

    def _found(self, key: str) -> str | None:
        query = "SELECT value FROM state WHERE namespace = ? AND key = ?"
        row = self._scope.connection.execute(query, (self._namespace, key)).fetchone()
        return None if row is None else str(row[0])

    def _put(self, key: str, value: str, *, is_new: bool) -> None:
        if is_new:
            query = "SELECT count(*) FROM state WHERE namespace = ?"
            (count,) = self._scope.connection.execute(query, (self._namespace,)).fetchone()
            most = self._scope.limits.state_keys
            if count >= most:
                raise Declined(
                    f"alc.{self._name}: namespace '{self._namespace}' has {count} keys, at most {most}: "
                    "delete some, or raise ALC_STATE_KEYS"
                )
        self._scope.connection.execute("REPLACE INTO state VALUES (?, ?, ?)", (self._namespace, key, value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
