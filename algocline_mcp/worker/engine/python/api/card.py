"""alc.card: checks arguments and sends them to the keeper, which stores and finds cards."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from algocline_mcp.worker.engine.python.api.host import call
from algocline_mcp.worker.engine.python.api.json_values import plain_of
from algocline_mcp.worker.engine.python.api.refused import raise_refused
from algocline_mcp.worker.engine.python.api.texts import kind_of, problem

Card = dict[str, Any]


def create(card: Mapping[str, Any]) -> Card:
    """Keeps a card, `{"pkg": {"name": …}, …}`, and returns its card_id and path."""
    return _mapping(call("card.create", _json(card, "card.create", "the card")))


def get(card_id: str) -> Card | None:
    """The whole card, or None."""
    return _optional(call("card.get", _text(card_id, "card.get", "the card_id")))


def list(*, pkg: str | None = None) -> Sequence[Card]:
    """A line of each card, the newest first."""
    return _array(call("card.list", _options("card.list", pkg=pkg)))


def find(
    *,
    pkg: str | None = None,
    where: Mapping[str, Any] | None = None,
    order_by: Any = None,
    limit: int | None = None,
    offset: int | None = None,
) -> Sequence[Card]:
    """The lines of the cards that `where` holds for."""
    query = _options("card.find", pkg=pkg, where=where, order_by=order_by, limit=limit, offset=offset)
    return _array(call("card.find", query))


def append(card_id: str, fields: Mapping[str, Any]) -> Card:
    """Adds keys to a card. A key that is there already is an error."""
    name = _text(card_id, "card.append", "the card_id")
    return _mapping(call("card.append", name, _json(fields, "card.append", "the fields")))


def write_samples(card_id: str, samples: Sequence[Any]) -> dict[str, Any]:
    """Keeps what belongs to single cases, once per card. Returns path and count."""
    name = _text(card_id, "card.write_samples", "the card_id")
    return _mapping(call("card.write_samples", name, _json(samples, "card.write_samples", "the samples")))


def read_samples(
    card_id: str, *, where: Mapping[str, Any] | None = None, offset: int | None = None, limit: int | None = None
) -> Sequence[Any]:
    name = _text(card_id, "card.read_samples", "the card_id")
    return _array(
        call("card.read_samples", name, _options("card.read_samples", where=where, offset=offset, limit=limit))
    )


def alias_set(alias: str, card_id: str, *, pkg: str | None = None, note: str | None = None) -> dict[str, Any]:
    """A name for a card, which can be moved to another."""
    alias = _text(alias, "card.alias_set", "the alias")
    card_id = _text(card_id, "card.alias_set", "the card_id")
    return _mapping(call("card.alias_set", alias, card_id, _options("card.alias_set", pkg=pkg, note=note)))


def alias_list(*, pkg: str | None = None) -> Sequence[dict[str, Any]]:
    return _array(call("card.alias_list", _options("card.alias_list", pkg=pkg)))


def get_by_alias(alias: str) -> Card | None:
    """The card of a name, or None."""
    return _optional(call("card.get_by_alias", _text(alias, "card.get_by_alias", "the alias")))


def lineage(
    card_id: str,
    *,
    direction: Literal["up", "down", "both"] | None = None,
    depth: int | None = None,
    relation_filter: Any = None,
    include_stats: bool | None = None,
) -> dict[str, Any] | None:
    """Where a card came from ("up", the default), what came from it, or both; 10 generations unless `depth` says so."""
    query = _options(
        "card.lineage",
        card_id=_text(card_id, "card.lineage", "the card_id"),
        direction=direction,
        depth=depth,
        relation_filter=relation_filter,
        include_stats=include_stats,
    )
    return _optional(call("card.lineage", query))


def sink_backfill(sink: str, *, dry_run: bool | None = None) -> dict[str, Any]:
    """Writes the copies that one of ALC_CARD_SINKS lacks."""
    sink = _text(sink, "card.sink_backfill", "the sink")
    return _mapping(call("card.sink_backfill", _options("card.sink_backfill", sink=sink, dry_run=dry_run)))


def _text(value: Any, name: str, what: str) -> str:
    if not isinstance(value, str):
        raise_refused(value)
        raise problem("argument", f"alc.{name}", what, "a string", kind_of(value))
    return value


def _json(value: Any, name: str, what: str) -> Any:
    plain = None if value is None else plain_of(value, f"alc.{name}", what)
    if not isinstance(plain, Mapping | Sequence) or isinstance(plain, str):
        raise problem("argument", f"alc.{name}", what, "a dict", kind_of(value))
    return plain


def _options(name: str, **options: Any) -> Any:
    """Those that are given, as the keeper expects them: null for none."""
    given = {key: value for key, value in options.items() if value is not None}
    return plain_of(given, f"alc.{name}", "the options") if given else None


def _mapping(result: Any) -> dict[str, Any]:
    mapping: dict[str, Any] = result
    return mapping


def _optional(result: Any) -> dict[str, Any] | None:
    mapping: dict[str, Any] | None = result
    return mapping


def _array(result: Any) -> Sequence[Any]:
    array: Sequence[Any] = result
    return array
