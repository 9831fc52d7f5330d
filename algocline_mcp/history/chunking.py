"""Splits an item that is too long for one page into parts, without losing a character. Pure.

Contract: a size is that of the minified JSON in UTF-8 bytes, because hosts cut by bytes and by tokens, and both grow
with it. The fields of an object are walked shortest first, so that the short fields are whole in the first part and
only the longest field is ever cut. A value that is not a text is cut as its JSON text. The texts of one field, joined
in the order of the parts, are the whole text. An offset is a number of characters from the beginning of that walk.
"""

import json
from collections.abc import Collection, Mapping
from functools import partial
from itertools import chain, islice
from typing import Any

_ATOM_BYTES = 1000  # a shorter value that is not a text is never cut
_LONG_BYTES = 256 * 1024  # 3 ms; what is longer is not written on the event loop
_ITEM_BYTES = 4  # a number, or the brackets and the key of an object
_ITEMS_AT_ONCE = 1000
_CHARS_AT_ONCE = 1 << 20
_LEAST_CHARS = 1  # of progress per part, whatever the room


def size_of(value: Any) -> int:
    return len(minified(value).encode("utf-8", "surrogatepass"))


def minified(value: Any, *, allow_nan: bool = True) -> str:
    """`value` as JSON without blanks. Of a long value it writes a part at a time: the encoder does not let go
    of the interpreter before it has written all, 80 ms for 7 MB of numbers, also on a thread."""
    if not is_long(value):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=allow_nan)
    if isinstance(value, str):
        pieces = (value[start : start + _CHARS_AT_ONCE] for start in range(0, len(value), _CHARS_AT_ONCE))
        return f'"{"".join([json.dumps(piece, ensure_ascii=False)[1:-1] for piece in pieces])}"'
    write = partial(minified, allow_nan=allow_nan)
    if isinstance(value, list | dict) and len(value) > _ITEMS_AT_ONCE:
        items = iter(value.items() if isinstance(value, dict) else value)
        parts = iter(lambda: type(value)(islice(items, _ITEMS_AT_ONCE)), type(value)())
        written = ",".join(write(part)[1:-1] for part in parts)
        return f"{{{written}}}" if isinstance(value, dict) else f"[{written}]"
    if isinstance(value, list):
        return f"[{','.join(map(write, value))}]"
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return f"{{{','.join(f'{write(key)}:{write(item)}' for key, item in value.items())}}}"
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=allow_nan)


def is_long(value: Any) -> bool:
    """Whether the JSON of `value` may take more than _LONG_BYTES. Looks at no more than that; does not recurse."""
    left, level = _LONG_BYTES, [value]
    while level:
        containers = [item for item in level if isinstance(item, dict | list | tuple)]
        left -= sum(map(len, [item for item in level if isinstance(item, str)]))
        left -= _ITEM_BYTES * (len(level) + sum(map(len, containers)))
        if left < 0:
            return True
        level = [
            inner for item in containers for inner in (chain(item, item.values()) if isinstance(item, dict) else item)
        ]
    return False


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
