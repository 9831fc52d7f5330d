"""What a host may read of a session beside the tools, by address, and the completion of addresses.

Contract: one template, alc://sessions/{session_id}/{view}, with the views of alc_status, each whole (a page of
`line_bytes`). Nothing stands only here: whatever a tool cuts is told by its cursor too. Reading wakes nobody and
changes nothing; what was read from the environment is hidden. The list of resources is empty and the list of templates
never changes: neither depends on the home.
"""

from typing import Any

import anyio.to_thread
from mcp.server import ServerRequestContext
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp_types import CompleteRequestParams, CompleteResult, Completion, ResourceTemplateReference

from algocline_mcp.errors import AlcError
from algocline_mcp.server.tool_call import results
from algocline_mcp.server.tool_call.arguments import VIEWS
from algocline_mcp.server.tool_call.deadline import within
from algocline_mcp.server.tool_call.lifespan import ServerState

ADDRESS = "alc://sessions/{session_id}/{view}"
COMPLETED = 100  # the protocol allows no more values


async def read(session_id: str, view: str, ctx: Context[ServerState, Any]) -> str:
    """One session, as a view of alc_status shows it, whole: summary, prompts, history, log, result or code."""
    from algocline_mcp.pool import dispatch

    if view not in VIEWS:
        raise ResourceNotFoundError(f"there is no view {view[:80]!r}: the views are {', '.join(VIEWS)}")
    opened: ServerState = ctx.request_context.lifespan_context
    try:
        await opened.ready()
        look = dispatch.view_via_pool(
            opened.usable(), session_id, view, page_bytes=opened.limits.line_bytes, is_whole=True
        )
        return results.text_of(await within(opened.limits.grace_s, look, unanswered="read it again"))
    except AlcError as exc:
        kind = ResourceNotFoundError if exc.code == "not_found" else ResourceError
        raise kind(f"{exc} [{exc.code}]") from exc


async def complete(context: ServerRequestContext[ServerState], params: CompleteRequestParams) -> CompleteResult:
    """Of a view its names; of a session id the unfinished ones, newest first."""
    from algocline_mcp.history.listing import ids_of

    wanted = params.argument.value
    if not isinstance(params.ref, ResourceTemplateReference) or params.ref.uri != ADDRESS:
        return CompleteResult(completion=Completion(values=[]))
    if params.argument.name == "view":
        found = [view for view in VIEWS if view.startswith(wanted)]
    elif params.argument.name == "session_id":
        try:
            await context.lifespan_context.ready()
            pool = context.lifespan_context.usable()
        except AlcError:
            return CompleteResult(completion=Completion(values=[]))
        found = await anyio.to_thread.run_sync(ids_of, pool.home, wanted, limiter=pool.files)
    else:
        found = []
    shown = Completion(values=found[:COMPLETED], total=len(found), has_more=len(found) > COMPLETED)
    return CompleteResult(completion=shown)


def register(app: MCPServer[ServerState]) -> None:
    app.resource(ADDRESS, name="session", title="A session", mime_type="application/json")(read)
    # The decorator of MCPServer hands its function no context, and so no home.
    app._lowlevel_server.add_request_handler("completion/complete", CompleteRequestParams, complete)
