"""Cards, pure: what is filled in, what is refused, what finds and orders them, where they came from."""

from typing import Any

import pytest

from algocline_mcp import cards
from algocline_mcp.cards import Card

NOW_S = 1_775_974_500.0  # 2026-04-12 06:15:00 UTC


def made(given: Any, *taken: str) -> Card:
    return cards.made(given, identity="p-1  0", now_s=NOW_S, version="1.2.3", is_taken=lambda each: each in taken)


# ── making ────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_a_card_must_have_is_filled_in() -> None:
    assert made({"pkg": {"name": "cot"}, "stats": {"n": 3}}) == {
        "schema_version": "card/v0",
        "card_id": "cot_model_20260412T061500_16f239",
        "created_at": "2026-04-12T06:15:00Z",
        "created_by": "algocline-mcp@1.2.3",
        "pkg": {"name": "cot"},
        "stats": {"n": 3},
    }


def test_what_the_strategy_says_stays() -> None:
    own = {"pkg": {"name": "cot"}, "card_id": "mine", "created_at": "2025", "created_by": "me", "schema_version": "x"}

    assert made(own) == own


def test_nothing_of_what_was_given_is_changed_and_null_is_left_out() -> None:
    given = {"pkg": {"name": "cot", "version": None}, "list": [1, None, {"a": None}]}

    card = made(given)

    assert card["pkg"] == {"name": "cot"}
    assert card["list"] == [1, {}]
    assert given == {"pkg": {"name": "cot", "version": None}, "list": [1, None, {"a": None}]}


MODELS = [
    ({"id": "claude-opus-4-6"}, "opus46"), ({"id": "gpt-4o"}, "4o"), ({"id": ""}, "model"), ({}, "model"),
    ({"id": 5}, "model"), ({"id": "···"}, "model"), ("gpt-4o", "model"), ({"id": "Qwen/3 B"}, "Qwen3B"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "short"), MODELS, ids=repr)
def test_id_names_package_model_time_and_call(model: Any, short: str) -> None:
    card_id = made({"pkg": {"name": "cot"}, "model": model})["card_id"]

    assert card_id.startswith(f"cot_{short}_20260412T061500_")


def test_id_is_longer_where_another_call_has_the_same_digits() -> None:
    first = made({"pkg": {"name": "cot"}})["card_id"]
    second = made({"pkg": {"name": "cot"}}, first)["card_id"]

    assert second == f"{first}3"
    assert made({"pkg": {"name": "cot"}}, first, second)["card_id"].startswith(second)


def test_fingerprint_of_params_ignores_the_order_of_their_keys() -> None:
    one, two, other = (
        made({"pkg": {"name": "p"}, "params": each}) for each in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {})
    )

    assert one["param_fingerprint"] == two["param_fingerprint"] != other["param_fingerprint"]
    assert len(one["param_fingerprint"]) == 16


UNMADE: list[tuple[Any, str]] = [
    ([1], "the card must be a table"),
    ({}, "the card must have a text pkg.name"),
    ({"pkg": "cot"}, "the card must have a text pkg.name"),
    ({"pkg": {"name": 5}}, "the card must have a text pkg.name"),
    *(({"pkg": {"name": name}}, f"Invalid pkg name: '{name}'") for name in ("", "a/b", "..", "a\\b", "\0", ".hidden")),
    ({"pkg": {"name": "é" * 101}}, "Invalid pkg name: '"),
    ({"pkg": {"name": "cot"}, "card_id": "../x"}, "Invalid card_id name: '../x'"),
    ({"pkg": {"name": "cot"}, "card_id": "old"}, "card 'old' already exists (immutable)"),
]


@pytest.mark.parametrize(("given", "sentence"), UNMADE, ids=repr)
def test_what_cannot_be_a_card_is_refused(given: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        made(given, "old")

    assert sentence in str(caught.value)


def test_fields_are_added_and_none_is_changed() -> None:
    card = {"card_id": "c", "stats": {"n": 1}}

    assert cards.appended(card, {"caveats": {"a": 1, "b": None}}) == {**card, "caveats": {"a": 1}}
    for fields, sentence in (({"x": 1, "stats": {}}, "key 'stats' already set on card 'c'"), ([], "must be a table")):
        with pytest.raises(ValueError, match=sentence):
            cards.appended(card, fields)
    assert card == {"card_id": "c", "stats": {"n": 1}}


# ── finding ───────────────────────────────────────────────────────────────────────────────────────────────

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
    assert cards.predicate(where)(CARD) is holds


@pytest.mark.parametrize("where", [[], "x", {"_or": 1}, {"_and": "x"}, {"_not": 5}, {"_or": [1]}], ids=repr)
def test_predicate_that_is_none_is_refused(where: Any) -> None:
    with pytest.raises(ValueError, match="must be a"):
        cards.predicate(where)


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
    keys = cards.order_keys(order_by)

    ordered = cards.ordered([(card, [cards.at(card, path) for path, _ in keys]) for card in ROWS], keys)

    assert "".join(card["card_id"] for card in ordered) == ids


@pytest.mark.parametrize("order_by", [5, [5], "", "-", "a..b", "-.a", {"a": 1}], ids=repr)
def test_order_that_is_none_is_refused(order_by: Any) -> None:
    with pytest.raises(ValueError, match="order_by"):
        cards.order_keys(order_by)


def test_summary_says_what_the_card_says() -> None:
    card = CARD | {"created_at": "2026", "model": {"id": "m"}, "scenario": {"name": "s"}}
    assert cards.summary(card, "cot") == {
        "card_id": "c",
        "pkg": "cot",
        "created_at": "2026",
        "model": "m",
        "scenario": "s",
        "pass_rate": 0.8,
    }
    assert cards.summary({"card_id": "c", "model": "m", "stats": {"pass_rate": "0.8"}}, "p") == {
        "card_id": "c",
        "pkg": "p",
    }


# ── lineage ───────────────────────────────────────────────────────────────────────────────────────────────

#   root ── a (sweep) ── b (sweep) ── c (other)
#             └── d (sweep)      loop: x ── y ── x


def _card(card_id: str, prior: str | None = None, relation: str | None = None) -> Card:
    metadata = {"prior_card_id": prior, "prior_relation": relation}
    return {"card_id": card_id, "pkg": {"name": "p"}, "metadata": {k: v for k, v in metadata.items() if v}}


FAMILY = {
    card["card_id"]: card
    for card in (
        _card("root"), _card("a", "root", "sweep"), _card("b", "a", "sweep"), _card("c", "b", "other"),
        _card("d", "a", "sweep"), _card("x", "y", "loop"), _card("y", "x", "loop"), _card("orphan", "gone", "sweep"),
    )
}  # fmt: skip


def walked(card_id: str, direction: str, depth: int = 10, relations: Any = None) -> tuple[dict[str, int], bool]:
    nodes, edges, is_cut = cards.lineage(
        FAMILY[card_id],
        direction=direction,
        depth=depth,
        relations=relations,
        find=FAMILY.get,
        children=lambda parent: [each for each in FAMILY.values() if cards.prior(each)[0] == parent],
    )
    assert len(edges) == len(nodes) - 1
    assert all(cards.prior(child)[0] == parent["card_id"] for child, parent in edges)
    return {card["card_id"]: distance for card, distance in nodes}, is_cut


WALKS: list[tuple[str, str, dict[str, Any], dict[str, int], bool]] = [
    ("c", "up", {}, {"c": 0, "b": -1, "a": -2, "root": -3}, False),
    ("c", "up", {"depth": 1}, {"c": 0, "b": -1}, True),
    ("c", "up", {"relations": ["sweep"]}, {"c": 0}, False),
    ("root", "down", {}, {"root": 0, "a": 1, "b": 2, "d": 2, "c": 3}, False),
    ("root", "down", {"depth": 2}, {"root": 0, "a": 1, "b": 2, "d": 2}, True),
    ("root", "down", {"depth": 2, "relations": ["sweep"]}, {"root": 0, "a": 1, "b": 2, "d": 2}, False),
    ("root", "up", {}, {"root": 0}, False),
    ("b", "both", {}, {"b": 0, "a": -1, "root": -2, "c": 1}, False),
    ("x", "both", {}, {"x": 0, "y": -1}, False),
    ("orphan", "up", {}, {"orphan": 0}, False),
    ("root", "down", {"depth": 0}, {"root": 0}, True),
]


@pytest.mark.parametrize(("card_id", "direction", "options", "nodes", "is_cut"), WALKS)
def test_lineage(card_id: str, direction: str, options: dict[str, Any], nodes: dict[str, int], is_cut: bool) -> None:
    assert walked(card_id, direction, **options) == (nodes, is_cut)


def test_direction_is_one_of_three() -> None:
    with pytest.raises(ValueError, match=r"direction must be 'up', 'down', or 'both' \(got 'left'\)"):
        walked("a", "left")


def test_lineage_tells_nodes_and_edges_from_child_to_parent() -> None:
    root = FAMILY["a"] | {"stats": {"n": 1}}
    told = cards.lineage_result(
        "a", ([(root, 0), (FAMILY["root"], -1)], [(root, FAMILY["root"])], False), with_stats=True
    )

    assert told == {
        "root": "a",
        "nodes": [
            {
                "card_id": "a",
                "pkg": "p",
                "depth": 0,
                "prior_card_id": "root",
                "prior_relation": "sweep",
                "stats": {"n": 1},
            },
            {"card_id": "root", "pkg": "p", "depth": -1},
        ],
        "edges": [{"from": "a", "to": "root", "relation": "sweep"}],
        "truncated": False,
    }
