"""Results of a strategy in Python as JSON values.

dict and other mappings become objects; list, tuple, set, range, deque and iterators arrays, of which a set is sorted;
dataclass, NamedTuple and SimpleNamespace objects; an Enum its value; date, time and datetime ISO texts, a timedelta its
seconds; Decimal, Fraction, UUID and paths texts; bytes the text that they are in UTF-8; NaN and the infinities null;
half of a surrogate pair U+FFFD. Keys become texts as `json` makes them.

Contract: `to_json` returns plain JSON values in new containers, or raises ResultError, whose sentence names the path of
the value. It runs code of the strategy: generators, and the methods of its mappings.
"""

import dataclasses
import datetime
import json
import math
import types
import uuid
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Set
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import PurePath
from typing import Any

from algocline_mcp.worker.engine.python.api.refused import RefusedAnswer, refused_as_json
from algocline_mcp.worker.engine.python.session import json_depth

_WHOLE = range(-(1 << 63), 1 << 63)  # what the JSON of a journal holds exactly in every language
_KEY_CHARS = 40  # of a key that an error shows
_TEXTS = (Decimal, Fraction, uuid.UUID, PurePath)
_ISO = (datetime.date, datetime.time)


class ResultError(TypeError):
    """The value has no JSON."""


ResultError.__name__ = ResultError.__qualname__ = "TypeError"
ResultError.__module__ = "builtins"


def to_json(value: Any, path: str = "result") -> Any:
    """`value` as None, bool, int, float, str, list or dict. `path` names the value in errors."""
    return _converted(value, path, ())


def _converted(value: Any, path: str, outer: tuple[int, ...]) -> Any:
    kind = type(value)
    if kind in (bool, type(None)):
        return value
    is_refused = isinstance(value, RefusedAnswer)
    scalar = _CONTAINER if is_refused else _scalar(value, path, outer)
    if scalar is not _CONTAINER:
        return scalar
    if id(value) in outer:
        raise ResultError(f"{path}: contains itself: JSON has no such value")
    if len(outer) >= (depth := json_depth()):
        raise ResultError(f"{path}: nested deeper than {depth} levels (ALC_JSON_DEPTH)")
    if is_refused:
        return refused_as_json(value)
    outer = (*outer, id(value))
    fields = _fields(value)
    if fields is not None:
        return _object(fields, path, outer)
    if isinstance(value, (list, tuple, deque, range, Set, Iterator, type({}.values()))):
        items = [_converted(item, f"{path}[{n}]", outer) for n, item in enumerate(value)]
        return sorted(items, key=_order) if isinstance(value, Set) and not isinstance(value, _ORDERED_SETS) else items
    raise ResultError(f"{path}: {_problem(value)}")


_CONTAINER = object()
_ORDERED_SETS: tuple[type, ...] = (type({}.keys()), type({}.items()))


def _scalar(value: Any, path: str, outer: tuple[int, ...] = ()) -> Any:
    """The JSON of a value without parts, else _CONTAINER."""
    if isinstance(value, Enum):
        return _converted(value.value, path, outer)
    if isinstance(value, str):
        return _text(str.__str__(value))
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        number = int(value)
        if number not in _WHOLE:
            raise ResultError(f"{path}: an integer of {number.bit_length()} bits, at most 63 and a sign: return str(n)")
        return number
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, _ISO):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, _TEXTS):
        return _text(str(value))
    if isinstance(value, (bytes, bytearray)):
        try:
            return value.decode()
        except UnicodeDecodeError:
            problem = "bytes that are no UTF-8: return base64.b64encode(value).decode()"
            raise ResultError(f"{path}: {problem}") from None
    return _CONTAINER


def _text(text: str) -> str:
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:  # two halves become the character, one alone the replacement
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _fields(value: Any) -> Iterable[tuple[Any, Any]] | None:
    """Names and values of what becomes an object, else None."""
    if isinstance(value, Mapping):
        return value.items()
    if isinstance(value, type):
        return None
    if dataclasses.is_dataclass(value):
        return [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(zip(value._fields, value, strict=True))
    if isinstance(value, types.SimpleNamespace):
        return vars(value).items()
    return None


def _object(fields: Iterable[tuple[Any, Any]], path: str, outer: tuple[int, ...]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, item in fields:
        name = key if type(key) is str else _key(key, path)
        if name in result:
            raise ResultError(f"{path}: has two keys that JSON writes as {json.dumps(name[:_KEY_CHARS])}: rename one")
        result[_text(name)] = _converted(item, _path(path, name), outer)
    return result


def _key(key: Any, path: str) -> str:
    """A key as `json` writes it, and the other values that are one text."""
    scalar = key if key is None else _scalar(key, path)
    if isinstance(scalar, str):
        return scalar
    if scalar is None or isinstance(scalar, (bool, int, float)):
        return json.dumps(scalar)
    cure = "keys are texts and numbers, as in {f'{a},{b}': …}"
    raise ResultError(f"{path}: has a key of type {type(key).__name__}, {repr(key)[:_KEY_CHARS]}: {cure}")


def _path(path: str, name: str) -> str:
    return f"{path}.{name}" if name.isidentifier() else f"{path}[{json.dumps(name[:_KEY_CHARS])}]"


def _order(item: Any) -> tuple[int, Any, str]:
    """Sorts numbers by value, then texts, then the rest by their JSON."""
    if isinstance(item, (int, float)):
        return (0, item, "")
    return (1, 0, item) if isinstance(item, str) else (2, 0, json.dumps(item, sort_keys=True))


def _problem(value: Any) -> str:
    name = type(value).__name__
    if isinstance(value, types.CoroutineType):
        return f"is the coroutine {value.__name__}: write await {value.__name__}(…)"
    if isinstance(value, AsyncIterator):
        return f"cannot return {name}: write [x async for x in …]"
    if isinstance(value, (types.FunctionType, types.MethodType, types.BuiltinFunctionType)):
        return f"is the function {value.__name__}: call it, {value.__name__}(…)"
    if isinstance(value, (type, types.ModuleType)):
        return f"is the {'class' if isinstance(value, type) else 'module'} {value.__name__}: return a value of it"
    if isinstance(value, BaseException):
        return f"cannot return {name}: return str(error)"
    return f"cannot return {name}; return dict, list, text, number, bool, None, or a dataclass"
