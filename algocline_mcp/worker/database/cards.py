"""alc.card: the host functions that create, extend and find cards in the state database of the home.

Contract: `perform` performs one call in its context and returns the result, a JSON value, or raises CallRefused.

Why the database and not upstream's files: a card and its mark are one commit, so no crash loses or doubles a card;
`append` and `alias_set`, which change what other sessions may change at the same time, cannot be repeated safely on
files. And the database is read faster: a search through 2,000 cards takes 14 ms here, and 226 ms as TOML, whose reader
costs a worker 1.5 MiB. The files are copies, 80 us each (card_copies.py).
"""

import json
import time
from collections.abc import Callable
from typing import Any

from algocline_mcp import __version__
from algocline_mcp.cards import lineage
from algocline_mcp.cards.card import Card, check_name, extended, new_card, value_at
from algocline_mcp.cards.query import order_keys, predicate, sort_rows
from algocline_mcp.storage.key_values import CallRefused, well_formed
from algocline_mcp.worker.database import card_copies, card_files, card_tables
from algocline_mcp.worker.database.call_context import CallContext
from algocline_mcp.worker.engine.messages import Call

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


def perform(context: CallContext, call: Call) -> Any:
    try:
        return _FUNCTIONS[call.name](context, *call.args)
    except ValueError as exc:
        raise CallRefused(f"alc.{call.name}: {exc}") from exc


# Changing ----------------------------------------------------------------------------------------------------


def _create(context: CallContext, fields: Any) -> Card:
    assert context.mark is not None
    identity = f"{context.mark.sid} {context.mark.stream} {context.mark.n}"
    card = new_card(
        fields,
        identity=identity,
        now_s=time.time(),
        version=__version__,
        is_taken=lambda card_id: card_tables.stored_card(context, card_id) is not None,
    )
    pkg = card["pkg"]["name"]
    count = card_tables.count(context, pkg)
    if count >= context.limits.cards:
        raise ValueError(f"'{pkg}' has {count} cards, at most {context.limits.cards}: raise ALC_CARDS")
    card_tables.put_card(context, card, well_formed(pkg))
    path = card_files.card_path(context.directories.own, pkg, card["card_id"])
    return {"card_id": card["card_id"], "path": str(path)}


def _append(context: CallContext, card_id: Any, fields: Any) -> Card:
    pkg, text, _ = card_tables.existing_card(context, card_id)
    card = extended(json.loads(text), fields)
    card_tables.put_card(context, card, pkg)
    return card


def _write_samples(context: CallContext, card_id: Any, samples: Any) -> Card:
    pkg, _, count = card_tables.existing_card(context, card_id)
    samples = [] if samples == {} else samples  # {} is Lua's empty array
    if not isinstance(samples, list):
        raise ValueError("samples must be an array")
    if count is not None:
        raise ValueError(f"samples already exist for card '{card_id}' (write-once)")
    card_tables.put_samples(context, card_id, samples)
    path = card_files.samples_path(context.directories.own, pkg, card_id)
    return {"path": str(path), "count": len(samples)}


def _alias_set(context: CallContext, name: Any, card_id: Any, options: Any) -> Card:
    check_name(card_tables.as_text(name, "the alias"), "alias")
    card_tables.existing_card(context, card_id)
    pkg, note = (_option(options, field, str) for field in ("pkg", "note"))
    alias = {"name": name, "card_id": card_id, "pkg": pkg, "note": note}
    alias["set_at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time()))
    card_tables.put_alias(context, alias)
    return card_tables.without_none(alias)


# Reading -----------------------------------------------------------------------------------------------------


def _get(context: CallContext, card_id: Any) -> Card | None:
    row = card_tables.stored_card(context, card_tables.as_text(card_id, "the card_id"))
    return None if row is None else card_tables.as_card(row[1])


def _list(context: CallContext, options: Any) -> list[Card]:
    return _summaries(context, _option(options, "pkg", str), offset=0, limit=None)


def _find(context: CallContext, query: Any) -> list[Card]:
    pkg, where, order_by = _option(query, "pkg", str), _option(query, "where"), _option(query, "order_by")
    offset, limit = _option(query, "offset", int) or 0, _option(query, "limit", int)
    keys = order_keys(order_by)
    if where is None and not keys:
        return _summaries(context, pkg, offset=offset, limit=limit)
    is_match = predicate({} if where is None else where)
    matches = [
        (summary, [value_at(card, path) for path, _ in keys])
        for summary, text in card_tables.rows(context, "summary, card", pkg=pkg)
        if is_match(card := card_tables.as_card(text))
    ]
    end = offset + _capped(context, limit)
    return [json.loads(summary) for summary in sort_rows(matches, keys)[offset:end]]


def _summaries(context: CallContext, pkg: str | None, *, offset: int, limit: int | None) -> list[Card]:
    page = (offset, _capped(context, limit))
    return [json.loads(text) for (text,) in card_tables.rows(context, "summary", pkg=pkg, page=page)]


def _capped(context: CallContext, limit: int | None) -> int:
    """The number of summaries in one result: more than `limits.cards` would not fit into a message to the engine."""
    return context.limits.cards if limit is None else min(limit, context.limits.cards)


def _read_samples(context: CallContext, card_id: Any, options: Any) -> list[Any]:
    card_tables.existing_card(context, card_id)
    where, limit = _option(options, "where"), _option(options, "limit", int)
    offset = _option(options, "offset", int) or 0
    samples = [json.loads(text) for text in card_tables.sample_texts(context, card_id)]
    if where is not None:
        is_match = predicate(where)
        samples = [sample for sample in samples if is_match(sample)]
    return samples[offset:] if limit is None else samples[offset : offset + limit]


def _get_by_alias(context: CallContext, name: Any) -> Card | None:
    card_id = card_tables.aliased_card_id(context, card_tables.as_text(name, "the alias"))
    return None if card_id is None else _get(context, card_id)


def _alias_list(context: CallContext, options: Any) -> list[Card]:
    pkg = _option(options, "pkg", str)
    return [alias for alias in card_tables.aliases(context) if pkg is None or alias.get("pkg") == pkg]


def _lineage(context: CallContext, query: Any) -> Any:
    root = _get(context, _option(query, "card_id", str))
    relations = _option(query, "relation_filter")
    if relations is not None and not isinstance(relations, list) and relations != {}:
        raise ValueError("relation_filter must be an array of strings")
    depth, with_stats = _option(query, "depth", int), _option(query, "include_stats")

    def node(card: Card) -> Card:
        return {name: card[name] for name in ("card_id", "pkg", "metadata", "stats") if name in card}

    def find(card_id: str) -> Card | None:
        card = _get(context, card_id)
        return card and node(card)

    if root is None:
        return None
    family = lineage.Family(
        find=find,
        children=lambda card_id: [node(card) for card in card_tables.children(context, card_id)],
        relations=relations,
    )
    direction = _option(query, "direction", str) or "up"
    walk = lineage.walk_lineage(root, family, direction=direction, depth=lineage.DEPTH if depth is None else depth)
    return lineage.lineage_result(root["card_id"], walk, with_stats=with_stats is not False)


def _sink_backfill(context: CallContext, options: Any) -> Card:
    sink = card_tables.as_text(_option(options, "sink", str), "sink")
    return card_copies.backfill(context, sink, is_dry=_option(options, "dry_run") is True)


def _option(options: Any, name: str, kind: type | None = None) -> Any:
    """The field `name` of a table of options, or None. Raises ValueError where the value has another type."""
    value = options.get(name) if isinstance(options, dict) else None
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if value is not None and kind is not None and not (is_count if kind is int else isinstance(value, kind)):
        raise ValueError(f"{name} must be a {'whole number of at least 0' if kind is int else 'string'}")
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
