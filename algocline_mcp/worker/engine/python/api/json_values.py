"""JSON of alc.*: values of a strategy as plain JSON values, and texts read strictly."""

import json
import math
from typing import Any, NoReturn

from algocline_mcp.protocol.messages import is_deeper
from algocline_mcp.worker.engine.python.exceptions import Error
from algocline_mcp.worker.engine.python.results import ResultError, to_json
from algocline_mcp.worker.engine.python.session import json_depth

_LONG_DIGITS = 300  # of an integer: Python refuses 4,301, and a float holds no more than this


def plain(value: Any, path: str) -> Any:
    """`value` as a plain JSON value. Raises Error with the path of what JSON has not."""
    try:
        return to_json(value, path)
    except ResultError as exc:
        raise Error(str(exc)) from exc


def plain_of(value: Any, function: str, what: str = "the value") -> Any:
    """As `plain`, for an argument of a function of alc."""
    try:
        return plain(value, what)
    except Error as exc:
        raise Error(f"{function}: {exc}") from exc


def encoded(value: Any, path: str) -> str:
    """The JSON text of `value`, with sorted keys and without blanks."""
    return json.dumps(plain(value, path), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def decoded(text: str) -> Any:
    """The value of a JSON text. Raises ValueError with what is wrong."""
    depth = json_depth()
    try:
        value = json.loads(text, parse_int=_integer, parse_float=_float, parse_constant=_no_constant)
    except RecursionError:
        value = None
        is_deep = True
    else:
        is_deep = is_deeper(value, depth)
    if is_deep:
        raise ValueError(f"nested deeper than {depth} levels (ALC_JSON_DEPTH)")
    return value


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < _LONG_DIGITS else _float(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError("a number out of range")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
