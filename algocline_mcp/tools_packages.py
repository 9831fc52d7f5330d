"""The Rust program's tools for packages; part of tools_full.

Contract: as there. Reading is the catalog's, a change is that of alc_package.
"""

import os
from functools import partial
from pathlib import Path
from typing import Annotated

from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult
from pydantic import Field, PlainValidator, WithJsonSchema

from algocline_mcp.errors import Refused
from algocline_mcp.host import replies
from algocline_mcp.host.arguments import ABSENT, Force, Limit, Text, flag
from algocline_mcp.host.source import read_source
from algocline_mcp.host.waiting import allowed_s
from algocline_mcp.pool import dispatch, mend, scaffold, specs
from algocline_mcp.pool.catalog import Asked, Place, catalog
from algocline_mcp.pool.project import project_of
from algocline_mcp.tools import Host, Listing, ask, client_name, hints, look, opened, tool
from algocline_mcp.tools_author import change
from algocline_mcp.tools_kept import Names, names_of

_READ = hints(read_only=True, idempotent=True)
Beside = Annotated[bool, PlainValidator(flag("auto_search_paths")), WithJsonSchema({"type": "boolean"})]
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


async def alc_pkg_remove(
    host: Host, name: Text, scope: Annotated[Text, Field(description="global or all")] = "global"
) -> Annotated[CallToolResult, Listing]:
    """Delete an installed package, as alc_package(action="remove"). Project files are not touched."""
    _check_scope(scope, ("project", "global", "all"), "take the package out of alc.toml and alc.lock yourself")
    return await change(host, "remove", source="", name=name, force=False)


async def alc_pkg_link(
    host: Host,
    path: Text,
    name: Text = ABSENT,
    force: Force = False,
    scope: Annotated[Text, Field(description="global")] = "global",
) -> Annotated[CallToolResult, Listing]:
    """Use packages in a directory as they are, as alc_package(action="link")."""
    _check_scope(scope, ("variant", "global"), 'write NAME = {path = "…"} below [packages] of alc.local.toml')
    return await change(host, "link", source=path, name=name or None, force=force)


def _check_scope(scope: str, known: tuple[str, ...], cure: str) -> None:
    """Only the first of those known is the project's own files."""
    if scope not in known:
        raise Refused(f"invalid scope '{scope[:80]}': expected one of {', '.join(known)}")
    if scope == known[0]:
        raise Refused(f'scope is "{scope}", and project files are only read: {cure}')


async def alc_pkg_unlink(host: Host, name: Text) -> Annotated[CallToolResult, Listing]:
    """Take a link away, as alc_package(action="unlink")."""
    return await change(host, "unlink", source="", name=name, force=False)


async def alc_pkg_doctor(
    host: Host, name: Text = ABSENT, project_root: Text = ABSENT
) -> Annotated[CallToolResult, Listing]:
    """Say which packages cannot be used, and why."""
    return replies.result(await look(host, partial(mend.examined, _place(host, project_root), name)))


async def alc_pkg_repair(
    host: Host, name: Text = ABSENT, project_root: Text = ABSENT
) -> Annotated[CallToolResult, Listing]:
    """Install again, from where it came, what alc_pkg_doctor finds incomplete."""
    limits = opened(host).limits
    fetch_s = allowed_s(limits.package_fetch_s, client_name(host), limits.wait_max_s)
    place = _place(host, project_root)

    async def call(pool: dispatch.Pool, wait_s: float, told: dispatch.OnProgress) -> dispatch.PoolReply:
        return dispatch.PoolReply("", await mend.repair(place, name, fetch_s), None)

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
    place, paths = _place(host, project_root), names_of(search_paths)
    if pkg:
        choose = partial(specs.chosen, place, pkg, spec_dir=spec_dir, words=filter)
        found = await look(host, partial(choose, search_paths=paths, is_auto=auto_search_paths))
    else:
        source = await read_source(code, code_file, ABSENT, project_root, home=place.home, limits=place.limits)
        spec = specs.Spec(source.chunk if code_file else "spec", source.code)
        found = await look(host, partial(specs.chosen_text, place, spec, paths, source.lib_paths))

    async def call(pool: dispatch.Pool, wait_s: float, told: dispatch.OnProgress) -> dispatch.PoolReply:
        return dispatch.PoolReply("", await specs.play(found, place.limits, os.environ, wait_s), None)

    return await ask(host, place.limits.package_specs_s, call, unanswered="run fewer at once, by filter")


async def alc_pkg_scaffold(
    host: Host,
    name: Annotated[Text, Field(description="Of small letters, digits and _")],
    target_dir: Annotated[Text, Field(description="Relative to the project")] = ".",
    category: Text = ABSENT,
    description: Text = ABSENT,
) -> Annotated[CallToolResult, Listing]:
    """Write the beginning of a package of your own: a directory with an init.lua. alc_pkg_link makes it usable."""
    root = project_of(os.environ) or "~"
    return replies.result(await look(host, partial(scaffold.write, root, target_dir, name, category, description)))


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
