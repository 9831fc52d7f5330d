"""Functions of texts and lists. Python has most of them itself; these are alc's, with the same results in Lua."""

import math
import re
from collections.abc import Callable, Iterable
from typing import Any, Literal

from algocline_mcp.worker.engine import stdlib
from algocline_mcp.worker.engine.python.api.arguments import fitted, function_of, items_of, text_of
from algocline_mcp.worker.engine.python.api.numbers import is_number
from algocline_mcp.worker.engine.python.api.texts import problem
from algocline_mcp.worker.engine.python.api.world import log
from algocline_mcp.worker.engine.python.exceptions import Error

_DEFAULTS = stdlib.DEFAULTS


def chunk(
    text: str, *, mode: Literal["lines", "chars"] = "lines", size: int = _DEFAULTS["chunk_size"], overlap: int = 0
) -> list[str]:
    """Pieces of `size` lines or characters; each begins with the last `overlap` of the one before."""
    text = text_of(text, "alc.chunk")
    sizes = _whole(size, "alc.chunk", "size"), _whole(overlap, "alc.chunk", "overlap")
    try:
        return stdlib.chunk(text, "chars" if mode == "chars" else "lines", *sizes)
    except ValueError as exc:
        raise Error(f"alc.chunk: {exc}") from exc


def _whole(value: Any, name: str, what: str) -> int:
    if not is_number(value) or not math.isfinite(value):
        raise problem("argument", name, what, "a whole number", value)
    return math.floor(value)


def fingerprint(text: Any) -> str:
    """8 hexadecimal digits (DJB2) that ignore case and blanks."""
    return stdlib.fingerprint(str(text))


def map(items: Iterable[Any], fn: Callable[..., Any]) -> list[Any]:
    """`fn(item, i)` of each item; `i` counts from 0."""
    of_item = fitted(function_of(fn, "alc.map"))
    return [of_item(item, i) for i, item in enumerate(items_of(items, "alc.map"))]


def filter(items: Iterable[Any], fn: Callable[..., Any]) -> list[Any]:
    """The items for which `fn(item, i)` is true."""
    is_kept = fitted(function_of(fn, "alc.filter"))
    return [item for i, item in enumerate(items_of(items, "alc.filter")) if is_kept(item, i)]


def reduce(items: Iterable[Any], fn: Callable[..., Any], init: Any = None) -> Any:
    """`fn(so_far, item, i)` over all; without `init` from the first item on."""
    rest = list(enumerate(items_of(items, "alc.reduce")))
    combined = fitted(function_of(fn, "alc.reduce"), least=2)
    if init is None:
        init = rest.pop(0)[1] if rest else None
    for i, item in rest:
        init = combined(init, item, i)
    return init


# ── fmt ───────────────────────────────────────────────────────────────────────────────────────────────────

_CONVERSION = re.compile(r"%([-+ #0-9.]*)(.)", re.DOTALL)
_WHOLE = {"d": "d", "i": "d", "u": "d", "o": "o", "x": "x", "X": "X", "c": "c"}
_FLOAT = "eEfFgG"


def fmt(template: Any, *values: Any) -> str:
    """The template with printf's conversions filled: rounds for %d, writes NaN and Inf, and <nil> for a None in %s."""
    if template is None:
        return ""
    rest = iter(enumerate(values, 2))

    def filled(match: re.Match[str]) -> str:
        flags, conversion = match.groups()
        if conversion == "%":
            return "%"
        place, value = next(rest, (len(values) + 2, _MISSING))
        if value is _MISSING:
            raise Error(f"bad argument #{place} to 'fmt' (no value)")
        return _formatted(flags, conversion, value, place)

    return _CONVERSION.sub(filled, text_of(template, "alc.fmt"))


_MISSING = object()


def _formatted(flags: str, conversion: str, value: Any, place: int) -> str:
    if conversion in _WHOLE or conversion in _FLOAT:
        number = _number(value, place)
        if math.isfinite(number):
            shown = math.floor(abs(number) + 0.5) * (-1 if number < 0 else 1) if conversion in _WHOLE else number
            return f"%{flags}{_WHOLE.get(conversion, conversion)}" % shown
        name = "NaN" if math.isnan(number) else "Inf" if number > 0 else "-Inf"
        width = re.match(r"[-+ #0]*(\d*)", flags)
        return f"%{'-' * ('-' in flags)}{width[1] if width else ''}s" % name
    if conversion == "s":
        return f"%{flags}s" % ("<nil>" if value is None else str(value))
    raise Error(f"invalid conversion '%{flags}{conversion}' to 'format'")


def _number(value: Any, place: int) -> int | float:
    if is_number(value):
        return value
    for kind in (int, float):
        try:
            if isinstance(value, str):
                return kind(value)
        except ValueError:
            continue
    raise Error(f"bad argument #{place} to 'fmt' (number expected, got {type(value).__name__})")


def log_fmt(level: str, template: Any, *values: Any) -> None:
    """alc.log of what alc.fmt writes."""
    log(level, fmt(template, *values))
