"""Checks of arguments, and calls of a strategy's functions."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from algocline_mcp.worker.engine.python.api.numbers import is_number
from algocline_mcp.worker.engine.python.api.refused import raise_refused
from algocline_mcp.worker.engine.python.api.texts import kind_of, problem

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def text_of(value: Any, name: str) -> str:
    """The text of a string or number."""
    if isinstance(value, str) or is_number(value):
        return str(value)
    raise_refused(value)
    raise problem("argument", name, "the text", "a string", kind_of(value))


def listed(items: Any) -> list[Any] | None:
    """The items of whatever holds some in an order; None for a text, a dict, and what holds none."""
    raise_refused(items)
    if isinstance(items, str | bytes | Mapping) or not isinstance(items, Iterable):
        return None
    return list(items)


def items_of(items: Any, name: str) -> list[Any]:
    values = listed(items)
    if values is None:
        raise problem("argument", name, "the items", "a list", kind_of(items))
    return values


def function_of(fn: Any, name: str, what: str = "fn") -> Callable[..., Any]:
    if not callable(fn):
        raise problem("argument", name, what, "a function", kind_of(fn))
    function: Callable[..., Any] = fn
    return function


def fitted(fn: Callable[..., Any], *, least: int = 1) -> Callable[..., Any]:
    """Calls `fn` with as many of the values as it has parameters without a default, and with `least` at least: lambda
    item, lambda item, i, and str are all functions of an item."""
    count = max(least, _required(fn))
    return lambda *values: fn(*values[:count])


def _required(fn: Callable[..., Any]) -> int:
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):  # of C, without a signature
        return 0
    return sum(part.kind in _POSITIONAL and part.default is inspect.Parameter.empty for part in parameters)
