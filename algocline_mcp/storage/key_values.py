"""alc.state: the keys and values that all sessions of an owner share. Its rules, apart from where it is stored.

Contract: `perform` carries out one function on a namespace and returns its result, a JSON value, or raises CallRefused,
whose sentence is for the strategy; then nothing was changed. A Namespace is a row of a SQLite file
(worker/database/key_value.py) or of PostgreSQL (cluster/state_rows.py) for each key. A function that changes something
runs while nobody else changes that namespace, and what it stored before it raised is taken back by its caller.

One set of tests holds for both: tests/storage/test_key_values.py.
"""

import json
import math
from collections.abc import Callable
from typing import Any, Protocol

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


class CallRefused(Exception):
    """The call is not possible. The strategy gets the message as an error; nothing was changed."""


class Namespace(Protocol):
    """The keys of one namespace of one owner, each with its value as JSON text. Keys are whole Unicode."""

    def stored(self, key: str) -> str | None: ...

    def keys(self) -> list[str]:
        """In the order of their bytes as UTF-8."""
        ...

    def count(self) -> int: ...

    def put(self, key: str, value: str) -> None:
        """Adds the key, or replaces its value."""
        ...

    def delete(self, key: str) -> bool:
        """Whether there was such a key."""
        ...


def perform(
    open_namespace: Callable[[str], Namespace], namespace: str, name: str, args: tuple[Any, ...], *, max_keys: int
) -> Any:
    """`open_namespace` gets the name of the namespace, checked. `max_keys`: that a namespace holds."""
    check_arguments(name, args, FUNCTIONS[name][1])
    _check_namespace(namespace)
    if args and not isinstance(args[0], str):
        raise CallRefused(f"alc.{name}: a key is a string")
    namespace = well_formed(namespace)
    call = _Call(open_namespace(namespace), namespace, name, max_keys)
    method = getattr(call, name.partition(".")[2])
    return method(*(well_formed(args[0]), *args[1:]) if args else ())


def check_arguments(name: str, args: tuple[Any, ...], count: int) -> None:
    if len(args) != count:
        raise CallRefused(f"host function {name!r} cannot take {len(args)} such arguments")


def _check_namespace(namespace: str) -> None:
    if not namespace or any(part in namespace for part in ("/", "\\", "..", "\0")):
        raise CallRefused(f"Invalid namespace: '{namespace}': ctx._ns is a text without /, \\, .. and NUL")


class _Call:
    """Its methods are the functions, by the last part of their names."""

    def __init__(self, entries: Namespace, namespace: str, function: str, max_keys: int) -> None:
        self._entries = entries
        self._namespace = namespace
        self._function = function
        self._max_keys = max_keys

    def get(self, key: str) -> list[Any]:
        """A list that holds the value, or an empty list where there is no value: null is a value."""
        stored = self._entries.stored(key)
        return [] if stored is None else [json.loads(stored)]

    def has(self, key: str) -> bool:
        return self._entries.stored(key) is not None

    def keys(self) -> list[str]:
        return self._entries.keys()

    def set(self, key: str, value: Any) -> None:
        self._put(key, json_text(value), is_new=self._entries.stored(key) is None)

    def set_nx(self, key: str, value: Any) -> bool:
        is_new = self._entries.stored(key) is None
        if is_new:
            self._put(key, json_text(value), is_new=True)
        return is_new

    def delete(self, key: str) -> bool:
        return self._entries.delete(key)

    def incr(self, key: str, delta: Any, default: Any) -> float:
        stored = self._entries.stored(key)
        total = _sum(key, default if stored is None else json.loads(stored), delta)
        self._put(key, json_text(total), is_new=stored is None)
        return total

    def swap(self, key: str, old: Any, new: Any) -> bool:
        """Compare and swap: replaces the value by `new` if it still equals `old`. Returns whether it did.

        `old` and `new` are lists that hold one value, or empty lists that mean no value.
        """
        if not all(isinstance(value, list) and len(value) < 2 for value in (old, new)):
            raise CallRefused("swap: the old and the new value are each a list of one value or none")
        stored = self._entries.stored(key)
        if stored != (json_text(old[0]) if old else None):
            return False
        if new:
            self._put(key, json_text(new[0]), is_new=stored is None)
        elif stored is not None:
            self._entries.delete(key)
        return True

    def _put(self, key: str, value: str, *, is_new: bool) -> None:
        if is_new and (count := self._entries.count()) >= self._max_keys:
            raise CallRefused(
                f"alc.{self._function}: namespace '{self._namespace}' has {count} keys, at most {self._max_keys}: "
                "delete some, or raise ALC_STATE_KEYS"
            )
        self._entries.put(key, value)


def _sum(key: str, value: Any, delta: Any) -> float:
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
    return total


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def json_text(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces. Stored texts are compared byte by byte."""
    return well_formed(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False))


def well_formed(text: str) -> str:
    """Replaces half surrogate pairs by `?`: neither database takes them."""
    return text.encode("utf-8", "replace").decode()
