"""alc.state: keys and values that all sessions of a home share, by namespace.

Contract: `perform` performs one call in its context and returns the result, a JSON value, or raises CallRefused.
"""

import json
import math
from typing import Any

from algocline_mcp.worker.database.call_context import CallContext, CallRefused, json_text, well_formed
from algocline_mcp.worker.engine.messages import Call

# Host function -> (whether the function changes something, number of its arguments).
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


def perform(context: CallContext, call: Call) -> Any:
    _check_namespace(context.namespace)
    if call.args and not isinstance(call.args[0], str):
        raise CallRefused(f"alc.{call.name}: a key is a string")
    method = getattr(_Namespace(context, call.name), call.name.partition(".")[2])
    return method(*(well_formed(call.args[0]), *call.args[1:]) if call.args else ())


def _check_namespace(namespace: str) -> None:
    if not namespace or any(part in namespace for part in ("/", "\\", "..", "\0")):
        raise CallRefused(f"Invalid namespace: '{namespace}': ctx._ns is a text without /, \\, .. and NUL")


class _Namespace:
    def __init__(self, context: CallContext, name: str) -> None:
        self._context = context
        self._namespace = well_formed(context.namespace)
        self._function = name

    def get(self, key: str) -> list[Any]:
        """A list that holds the value, or an empty list where there is no value: null is a value."""
        stored = self._stored(key)
        return [] if stored is None else [json.loads(stored)]

    def has(self, key: str) -> bool:
        return self._stored(key) is not None

    def keys(self) -> list[str]:
        query = "SELECT key FROM state WHERE namespace = ? ORDER BY key"
        rows = self._context.connection.execute(query, (self._namespace,))
        return [key for (key,) in rows]

    def set(self, key: str, value: Any) -> None:
        self._put(key, json_text(value), is_new=self._stored(key) is None)

    def set_nx(self, key: str, value: Any) -> bool:
        is_new = self._stored(key) is None
        if is_new:
            self._put(key, json_text(value), is_new=True)
        return is_new

    def delete(self, key: str) -> bool:
        where = (self._namespace, key)
        return self._context.connection.execute("DELETE FROM state WHERE namespace = ? AND key = ?", where).rowcount > 0

    def incr(self, key: str, delta: Any, default: Any) -> float:
        stored = self._stored(key)
        value = default if stored is None else json.loads(stored)
        if not _is_number(value):
            raise CallRefused(f"incr: value at '{key}' is not a number")
        if not _is_number(delta):
            raise CallRefused("incr: delta is not a number")
        try:
            total = float(value) + float(delta)
        except OverflowError:  # a whole number that is larger than every float
            total = math.inf
        if not math.isfinite(total):
            raise CallRefused(f"incr: value at '{key}' would leave the range of numbers")
        self._put(key, json_text(total), is_new=stored is None)
        return total

    def swap(self, key: str, old: Any, new: Any) -> bool:
        """Compare and swap: replaces the value by `new` if it still equals `old`. Returns whether it did.

        `old` and `new` are lists that hold one value, or empty lists that mean no value.
        """
        if not all(isinstance(value, list) and len(value) < 2 for value in (old, new)):
            raise CallRefused("swap: the old and the new value are each a list of one value or none")
        stored = self._stored(key)
        if stored != (json_text(old[0]) if old else None):
            return False
        if new:
            self._put(key, json_text(new[0]), is_new=stored is None)
        elif stored is not None:
            self.delete(key)
        return True

    def _stored(self, key: str) -> str | None:
        query = "SELECT value FROM state WHERE namespace = ? AND key = ?"
        row = self._context.connection.execute(query, (self._namespace, key)).fetchone()
        return None if row is None else str(row[0])

    def _put(self, key: str, value: str, *, is_new: bool) -> None:
        if is_new:
            query = "SELECT count(*) FROM state WHERE namespace = ?"
            (count,) = self._context.connection.execute(query, (self._namespace,)).fetchone()
            limit = self._context.limits.state_keys
            if count >= limit:
                raise CallRefused(
                    f"alc.{self._function}: namespace '{self._namespace}' has {count} keys, at most {limit}: "
                    "delete some, or raise ALC_STATE_KEYS"
                )
        self._context.connection.execute("REPLACE INTO state VALUES (?, ?, ?)", (self._namespace, key, value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
