"""How the original's lists are sorted, filtered and cut to fields."""

from typing import Any

import pytest

from algocline_mcp.errors import Refused
from algocline_mcp.server.compat.table import fields_of, matching, sorted_by

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
        ("at", "bdca"),  # what has none is last,
        ("-at", "acbd"),  # or first; equal ones keep their order
        ("-at, -name", "acdb"),
        ("-linked,name", "bcad"),
    ],
)
def test_lines_are_sorted_by_several_fields(sort: str, order: str) -> None:
    assert "".join(line["name"] for line in sorted_by(LINES, sort, ("name", "at", "linked"))) == order


@pytest.mark.parametrize("sort", ["", "name,,at", "-", "size", "name,-size"])
def test_a_field_that_no_line_has_is_refused(sort: str) -> None:
    with pytest.raises(Refused, match="it is some of name, at, - before one that descends"):
        sorted_by(LINES, sort, ("name", "at"))


@pytest.mark.parametrize(
    ("wanted", "names"),
    [("", "bacd"), ("TRUE b", "b"), ({"linked": True}, "bc"), ({"linked": True, "name": "c"}, "c"), ({"x": None}, "")],
)
def test_lines_are_chosen_by_words_or_by_values(wanted: Any, names: str) -> None:
    assert "".join(line["name"] for line in matching(LINES, wanted)) == names


def test_fields_are_those_that_are_named_else_a_set() -> None:
    sets = {"summary": ("name",), "full": ("name", "at")}

    assert fields_of("full", [], sets) == ("name", "at")
    assert fields_of("other", ["at"], sets) == ["at"]
    with pytest.raises(Refused, match='invalid verbose value "other": expected one of summary, full'):
        fields_of("other", [], sets)
