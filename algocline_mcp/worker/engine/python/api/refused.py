"""Refused items of alc.llm_batch.

Such an item has an error value in the place of its answer, so that one refusal does not throw away the other answers.
Whatever uses the value as a text, number or list raises the refusal; `refused(value)` returns its reason instead, and
from then on the value may stand in a result, as {"refused": reason}. Code in C that wants a text raises a TypeError and
does not ask the value. Therefore a strategy that ends without having looked at a refused item ends in the refusal.
"""

import sys
from typing import Any, NoReturn

from algocline_mcp.worker.engine.python.api.memory import Refusal, memory
from algocline_mcp.worker.engine.python.api.texts import TEXTS
from algocline_mcp.worker.engine.python.exceptions import Refused


class RefusedAnswer:
    """Not a str: a function in C would read its characters, and nobody would notice the refusal."""

    __slots__ = ("_refusal",)

    def __init__(self, refusal: Refusal) -> None:
        object.__setattr__(self, "_refusal", refusal)


def _raise(value: RefusedAnswer, *_arguments: Any) -> NoReturn:
    raise _error(_refusal_of(value))


def _raise_reflected(value: RefusedAnswer, *_arguments: Any) -> NoReturn:
    _raise(value)


for _name in (
    *("str", "repr", "format", "bytes", "bool", "len", "iter", "contains", "getitem", "call", "hash", "getattr"),
    *("setattr", "eq", "ne", "lt", "le", "gt", "ge", "add", "radd", "sub", "rsub", "mul", "rmul", "mod", "rmod"),
    *("truediv", "rtruediv", "floordiv", "rfloordiv", "pow", "rpow", "or", "ror", "and", "rand", "xor", "rxor", "neg"),
    *("pos", "abs", "invert", "int", "float", "index", "round", "reversed", "enter", "copy", "deepcopy"),
):
    setattr(RefusedAnswer, f"__{_name}__", _raise)


def _refusal_of(value: RefusedAnswer) -> Refusal:
    """Looks at the refusal."""
    refusal: Refusal = object.__getattribute__(value, "_refusal")
    refusal.is_seen = True
    return refusal


def _error(refusal: Refusal, where: str = "") -> Refused:
    return Refused(where + TEXTS["batch.refused"] % (refusal.item, refusal.reason), refusal.reason)


def refused_answer(item: int, reason: str) -> RefusedAnswer:
    """The error value of item `item` of a batch."""
    refusal = Refusal(reason, item, _where())
    memory().refusals.append(refusal)
    return RefusedAnswer(refusal)


def _where() -> str:
    """The line of the strategy that runs, "panel.py:3: "."""
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_foreign(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}: "


def _is_foreign(module: str) -> bool:
    top = module.partition(".")[0]
    return top == "algocline_mcp" or top in sys.stdlib_module_names


def is_refused(value: Any) -> bool:
    return type(value) is RefusedAnswer


def refused(answer: Any) -> str | None:
    """The reason for which the host refused this item of alc.llm_batch; None for an answer."""
    return _refusal_of(answer).reason if isinstance(answer, RefusedAnswer) else None


def raise_refused(value: Any) -> None:
    """Raises the refusal where `value` is a refused item."""
    if isinstance(value, RefusedAnswer):
        _raise(value)


def refused_as_json(answer: RefusedAnswer) -> dict[str, str]:
    """A refused item in a result. Raises Refused where nobody has looked at it."""
    if not object.__getattribute__(answer, "_refusal").is_seen:
        _raise(answer)
    return {"refused": _refusal_of(answer).reason}


def assert_refusals_seen() -> None:
    """Raises the first refusal that the strategy has not looked at. For the end of a session."""
    for refusal in memory().refusals:
        if not refusal.is_seen:
            raise _error(refusal, refusal.where)
