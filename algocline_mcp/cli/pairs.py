"""KEY=VALUE on a command line: values of `ctx`."""

import json
import math
import shlex
from typing import Any

import click

from algocline_mcp.cli import output

_INTEGERS = (-(2**63), 2**63 - 1)  # of Lua; a longer one would become a float
_FILE_MAX_CHARS = 2 * 1024 * 1024  # of KEY=@FILE: a ctx is not longer, and a device has no end


def context_of(pairs: tuple[str, ...]) -> dict[str, Any]:
    """`ctx` of KEY=VALUE. Each value arrives as it was written, or a line says what became of it."""
    ctx: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not key:
            raise click.UsageError(f"{pair!r} has no name before the =: write for example task={shlex.quote(text)}.")
        if not equals:
            example = f"{pair}='a text'" if pair.isidentifier() else f"task={shlex.quote(pair)}"
            raise click.UsageError(f"{pair!r} is not KEY=VALUE: write for example {example}.")
        if key in ctx:
            raise click.UsageError(f'{key} is given twice: give it once, several values as {key}=\'["…", "…"]\'.')
        if text.startswith("@@"):
            ctx[key] = text[1:]
            continue
        if text.startswith("@"):
            text = _text_of(key, text[1:])
        ctx[key] = _value(text)
        if isinstance(ctx[key], float) and str(ctx[key]) != text.strip():
            as_text = shlex.quote(json.dumps(text))
            output.note(f"alc: {pair} is the number {ctx[key]}; if it is a text, write {key}={as_text}")
    return ctx


def _value(text: str) -> Any:
    """JSON if it reads as JSON. A number that a strategy cannot hold exactly or at all stays a text."""
    try:
        value = json.loads(text, parse_constant=_no_json)
    except (ValueError, RecursionError):
        return text
    too_large = isinstance(value, float) and not math.isfinite(value)
    too_long = isinstance(value, int) and not _INTEGERS[0] <= value <= _INTEGERS[1]
    return text if too_large or too_long else value


def _no_json(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _text_of(key: str, path: str) -> str:
    """The text of a file, without the line feed at its end."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read(_FILE_MAX_CHARS + 1)
        if len(text) > _FILE_MAX_CHARS:
            raise ValueError(f"it has more than {_FILE_MAX_CHARS} characters")
        return text.removesuffix("\n")
    except (OSError, ValueError) as exc:
        why = getattr(exc, "strerror", None) or exc
        raise click.UsageError(
            f"{key}=@{path} cannot be read: {why}; give the path of a file in UTF-8, "
            f"or {key}=@@… for a text that begins with @."
        ) from exc
