"""Sorting, filtering and field selection of lists, as upstream has them. Pure.

Contract: `sort` is a comma-separated list of field names; `-` before a name sorts in descending order. A missing value
comes last, and first in descending order. `filter` is words, all of which a line must contain, or an object whose
values a line must have. Raises Refused for a field that no line can have.
"""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from algocline_mcp.errors import Refused

Line = Mapping[str, Any]
_RANKS = ((bool, 0), (int | float, 1), (str, 2))


def sorted_by(lines: Sequence[Line], sort: str, fields: Sequence[str]) -> list[Line]:
    """`fields`: the names that `sort` may have."""
    result = list(lines)
    for part in reversed(sort.split(",")):
        name, is_descending = part.strip().removeprefix("-"), part.strip().startswith("-")
        if name not in fields:
            allowed = f"{', '.join(fields)}, with - before a name for descending order"
            raise Refused(f"sort has {part.strip()[:80]!r}: use some of {allowed}")
        result.sort(key=partial(_rank, name), reverse=is_descending)
    return result


def _rank(name: str, line: Line) -> tuple[int, Any]:
    value = line.get(name)
    for kind, rank in _RANKS:
        if isinstance(value, kind):
            return rank, value
    return (9, "") if value is None else (5, json.dumps(value, sort_keys=True, default=str))


def matching(lines: Sequence[Line], filter: str | Mapping[str, Any]) -> list[Line]:
    if isinstance(filter, Mapping):
        return [line for line in lines if all(name in line and line[name] == value for name, value in filter.items())]
    words = filter.lower().split()
    texts = [json.dumps(line, ensure_ascii=False, default=str).lower() for line in lines]
    return [line for line, text in zip(lines, texts, strict=True) if all(word in text for word in words)]


def select_fields(verbose: str, fields: Sequence[str], sets: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """`fields` if there are some, else the set with the name `verbose`."""
    if not fields and verbose not in sets:
        raise Refused(f'invalid verbose value "{verbose[:80]}": expected one of {", ".join(sets)}')
    return fields or sets[verbose]
