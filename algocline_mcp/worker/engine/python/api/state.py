"""alc.state: keys and JSON values in a namespace of the home, which outlive the session."""

from collections.abc import Callable
from typing import Any

from algocline_mcp.worker.engine.python.api.host import assert_name, call
from algocline_mcp.worker.engine.python.api.json_values import plain_of
from algocline_mcp.worker.engine.python.api.numbers import is_finite
from algocline_mcp.worker.engine.python.api.refused import raise_refused
from algocline_mcp.worker.engine.python.api.texts import kind_of, problem

Key = str | int | float
_TRIES = 100  # of an update while other sessions change the same key


def get(key: Key, default: Any = None) -> Any:
    """The stored value, or the default where nothing is stored."""
    stored = call("state.get", _key(key, "state.get"))
    return stored[0] if stored else default


def set(key: Key, value: Any) -> None:
    """Stores the value. None removes the key."""
    if value is None:
        call("state.delete", _key(key, "state.set"))
    else:
        call("state.set", _key(key, "state.set"), plain_of(value, "alc.state.set"))


def has(key: Key) -> bool:
    return bool(call("state.has", _key(key, "state.has")))


def keys() -> list[str]:
    """The keys of the namespace, sorted."""
    names: list[str] = call("state.keys")
    return names


def delete(key: Key) -> bool:
    """Removes the key. Returns whether there was a value."""
    return bool(call("state.delete", _key(key, "state.delete")))


def set_nx(key: Key, value: Any) -> bool:
    """Stores the value only where nothing is stored yet. Returns whether it did."""
    if value is None:
        raise problem("state.missing")
    return bool(call("state.set_nx", _key(key, "state.set_nx"), plain_of(value, "alc.state.set_nx")))


def incr(key: Key, delta: float | None = 1, default: float | None = 0) -> float:
    """Adds `delta` to the stored number, or to `default`. Returns the sum."""
    arguments = (_number(delta, 1, "delta"), _number(default, 0, "default"))
    return float(call("state.incr", _key(key, "state.incr"), *arguments))


def update(key: Key, fn: Callable[[Any], Any], default: Any = None) -> Any:
    """Replaces the value by fn(value). Calls `fn` again where another session has changed the value meanwhile."""
    key = _key(key, "state.update")
    if not callable(fn):
        raise problem("state.function", kind_of(fn))
    for _ in range(_TRIES):
        stored = call("state.get", key)
        before = [plain_of(value, "alc.state.update") for value in stored]  # a copy: `fn` may modify what it gets
        new = fn(stored[0] if stored else default)
        after = [] if new is None else [plain_of(new, "alc.state.update")]
        if call("state.swap", key, before, after):
            return new
    raise problem("state.changed", f'"{key}"', _TRIES)


def _key(key: Any, name: str) -> str:
    if isinstance(key, int | float) and not isinstance(key, bool):
        return str(key)
    if not isinstance(key, str):
        raise_refused(key)
        raise problem("state.key", name, kind_of(key))
    assert_name(name, key)
    return key


def _number(value: Any, otherwise: int, name: str) -> int | float:
    if value is None:
        return otherwise
    if not is_finite(value):
        raise problem("state.number", name, value)
    number: int | float = value
    return number
