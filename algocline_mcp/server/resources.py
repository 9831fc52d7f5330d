"""Resources of the MCP server: views of sessions and pages of help by address, and the completion of addresses.

Contract. Two templates: alc://sessions/{session_id}/{view} with the views of alc_status, a view whole, up to a page of
`line_bytes`; alc://help/{topic} with the pages that alc_catalog(kind="help") lists. Everything is available from the
tools too, page by page. Reading starts no worker and changes nothing; values that the strategy read from the
environment are hidden. The list of resources is empty and the list of templates is constant: neither depends on the
home.
"""

from typing import Any

import anyio
import anyio.to_thread
from mcp.server import ServerRequestContext
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp_types import CompleteRequestParams, CompleteResult, Completion, PromptReference

from algocline_mcp.errors import AlcError
from algocline_mcp.history.chunking import is_long
from algocline_mcp.server import prompts
from algocline_mcp.server.tool_call import long_parts, principals, results
from algocline_mcp.server.tool_call.arguments import VIEWS
from algocline_mcp.server.tool_call.deadline import with_deadline
from algocline_mcp.server.tool_call.lifespan import ServerState

ADDRESS = "alc://sessions/{session_id}/{view}"
HELP = "alc://help/{topic}"
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
        text = await anyio.to_thread.run_sync(results.text_of, page, limiter=anyio.CapacityLimiter(1))
        return text if (parts := long_parts.of_request()) is None else parts.text(text)
    except AlcError as exc:
        kind = ResourceNotFoundError if exc.code == "not_found" else ResourceError
        raise kind(f"{principals.sentence_for_caller(str(exc), exc.code)} [{exc.code}]") from exc


async def read_help(topic: str) -> str:
    """Help about alc.* for the author of a strategy, by topic: asking, answers, state, forks, errors, files, …"""
    from algocline_mcp.help import topics

    if (known := topics.topic_of(topic)) is None:
        raise ResourceNotFoundError(f"there is no help on {topic[:64]!r}: the topics are {', '.join(topics.TOPICS)}")
    return topics.page(known)


async def complete(context: ServerRequestContext[ServerState], params: CompleteRequestParams) -> CompleteResult:
    """Completes `view` and `topic` from their names, `session_id` from the unfinished sessions, newest first, and
    arguments of prompts."""
    from algocline_mcp.pool.offline import ids_via_pool

    prefix = params.argument.value
    if isinstance(params.ref, PromptReference):
        values = await prompts.complete(context, params.ref.name, params.argument)
    elif params.ref.uri == HELP:
        from algocline_mcp.help.topics import TOPICS

        values = [topic for topic in TOPICS if topic.startswith(prefix)]
    elif params.ref.uri != ADDRESS:
        values = []
    elif params.argument.name == "view":
        values = [view for view in VIEWS if view.startswith(prefix)]
    elif params.argument.name == "session_id":
        try:
            await context.lifespan_context.wait_until_open()
            pool = context.lifespan_context.pool()
        except AlcError:
            return CompleteResult(completion=Completion(values=[]))
        try:
            values = await ids_via_pool(pool, prefix)
        except AlcError:  # of a database that is away
            values = []
    else:
        values = []
    has_more = len(values) > COMPLETIONS_MAX
    completion = Completion(values=values[:COMPLETIONS_MAX], total=len(values), has_more=has_more)
    return CompleteResult(completion=completion)


def register(app: MCPServer[ServerState]) -> None:
    app.resource(ADDRESS, name="session", title="A session", mime_type="application/json")(read)
    app.resource(HELP, name="help", title="Help for authors of strategies", mime_type="text/markdown")(read_help)
    # Not by the decorator of MCPServer: its function gets no context, and so no home.
    app._lowlevel_server.add_request_handler("completion/complete", CompleteRequestParams, complete)
