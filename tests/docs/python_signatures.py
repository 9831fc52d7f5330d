"""The signatures of the package alc, as docs/strategies.md shows them.

python -m tests.docs.python_signatures
"""

import inspect
import operator
import re
import types
import typing
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import alc

PAGE = Path(__file__).parents[2] / "docs" / "strategies.md"
ROW = re.compile(r"(?m)^\| `[^`]*` \| `alc\.([\w.]+)(?=[^|]*` \|)")


def shown(name: str, fn: Any) -> str:
    """A call with each parameter: a default after `=`, options by keyword."""
    hints, parts = typing.get_type_hints(fn), []
    signature = inspect.signature(fn)
    is_positional = True
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and is_positional:
            parts.append("*")
            is_positional = False
        if parameter.kind is parameter.VAR_KEYWORD:
            names = typing.get_type_hints(typing.get_args(hints[parameter.name])[0])
            own = [name for name in names if name in ("cache_key", "cache_skip", "post_fn")]
            parts += [f"{option}=…" for option in own] + ["**options"]
        elif parameter.default is parameter.empty:
            parts.append(("*" if parameter.kind is parameter.VAR_POSITIONAL else "") + parameter.name)
        else:
            parts.append(f"{parameter.name}={parameter.default!r}")
    return f"alc.{name}({', '.join(parts)})"


def returned(fn: Any) -> str:
    hint = typing.get_type_hints(fn).get("return", Any)
    return "" if hint in (type(None), Any) or hint is NoReturn else f" -> {_type(hint)}"


def _type(hint: Any) -> str:
    """The type as it is written; of a TypedDict its keys."""
    arguments = [_type(argument) for argument in typing.get_args(hint)]
    if typing.is_typeddict(hint):
        return f"{{{', '.join(typing.get_type_hints(hint))}}}"
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " | ".join(arguments)
    if isinstance(hint, TypeVar) or hint is Any:
        return "Any"
    name = "None" if hint is type(None) else getattr(typing.get_origin(hint) or hint, "__name__", str(hint))
    return f"{name}[{', '.join(arguments)}]" if arguments else name


def _cell(match: re.Match[str]) -> str:
    fn = operator.attrgetter(match[1])(alc) if match[1] != "env.NAME" else None
    text = "alc.env.NAME" if fn is None else shown(match[1], fn) + returned(fn).replace(" | ", " or ")
    return f"| `{text}` | `alc.{match[1]}"


def written(page: str) -> str:
    """The page with the first cell of each row as the function of its second cell is called in Python."""
    return ROW.sub(_cell, page)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
