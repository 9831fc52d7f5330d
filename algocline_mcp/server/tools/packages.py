"""The tool for people who write and install packages; listed with ALC_TOOLS=author.

Contract: as in sessions.py. It is the only tool that may use the network: `install` runs git.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any

from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult
from pydantic import Field

from algocline_mcp.errors import Refused
from algocline_mcp.packages import install
from algocline_mcp.server.tool_call.arguments import ABSENT, Action, Force, Text
from algocline_mcp.server.tool_call.pool_call import call_with_progress, granted_wait_s, host_result, server_state
from algocline_mcp.server.tool_call.tool import Listing, ToolContext, hints, make_tool


async def alc_package(
    context: ToolContext,
    action: Action,
    source: Annotated[
        Text, Field(description="For install: a git URL, with #revision if wanted, or a directory")
    ] = ABSENT,
    name: Annotated[Text, Field(description="Name of the package")] = ABSENT,
    force: Annotated[Force, Field(description="Replace an installed package of the same name")] = False,
) -> Annotated[CallToolResult, Listing]:
    """
    Change which packages are installed. install copies one package, or all packages of a collection, from source;
    remove deletes one. link makes a directory that you work on usable without a copy; unlink ends this. Sessions that
    have begun keep what they have loaded. alc_catalog(kind="packages") lists what is installed.
    """
    return await change_packages(context, action, source=source, name=name or None, force=force)


async def change_packages(
    context: ToolContext, action: str, *, source: str, name: str | None, force: bool
) -> CallToolResult:
    """The result of `action`. Raises Refused, and changes nothing, where the action lacks its source or its name."""
    server = server_state(context)
    if action in ("install", "link") and not source:
        raise Refused(f"{action} needs a source: a directory" + (", or a git URL" if action == "install" else ""))
    if action in ("remove", "unlink") and not name:
        raise Refused(f'{action} needs the name of a package: alc_catalog(kind="packages") lists them')
    home, limits = server.pool().home, server.limits
    fetch_s = granted_wait_s(context, limits.package_fetch_s)
    actions: dict[str, Callable[[], Awaitable[dict[str, Any]]]] = {
        "install": partial(install.install_package, home, limits, source, name=name, force=force, fetch_s=fetch_s),
        "link": partial(install.link_package, home, limits, source, name=name, force=force),
        "remove": partial(install.remove_package, home, limits, name or ""),
        "unlink": partial(install.unlink_package, home, limits, name or ""),
    }
    advice = 'the change may or may not have been made. Check with alc_catalog(kind="packages"), then retry'
    return await host_result(
        context, await call_with_progress(context, fetch_s, actions[action], timeout_advice=advice)
    )


def tools() -> list[Tool]:
    return [make_tool(alc_package, "Change packages", hints(destructive=True, is_open=True), None)]
