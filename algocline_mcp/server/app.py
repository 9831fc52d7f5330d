"""The MCP server: `build()` registers, the lifespan opens the home, `serve()` runs it over our own stdio.

MCPServer was called FastMCP before version 2 of the SDK. It is a proxy: it holds no session, so that it may end
at any moment and another one goes on. Nothing happens at import or in `build()` that touches the home.
"""

import logging
import os
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.server.stdio import stdio_server
from mcp_types import CallToolResult, InputRequiredResult
from pydantic import ValidationError

from algocline_mcp import __version__
from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.config.settings import tool_set
from algocline_mcp.errors import AlcError, HomeUnusable
from algocline_mcp.server import resources
from algocline_mcp.server.tool_call import results
from algocline_mcp.server.tool_call.arguments import quoted, sentence_for
from algocline_mcp.server.tool_call.lifespan import ServerState
from algocline_mcp.server.tools.sessions import tools
from algocline_mcp.transport.stdio import StdioTransport, leave

if TYPE_CHECKING:
    from anyio import AsyncFile

    from algocline_mcp.pool.dispatch import Pool
    from algocline_mcp.pool.spawn import ForkServerProcess

INSTRUCTIONS = """\
algocline runs strategies: Lua code decides what to ask next, you do the thinking, and every answer is kept.

THE LOOP
1. alc_run(code, code_file or strategy, ctx) starts a session and returns its first pause.
2. status needs_response: answer EVERY pending prompt in ONE alc_continue, each with its query_id: \
responses=[{query_id, response}, …]. Do this again until the status is another one.
3. running: it still computes; call alc_status(session_id, wait_s=45). accepted: answer what is listed in pending. \
completed: use `result`. error: the strategy failed; tell why, or follow `next`. truncated: do what `next` says.
Do not stop in the middle: item 20 of 50 deserves the same care as item 1.

HOW TO ANSWER
- Exactly in the form asked for (a number, JSON, one line) and nothing around it: code reads it.
- `system` is your role for that prompt alone. Take each prompt on its own: mix in no other prompt nor this chat, \
and judge a draft as if somebody else had written it.
- grounded: check with your tools (files, search, tests) before you answer. underspecified: ask the user first.
- Rather than invent an answer, refuse: refuse="reason" in place of response. The strategy can deal with it.

SESSIONS OUTLIVE restarts, chats and this server. Before you start a task again, look at alc_status(): \
an unfinished session goes on with alc_continue, and nothing that was answered is asked twice. \
To send the same answer again is safe.
"""


class Server(MCPServer[ServerState]):
    """Turns every failed call into one sentence: the SDK would prefix its own words, pydantic's, or none at all."""

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[ServerState, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        try:
            if context is not None:
                await context.request_context.lifespan_context.ready()
            return await super().call_tool(name, arguments, context)
        except AlcError as exc:
            return results.sentence(exc)
        except ToolError as exc:
            return self._told(name, exc)

    def _told(self, name: str, error: ToolError) -> CallToolResult:
        cause = error.__cause__
        tool = self._tool_manager.get_tool(name)
        if tool is None:
            names = ", ".join(tool.name for tool in self._tool_manager.list_tools())
            return results.refusal(f"there is no tool {quoted(name)}: the tools are {names}", "unknown_tool")
        if isinstance(cause, ValidationError):
            sentence = sentence_for(name, list(tool.fn_metadata.arg_model.model_fields), cause)
            return results.refusal(sentence, "bad_argument")
        if isinstance(cause, AlcError):
            return results.sentence(cause)
        traceback.print_exception(error)
        sentence = (
            f"{name} met a fault of this server ({type(cause or error).__name__}; the details are in its log): "
            "no answer was lost, look at alc_status() and try again"
        )
        return results.refusal(sentence, "internal")


def build(fork_process: "ForkServerProcess | None" = None) -> MCPServer[ServerState]:
    """`fork_process`: a fork server that was started before the SDK was imported."""
    app = Server(
        "algocline",
        title="algocline",
        description="Runs reasoning strategies whose prompts the host's own model answers.",
        instructions=INSTRUCTIONS,
        version=__version__,
        tools=_tools(os.environ),
        lifespan=partial(_lifespan, fork_process),
        log_level="WARNING",
        subscriptions=False,  # the lists never change, and clients that would listen wait for the SDK
    )
    resources.register(app)
    return app


def _tools(environ: Mapping[str, str]) -> list[Tool]:
    """Those of ALC_TOOLS. With a value that is none the core is listed, and each of its calls tells what is wrong."""
    chosen = environ.get("ALC_TOOLS", "") or "core"
    found = tools()
    if chosen in ("author", "full"):
        from algocline_mcp.server.tools import packages  # not for the others: each module adds to the start

        found += packages.tools()
    if chosen == "full":
        from algocline_mcp.server.compat import sessions

        found = sessions.tools(found)
    return found


@asynccontextmanager
async def _lifespan(
    fork_process: "ForkServerProcess | None", app: MCPServer[ServerState]
) -> AsyncIterator[ServerState]:
    """A home or a setting that does not work is told by every call: hosts hide the stderr of a server that died."""
    limits = Limits()
    try:
        limits = Limits.from_env(os.environ)
        tool_set(os.environ)
        home = Home.from_env(os.environ)
    except HomeUnusable as exc:
        opened = ServerState(limits, exc)
    else:
        opened = ServerState(limits, partial(_pool, home, limits, fork_process))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(opened.run)
        yield opened
        tasks.cancel_scope.cancel()


def _pool(home: Home, limits: Limits, fork_process: "ForkServerProcess | None") -> "Pool":
    from algocline_mcp.pool.dispatch import Pool

    return Pool(home, limits, fork_process=fork_process)


def serve(wire: StdioTransport, fork_process: "ForkServerProcess | None" = None) -> NoReturn:
    """Until the host closes our stdin; then the process ends."""
    logging.captureWarnings(True)
    try:
        anyio.run(_serve, build(fork_process), wire)
    except BaseException:  # noqa: BLE001 - whatever it was, the process has to end: a thread stands in `read`
        traceback.print_exc()
        leave(1)
    leave()


async def _serve(app: MCPServer[ServerState], wire: StdioTransport) -> None:
    # What `stdio_server` asks of its streams is: iterate over lines; write and flush. MCPServer.run has no way to
    # hand them in, so this is its own body, with them.
    stdin: AsyncFile[str] = wire.lines  # type: ignore[assignment]
    stdout: AsyncFile[str] = wire.output  # type: ignore[assignment]
    lowlevel = app._lowlevel_server
    wire.cache.close()
    async with stdio_server(stdin=stdin, stdout=stdout) as (incoming, outgoing):
        await lowlevel.run(incoming, outgoing, lowlevel.create_initialization_options())
