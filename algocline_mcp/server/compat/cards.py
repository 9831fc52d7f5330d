"""Upstream's tools for cards; listed with ALC_TOOLS=full.

Contract: as in compat/sessions. Each tool but alc_card_install runs a strategy of one line, so only alc.card knows how
cards are stored.
"""

from functools import partial
from typing import Annotated, Any

from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult
from pydantic import Field, PlainValidator, WithJsonSchema

from algocline_mcp.errors import Refused
from algocline_mcp.packages.card_install import install_cards
from algocline_mcp.server.compat.arguments import Names, names_of
from algocline_mcp.server.tool_call import results
from algocline_mcp.server.tool_call.arguments import ABSENT, Limit, Text, count, flag, json_object
from algocline_mcp.server.tool_call.effect import run_effect
from algocline_mcp.server.tool_call.pool_call import call_with_progress, granted_wait_s, host_result, server_state
from algocline_mcp.server.tool_call.tool import Listing, ToolContext, hints, make_tool

Fields = Annotated[
    dict[str, Any], PlainValidator(json_object("fields", '{"notes": {}}')), WithJsonSchema({"type": "object"})
]
Where = Annotated[
    dict[str, Any],
    PlainValidator(json_object("where", '{"stats": {"pass_rate": {"gte": 0.8}}}')),
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


async def alc_card_list(context: ToolContext, pkg: Text = ABSENT) -> Annotated[CallToolResult, Listing]:
    """List cards, newest first."""
    return _listed("cards", await run_effect(context, "return alc.card.list(ctx)", {"pkg": pkg or None}))


async def alc_card_get(context: ToolContext, card_id: Text) -> Annotated[CallToolResult, Listing]:
    """Show one card."""
    return _card(
        await run_effect(context, "return alc.card.get(ctx.card_id)", {"card_id": card_id}), f"card '{card_id}'"
    )


def _card(card: Any, wanted: str) -> CallToolResult:
    if card is None:
        raise Refused(f"{wanted[:100]} not found: alc_card_list lists the cards", code="not_found")
    return results.result(card)


async def alc_card_find(
    context: ToolContext,
    pkg: Text = ABSENT,
    where: Where = {},  # noqa: B006 - read only
    order_by: Names = None,
    limit: Limit = None,
    offset: Offset = None,
) -> Annotated[CallToolResult, Listing]:
    """Find cards: where={"stats": {"pass_rate": {"gte": 0.8}}}, order_by="-stats.pass_rate"."""
    ctx = {"pkg": pkg or None, "where": where, "order_by": names_of(order_by), "limit": limit, "offset": offset}
    return _listed("cards", await run_effect(context, "return alc.card.find(ctx)", ctx))


async def alc_card_append(context: ToolContext, card_id: Text, fields: Fields) -> Annotated[CallToolResult, Listing]:
    """Add new fields to a card. Fields that the card has already cannot be changed."""
    code = "return alc.card.append(ctx.card_id, ctx.fields)"
    return results.result(await run_effect(context, code, {"card_id": card_id, "fields": fields}))


async def alc_card_samples(
    context: ToolContext,
    card_id: Text,
    offset: Offset = None,
    limit: Limit = None,
    where: Where = {},  # noqa: B006 - read only
) -> Annotated[CallToolResult, Listing]:
    """Show the samples of a card."""
    code = "return alc.card.read_samples(ctx.card_id, ctx.options)"
    options = {key: value for key, value in (("offset", offset), ("limit", limit), ("where", where or None)) if value}
    return _listed("samples", await run_effect(context, code, {"card_id": card_id, "options": options}))


async def alc_card_lineage(
    context: ToolContext,
    card_id: Text,
    direction: Annotated[Text, Field(description="up, down or both")] = "up",
    depth: Depth = None,
    include_stats: Stats = True,
    relation_filter: Names = None,
) -> Annotated[CallToolResult, Listing]:
    """Show the ancestors (up) or descendants (down) of a card."""
    ctx: dict[str, Any] = {"card_id": card_id, "direction": direction, "depth": depth, "include_stats": include_stats}
    ctx["relation_filter"] = names_of(relation_filter) or None
    return _card(await run_effect(context, "return alc.card.lineage(ctx)", ctx), f"card '{card_id}'")


async def alc_card_alias_set(
    context: ToolContext, name: Text, card_id: Text, pkg: Text = ABSENT, note: Text = ABSENT
) -> Annotated[CallToolResult, Listing]:
    """Set an alias of a card. An alias that exists moves to this card."""
    code = "return alc.card.alias_set(ctx.name, ctx.card_id, ctx.options)"
    options = {key: text for key, text in (("pkg", pkg), ("note", note)) if text}
    return results.result(await run_effect(context, code, {"name": name, "card_id": card_id, "options": options}))


async def alc_card_alias_list(context: ToolContext, pkg: Text = ABSENT) -> Annotated[CallToolResult, Listing]:
    """List the aliases of cards."""
    return _listed("aliases", await run_effect(context, "return alc.card.alias_list(ctx)", {"pkg": pkg or None}))


async def alc_card_get_by_alias(context: ToolContext, name: Text) -> Annotated[CallToolResult, Listing]:
    """Show the card that has this alias."""
    return _card(await run_effect(context, "return alc.card.get_by_alias(ctx.name)", {"name": name}), f"alias '{name}'")


async def alc_card_sink_backfill(
    context: ToolContext, sink: Text, dry_run: DryRun = False
) -> Annotated[CallToolResult, Listing]:
    """Copy to a directory of ALC_CARD_SINKS the cards that it does not have."""
    code = "return alc.card.sink_backfill(ctx)"
    return results.result(await run_effect(context, code, {"sink": sink, "dry_run": dry_run}))


async def alc_card_install(context: ToolContext, url: Text) -> Annotated[CallToolResult, Listing]:
    """Install cards from a git URL or a directory: files PACKAGE/CARD.toml, also in its directory cards."""
    server = server_state(context)
    fetch_s = granted_wait_s(context, server.limits.package_fetch_s)
    install = partial(install_cards, server.pool().home, server.limits, url, fetch_s=fetch_s)
    advice = "some cards may be installed; check with alc_card_list"
    return await host_result(context, await call_with_progress(context, fetch_s, install, timeout_advice=advice))


# ── registration ──────────────────────────────────────────────────────────────────────────────────────────


def tools() -> list[Tool]:
    return [
        make_tool(alc_card_list, "List cards", _READ, None),
        make_tool(alc_card_get, "Show a card", _READ, None),
        make_tool(alc_card_find, "Find cards", _READ, None),
        make_tool(alc_card_append, "Add to a card", hints(), None),
        make_tool(alc_card_samples, "Show samples", _READ, None),
        make_tool(alc_card_lineage, "Show lineage", _READ, None),
        make_tool(alc_card_alias_set, "Set an alias", hints(idempotent=True), None),
        make_tool(alc_card_alias_list, "List aliases", _READ, None),
        make_tool(alc_card_get_by_alias, "Show the card of an alias", _READ, None),
        make_tool(alc_card_install, "Install cards", hints(idempotent=True, is_open=True), None),
        make_tool(alc_card_sink_backfill, "Copy cards", hints(idempotent=True), None),
    ]
