"""Upstream's tools that list, install and link packages; listed with ALC_TOOLS=full.

Contract: as in compat/sessions. Lists come from the catalog; changes are those of alc_package.
"""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult
from pydantic import Field, PlainValidator

from algocline_mcp.errors import Refused
from algocline_mcp.packages import install, lookup, overrides
from algocline_mcp.packages.catalog import CatalogQuery, PackageContext, catalog
from algocline_mcp.packages.project import find_root
from algocline_mcp.server.compat import table
from algocline_mcp.server.compat.arguments import Names, names_of
from algocline_mcp.server.tool_call import results
from algocline_mcp.server.tool_call.arguments import ABSENT, Force, Text, count, json_object, text
from algocline_mcp.server.tool_call.pool_call import (
    run_in_thread,
    server_state,
)
from algocline_mcp.server.tool_call.tool import Listing, ToolContext, hints, make_tool
from algocline_mcp.server.tools.packages import change_packages

_READ = hints(read_only=True, idempotent=True)
_SUMMARY_FIELDS = ("name", "scope", "version", "active", "resolved_source_path", "resolved_source_kind", "type")
_MORE_FIELDS = (
    "install_source",
    "installed_at",
    "linked",
    "link_target",
    "broken",
    "path",
    "source",
    "commit",
    "meta",
    "error",
)
_FULL_FIELDS = (*_SUMMARY_FIELDS, *_MORE_FIELDS)
_DEFAULT_LIMIT = 50
_NO_LIMIT = 1_000_000
_SCOPES = {"project": "variant", "path": "path", lookup.BUILT_IN: "built in"}


def _filter(value: Any) -> Any:
    """Words, an object, or an object as JSON text."""
    is_object = isinstance(value, dict) or (isinstance(value, str) and value.lstrip().startswith("{"))
    return json_object("filter", '{"scope": "global"}')(value) if is_object else text(value)


async def alc_pkg_list(
    context: ToolContext,
    project_root: Text = ABSENT,
    limit: Annotated[Any, PlainValidator(count("limit", -1)), Field(description="Maximum number; 0 lists all")] = None,
    sort: Text = "-active,-installed_at",
    filter: Annotated[
        Any, PlainValidator(_filter), Field(description="Words to search for, or an object of fields and values")
    ] = ABSENT,
    fields: Annotated[Names, Field(description="Show only these fields")] = None,
    verbose: Annotated[Text, Field(description="Fields to show: summary or full")] = "summary",
) -> Annotated[CallToolResult, Listing]:
    """List the packages that a session would find, with their versions and where they come from."""
    package_context = package_context_of(context, project_root)
    sets = {"summary": _SUMMARY_FIELDS, "full": _FULL_FIELDS}
    selected = table.select_fields(verbose, names_of(fields), sets)
    unlimited = replace(package_context, limits=replace(package_context.limits, listed_max=_NO_LIMIT))
    page = await run_in_thread(context, partial(catalog, unlimited, "packages", CatalogQuery(limit=_NO_LIMIT)))
    search_path = await run_in_thread(context, package_context.search_path)
    lines = table.sorted_by(table.matching(list(map(_line, page["packages"])), filter), sort, _FULL_FIELDS)
    shown = lines[: _DEFAULT_LIMIT if limit is None else limit if limit > 0 else _NO_LIMIT]
    result: dict[str, Any] = {
        "packages": [{name: line[name] for name in selected if name in line} for line in shown],
        "search_paths": [str(path) for path, _ in search_path.roots],
    }
    if search_path.project.root is not None:
        result["project_root"] = str(search_path.project.root)
        lock = search_path.project.root / "alc.lock"
        result |= {"lockfile_path": str(lock)} if lock.is_file() else {}
    warnings = list(search_path.project.warnings)
    return results.result(result | ({"warnings": warnings} if warnings else {}))


def _line(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry of the catalog with upstream's field names."""
    directory = str(Path(entry["file"]).parent)
    is_linked, is_broken = entry["origin"] == "linked", "about" not in entry
    meta = {name: entry.get(name) for name in ("name", "version", "category")} | {"description": entry.get("about")}
    line = {
        "name": entry["name"],
        "scope": _SCOPES.get(entry["origin"], "global"),
        "version": entry.get("version"),
        "active": True,
        "resolved_source_path": directory,
        "resolved_source_kind": entry["origin"],
        "type": entry.get("type"),
        "install_source": entry.get("source"),
        "installed_at": entry.get("installed_at"),
        "linked": is_linked,
        "link_target": entry.get("source") if is_linked else None,
        "broken": is_broken,
        "path": directory,
        "source": entry.get("source"),
        "commit": entry.get("commit"),
        "meta": None if is_broken else meta,
    }
    return line | ({"error": "; ".join(entry["warnings"])} if is_broken else {})


def package_context_of(context: ToolContext, project_root: str) -> PackageContext:
    server = server_state(context)
    root = Path(os.path.abspath(os.path.expanduser(project_root))) if project_root else None
    return PackageContext(server.pool().home, server.limits, os.environ, root)


async def alc_pkg_install(
    context: ToolContext, url: Text, name: Text = ABSENT, force: Force = False
) -> Annotated[CallToolResult, Listing]:
    """Install packages from a git URL or a directory. Same as alc_package(action="install")."""
    return await change_packages(context, "install", source=url, name=name or None, force=force)


async def alc_pkg_remove(
    context: ToolContext,
    name: Text,
    project_root: Text = ABSENT,
    version: Annotated[Text, Field(description="Remove only if the package has this version")] = ABSENT,
    scope: Annotated[
        Text, Field(description="global (installed packages), project (alc.local.toml) or all (both)")
    ] = "global",
) -> Annotated[CallToolResult, Listing]:
    """
    Delete an installed package. Same as alc_package(action="remove"). Scope project removes the entry in
    alc.local.toml.
    """
    _check_scope(scope, ("project", "global", "all"))
    package_context = package_context_of(context, project_root)
    if version:
        await run_in_thread(context, partial(_check_version, package_context, name, version))
    removed: dict[str, Any] = {}
    if scope != "global":
        try:
            root = _project_root(package_context, scope)
            file = await run_in_thread(context, partial(overrides.remove_override, root, name))
            removed = {"status": "removed", "removed": [name], "alc_local_toml": str(file)}
        except Refused:
            if scope == "project":
                raise
    if scope == "project":
        return results.result(removed)
    try:
        return await change_packages(context, "remove", source="", name=name, force=False)
    except Refused:
        if not removed:
            raise
        return results.result(removed)


async def alc_pkg_link(
    context: ToolContext,
    path: Text,
    name: Text = ABSENT,
    force: Force = False,
    scope: Annotated[Text, Field(description="global, or variant (only in this project)")] = "global",
    project_root: Text = ABSENT,
) -> Annotated[CallToolResult, Listing]:
    """
    Use the packages in a directory without copying them. Same as alc_package(action="link"). Scope variant adds them to
    alc.local.toml of the project.
    """
    _check_scope(scope, ("global", "variant"))
    if scope == "global":
        return await change_packages(context, "link", source=path, name=name or None, force=force)
    if force:
        raise Refused("force needs scope global: an entry of alc.local.toml is not replaced; remove the entry first")
    package_context = package_context_of(context, project_root)
    root = _project_root(package_context, scope)

    def add() -> dict[str, Any]:
        targets = install.link_targets(path, name or None)
        file = overrides.add_overrides(root, targets)
        return {"status": "linked", "linked": list(targets), "scope": scope, "alc_local_toml": str(file)}

    return results.result(await run_in_thread(context, add))


def _check_scope(scope: str, allowed: tuple[str, ...]) -> None:
    if scope not in allowed:
        raise Refused(f"invalid scope '{scope[:80]}': expected one of {', '.join(allowed)}")


def _project_root(package_context: PackageContext, scope: str) -> Path:
    root = package_context.project_root or find_root(os.environ)
    if root is None or not root.is_dir():
        reason = "there is no project here" if root is None else f"{root} is not a directory"
        raise Refused(f"scope {scope} needs a project, but {reason}: give its project_root")
    return root


def _check_version(package_context: PackageContext, name: str, version: str) -> None:
    package = package_context.search_path().find(name)
    metadata = None if package is None else lookup.read_metadata(package, package_context.limits.code_bytes)
    if metadata is not None and metadata.version != version:
        raise Refused(f"package '{name}' is version {metadata.version}, not {version[:40]}: nothing was removed")


async def alc_pkg_unlink(context: ToolContext, name: Text) -> Annotated[CallToolResult, Listing]:
    """Remove a link to a package; its directory stays. Same as alc_package(action="unlink")."""
    return await change_packages(context, "unlink", source="", name=name, force=False)


# ── registration ──────────────────────────────────────────────────────────────────────────────────────────


def tools() -> list[Tool]:
    changing = hints(destructive=True, idempotent=True)
    return [
        make_tool(alc_pkg_list, "List packages", _READ, None),
        make_tool(alc_pkg_install, "Install packages", hints(destructive=True, is_open=True), None),
        make_tool(alc_pkg_remove, "Delete a package", changing, None),
        make_tool(alc_pkg_link, "Link packages", changing, None),
        make_tool(alc_pkg_unlink, "Unlink a package", changing, None),
    ]
