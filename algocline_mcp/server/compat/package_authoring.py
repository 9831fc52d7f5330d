"""Upstream's tools for authors of packages: check, repair, specs, skeleton; listed with ALC_TOOLS=full.

Contract: as in compat/sessions. The work is that of packages/check, packages/specs and packages/scaffold.
"""

import os
from functools import partial
from typing import Annotated

from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult
from pydantic import Field, PlainValidator, WithJsonSchema

from algocline_mcp.config.sandbox import is_python_taught
from algocline_mcp.errors import Refused
from algocline_mcp.languages import LANGUAGES, LUA, PYTHON
from algocline_mcp.packages import check, scaffold, specs
from algocline_mcp.packages.project import project_of
from algocline_mcp.server.compat.arguments import Names, names_of
from algocline_mcp.server.compat.packages import package_context_of
from algocline_mcp.server.tool_call import results
from algocline_mcp.server.tool_call.arguments import ABSENT, Lang, Text, flag
from algocline_mcp.server.tool_call.pool_call import (
    call_with_progress,
    granted_wait_s,
    host_result,
    run_in_thread,
    server_state,
)
from algocline_mcp.server.tool_call.source import Chosen, read_source
from algocline_mcp.server.tool_call.tool import Listing, ToolContext, hints, make_tool

AutoSearchPaths = Annotated[bool, PlainValidator(flag("auto_search_paths")), WithJsonSchema({"type": "boolean"})]


async def alc_pkg_doctor(
    context: ToolContext, name: Text = ABSENT, project_root: Text = ABSENT
) -> Annotated[CallToolResult, Listing]:
    """Check which packages are healthy, and which are incomplete, lack metadata or specs, or have a dangling link."""
    examine = partial(check.check_packages, package_context_of(context, project_root), name)
    return results.result(await run_in_thread(context, examine))


async def alc_pkg_repair(
    context: ToolContext, name: Text = ABSENT, project_root: Text = ABSENT
) -> Annotated[CallToolResult, Listing]:
    """Install incomplete packages (see alc_pkg_doctor) again from their recorded source and commit."""
    limits = server_state(context).limits
    fetch_s = granted_wait_s(context, limits.package_fetch_s)
    repair = partial(check.repair, package_context_of(context, project_root), name, fetch_s)
    advice = "some packages may be repaired; check with alc_pkg_doctor"
    return await host_result(context, await call_with_progress(context, fetch_s, repair, timeout_advice=advice))


async def alc_pkg_test(
    context: ToolContext,
    pkg: Annotated[Text, Field(description="Name or directory of a package")] = ABSENT,
    code_file: Annotated[Text, Field(description="Path of one spec file")] = ABSENT,
    code: Annotated[Text, Field(description="Text of one spec")] = ABSENT,
    spec_dir: Annotated[Text, Field(description="Directory of the specs, relative to the package")] = specs.DIRECTORY,
    filter: Annotated[Text, Field(description="Run only files whose path contains this text")] = ABSENT,
    search_paths: Annotated[Names, Field(description="Directories in which require looks first")] = None,
    project_root: Text = ABSENT,
    auto_search_paths: Annotated[
        AutoSearchPaths, Field(description="Let require find the packages beside the tested one")
    ] = True,
) -> Annotated[CallToolResult, Listing]:
    """
    Run the specs of a package: in Python functions test_…, in Lua for the library lust. Each file runs in a worker of
    its own; what it stores is removed afterwards.
    """
    if bool(pkg) + bool(code_file) + (code is not ABSENT) != 1:
        raise Refused("Provide exactly one of: pkg, code_file, code.")
    package_context, paths = package_context_of(context, project_root), names_of(search_paths)
    if pkg:
        select = partial(specs.select_specs, package_context, pkg, spec_dir=spec_dir, words=filter)
        spec_run = await run_in_thread(context, partial(select, search_paths=paths, is_auto=auto_search_paths))
    else:
        chosen = Chosen(code, code_file, project_root=project_root)
        source = await read_source(chosen, home=package_context.home, limits=package_context.limits)
        spec = specs.Spec(source.chunk if code_file else "spec", source.code, source.language)
        spec_run = await run_in_thread(
            context, partial(specs.select_text, package_context, spec, paths, source.lib_paths)
        )
    wait_s = granted_wait_s(context, package_context.limits.package_specs_s)
    run = partial(specs.run_specs, spec_run, package_context.limits, os.environ, wait_s)
    advice = "run fewer files at once, with filter"
    return await host_result(context, await call_with_progress(context, wait_s, run, timeout_advice=advice))


async def alc_pkg_scaffold(
    context: ToolContext,
    name: Annotated[Text, Field(description="Small letters, digits and _")],
    target_dir: Annotated[Text, Field(description="Directory for the package, relative to the project")] = ".",
    category: Text = ABSENT,
    description: Text = ABSENT,
    language: Annotated[Lang, Field(description="Default python; lua where Python is refused")] = None,
) -> Annotated[CallToolResult, Listing]:
    """Write the skeleton of a new package: a directory with its source. Then alc_pkg_link makes it usable."""
    root = project_of(os.environ) or "~"
    chosen = LANGUAGES[language] if language else PYTHON if is_python_taught(os.environ) else LUA
    write = partial(scaffold.write, root, target_dir, name, category, description, language=chosen)
    return results.result(await run_in_thread(context, write))


# ── registration ──────────────────────────────────────────────────────────────────────────────────────────


def tools() -> list[Tool]:
    return [
        make_tool(alc_pkg_doctor, "Check packages", hints(read_only=True, idempotent=True), None),
        make_tool(alc_pkg_repair, "Repair packages", hints(destructive=True, idempotent=True, is_open=True), None),
        make_tool(alc_pkg_test, "Run specs", hints(), None),
        make_tool(alc_pkg_scaffold, "Create a package", hints(), None),
    ]
