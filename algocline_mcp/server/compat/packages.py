"""The Rust program's tools for packages; part of tools_full.

Contract: as there. Reading is the catalog's, a change is that of alc_package.
"""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult
from pydantic import Field, PlainValidator, WithJsonSchema

from algocline_mcp.errors import Refused
from algocline_mcp.packages import check, install, lookup, overrides, scaffold, specs
from algocline_mcp.packages.catalog import CatalogQuery, PackageContext, catalog
from algocline_mcp.packages.project import find_root, project_of
from algocline_mcp.pool import dispatch
from algocline_mcp.server.compat import table
from algocline_mcp.server.compat.state import Names, names_of
from algocline_mcp.server.tool_call import results
from algocline_mcp.server.tool_call.arguments import ABSENT, Force, Text, an_object, count, flag, text
from algocline_mcp.server.tool_call.deadline import allowed_s
from algocline_mcp.server.tool_call.source import read_source
from algocline_mcp.server.tool_call.tool import Host, Listing, ask, client_name, hints, look, opened, tool
from algocline_mcp.server.tools.packages import change

_READ = hints(read_only=True, idempotent=True)
Beside = Annotated[bool, PlainValidator(flag("auto_search_paths")), WithJsonSchema({"type": "boolean"})]
_SUMMARY = ("name", "scope", "version", "active", "resolved_source_path", "resolved_source_kind", "type")
_MORE = (
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
_FULL = (*_SUMMARY, *_MORE)
_MOST = 50
_ALL = 1_000_000
_SCOPES = {"project": "variant", "path": "path"}


def _wanted(value: Any) -> Any:
    """Words, or an object, also as its JSON."""
    is_object = isinstance(value, dict) or (isinstance(value, str) and value.lstrip().startswith("{"))
    return an_object("filter", '{"scope": "global"}')(value) if is_object else text(value)


async def alc_pkg_list(
    host: Host,
    project_root: Text = ABSENT,
    limit: Annotated[Any, PlainValidator(count("limit", -1)), Field(description="0: all")] = None,
    sort: Text = "-active,-installed_at",
    filter: Annotated[Any, PlainValidator(_wanted), Field(description="Words, or fields and values")] = ABSENT,
    fields: Annotated[Names, Field(description="Only these")] = None,
    verbose: Annotated[Text, Field(description="summary or full")] = "summary",
) -> Annotated[CallToolResult, Listing]:
    """List packages."""
    context = _context(host, project_root)
    chosen = table.fields_of(verbose, names_of(fields), {"summary": _SUMMARY, "full": _FULL})
    every = replace(context, limits=replace(context.limits, listed_max=_ALL))
    found = await look(host, partial(catalog, every, "packages", CatalogQuery(limit=_ALL)))
    search_path = await look(host, context.search_path)
    lines = table.sorted_by(table.matching(list(map(_line, found["packages"])), filter), sort, _FULL)
    shown = lines[: _MOST if limit is None else limit if limit > 0 else _ALL]
    told: dict[str, Any] = {
        "packages": [{name: line[name] for name in chosen if name in line} for line in shown],
        "search_paths": [str(path) for path, _ in search_path.roots],
    }
    if search_path.project.root is not None:
        told["project_root"] = str(search_path.project.root)
        lock = search_path.project.root / "alc.lock"
        told |= {"lockfile_path": str(lock)} if lock.is_file() else {}
    return results.result(
        told | ({"warnings": list(search_path.project.warnings)} if search_path.project.warnings else {})
    )


def _line(each: dict[str, Any]) -> dict[str, Any]:
    """Of the catalog, in the original's words."""
    directory = str(Path(each["file"]).parent)
    is_linked, is_broken = each["origin"] == "linked", "about" not in each
    meta = {name: each.get(name) for name in ("name", "version", "category")} | {"description": each.get("about")}
    line = {
        "name": each["name"],
        "scope": _SCOPES.get(each["origin"], "global"),
        "version": each.get("version"),
        "active": True,
        "resolved_source_path": directory,
        "resolved_source_kind": each["origin"],
        "type": each.get("type"),
        "install_source": each.get("source"),
        "installed_at": each.get("installed_at"),
        "linked": is_linked,
        "link_target": each.get("source") if is_linked else None,
        "broken": is_broken,
        "path": directory,
        "source": each.get("source"),
        "commit": each.get("commit"),
        "meta": None if is_broken else meta,
    }
    return line | ({"error": "; ".join(each["warnings"])} if is_broken else {})


def _context(host: Host, project_root: str) -> PackageContext:
    held = opened(host)
    root = Path(os.path.abspath(os.path.expanduser(project_root))) if project_root else None
    return PackageContext(held.usable().home, held.limits, os.environ, root)


async def alc_pkg_install(
    host: Host, url: Text, name: Text = ABSENT, force: Force = False
) -> Annotated[CallToolResult, Listing]:
    """Install packages from a git URL or a directory, as alc_package(action="install")."""
    return await change(host, "install", source=url, name=name or None, force=force)


async def alc_pkg_remove(
    host: Host,
    name: Text,
    project_root: Text = ABSENT,
    version: Annotated[Text, Field(description="Only if it is this one")] = ABSENT,
    scope: Annotated[Text, Field(description="global, project or all")] = "global",
) -> Annotated[CallToolResult, Listing]:
    """Delete an installed package, as alc_package(action="remove"). Scope project: take it out of alc.local.toml."""
    _check_scope(scope, ("project", "global", "all"))
    context = _context(host, project_root)
    if version:
        await look(host, partial(_check_version, context, name, version))
    told: dict[str, Any] = {}
    if scope != "global":
        root = find_root(os.environ) if context.project_root is None else context.project_root
        try:
            file = await look(host, partial(overrides.remove_override, _project(root, scope), name))
            told = {"status": "removed", "removed": [name], "alc_local_toml": str(file)}
        except Refused:
            if scope == "project":
                raise
    if scope == "project":
        return results.result(told)
    try:
        return await change(host, "remove", source="", name=name, force=False)
    except Refused:
        if not told:
            raise
        return results.result(told)


async def alc_pkg_link(
    host: Host,
    path: Text,
    name: Text = ABSENT,
    force: Force = False,
    scope: Annotated[Text, Field(description="global, or variant: in this project alone")] = "global",
    project_root: Text = ABSENT,
) -> Annotated[CallToolResult, Listing]:
    """Use packages in a directory as they are, as alc_package(action="link"). Scope variant: by alc.local.toml."""
    _check_scope(scope, ("global", "variant"))
    if scope == "global":
        return await change(host, "link", source=path, name=name or None, force=force)
    if force:
        raise Refused("force is of scope global: what alc.local.toml says is not replaced")
    context = _context(host, project_root)
    root = _project(find_root(os.environ) if context.project_root is None else context.project_root, scope)

    def declare() -> dict[str, Any]:
        targets = install.link_targets(path, name or None)
        file = overrides.add_overrides(root, targets)
        return {"status": "linked", "linked": list(targets), "scope": scope, "alc_local_toml": str(file)}

    return results.result(await look(host, declare))


def _check_scope(scope: str, known: tuple[str, ...]) -> None:
    if scope not in known:
        raise Refused(f"invalid scope '{scope[:80]}': expected one of {', '.join(known)}")


def _project(root: Path | None, scope: str) -> Path:
    if root is None or not root.is_dir():
        raise Refused(f"scope {scope} needs a project, and {root or 'none'} is none: give its project_root")
    return root


def _check_version(context: PackageContext, name: str, version: str) -> None:
    package = context.search_path().find(name)
    told = None if package is None else lookup.read_metadata(package, context.limits.code_bytes)
    if told is not None and told.version != version:
        raise Refused(f"package '{name}' is version {told.version}, not {version[:40]}: nothing was removed")


async def alc_pkg_unlink(host: Host, name: Text) -> Annotated[CallToolResult, Listing]:
    """Take a link away, as alc_package(action="unlink")."""
    return await change(host, "unlink", source="", name=name, force=False)


async def alc_pkg_doctor(
    host: Host, name: Text = ABSENT, project_root: Text = ABSENT
) -> Annotated[CallToolResult, Listing]:
    """Say which packages cannot be used, and why."""
    return results.result(await look(host, partial(check.check_packages, _context(host, project_root), name)))


async def alc_pkg_repair(
    host: Host, name: Text = ABSENT, project_root: Text = ABSENT
) -> Annotated[CallToolResult, Listing]:
    """Install again, from where it came, what alc_pkg_doctor finds incomplete."""
    limits = opened(host).limits
    fetch_s = allowed_s(limits.package_fetch_s, client_name(host), limits.wait_max_s)
    context = _context(host, project_root)

    async def call(pool: dispatch.Pool, wait_s: float, told: dispatch.OnProgress) -> dispatch.PoolReply:
        return dispatch.PoolReply("", await check.repair(context, name, fetch_s), None)

    return await ask(host, fetch_s, call, unanswered="some of it may be done; look with alc_pkg_doctor")


async def alc_pkg_test(
    host: Host,
    pkg: Annotated[Text, Field(description="Its name, or its directory")] = ABSENT,
    code_file: Annotated[Text, Field(description="One spec file")] = ABSENT,
    code: Annotated[Text, Field(description="The text of a spec")] = ABSENT,
    spec_dir: Annotated[Text, Field(description="In the package")] = specs.DIRECTORY,
    filter: Annotated[Text, Field(description="Only files with this in their path")] = ABSENT,
    search_paths: Annotated[Names, Field(description="Where require looks first")] = None,
    project_root: Text = ABSENT,
    auto_search_paths: Annotated[Beside, Field(description="Find what lies beside the package")] = True,
) -> Annotated[CallToolResult, Listing]:
    """Run the specs of a package, written for lust: each file in a worker of its own, in a home that is thrown away."""
    if bool(pkg) + bool(code_file) + (code is not ABSENT) != 1:
        raise Refused("Provide exactly one of: pkg, code_file, code.")
    context, paths = _context(host, project_root), names_of(search_paths)
    if pkg:
        choose = partial(specs.select_specs, context, pkg, spec_dir=spec_dir, words=filter)
        found = await look(host, partial(choose, search_paths=paths, is_auto=auto_search_paths))
    else:
        source = await read_source(code, code_file, ABSENT, project_root, home=context.home, limits=context.limits)
        spec = specs.Spec(source.chunk if code_file else "spec", source.code)
        found = await look(host, partial(specs.select_text, context, spec, paths, source.lib_paths))

    async def call(pool: dispatch.Pool, wait_s: float, told: dispatch.OnProgress) -> dispatch.PoolReply:
        return dispatch.PoolReply("", await specs.run_specs(found, context.limits, os.environ, wait_s), None)

    return await ask(host, context.limits.package_specs_s, call, unanswered="run fewer at once, by filter")


async def alc_pkg_scaffold(
    host: Host,
    name: Annotated[Text, Field(description="Of small letters, digits and _")],
    target_dir: Annotated[Text, Field(description="Relative to the project")] = ".",
    category: Text = ABSENT,
    description: Text = ABSENT,
) -> Annotated[CallToolResult, Listing]:
    """Write the beginning of a package of your own: a directory with an init.lua. alc_pkg_link makes it usable."""
    root = project_of(os.environ) or "~"
    return results.result(await look(host, partial(scaffold.write, root, target_dir, name, category, description)))


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
        tool(alc_pkg_repair, "Repair packages", hints(destructive=True, idempotent=True, is_open=True), None),
        tool(alc_pkg_test, "Run specs", hints(), None),
        tool(alc_pkg_scaffold, "Begin a package", hints(), None),
    ]
