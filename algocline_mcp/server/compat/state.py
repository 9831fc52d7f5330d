"""Upstream's tools for alc.state; listed with ALC_TOOLS=full.

Contract: as in compat/sessions. A change runs as a strategy of one line, so it is made exactly once; the session is
deleted when it has ended.
"""

from functools import partial
from typing import Annotated

from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult
from pydantic import Field

from algocline_mcp.errors import Refused
from algocline_mcp.server.compat.arguments import AnyValue, Names, names_of
from algocline_mcp.server.tool_call import results
from algocline_mcp.server.tool_call.arguments import Text
from algocline_mcp.server.tool_call.effect import run_effect
from algocline_mcp.server.tool_call.pool_call import run_in_thread, server_state
from algocline_mcp.server.tool_call.tool import Listing, ToolContext, hints, make_tool

_READ = hints(read_only=True, idempotent=True)


# ── state ─────────────────────────────────────────────────────────────────────────────────────────────────

# For an orchestration that keeps its progress in one value: removes steps and fields, and keeps a copy.
_RESET = """
local value = alc.state.get(ctx.key)
if type(value) ~= "table" then
  error("the value of key '" .. ctx.key .. "' is not a table: there is nothing to reset", 0)
end
local backup = ctx.key .. ".before-reset"
alc.state.set(backup, value)
local steps, fields = {}, {}
for _, step in ipairs(ctx.steps) do
  if type(value.steps) == "table" and value.steps[step] ~= nil then
    value.steps[step] = nil
    steps[#steps + 1] = step
  end
end
for _, field in ipairs(ctx.fields) do
  if value[field] ~= nil then
    value[field] = nil
    fields[#fields + 1] = field
  end
end
alc.state.set(ctx.key, value)
return { backup = backup, steps = steps, fields = fields }
"""


async def alc_state_list(context: ToolContext, namespace: Text = "default") -> Annotated[CallToolResult, Listing]:
    """List the keys of a namespace of alc.state."""
    state = server_state(context).pool().state
    return results.result({"keys": await run_in_thread(context, partial(state.names, namespace))})


async def alc_state_show(
    context: ToolContext, key: Text, namespace: Text = "default"
) -> Annotated[CallToolResult, Listing]:
    """Show one value of alc.state."""
    state = server_state(context).pool().state
    values = await run_in_thread(context, partial(state.value, namespace, key))
    if not values:
        raise Refused(f"key '{key[:80]}' not found in namespace '{namespace[:80]}': alc_state_list lists the keys")
    return results.result({"namespace": namespace, "key": key, "value": values[0]})


async def alc_state_set(
    context: ToolContext, key: Text, value: AnyValue, namespace: Text = "default"
) -> Annotated[CallToolResult, Listing]:
    """Store a value in alc.state; null removes it."""
    code = "alc.state.set(ctx.key, ctx.value)"
    await run_effect(context, code, {"_ns": namespace, "key": key, "value": value})
    return results.result({"ok": True})


async def alc_state_delete(
    context: ToolContext, key: Text, namespace: Text = "default"
) -> Annotated[CallToolResult, Listing]:
    """Remove a value from alc.state."""
    existed = await run_effect(context, "return alc.state.delete(ctx.key)", {"_ns": namespace, "key": key})
    return results.result({"ok": True, "existed": existed})


async def alc_state_reset(
    context: ToolContext,
    key: Text,
    namespace: Text = "default",
    steps: Annotated[Names, Field(description="Names to remove from its `steps`")] = None,
    fields: Annotated[Names, Field(description="Names of fields to remove")] = None,
) -> Annotated[CallToolResult, Listing]:
    """Remove steps and fields from a value that holds the progress of an orchestration. A copy is kept."""
    steps, fields = names_of(steps), names_of(fields)
    reset = await run_effect(context, _RESET, {"_ns": namespace, "key": key, "steps": steps, "fields": fields})
    removed = {name: [] if reset[name] == {} else reset[name] for name in ("steps", "fields")}
    return results.result(
        {
            "ok": True,
            "backup_path": f"{namespace}/{reset['backup']}",
            "steps_removed": removed["steps"],
            "steps_input": steps,
            "fields_removed": removed["fields"],
            "fields_input": fields,
        }
    )


# ── registration ──────────────────────────────────────────────────────────────────────────────────────────


def tools() -> list[Tool]:
    changing = hints(destructive=True, idempotent=True)
    return [
        make_tool(alc_state_list, "List keys", _READ, None),
        make_tool(alc_state_show, "Show a value", _READ, None),
        make_tool(alc_state_set, "Store a value", changing, None),
        make_tool(alc_state_delete, "Remove a value", changing, None),
        make_tool(alc_state_reset, "Reset progress", hints(destructive=True), None),
    ]
