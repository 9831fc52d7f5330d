"""alc.card: the host functions that create, extend and find cards. Their rules, apart from where cards are stored.

Contract: `perform` carries out one function on the cards of an owner and returns its result, a JSON value, or raises
CallRefused, whose sentence is for the strategy; then nothing was changed. A CardStore is tables of a SQLite file
(worker/database/card_tables.py) or of PostgreSQL (cluster/card_rows.py). A function that changes something runs while
nobody else changes the cards of that owner, and what it stored before it raised is taken back by its caller.

One set of tests holds for both: tests/storage/test_card_functions.py.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from algocline_mcp import __version__
from algocline_mcp.cards import lineage
from algocline_mcp.cards.card import Card, check_name, extended, new_card, prior, summary, value_at
from algocline_mcp.cards.query import order_keys, predicate, sort_rows
from algocline_mcp.config.limits import Limits
from algocline_mcp.storage.key_values import CallRefused, check_arguments, json_text, well_formed

# Host function -> (whether the function changes something, number of its arguments).
FUNCTIONS = {
    "card.create": (True, 1),
    "card.append": (True, 2),
    "card.write_samples": (True, 2),
    "card.alias_set": (True, 3),
    "card.get": (False, 1),
    "card.list": (False, 1),
    "card.find": (False, 1),
    "card.lineage": (False, 1),
    "card.read_samples": (False, 2),
    "card.get_by_alias": (False, 1),
    "card.alias_list": (False, 1),
    "card.sink_backfill": (False, 1),
}
_OFFSET_MAX = 2**62  # beyond any card, and a number for each database


@dataclass(frozen=True, slots=True)
class CardRow:
    """A card, and what it is found by. `prior`: the card that it was made from. `summary`, `card`: JSON."""

    card_id: str
    pkg: str
    created_at: str
    prior: str | None
    summary: str
    card: str


class CardStore(Protocol):
    """The cards of one owner. Texts that are looked for may be any; what is stored may have half surrogate pairs
    replaced. Newest first: by `created_at`, then in the order in which cards were first stored."""

    def card(self, card_id: str) -> tuple[str, str, bool] | None:
        """Its package, its JSON, whether samples were written; None where there is no such card."""
        ...

    def count(self, pkg: str) -> int: ...

    def summaries(self, pkg: str | None, *, offset: int, limit: int) -> list[str]:
        """Newest first. `pkg`: None for all."""
        ...

    def cards(self, pkg: str | None) -> Iterator[tuple[str, str]]:
        """(summary, card) of each, newest first; not all are in memory at the same time."""
        ...

    def children(self, card_id: str) -> list[str]:
        """The cards that were made from this one, newest first."""
        ...

    def put(self, row: CardRow) -> None:
        """Stores a new card, or replaces what is stored of this card_id."""
        ...

    def samples(self, card_id: str) -> list[str]:
        """The JSON of each, in the order in which they were written."""
        ...

    def put_samples(self, card_id: str, samples: Sequence[str]) -> None: ...

    def aliased(self, name: str) -> str | None:
        """The card_id of an alias."""
        ...

    def aliases(self) -> list[Card]:
        """In the order in which they were set; fields without a value are absent."""
        ...

    def put_alias(self, alias: Card) -> None:
        """Adds it, or replaces the one of this name, which becomes the last."""
        ...

    def path(self, pkg: str, card_id: str, *, is_of_samples: bool = False) -> str | None:
        """Of the copy as a file; None: there is none."""
        ...

    def backfill(self, sink: str, *, is_dry: bool) -> Card:
        """Writes the copies that a sink lacks. Raises ValueError where there is no such sink."""
        ...


@dataclass(frozen=True, slots=True)
class CardCall:
    """What a function works with. `identity` names a call that changes something for good."""

    cards: CardStore
    limits: Limits
    identity: str = ""


def perform(call: CardCall, name: str, args: tuple[Any, ...]) -> Any:
    check_arguments(name, args, FUNCTIONS[name][1])
    try:
        return _FUNCTIONS[name](call, *args)
    except ValueError as exc:
        raise CallRefused(f"alc.{name}: {exc}") from exc


# Changing ----------------------------------------------------------------------------------------------------


def put_card(cards: CardStore, card: Card, pkg: str, limits: Limits) -> None:
    """Stores a new card, or replaces what is stored of this card_id. Raises ValueError."""
    text = json_text(card)
    if len(text.encode()) > limits.card_bytes:
        raise ValueError(
            f"a card of {len(text.encode())} bytes as JSON, at most {limits.card_bytes}: "
            "put what belongs to single cases into its samples"
        )
    created_at = card["created_at"] if isinstance(card.get("created_at"), str) else ""
    cards.put(CardRow(card["card_id"], pkg, created_at, prior(card)[0], json_text(summary(card, pkg)), text))


def put_samples(cards: CardStore, card_id: str, samples: Iterable[Any], limits: Limits) -> None:
    """Raises ValueError."""
    texts = [json_text(sample) for sample in samples]
    size = sum(len(text.encode()) for text in texts)
    if size > limits.samples_bytes:
        raise ValueError(f"samples of {size} bytes as JSON, at most {limits.samples_bytes}: keep fewer")
    cards.put_samples(card_id, texts)


def existing_card(cards: CardStore, card_id: Any) -> tuple[str, str, bool]:
    """As `CardStore.card`. Raises ValueError where there is no such card."""
    row = cards.card(_text(card_id, "the card_id"))
    if row is None:
        raise ValueError(f"card '{card_id}' not found: alc.card.list() tells which there are")
    return row


def _create(call: CardCall, fields: Any) -> Card:
    card = new_card(
        fields,
        identity=call.identity,
        now_s=time.time(),
        version=__version__,
        is_taken=lambda card_id: call.cards.card(card_id) is not None,
    )
    pkg, card_id = card["pkg"]["name"], card["card_id"]
    count = call.cards.count(pkg)
    if count >= call.limits.cards:
        raise ValueError(f"'{pkg}' has {count} cards, at most {call.limits.cards}: raise ALC_CARDS")
    put_card(call.cards, card, well_formed(pkg), call.limits)
    return without_none({"card_id": card_id, "path": call.cards.path(pkg, card_id)})


def _append(call: CardCall, card_id: Any, fields: Any) -> Card:
    pkg, text, _ = existing_card(call.cards, card_id)
    card = extended(json.loads(text), fields)
    put_card(call.cards, card, pkg, call.limits)
    return card


def _write_samples(call: CardCall, card_id: Any, samples: Any) -> Card:
    pkg, _, has_samples = existing_card(call.cards, card_id)
    samples = [] if samples == {} else samples  # {} is Lua's empty array
    if not isinstance(samples, list):
        raise ValueError("samples must be an array")
    if has_samples:
        raise ValueError(f"samples already exist for card '{card_id}' (write-once)")
    put_samples(call.cards, card_id, samples, call.limits)
    return without_none({"path": call.cards.path(pkg, card_id, is_of_samples=True), "count": len(samples)})


def _alias_set(call: CardCall, name: Any, card_id: Any, options: Any) -> Card:
    check_name(_text(name, "the alias"), "alias")
    existing_card(call.cards, card_id)
    pkg, note = (_option(options, field, str) for field in ("pkg", "note"))
    alias = {"name": name, "card_id": card_id, "pkg": pkg, "note": note}
    alias["set_at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time()))
    call.cards.put_alias(alias)
    return without_none(alias)


# Reading -----------------------------------------------------------------------------------------------------


def _get(call: CardCall, card_id: Any) -> Card | None:
    row = call.cards.card(_text(card_id, "the card_id"))
    return None if row is None else as_card(row[1])


def _list(call: CardCall, options: Any) -> list[Card]:
    return _summaries(call, _option(options, "pkg", str), offset=0, limit=None)


def _find(call: CardCall, query: Any) -> list[Card]:
    pkg, where, order_by = _option(query, "pkg", str), _option(query, "where"), _option(query, "order_by")
    offset, limit = _option(query, "offset", int) or 0, _option(query, "limit", int)
    keys = order_keys(order_by)
    if where is None and not keys:
        return _summaries(call, pkg, offset=offset, limit=limit)
    is_match = predicate({} if where is None else where)
    matches = [
        (summary, [value_at(card, path) for path, _ in keys])
        for summary, text in call.cards.cards(pkg)
        if is_match(card := as_card(text))
    ]
    end = offset + _capped(call, limit)
    return [json.loads(summary) for summary in sort_rows(matches, keys)[offset:end]]


def _summaries(call: CardCall, pkg: str | None, *, offset: int, limit: int | None) -> list[Card]:
    page = {"offset": min(offset, _OFFSET_MAX), "limit": _capped(call, limit)}
    return [json.loads(text) for text in call.cards.summaries(pkg, **page)]


def _capped(call: CardCall, limit: int | None) -> int:
    """The number of summaries in one result: more than `limits.cards` would not fit into a message to the engine."""
    return call.limits.cards if limit is None else min(limit, call.limits.cards)


def _read_samples(call: CardCall, card_id: Any, options: Any) -> list[Any]:
    existing_card(call.cards, card_id)
    where, limit = _option(options, "where"), _option(options, "limit", int)
    offset = _option(options, "offset", int) or 0
    samples = [json.loads(text) for text in call.cards.samples(card_id)]
    if where is not None:
        is_match = predicate(where)
        samples = [sample for sample in samples if is_match(sample)]
    return samples[offset:] if limit is None else samples[offset : offset + limit]


def _get_by_alias(call: CardCall, name: Any) -> Card | None:
    card_id = call.cards.aliased(_text(name, "the alias"))
    return None if card_id is None else _get(call, card_id)


def _alias_list(call: CardCall, options: Any) -> list[Card]:
    pkg = _option(options, "pkg", str)
    return [alias for alias in call.cards.aliases() if pkg is None or alias.get("pkg") == pkg]


def _lineage(call: CardCall, query: Any) -> Any:
    root = _get(call, _option(query, "card_id", str))
    relations = _option(query, "relation_filter")
    if relations is not None and not isinstance(relations, list) and relations != {}:
        raise ValueError("relation_filter must be an array of strings")
    depth, with_stats = _option(query, "depth", int), _option(query, "include_stats")

    def node(card: Card) -> Card:
        return {name: card[name] for name in ("card_id", "pkg", "metadata", "stats") if name in card}

    def find(card_id: str) -> Card | None:
        card = _get(call, card_id)
        return card and node(card)

    if root is None:
        return None
    family = lineage.Family(
        find=find,
        children=lambda card_id: [node(as_card(text)) for text in call.cards.children(card_id)],
        relations=relations,
    )
    direction = _option(query, "direction", str) or "up"
    walk = lineage.walk_lineage(root, family, direction=direction, depth=lineage.DEPTH if depth is None else depth)
    return lineage.lineage_result(root["card_id"], walk, with_stats=with_stats is not False)


def _sink_backfill(call: CardCall, options: Any) -> Card:
    sink = _text(_option(options, "sink", str), "sink")
    return call.cards.backfill(sink, is_dry=_option(options, "dry_run") is True)


def _option(options: Any, name: str, kind: type | None = None) -> Any:
    """The field `name` of a table of options, or None. Raises ValueError where the value has another type."""
    value = options.get(name) if isinstance(options, dict) else None
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if value is not None and kind is not None and not (is_count if kind is int else isinstance(value, kind)):
        raise ValueError(f"{name} must be a {'whole number of at least 0' if kind is int else 'string'}")
    return value


def as_card(text: str) -> Card:
    card: Card = json.loads(text)
    return card


def without_none(fields: Card) -> Card:
    return {name: value for name, value in fields.items() if value is not None}


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a string")
    return value


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "card.create": _create,
    "card.append": _append,
    "card.write_samples": _write_samples,
    "card.alias_set": _alias_set,
    "card.get": _get,
    "card.list": _list,
    "card.find": _find,
    "card.lineage": _lineage,
    "card.read_samples": _read_samples,
    "card.get_by_alias": _get_by_alias,
    "card.alias_list": _alias_list,
    "card.sink_backfill": _sink_backfill,
}
