"""Sorting, filtering and field selection of lists, as upstream has them."""

from typing import Any

import pytest

from algocline_mcp.errors import Refused
from algocline_mcp.server.compat.table import matching, select_fields, sorted_by

LINES: list[dict[str, Any]] = [
    {"name": "b", "at": 2.5, "linked": True},
    {"name": "a", "at": None, "linked": False},
    {"name": "c", "at": 10, "linked": True},
    {"name": "d", "at": 2.5, "linked": False},
]


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("name", "abcd"),
        ("-name", "dcba"),
        ("at", "bdca"),  # a missing value is last,
        ("-at", "acbd"),  # or first; equal lines keep their order
        ("-at, -name", "acdb"),
        ("-linked,name", "bcad"),
    ],
)
def test_lines_are_sorted_by_several_fields(sort: str, order: str) -> None:
    assert "".join(line["name"] for line in sorted_by(LINES, sort, ("name", "at", "linked"))) == order


@pytest.mark.parametrize("sort", ["", "name,,at", "-", "size", "name,-size"])
def test_sorting_by_an_unknown_field_is_refused(sort: str) -> None:
    with pytest.raises(Refused, match="use some of name, at, with - before a name for descending order"):
        sorted_by(LINES, sort, ("name", "at"))


@pytest.mark.parametrize(
    ("filter", "names"),
    [("", "bacd"), ("TRUE b", "b"), ({"linked": True}, "bc"), ({"linked": True, "name": "c"}, "c"), ({"x": None}, "")],
)
def test_lines_are_selected_by_words_or_by_values(filter: Any, names: str) -> None:
    assert "".join(line["name"] for line in matching(LINES, filter)) == names


def test_fields_are_the_named_ones_else_those_of_a_set() -> None:
    sets = {"summary": ("name",), "full": ("name", "at")}

    assert select_fields("full", [], sets) == ("name", "at")
    assert select_fields("other", ["at"], sets) == ["at"]
    with pytest.raises(Refused, match='invalid verbose value "other": expected one of summary, full'):
        select_fields("other", [], sets)
