"""Parts of an item that is too long for one page: no character is lost, short fields come whole and first."""

import json
from typing import Any

import pytest

from algocline_mcp.history.chunking import part_of, size_of

ITEMS: list[dict[str, Any]] = [
    {"id": "q-0", "text": "x" * 500},
    {"id": "q-0", "text": 'a"b\\c\n' * 60, "system": "short"},
    {"id": "q-0", "text": "é😀" * 120, "more": "y" * 300},
    {"id": "q-0", "result": [{"k": "v" * 40}] * 40},
    {"id": "q-0", "text": "", "n": 3},
]


def joined(item: dict[str, Any], room: int) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """The texts of all parts, joined by field; and the parts."""
    texts: dict[str, str] = {}
    parts, offset = [], 0
    while True:
        part, offset = part_of(item, offset, room, keep=("id",))
        parts.append(part)
        for key, value in part.items():
            if key != "id" and isinstance(value, str):
                texts[key] = texts.get(key, "") + value
        if offset == 0:
            return texts, parts


@pytest.mark.parametrize("room", [1, 40, 200, 10_000])
@pytest.mark.parametrize("item", ITEMS, ids=range(len(ITEMS)))
def test_texts_of_all_parts_joined_are_the_item(item: dict[str, Any], room: int) -> None:
    texts, parts = joined(item, room)

    for key, value in item.items():
        if key == "id":
            assert all(part["id"] == value for part in parts)
        elif isinstance(value, str):
            assert texts[key] == value
        elif size_of(value) > 1000:
            assert json.loads(texts[key]) == value  # a long value that is not a text comes as its JSON
        else:
            assert parts[0][key] == value


def test_part_keeps_to_its_room_and_short_fields_come_first() -> None:
    item = {"long": "z" * 900, "short": "s", "id": "q-0"}

    part, offset = part_of(item, 0, 100, keep=("id",))

    assert part["short"] == "s"
    assert size_of(part["long"]) <= 100
    assert item["long"].startswith(part["long"])
    assert offset == len("s") + len(part["long"])
