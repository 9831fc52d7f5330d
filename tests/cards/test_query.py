"""The query language of alc.card.find: predicates and orders."""

from typing import Any

import pytest

from algocline_mcp.cards.card import Card, value_at
from algocline_mcp.cards.query import order_keys, predicate, sort_rows

CARD: Card = {
    "card_id": "c",
    "pkg": {"name": "cot"},
    "stats": {"pass_rate": 0.8, "n": 30, "ok": True},
    "tags": ["a", 2],
    "lt": {"x": 1},
}
WHERE: list[tuple[Any, bool]] = [
    ({}, True),
    ({"pkg": {"name": "cot"}}, True),
    ({"pkg": {"name": "sc"}}, False),
    ({"card_id": "c", "stats": {"n": 30.0}}, True),
    ({"card_id": "c", "stats": {"n": 31}}, False),
    ({"stats": {"pass_rate": {"gte": 0.8, "lt": 0.9}}}, True),
    ({"stats": {"pass_rate": {"gt": 0.8}}}, False),
    ({"stats": {"pass_rate": {"lte": 0.8}}}, True),
    ({"stats": {"pass_rate": {"lt": "1"}}}, False),
    ({"stats": {"pass_rate": {"gt": "1"}}}, False),
    ({"stats": {"ok": 1}}, False),
    ({"stats": {"ok": True}}, True),
    ({"stats": {"n": {"ne": 30}}}, False),
    ({"stats": {"n": {"eq": 30}}}, True),
    ({"stats": {"n": {"in": [1, 30]}}}, True),
    ({"stats": {"n": {"in": {}}}}, False),
    ({"stats": {"n": {"nin": [1, 30]}}}, False),
    ({"card_id": {"starts_with": "c"}, "pkg": {"name": {"contains": "ot"}}}, True),
    ({"card_id": {"starts_with": 1}}, False),
    ({"stats": {"n": {"contains": "3"}}}, False),
    ({"tags": {"contains": 2}}, True),
    ({"tags": {"contains": "2"}}, False),
    ({"tags": ["a", 2]}, True),
    ({"none": {"eq": 1}}, False),
    ({"none": {"lt": 1}}, False),
    ({"none": {"in": [1]}}, False),
    ({"none": {"ne": 1}}, True),
    ({"none": {"nin": [1]}}, True),
    ({"none": {"exists": False}}, True),
    ({"none": {"exists": True}}, False),
    ({"pkg": {"name": {"deep": {"exists": False}}}}, True),
    ({"pkg": {"exists": True}}, True),
    ({"_or": [{"card_id": "x"}, {"stats": {"n": 30}}]}, True),
    ({"_or": []}, False),
    ({"_and": [{"card_id": "c"}, {"stats": {"n": 1}}]}, False),
    ({"_and": {}}, True),
    ({"_not": {"card_id": "x"}}, True),
    ({"_not": {"card_id": "c"}}, False),
    ({"stats": {"_or": [{"n": 1}, {"pass_rate": {"gte": 0.5}}]}}, True),
    ({"stats": {"_not": {"n": 30}}}, False),
    ({"lt": {"x": 1}}, True),
]


@pytest.mark.parametrize(("where", "holds"), WHERE, ids=repr)
def test_predicate(where: Any, holds: bool) -> None:
    assert predicate(where)(CARD) is holds


@pytest.mark.parametrize("where", [[], "x", {"_or": 1}, {"_and": "x"}, {"_not": 5}, {"_or": [1]}], ids=repr)
def test_predicate_that_is_none_is_refused(where: Any) -> None:
    with pytest.raises(ValueError, match="must be a"):
        predicate(where)


ROWS: list[Card] = [
    {"card_id": "a", "stats": {"rate": 0.5}, "n": 1},
    {"card_id": "b", "n": 2},
    {"card_id": "c", "stats": {"rate": 0.9}, "n": 2},
    {"card_id": "d", "stats": {"rate": "text"}, "n": 1},
]
ORDERS: list[tuple[Any, str]] = [
    (None, "abcd"),
    ({}, "abcd"),
    ([], "abcd"),
    ("stats.rate", "acdb"),
    ("-stats.rate", "dcab"),
    (["-n", "card_id"], "bcad"),
    (["n", "-card_id"], "dacb"),
    ("none", "abcd"),
]


@pytest.mark.parametrize(("order_by", "ids"), ORDERS, ids=repr)
def test_order_has_those_that_lack_a_field_last(order_by: Any, ids: str) -> None:
    keys = order_keys(order_by)

    ordered = sort_rows([(card, [value_at(card, path) for path, _ in keys]) for card in ROWS], keys)

    assert "".join(card["card_id"] for card in ordered) == ids


@pytest.mark.parametrize("order_by", [5, [5], "", "-", "a..b", "-.a", {"a": 1}], ids=repr)
def test_order_that_is_none_is_refused(order_by: Any) -> None:
    with pytest.raises(ValueError, match="order_by"):
        order_keys(order_by)
