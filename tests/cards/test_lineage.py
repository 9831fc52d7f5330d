"""Lineage of cards: walks up, down and both ways, and their limits."""

from typing import Any

import pytest

from algocline_mcp.cards.card import Card, prior
from algocline_mcp.cards.lineage import Family, Lineage, lineage_result, walk_lineage

#   root ── a (sweep) ── b (sweep) ── c (other)
#             └── d (sweep)      loop: x ── y ── x


def _card(card_id: str, source: str | None = None, relation: str | None = None) -> Card:
    metadata = {"prior_card_id": source, "prior_relation": relation}
    return {"card_id": card_id, "pkg": {"name": "p"}, "metadata": {k: v for k, v in metadata.items() if v}}


FAMILY = {
    card["card_id"]: card
    for card in (
        _card("root"), _card("a", "root", "sweep"), _card("b", "a", "sweep"), _card("c", "b", "other"),
        _card("d", "a", "sweep"), _card("x", "y", "loop"), _card("y", "x", "loop"), _card("orphan", "gone", "sweep"),
    )
}  # fmt: skip


def _children(parent: str) -> list[Card]:
    return [card for card in FAMILY.values() if prior(card)[0] == parent]


def walked(card_id: str, direction: str, depth: int = 10, relations: Any = None) -> tuple[dict[str, int], bool]:
    family = Family(
        FAMILY.get, lambda parent: [card for card in FAMILY.values() if prior(card)[0] == parent], relations
    )
    lineage = walk_lineage(FAMILY[card_id], family, direction=direction, depth=depth)

    assert len(lineage.edges) == len(lineage.nodes) - 1
    assert all(prior(child)[0] == parent["card_id"] for child, parent in lineage.edges)
    return {card["card_id"]: distance for card, distance in lineage.nodes}, lineage.is_cut


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


def test_lineage_result_lists_nodes_and_edges_from_child_to_parent() -> None:
    root = FAMILY["a"] | {"stats": {"n": 1}}
    lineage = Lineage([(root, 0), (FAMILY["root"], -1)], [(root, FAMILY["root"])], is_cut=False)

    assert lineage_result("a", lineage, with_stats=True) == {
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
