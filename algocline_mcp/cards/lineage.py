"""Lineage of cards: a walk along `metadata.prior_card_id`. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from algocline_mcp.cards.card import Card, prior, value_at

DEPTH = 10  # steps of a walk that names no depth


@dataclass(frozen=True, slots=True)
class Lineage:
    """Cards with their distance from the root (ancestors negative), pairs of child and parent, and whether `depth` cut
    the walk short."""

    nodes: list[tuple[Card, int]]
    edges: list[tuple[Card, Card]]
    is_cut: bool


@dataclass(frozen=True, slots=True)
class Family:
    """Where a walk finds its cards. `relations`: the ones that are followed, or None for all."""

    find: Callable[[str], Card | None]
    children: Callable[[str], Iterable[Card]]
    relations: Sequence[str] | None = None

    def of(self, card: Card, *, is_up: bool) -> list[Card]:
        """The parent of a card, or its children."""
        source, relation = prior(card)
        if not is_up:
            return [child for child in self.children(card["card_id"]) if self._is_followed(prior(child)[1])]
        parent = self.find(source) if source is not None and self._is_followed(relation) else None
        return [] if parent is None else [parent]

    def _is_followed(self, relation: str | None) -> bool:
        return self.relations is None or relation in self.relations


def walk_lineage(root: Card, family: Family, *, direction: str, depth: int) -> Lineage:
    """Walks from `root` up to its ancestors, down to its descendants, or both, at most `depth` steps in each direction.

    Raises ValueError for another direction than up, down and both.
    """
    if direction not in ("up", "down", "both"):
        raise ValueError(f"direction must be 'up', 'down', or 'both' (got '{direction}')")
    walk = Lineage([(root, 0)], [], False)
    seen = {root["card_id"]}
    is_cut = False
    for is_up in (True, False):
        if direction in ("both", "up" if is_up else "down"):
            is_cut |= _walk_one_way(root, family, walk, seen, is_up=is_up, depth=depth)
    return Lineage(walk.nodes, walk.edges, is_cut)


def _walk_one_way(root: Card, family: Family, walk: Lineage, seen: set[str], *, is_up: bool, depth: int) -> bool:
    """Adds to `walk` and `seen`. Returns whether cards lie beyond `depth`."""
    front = [root]
    for step in range(1, depth + 1):
        reached = []
        for card in front:
            for relative in family.of(card, is_up=is_up):
                if relative["card_id"] in seen:
                    continue
                seen.add(relative["card_id"])
                walk.nodes.append((relative, -step if is_up else step))
                walk.edges.append((card, relative) if is_up else (relative, card))
                reached.append(relative)
        front = reached
    return any(relative["card_id"] not in seen for card in front for relative in family.of(card, is_up=is_up))


def lineage_result(root: str, lineage: Lineage, *, with_stats: bool) -> Mapping[str, Any]:
    """`{root, nodes, edges, truncated}`, as alc.card.lineage returns it."""
    return {
        "root": root,
        "nodes": [_node(card, distance, with_stats) for card, distance in lineage.nodes],
        "edges": [_edge(child, parent) for child, parent in lineage.edges],
        "truncated": lineage.is_cut,
    }


def _node(card: Card, distance: int, with_stats: bool) -> Card:
    source, relation = prior(card)
    node = {"card_id": card["card_id"], "pkg": value_at(card, ("pkg", "name")), "depth": distance}
    node |= {"prior_card_id": source, "prior_relation": relation}
    if with_stats:
        node["stats"] = card.get("stats")
    return {name: value for name, value in node.items() if value is not None}


def _edge(child: Card, parent: Card) -> Card:
    edge = {"from": child["card_id"], "to": parent["card_id"], "relation": prior(child)[1]}
    return {name: value for name, value in edge.items() if value is not None}
