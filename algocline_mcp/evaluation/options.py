"""NAME:KEY=VALUE,… on a command line: a strategy or a grader with its options. Pure."""

import json
import re
from typing import Any

from algocline_mcp.errors import Refused

_NEXT = re.compile(r",(?=[A-Za-z_]\w*=)")  # a comma inside a value stays there: choices=["a","b"]
_PAIR = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)


def parse_options(text: str, *, what: str) -> tuple[str, dict[str, Any]]:
    """`("vote", {"n": 5})` of "vote:n=5". A value is JSON if it reads as JSON, otherwise a text. Raises Refused."""
    name, colon, rest = text.partition(":")
    if not name:
        raise Refused(f"{what} {text!r} has no name before the colon: write for example vote:n=5")
    options: dict[str, Any] = {}
    for part in _NEXT.split(rest) if colon else ():
        pair = _PAIR.fullmatch(part)
        if pair is None:
            raise Refused(f"{what} {text!r}: {part!r} is not KEY=VALUE: write for example {name}:n=5,rounds=2")
        if pair[1] in options:
            raise Refused(f"{what} {text!r}: {pair[1]} is given twice: give it once")
        options[pair[1]] = _value(pair[2])
    return name, options


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
