"""How the Rust program's lists are sorted, filtered and cut to fields. Pure.

Contract: `sort` is field names with commas, `-` before one for a descending order; what has no value stands last, and
first in a descending order. `wanted` is words, all of which stand somewhere in a line, or an object whose values a line
must have. Raises Refused for a field that no line can have.
"""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from algocline_mcp.errors import Refused

Line = Mapping[str, Any]
_RANKS = ((bool, 0), (int | float, 1), (str, 2))


def sorted_by(lines: Sequence[Line], sort: str, known: Sequence[str]) -> list[Line]:
    found = list(lines)
    for part in reversed(sort.split(",")):
        name, is_descending = part.strip().removeprefix("-"), part.strip().startswith("-")
        if name not in known:
            raise Refused(
                f"sort has {part.strip()[:80]!r}: it is some of {', '.join(known)}, - before one that descends"
            )
        found.sort(key=partial(_rank, name), reverse=is_descending)
    return found


def _rank(name: str, line: Line) -> tuple[int, Any]:
    value = line.get(name)
    for kind, rank in _RANKS:
        if isinstance(value, kind):
            return rank, value
    return (9, "") if value is None else (5, json.dumps(value, sort_keys=True, default=str))


def matching(lines: Sequence[Line], wanted: str | Mapping[str, Any]) -> list[Line]:
    if isinstance(wanted, Mapping):
        return [line for line in lines if all(name in line and line[name] == value for name, value in wanted.items())]
    words = wanted.lower().split()
    texts = [json.dumps(line, ensure_ascii=False, default=str).lower() for line in lines]
    return [line for line, text in zip(lines, texts, strict=True) if all(word in text for word in words)]


def fields_of(verbose: str, fields: Sequence[str], sets: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """`fields` where some are given, else the set of that name."""
    if not fields and verbose not in sets:
        raise Refused(f'invalid verbose value "{verbose[:80]}": expected one of {", ".join(sets)}')
    return fields or sets[verbose]
