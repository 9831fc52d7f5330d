"""The Rust program's tools for what is kept beyond a session: packages and state; part of tools_full.

Contract: as there. Reading packages and state is the catalog's; a change is a strategy of one line, which
makes it exactly once. Such a session is deleted when it has ended.
"""

import os
import re
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult
from pydantic import Field, PlainValidator, WithJsonSchema

from algocline_mcp.errors import AlcError, Refused, Unreachable
from algocline_mcp.host import replies
from algocline_mcp.host.arguments import ABSENT, Force, Limit, Text
from algocline_mcp.host.waiting import within
from algocline_mcp.pool import dispatch, packages, stored
from algocline_mcp.pool.catalog import Asked, Place, catalog
from algocline_mcp.tools import Host, Listing, hints, look, opened, tool
from algocline_mcp.tools_author import change

Value = Annotated[Any, PlainValidator(lambda value: value), WithJsonSchema({})]
Names = Annotated[Any, PlainValidator(lambda value: names_of(value)), WithJsonSchema({"type": "array"})]
_PLACE = re.compile(r"^call:(\d+:)? ")  # of an error, in a line of code that nobody has written
_READ = hints(read_only=True, idempotent=True)
_KEYS_MOST = 100_000


def names_of(value: Any) -> list[str]:
    """Of a list, or of a text with commas."""
    found = value.split(",") if isinstance(value, str) else value or []
    return [str(each).strip() for each in found] if isinstance(found, list) else []


async def carried_out(host: Host, code: str, ctx: dict[str, Any]) -> Any:
    """What the code returns. Raises Refused with the error that it raises."""
    held = opened(host)
    pool, limits = held.usable(), held.limits
    given = {key: value for key, value in ctx.items() if value is not None and value is not ABSENT}
    started = dispatch.Strategy(code, "call", given)
    again = "whether it was done is not known; look, and call this again"
    reply = await within(
        limits.grace_s, dispatch.run_via_pool(pool, started, wait_s=limits.grace_s / 2), unanswered=again
    )
    result = reply.result
    if result["status"] not in ("completed", "error"):
        raise Unreachable(f"session {reply.session_id} is at it; {again}")
    pool.in_background(_delete, pool, reply.session_id)
    if result["status"] == "error":
        raise Refused(_PLACE.sub("", result["error"].partition("\n")[0]))
    return result["result"]


async def _delete(pool: dispatch.Pool, sid: str) -> None:
    try:
        await dispatch.stop_via_pool(pool, sid, "delete")
    except AlcError:
        return  # retention takes it


# ── packages ──────────────────────────────────────────────────────────────────────────────────────────────

_SCOPES = {"project": "variant", "path": "path"}


async def alc_pkg_list(
    host: Host,
    project_root: Text = ABSENT,
    limit: Limit = None,
    filter: Annotated[Text, Field(description="Words to find")] = ABSENT,
    fields: Annotated[Names, Field(description="Only these")] = None,
) -> Annotated[CallToolResult, Listing]:
    """List packages."""
    place = _place(host, project_root)
    found = await look(host, partial(catalog, place, "packages", Asked(query=filter, limit=limit or 50)))
    shelf = await look(host, place.shelf)
    lines = [
        {
            "name": each["name"],
            "scope": _SCOPES.get(each["origin"], "global"),
            "version": each.get("version"),
            "active": True,
            "resolved_source_path": str(Path(each["file"]).parent),
            "resolved_source_kind": each["origin"],
            "type": each.get("type"),
        }
        for each in found["packages"]
    ]
    if fields:
        lines = [{key: line[key] for key in fields if key in line} for line in lines]
    told = {"packages": lines, "search_paths": [str(path) for path, _ in shelf.roots]}
    if shelf.project.root is not None:
        told["project_root"] = str(shelf.project.root)
    return replies.result(told | ({"warnings": list(shelf.project.warnings)} if shelf.project.warnings else {}))


def _place(host: Host, project_root: str) -> Place:
    held = opened(host)
    return Place(held.usable().home, held.limits, os.environ, Path(project_root) if project_root else None)


async def alc_pkg_install(
    host: Host, url: Text, name: Text = ABSENT, force: Force = False
) -> Annotated[CallToolResult, Listing]:
    """Install packages from a git URL or a directory, as alc_package(action="install")."""
    return await change(host, "install", source=url, name=name or None, force=force)


async def alc_pkg_remove(host: Host, name: Text) -> Annotated[CallToolResult, Listing]:
    """Delete an installed package, as alc_package(action="remove"). Project files are not touched."""
    return await change(host, "remove", source="", name=name, force=False)


async def alc_pkg_link(
    host: Host, path: Text, name: Text = ABSENT, force: Force = False
) -> Annotated[CallToolResult, Listing]:
    """Use packages in a directory as they are, as alc_package(action="link")."""
    return await change(host, "link", source=path, name=name or None, force=force)


async def alc_pkg_unlink(host: Host, name: Text) -> Annotated[CallToolResult, Listing]:
    """Take a link away, as alc_package(action="unlink")."""
    return await change(host, "unlink", source="", name=name, force=False)


async def alc_pkg_doctor(
    host: Host, name: Text = ABSENT, project_root: Text = ABSENT
) -> Annotated[CallToolResult, Listing]:
    """Say which packages cannot be used, and why."""
    return replies.result(await look(host, partial(_examined, _place(host, project_root), name)))


def _examined(place: Place, name: str) -> dict[str, Any]:
    shelf = place.shelf()
    found: dict[str, Any] = {"healthy": [], "missing_meta": [], "incomplete_pkg": [], "symlink_dangling": []}
    seen = {each.name: each for each in shelf.all()}
    for each in seen.values():
        about = packages.about(each, place.limits.code_bytes)
        kind = "incomplete_pkg" if about is None else "healthy" if about.version else "missing_meta"
        found[kind].append(each.name)
    for root, _ in shelf.roots:
        for left in sorted(root.iterdir() if root.is_dir() else ()):
            if left.name not in seen and not left.name.startswith("."):
                is_dangling = left.is_symlink() and not left.exists()
                found["symlink_dangling" if is_dangling else "incomplete_pkg"].append(left.name)
    found = {kind: [each for each in names if name in ("", each)] for kind, names in found.items()}
    return found | {"path_missing": list(shelf.project.warnings)}


# ── state ─────────────────────────────────────────────────────────────────────────────────────────────────

# Of an orchestration that keeps its progress in one value: some steps and fields go, the value before is kept.
_RESET = """
local value = alc.state.get(ctx.key)
if type(value) ~= "table" then
  error("the value of key '" .. ctx.key .. "' is no table: there is nothing to reset", 0)
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


async def alc_state_list(host: Host, namespace: Text = "default") -> Annotated[CallToolResult, Listing]:
    """List the keys of a namespace of alc.state."""
    path = opened(host).usable().home.state_database
    found, _ = await look(host, lambda: stored.keys(path, namespace, query="", after="", most=_KEYS_MOST))
    return replies.result({"keys": [key for key, _ in found]})


async def alc_state_show(host: Host, key: Text, namespace: Text = "default") -> Annotated[CallToolResult, Listing]:
    """Show one value of alc.state."""
    path = opened(host).usable().home.state_database
    found = await look(host, partial(stored.value, path, namespace, key))
    if not found:
        raise Refused(f"key '{key[:80]}' not found in namespace '{namespace[:80]}': alc_state_list lists the keys")
    return replies.result({"namespace": namespace, "key": key, "value": found[0]})


async def alc_state_set(
    host: Host, key: Text, value: Value, namespace: Text = "default"
) -> Annotated[CallToolResult, Listing]:
    """Store a value in alc.state; null removes it."""
    code = "alc.state.set(ctx.key, ctx.value)"
    await carried_out(host, code, {"_ns": namespace, "key": key, "value": value})
    return replies.result({"ok": True})


async def alc_state_delete(host: Host, key: Text, namespace: Text = "default") -> Annotated[CallToolResult, Listing]:
    """Remove a value from alc.state."""
    existed = await carried_out(host, "return alc.state.delete(ctx.key)", {"_ns": namespace, "key": key})
    return replies.result({"ok": True, "existed": existed})


async def alc_state_reset(
    host: Host,
    key: Text,
    namespace: Text = "default",
    steps: Annotated[Names, Field(description="To take out of its steps")] = None,
    fields: Annotated[Names, Field(description="To take out")] = None,
) -> Annotated[CallToolResult, Listing]:
    """Take steps and fields out of a value that keeps the progress of an orchestration; a copy is kept."""
    steps, fields = names_of(steps), names_of(fields)
    told = await carried_out(host, _RESET, {"_ns": namespace, "key": key, "steps": steps, "fields": fields})
    removed = {name: [] if told[name] == {} else told[name] for name in ("steps", "fields")}
    return replies.result(
        {
            "ok": True,
            "backup_path": f"{namespace}/{told['backup']}",
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
        tool(alc_pkg_list, "List packages", _READ, None),
        tool(alc_pkg_install, "Install packages", hints(destructive=True, is_open=True), None),
        tool(alc_pkg_remove, "Delete a package", changing, None),
        tool(alc_pkg_link, "Link packages", changing, None),
        tool(alc_pkg_unlink, "Unlink a package", changing, None),
        tool(alc_pkg_doctor, "Examine packages", _READ, None),
        tool(alc_state_list, "List keys", _READ, None),
        tool(alc_state_show, "Show a value", _READ, None),
        tool(alc_state_set, "Store a value", changing, None),
        tool(alc_state_delete, "Remove a value", changing, None),
        tool(alc_state_reset, "Reset progress", hints(destructive=True), None),
    ]
