"""Splits an item that is too long for one page into parts, without losing a character. Pure.

Contract: a size is that of the minified JSON in UTF-8 bytes, because hosts cut by bytes and by tokens, and both grow
with it. The fields of an object are walked shortest first, so that the short fields are whole in the first part and
only the longest field is ever cut. A value that is not a text is cut as its JSON text. The texts of one field, joined
in the order of the parts, are the whole text. An offset is a number of characters from the beginning of that walk.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any

_ATOM_BYTES = 1000  # a shorter value that is not a text is never cut
_LEAST_CHARS = 1  # of progress per part, whatever the room


def size_of(value: Any) -> int:
    return len(minified(value).encode("utf-8", "surrogatepass"))


def minified(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def part_of(item: Mapping[str, Any], begin: int, room: int, *, keep: Collection[str]) -> tuple[dict[str, Any], int]:
    """About `room` bytes of `item` from the offset `begin` on, and the offset where the part ends.

    The offset is 0 where nothing follows. Fields in `keep` are in every part and take none of the room.
    """
    part = {key: item[key] for key in item if key in keep}
    offset = 0
    for key, text in _walk(item, keep):
        if isinstance(text, str):
            start = max(0, begin - offset)
            if start < len(text) or (start == 0 and not text):
                shown = prefix(text, start, room)
                part[key] = shown
                room -= size_of({key: shown})
                if start + len(shown) < len(text):
                    return _ordered(item, part), offset + start + len(shown)
            offset += len(text)
        elif begin == 0:
            part[key] = text
            room -= size_of({key: text})
    return _ordered(item, part), 0


def _walk(item: Mapping[str, Any], keep: Collection[str]) -> list[tuple[str, Any]]:
    fields = []
    for key, value in item.items():
        if key not in keep:
            size = size_of(value)
            is_atom = not isinstance(value, str) and size <= _ATOM_BYTES
            fields.append((size, key, value if is_atom or isinstance(value, str) else minified(value)))
    return [(key, value) for _, key, value in sorted(fields, key=lambda field: field[:2])]


def _ordered(item: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    return {key: part[key] for key in item if key in part}


def prefix(text: str, start: int, room: int) -> str:
    """A beginning of `text[start:]` whose JSON takes at most `room` bytes; never empty.

    It may be somewhat shorter than the longest one: the length is estimated from the bytes per character.
    """
    count = max(_LEAST_CHARS, room)
    while True:
        shown = text[start : start + count]
        size = size_of(shown)
        if size <= room or count <= _LEAST_CHARS:
            return shown
        count = max(_LEAST_CHARS, min(count - 1, len(shown) * room // size))
