"""What a card is: the record of a run that is written once, only added to, and found again. Pure; for both halves.

Contract: cards are JSON objects of the original's schema `card/v0`: `schema_version`, `card_id`, `created_at` and
`pkg.name` are always there, everything else is the strategy's own. `made` fills in what it left out; `predicate` and
`ordered` are the language of `alc.card.find`; `lineage` walks along `metadata.prior_card_id`. What cannot be raises
ValueError with the sentence for the strategy. Nothing here looks at a clock or a disk.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

Card = dict[str, Any]
Predicate = Callable[[Any], bool]
OrderKey = tuple[tuple[str, ...], bool]  # path, whether the largest comes first

SCHEMA = "card/v0"
LINEAGE_DEPTH = 10
_NAME_BYTES = 200  # a file name has 255, and ".samples.jsonl" and a draft's suffix come behind it
_HEX = 6
_VENDORS = ("claude-", "gpt-")


# Making one --------------------------------------------------------------------------------------------------


def made(given: Any, *, identity: str, now_s: float, version: str, is_taken: Callable[[str], bool]) -> Card:
    """The card that `given` becomes. `identity` names the call for good: the last digits of an id come from it."""
    if not isinstance(given, dict):
        raise ValueError("the card must be a table")
    card: Card = without_null(given)
    pkg = card.get("pkg")
    name = pkg.get("name") if isinstance(pkg, dict) else None
    if not isinstance(name, str):
        raise ValueError("the card must have a text pkg.name")
    check_name(name, "pkg")
    born = time.gmtime(now_s)
    card.setdefault("schema_version", SCHEMA)
    card.setdefault("created_at", time.strftime("%Y-%m-%dT%H:%M:%SZ", born))
    card.setdefault("created_by", f"algocline-mcp@{version}")
    if isinstance(card.get("params"), dict):
        card["param_fingerprint"] = _djb2(_stable(card["params"]))
    chosen = card.get("card_id")
    if not isinstance(chosen, str) or not chosen:
        stem = f"{name}_{_short_model(card)}_{time.strftime('%Y%m%dT%H%M%S', born)}"
        digits = hashlib.sha256(identity.encode()).hexdigest()
        ids = (f"{stem}_{digits[:length]}" for length in range(_HEX, len(digits) + 1))
        chosen = next(each for each in ids if not is_taken(each))
    elif is_taken(chosen):
        raise ValueError(f"card '{chosen}' already exists (immutable): leave card_id out, or use alc.card.append")
    check_name(chosen, "card_id")
    card["card_id"] = chosen
    return card


def appended(card: Card, fields: Any) -> Card:
    """A copy with these keys besides its own."""
    if not isinstance(fields, dict):
        raise ValueError("the fields must be a table")
    for key in fields:
        if key in card:
            raise ValueError(f"key '{key}' already set on card '{card['card_id']}' (immutable): use another key")
    more: Card = without_null(fields)
    return card | more


def check_name(name: str, what: str) -> None:
    """Whether it can be the name of a file, since that is what it becomes."""
    is_outside = any(part in name for part in ("/", "\\", "..", "\0")) or name.startswith(".")
    if not name or is_outside or len(name.encode("utf-8", "replace")) > _NAME_BYTES:
        raise ValueError(
            f"Invalid {what} name: '{name[:_NAME_BYTES]}': it has 1 to {_NAME_BYTES} bytes, does not begin with a dot, "
            "and is without /, \\, .. and NUL"
        )


def without_null(value: Any) -> Any:
    """TOML has no null: whatever is null is left out."""
    if isinstance(value, dict):
        return {key: without_null(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [without_null(each) for each in value if each is not None]
    return value


def _short_model(card: Card) -> str:
    """`claude-opus-4-6` is opus46, `gpt-4o` is 4o, none is model."""
    name = at(card, ("model", "id"))
    name = name if isinstance(name, str) else ""
    for vendor in _VENDORS:
        name = name.removeprefix(vendor)
    return re.sub(r"[^A-Za-z0-9]", "", name)[:32] or "model"


def _stable(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _djb2(text: str) -> str:
    value = 5381
    for byte in text.encode("utf-8", "replace"):
        value = (value * 33 + byte) & 0xFFFF_FFFF_FFFF_FFFF
    return f"{value:016x}"


# Looking at one ----------------------------------------------------------------------------------------------


def summary(card: Card, pkg: str) -> Card:
    """A line of a list; what the card does not say is left out."""
    line = {"card_id": card["card_id"], "pkg": pkg}
    paths = {"created_at": ("created_at",), "model": ("model", "id"), "scenario": ("scenario", "name")}
    for name, path in paths.items():
        if isinstance(found := at(card, path), str):
            line[name] = found
    if _kind(rate := at(card, ("stats", "pass_rate"))) == "number":
        line["pass_rate"] = rate
    return line


def prior(card: Card) -> tuple[str | None, str | None]:
    """The card that it came from, and how."""
    source, relation = at(card, ("metadata", "prior_card_id")), at(card, ("metadata", "prior_relation"))
    return source if isinstance(source, str) else None, relation if isinstance(relation, str) else None


def at(value: Any, path: Sequence[str]) -> Any:
    """What lies at the path, or None, which no card holds."""
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    return value


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return type(value).__name__


def _is_equal(a: Any, b: Any) -> bool:
    return _kind(a) == _kind(b) and bool(a == b)


def _is_comparable(a: Any, b: Any) -> bool:
    return _kind(a) == _kind(b) and _kind(a) in ("bool", "number", "str")


def _holds(container: Any, item: Any) -> bool:
    if isinstance(container, str):
        return isinstance(item, str) and item in container
    return isinstance(container, list) and any(_is_equal(each, item) for each in container)


def _is_in(value: Any, among: Any) -> bool:
    return isinstance(among, list) and any(_is_equal(value, each) for each in among)


# Operator -> (actual value or None, wanted value) -> whether it holds. A field that is missing is never equal, less,
# more or in; so it is `ne` and `nin`.
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": _is_equal,
    "ne": lambda actual, wanted: not _is_equal(actual, wanted),
    "lt": lambda actual, wanted: _is_comparable(actual, wanted) and actual < wanted,
    "lte": lambda actual, wanted: _is_comparable(actual, wanted) and actual <= wanted,
    "gt": lambda actual, wanted: _is_comparable(actual, wanted) and actual > wanted,
    "gte": lambda actual, wanted: _is_comparable(actual, wanted) and actual >= wanted,
    "in": lambda actual, wanted: actual is not None and _is_in(actual, wanted),
    "nin": lambda actual, wanted: actual is None or not _is_in(actual, wanted),
    "exists": lambda actual, wanted: (actual is not None) == (wanted is not False),
    "contains": _holds,
    "starts_with": lambda actual, wanted: (
        isinstance(actual, str) and isinstance(wanted, str) and actual.startswith(wanted)
    ),
}


def predicate(where: Any) -> Predicate:
    """`{stats = {pass_rate = {gte = 0.8}}, pkg = {name = "cot"}, _or = {…, …}}`: all keys hold, each at its path."""
    return _all(_clauses(where, ()))


def _all(clauses: Iterable[Predicate]) -> Predicate:
    kept = tuple(clauses)
    return lambda card: all(clause(card) for clause in kept)


def _any(clauses: Iterable[Predicate]) -> Predicate:
    kept = tuple(clauses)
    return lambda card: any(clause(card) for clause in kept)


def _not(clause: Predicate) -> Predicate:
    return lambda card: not clause(card)


def _clauses(where: Any, path: tuple[str, ...]) -> Iterator[Predicate]:
    if not isinstance(where, dict):
        raise ValueError("where must be a table of fields")
    for key, wanted in where.items():
        if key in ("_and", "_or"):
            if not isinstance(wanted, list) and wanted != {}:
                raise ValueError(f"{key} must be an array of tables")
            each = [_all(_clauses(sub, path)) for sub in wanted]
            yield _all(each) if key == "_and" else _any(each)
        elif key == "_not":
            yield _not(_all(_clauses(wanted, path)))
        elif isinstance(wanted, dict) and wanted and wanted.keys() <= _OPERATORS.keys():
            yield from (_comparison((*path, key), name, value) for name, value in wanted.items())
        elif isinstance(wanted, dict):
            yield from _clauses(wanted, (*path, key))
        else:
            yield _comparison((*path, key), "eq", wanted)


def _comparison(path: tuple[str, ...], name: str, wanted: Any) -> Predicate:
    operator = _OPERATORS[name]
    return lambda card: operator(at(card, path), wanted)


def order_keys(order_by: Any) -> list[OrderKey]:
    """The most important one first; `{}` is Lua's empty array."""
    if order_by is None or order_by == {}:
        return []
    keys = [order_by] if isinstance(order_by, str) else order_by
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError("order_by must be a string or an array of strings")
    found = [(tuple(key.removeprefix("-").split(".")), key.startswith("-")) for key in keys]
    for key, (path, _) in zip(keys, found, strict=True):
        if not all(path):
            raise ValueError(f"invalid order_by key: '{key}': write it as 'stats.pass_rate' or '-stats.pass_rate'")
    return found


def ordered(rows: Iterable[tuple[Any, Sequence[Any]]], keys: Sequence[OrderKey]) -> list[Any]:
    """The first of each pair, by the values of the second, one per key: cards themselves are too large to be held.

    Equals stay as they came, and who lacks a field is last in either direction.
    """
    result = list(rows)
    for i, (_, is_descending) in reversed(list(enumerate(keys))):
        having = [row for row in result if row[1][i] is not None]
        lacking = [row for row in result if row[1][i] is None]
        having.sort(key=lambda row: _rank(row[1][i]), reverse=is_descending)
        result = having + lacking
    return [item for item, _ in result]


def _rank(value: Any) -> tuple[str, Any]:
    """Comparable with every other one."""
    kind = _kind(value)
    return (kind, value) if kind in ("bool", "number", "str") else (kind, "")


# Where one came from -----------------------------------------------------------------------------------------


def lineage(
    root: Card,
    *,
    direction: str,
    depth: int,
    relations: Sequence[str] | None,
    find: Callable[[str], Card | None],
    children: Callable[[str], Iterable[Card]],
) -> tuple[list[tuple[Card, int]], list[tuple[Card, Card]], bool]:
    """Cards with their distance (ancestors negative), pairs of child and parent, and whether depth cut something off.

    `relations`: which ones are followed, or None for all.
    """
    if direction not in ("up", "down", "both"):
        raise ValueError(f"direction must be 'up', 'down', or 'both' (got '{direction}')")
    seen = {root["card_id"]}
    nodes, edges, is_cut = [(root, 0)], [], False

    def next_ones(card: Card, is_up: bool) -> Iterator[Card]:
        source, relation = prior(card)
        if not is_up:
            found = [each for each in children(card["card_id"]) if relations is None or prior(each)[1] in relations]
        elif source is not None and (relations is None or relation in relations):
            found = [each for each in [find(source)] if each is not None]
        else:
            found = []
        yield from (each for each in found if each["card_id"] not in seen)

    for is_up in (True, False):
        front = [root] if direction in ("both", "up" if is_up else "down") else []
        for step in range(1, depth + 1):
            reached = []
            for card in front:
                for each in next_ones(card, is_up):
                    seen.add(each["card_id"])
                    nodes.append((each, -step if is_up else step))
                    edges.append((card, each) if is_up else (each, card))
                    reached.append(each)
            front = reached
        is_cut = is_cut or any(True for card in front for _ in next_ones(card, is_up))
    return nodes, edges, is_cut


def lineage_result(
    root: str, walked: tuple[list[tuple[Card, int]], list[tuple[Card, Card]], bool], *, with_stats: bool
) -> Mapping[str, Any]:
    nodes, edges, is_cut = walked
    return {
        "root": root,
        "nodes": [_node(card, distance, with_stats) for card, distance in nodes],
        "edges": [_edge(child, parent) for child, parent in edges],
        "truncated": is_cut,
    }


def _node(card: Card, distance: int, with_stats: bool) -> Card:
    source, relation = prior(card)
    node = {"card_id": card["card_id"], "pkg": at(card, ("pkg", "name")), "depth": distance}
    node |= {"prior_card_id": source, "prior_relation": relation}
    if with_stats:
        node["stats"] = card.get("stats")
    return {name: value for name, value in node.items() if value is not None}


def _edge(child: Card, parent: Card) -> Card:
    edge = {"from": child["card_id"], "to": parent["card_id"], "relation": prior(child)[1]}
    return {name: value for name, value in edge.items() if value is not None}
