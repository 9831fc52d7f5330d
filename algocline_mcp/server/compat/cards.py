"""Upstream's tools for cards; listed with ALC_TOOLS=full.

Contract: as in compat/sessions. Each tool but alc_card_install runs a strategy of one line, so only alc.card knows how
cards are stored.
"""

from typing import Annotated, Any

from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult
from pydantic import Field, PlainValidator, WithJsonSchema

from algocline_mcp.errors import Refused
from algocline_mcp.packages.card_install import install_cards
from algocline_mcp.pool import dispatch
from algocline_mcp.server.compat.state import Names, names_of
from algocline_mcp.server.tool_call import results
from algocline_mcp.server.tool_call.arguments import ABSENT, Limit, Text, an_object, count, flag
from algocline_mcp.server.tool_call.deadline import allowed_s
from algocline_mcp.server.tool_call.effect import carried_out
from algocline_mcp.server.tool_call.tool import Host, Listing, ask, client_name, hints, opened, tool

Fields = Annotated[
    dict[str, Any], PlainValidator(an_object("fields", '{"notes": {}}')), WithJsonSchema({"type": "object"})
]
Where = Annotated[
    dict[str, Any],
    PlainValidator(an_object("where", '{"stats": {"pass_rate": {"gte": 0.8}}}')),
    WithJsonSchema({"type": "object"}),
]
Offset = Annotated[int | None, PlainValidator(count("offset", 0)), WithJsonSchema({"type": "integer"})]
Depth = Annotated[int | None, PlainValidator(count("depth", 0)), WithJsonSchema({"type": "integer"})]
Stats = Annotated[bool, PlainValidator(flag("include_stats")), WithJsonSchema({"type": "boolean"})]
DryRun = Annotated[bool, PlainValidator(flag("dry_run")), WithJsonSchema({"type": "boolean"})]
_READ = hints(read_only=True, idempotent=True)


def _listed(name: str, value: Any) -> CallToolResult:
    """An empty list of Lua arrives as an empty object."""
    return results.result({name: [] if value == {} else value})


async def alc_card_list(host: Host, pkg: Text = ABSENT) -> Annotated[CallToolResult, Listing]:
    """List cards, newest first."""
    return _listed("cards", await carried_out(host, "return alc.card.list(ctx)", {"pkg": pkg or None}))


async def alc_card_get(host: Host, card_id: Text) -> Annotated[CallToolResult, Listing]:
    """Show one card."""
    return _card(await carried_out(host, "return alc.card.get(ctx.card_id)", {"card_id": card_id}), f"card '{card_id}'")


def _card(card: Any, wanted: str) -> CallToolResult:
    if card is None:
        raise Refused(f"{wanted[:100]} not found: alc_card_list lists the cards", code="not_found")
    return results.result(card)


async def alc_card_find(
    host: Host,
    pkg: Text = ABSENT,
    where: Where = {},  # noqa: B006 - read only
    order_by: Names = None,
    limit: Limit = None,
    offset: Offset = None,
) -> Annotated[CallToolResult, Listing]:
    """Find cards: where={"stats": {"pass_rate": {"gte": 0.8}}}, order_by="-stats.pass_rate"."""
    ctx = {"pkg": pkg or None, "where": where, "order_by": names_of(order_by), "limit": limit, "offset": offset}
    return _listed("cards", await carried_out(host, "return alc.card.find(ctx)", ctx))


async def alc_card_append(host: Host, card_id: Text, fields: Fields) -> Annotated[CallToolResult, Listing]:
    """Add new fields to a card. Fields that the card has already cannot be changed."""
    code = "return alc.card.append(ctx.card_id, ctx.fields)"
    return results.result(await carried_out(host, code, {"card_id": card_id, "fields": fields}))


async def alc_card_samples(
    host: Host,
    card_id: Text,
    offset: Offset = None,
    limit: Limit = None,
    where: Where = {},  # noqa: B006 - read only
) -> Annotated[CallToolResult, Listing]:
    """Show the samples of a card."""
    code = "return alc.card.read_samples(ctx.card_id, ctx.options)"
    options = {key: value for key, value in (("offset", offset), ("limit", limit), ("where", where or None)) if value}
    return _listed("samples", await carried_out(host, code, {"card_id": card_id, "options": options}))


async def alc_card_lineage(
    host: Host,
    card_id: Text,
    direction: Annotated[Text, Field(description="up, down or both")] = "up",
    depth: Depth = None,
    include_stats: Stats = True,
    relation_filter: Names = None,
) -> Annotated[CallToolResult, Listing]:
    """Show the ancestors (up) or descendants (down) of a card."""
    ctx: dict[str, Any] = {"card_id": card_id, "direction": direction, "depth": depth, "include_stats": include_stats}
    ctx["relation_filter"] = names_of(relation_filter) or None
    return _card(await carried_out(host, "return alc.card.lineage(ctx)", ctx), f"card '{card_id}'")


async def alc_card_alias_set(
    host: Host, name: Text, card_id: Text, pkg: Text = ABSENT, note: Text = ABSENT
) -> Annotated[CallToolResult, Listing]:
    """Set an alias of a card. An alias that exists moves to this card."""
    code = "return alc.card.alias_set(ctx.name, ctx.card_id, ctx.options)"
    options = {key: text for key, text in (("pkg", pkg), ("note", note)) if text}
    return results.result(await carried_out(host, code, {"name": name, "card_id": card_id, "options": options}))


async def alc_card_alias_list(host: Host, pkg: Text = ABSENT) -> Annotated[CallToolResult, Listing]:
    """List the aliases of cards."""
    return _listed("aliases", await carried_out(host, "return alc.card.alias_list(ctx)", {"pkg": pkg or None}))


async def alc_card_get_by_alias(host: Host, name: Text) -> Annotated[CallToolResult, Listing]:
    """Show the card that has this alias."""
    return _card(await carried_out(host, "return alc.card.get_by_alias(ctx.name)", {"name": name}), f"alias '{name}'")


async def alc_card_sink_backfill(host: Host, sink: Text, dry_run: DryRun = False) -> Annotated[CallToolResult, Listing]:
    """Copy to a directory of ALC_CARD_SINKS the cards that it does not have."""
    code = "return alc.card.sink_backfill(ctx)"
    return results.result(await carried_out(host, code, {"sink": sink, "dry_run": dry_run}))


async def alc_card_install(host: Host, url: Text) -> Annotated[CallToolResult, Listing]:
    """Install cards from a git URL or a directory: files PACKAGE/CARD.toml, also in its directory cards."""
    held = opened(host)
    home, limits = held.usable().home, held.limits
    fetch_s = allowed_s(limits.package_fetch_s, client_name(host), limits.wait_max_s)

    async def call(pool: dispatch.Pool, wait_s: float, told: dispatch.OnProgress) -> dispatch.PoolReply:
        return dispatch.PoolReply("", await install_cards(home, limits, url, fetch_s=fetch_s), None)

    return await ask(host, fetch_s, call, unanswered="some cards may be installed; check with alc_card_list")


# ── registration ──────────────────────────────────────────────────────────────────────────────────────────


def tools() -> list[Tool]:
    return [
        tool(alc_card_list, "List cards", _READ, None),
        tool(alc_card_get, "Show a card", _READ, None),
        tool(alc_card_find, "Find cards", _READ, None),
        tool(alc_card_append, "Add to a card", hints(), None),
        tool(alc_card_samples, "Show samples", _READ, None),
        tool(alc_card_lineage, "Show lineage", _READ, None),
        tool(alc_card_alias_set, "Set an alias", hints(idempotent=True), None),
        tool(alc_card_alias_list, "List aliases", _READ, None),
        tool(alc_card_get_by_alias, "Show the card of an alias", _READ, None),
        tool(alc_card_install, "Install cards", hints(idempotent=True, is_open=True), None),
        tool(alc_card_sink_backfill, "Copy cards", hints(idempotent=True), None),
    ]
