"""The tool of those who write and install strategies; listed with ALC_TOOLS=author.

Contract: as in tools.py. It alone reaches beyond the home: `install` runs git.
"""

from typing import Annotated, Any

from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult
from pydantic import Field

from algocline_mcp.errors import Refused
from algocline_mcp.packages import install
from algocline_mcp.pool import dispatch
from algocline_mcp.server.tool_call.arguments import ABSENT, Action, Force, Text
from algocline_mcp.server.tool_call.deadline import allowed_s
from algocline_mcp.server.tool_call.tool import Host, Listing, ask, client_name, hints, opened, tool


async def alc_package(
    host: Host,
    action: Action,
    source: Annotated[Text, Field(description="For install: git URL (#revision behind it) or directory")] = ABSENT,
    name: Annotated[Text, Field(description="Of the package")] = ABSENT,
    force: Annotated[Force, Field(description="Replace what has this name")] = False,
) -> Annotated[CallToolResult, Listing]:
    """
    Change which packages are installed. install copies one package, or all in a collection, from source; remove deletes
    one. link makes a directory you work on usable as it is; unlink takes that away. Sessions that have begun keep what
    they have loaded. alc_catalog(kind="packages") lists what is there.
    """
    return await change(host, action, source=source, name=name or None, force=force)


async def change(host: Host, action: str, *, source: str, name: str | None, force: bool) -> CallToolResult:
    """Also under the original's names, in tools_full."""
    held = opened(host)
    home, limits = held.usable().home, held.limits
    if action in ("install", "link") and not source:
        raise Refused(f"{action} needs a source: a directory" + (", or a git URL" if action == "install" else ""))
    if action in ("remove", "unlink") and not name:
        raise Refused(f'{action} needs the name of a package: alc_catalog(kind="packages") lists them')
    fetch_s = allowed_s(limits.package_fetch_s, client_name(host), limits.wait_max_s)

    async def carry_out() -> dict[str, Any]:
        if action == "install":
            return await install.install_package(home, limits, source, name=name, force=force, fetch_s=fetch_s)
        if action == "link":
            return await install.link_package(home, limits, source, name=name, force=force)
        take = install.remove_package if action == "remove" else install.unlink_package
        return await take(home, limits, name or "")

    async def call(pool: dispatch.Pool, wait_s: float, told: dispatch.OnProgress) -> dispatch.PoolReply:
        return dispatch.PoolReply("", await carry_out(), None)

    return await ask(host, fetch_s, call, unanswered='it may still be done; look with alc_catalog(kind="packages")')


def tools() -> list[Tool]:
    return [tool(alc_package, "Change packages", hints(destructive=True, is_open=True), None)]
