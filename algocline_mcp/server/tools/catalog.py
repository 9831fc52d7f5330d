"""The tool that lists what a strategy can use: strategies, packages, cards, state, and the help about alc.*.

Contract: as in sessions.py. It only reads.
"""

import os
from functools import partial
from typing import Annotated

from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult
from pydantic import Field

from algocline_mcp.server.tool_call import results
from algocline_mcp.server.tool_call.arguments import ABSENT, Kind, Limit, Text
from algocline_mcp.server.tool_call.pool_call import run_in_thread, server_state
from algocline_mcp.server.tool_call.tool import Listing, ToolContext, hints, make_tool


async def alc_catalog(
    context: ToolContext,
    kind: Kind = "strategies",
    name: Annotated[Text, Field(description="Show only this entry")] = ABSENT,
    query: Annotated[Text, Field(description="Words to search for")] = ABSENT,
    limit: Limit = None,
    cursor: Annotated[Text, Field(description="Cursor from the previous page")] = ABSENT,
) -> Annotated[CallToolResult, Listing]:
    """
    List strategies with median prompts and tokens of past runs, packages, the cards and state that strategies store,
    or the help about alc.*. With name: one entry, e.g. a strategy's opts; for state a namespace or namespace/key.
    """
    from algocline_mcp.packages import catalog as listing  # 4 ms of a start

    server = server_state(context)
    pool = server.pool()
    package_context = listing.PackageContext(pool.home, server.limits, os.environ, stored=pool.state)
    wanted = listing.CatalogQuery(name, query, limit, cursor)
    return results.result(await run_in_thread(context, partial(listing.catalog, package_context, kind, wanted)))


def tools() -> list[Tool]:
    return [make_tool(alc_catalog, "Browse the catalog", hints(read_only=True, idempotent=True), None)]
