"""The nearest known name of a misspelt one. Pure.

Without difflib, which costs a worker 1.2 ms and 60 KiB.
"""

import re
from collections.abc import Iterable

_LONGEST = 40  # characters of a name that is compared


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that nobody would take for another one than `name`, or None."""
    if len(name) > _LONGEST:
        return None
    edits = [(_distance(_plain(name), _plain(candidate)), candidate) for candidate in known]
    near = [(count, candidate) for count, candidate in edits if count <= _tolerance(candidate)]
    return min(near)[1] if near else None


def _tolerance(known: str) -> int:
    return 2 if len(known) > 5 else 1 if len(known) > 2 else 0


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _distance(a: str, b: str) -> int:
    """Edits between two texts, where a swap of neighbours is one (Damerau 1964)."""
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, char in enumerate(a, 1):
        row = [i]
        for j, other in enumerate(b, 1):
            best = min(last[j - 1] + (char != other), last[j] + 1, row[j - 1] + 1)
            if i > 1 and j > 1 and char == b[j - 2] and a[i - 2] == other:
                best = min(best, before[j - 2] + 1)
            row.append(best)
        before, last = last, row
    return last[-1]
