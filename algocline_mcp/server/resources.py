"""Resources of the MCP server: views of sessions by address, and the completion of addresses.

Contract. One template, alc://sessions/{session_id}/{view}, with the views of alc_status; a view is whole, up to a page
of `line_bytes`. Everything is available from the tools too, page by page. Reading starts no worker and changes nothing;
values that the strategy read from the environment are hidden. The list of resources is empty and the list of templates
is constant: neither depends on the home.
"""

from typing import Any

import anyio
import anyio.to_thread
from mcp.server import ServerRequestContext
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp_types import CompleteRequestParams, CompleteResult, Completion, ResourceTemplateReference

from algocline_mcp.errors import AlcError
from algocline_mcp.history.chunking import is_long
from algocline_mcp.server.tool_call import results
from algocline_mcp.server.tool_call.arguments import VIEWS
from algocline_mcp.server.tool_call.deadline import with_deadline
from algocline_mcp.server.tool_call.lifespan import ServerState

ADDRESS = "alc://sessions/{session_id}/{view}"
COMPLETIONS_MAX = 100  # the limit of the protocol


async def read(session_id: str, view: str, context: Context[ServerState, Any]) -> str:
    """One session as a view of alc_status shows it, whole: summary, prompts, history, log, result or code."""
    from algocline_mcp.pool import dispatch

    if view not in VIEWS:
        raise ResourceNotFoundError(f"view {view[:80]!r} does not exist: the views are {', '.join(VIEWS)}")
    server: ServerState = context.request_context.lifespan_context
    try:
        await server.wait_until_open()
        call = dispatch.view_via_pool(
            server.pool(), session_id, view, page_bytes=server.limits.line_bytes, is_whole=True
        )
        page = await with_deadline(server.limits.grace_s, call, timeout_advice="read it again")
        if not is_long(page):
            return results.text_of(page)
        return await anyio.to_thread.run_sync(results.text_of, page, limiter=anyio.CapacityLimiter(1))
    except AlcError as exc:
        kind = ResourceNotFoundError if exc.code == "not_found" else ResourceError
        raise kind(f"{exc} [{exc.code}]") from exc


async def complete(context: ServerRequestContext[ServerState], params: CompleteRequestParams) -> CompleteResult:
    """Completes `view` from the names of views, and `session_id` from the unfinished sessions, newest first."""
    from algocline_mcp.history.listing import ids_of

    prefix = params.argument.value
    if not isinstance(params.ref, ResourceTemplateReference) or params.ref.uri != ADDRESS:
        return CompleteResult(completion=Completion(values=[]))
    if params.argument.name == "view":
        values = [view for view in VIEWS if view.startswith(prefix)]
    elif params.argument.name == "session_id":
        try:
            await context.lifespan_context.wait_until_open()
            pool = context.lifespan_context.pool()
        except AlcError:
            return CompleteResult(completion=Completion(values=[]))
        values = await anyio.to_thread.run_sync(ids_of, pool.home, prefix, limiter=pool.files)
    else:
        values = []
    has_more = len(values) > COMPLETIONS_MAX
    completion = Completion(values=values[:COMPLETIONS_MAX], total=len(values), has_more=has_more)
    return CompleteResult(completion=completion)


def register(app: MCPServer[ServerState]) -> None:
    app.resource(ADDRESS, name="session", title="A session", mime_type="application/json")(read)
    # Not by the decorator of MCPServer: its function gets no context, and so no home.
    app._lowlevel_server.add_request_handler("completion/complete", CompleteRequestParams, complete)
