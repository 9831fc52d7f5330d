"""Checks of the arguments of alc.math, and arithmetic of floats that ends in NaN or an infinity and not in an error."""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, TypeVar

from algocline_mcp.worker.engine.python.api import numbers
from algocline_mcp.worker.engine.python.api.texts import kind_of, problem
from algocline_mcp.worker.engine.python.exceptions import Error

P = ParamSpec("P")
R = TypeVar("R")
Check = Callable[[Any, str, str], Any]


def refusal(name: str, what: str, wanted: str, value: Any) -> Error:
    """The exception for an argument of alc.math[name]."""
    shown = value if numbers.is_number(value) else kind_of(value)
    return problem("argument", f"alc.math.{name}", what, wanted, shown)


def number(value: Any, name: str, what: str) -> int | float:
    if not numbers.is_number(value):
        raise refusal(name, what, "a number", value)
    return value if numbers.whole(value) is not None else _float(value)


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.copysign(math.inf, value)


def whole(value: Any, name: str, what: str) -> int:
    count = numbers.whole(value)
    if count is None:
        raise refusal(name, what, "a whole number", value)
    return count


def positive(value: Any, name: str, what: str) -> int | float:
    if not numbers.is_number(value) or not value > 0:
        raise refusal(name, what, "a number above 0", value)
    return number(value, name, what)


def finite(value: Any, name: str, what: str) -> int | float:
    """Above 0. With an infinite one a loop that draws until a number fits would never end."""
    if not numbers.is_number(value) or not 0 < _float(value) < math.inf:
        raise refusal(name, what, "a finite number above 0", value)
    return number(value, name, what)


def unsigned(value: Any, name: str, what: str) -> int:
    count = whole(value, name, what)
    if count < 0:
        raise refusal(name, what, "at least 0", value)
    return count


def probability(value: Any, name: str, what: str) -> int | float:
    if not numbers.is_number(value) or not 0 <= value <= 1:
        raise refusal(name, what, "a number from 0 to 1", value)
    return value


def array(value: Any, name: str, what: str) -> Sequence[Any]:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise refusal(name, what, "a list", value)
    return value


def samples(value: Any, name: str, what: str) -> list[int | float]:
    """A copy of a list of numbers that is not empty."""
    if not isinstance(value, Sequence) or isinstance(value, str | bytes) or not value:
        raise refusal(name, what, "a non-empty list of numbers", value)
    return [number(item, name, f"{what}[{n}]") for n, item in enumerate(value, 1)]


def generator(value: Any, name: str, what: str) -> list[int]:
    if not isinstance(value, list) or not value or type(value[0]) is not int:
        raise refusal(name, what, "a generator from alc.math.rng_create", value)
    return value


_KINDS: dict[str, Check] = {
    "n": number, "i": whole, "+": positive, "f": finite, "u": unsigned, "p": probability, "t": array, "a": samples,
    "r": generator,
}  # fmt: skip


def checked(arguments: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Checks the arguments of a function of alc.math: their kinds in order, "r n +"."""
    checks = [_KINDS[kind] for kind in arguments.split()]

    def decorate(fn: Callable[P, R]) -> Callable[P, R]:
        run: Callable[..., R] = fn
        parameters = signature(fn)
        names = [what.rstrip("_") for what in parameters.parameters]
        name = fn.__name__

        @wraps(fn)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            values: tuple[Any, ...] = args
            options: dict[str, Any] = kwargs
            if kwargs:
                bound = parameters.bind(*args, **kwargs)
                values, options = bound.args, bound.kwargs
            given = [check(value, name, what) for value, check, what in zip(values, checks, names, strict=False)]
            return run(*given, *values[len(given) :], **options)

        return wrapper

    return decorate


# ── floats ────────────────────────────────────────────────────────────────────────────────────────────────


def added(values: Iterable[float]) -> float:
    """The sum from left to right: what `sum` does with rounding errors depends on the release of Python."""
    total = 0.0
    for value in values:
        total += value
    return total


def divided(a: float, b: float) -> float:
    if b:
        return a / b
    return math.nan if not a or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1.0, b)


def log(x: float) -> float:
    if x > 0:
        return math.log(x)
    return -math.inf if x == 0 else math.nan


def exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def sqrt(x: float) -> float:
    return math.sqrt(x) if x >= 0 else math.nan
