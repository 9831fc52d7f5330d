"""The MCP server: registers tools, resources and prompts, opens the home, and serves one host over stdio.

Contract. The server is a proxy and holds no session: it may end at any moment, and another server continues each
session. `build()` registers, the lifespan opens the home, `serve()` runs until the host closes stdin. Neither the
import nor `build()` touches the home. (MCPServer was called FastMCP before version 2 of the SDK.)
"""

import logging
import os
import traceback
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import anyio
import anyio.to_thread
from mcp.server.lowlevel.server import NotificationOptions
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.server.stdio import stdio_server
from mcp_types import CallToolResult, InputRequiredResult
from mcp_types import Tool as MCPTool
from pydantic import ValidationError

from algocline_mcp import __version__
from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.config.sandbox import check_settings, is_python_taught, mode_of, refuse_tracers
from algocline_mcp.config.settings import answered_by, tool_set
from algocline_mcp.errors import AlcError, HomeUnusable, ProgramReplaced
from algocline_mcp.server import prompts, resources
from algocline_mcp.server.outgoing import Outgoing
from algocline_mcp.server.tool_call import long_parts, principals, results
from algocline_mcp.server.tool_call.absence import given
from algocline_mcp.server.tool_call.arguments import quoted, sentence_for
from algocline_mcp.server.tool_call.cost import within_cost
from algocline_mcp.server.tool_call.lifespan import ServerState
from algocline_mcp.server.tool_call.pool_call import client_name
from algocline_mcp.server.tools import branches, catalog, sessions
from algocline_mcp.transport.channel import Channel
from algocline_mcp.transport.descriptors import leave

if TYPE_CHECKING:
    from anyio import AsyncFile

    from algocline_mcp.pool.dispatch import Pool
    from algocline_mcp.pool.node import Node
    from algocline_mcp.pool.spawn import ForkServerProcess

_QUIET_S = 1.0  # the first requests of a host have their replies

INSTRUCTIONS = """\
Use algocline for long work in many steps (review every file, judge each item, independent drafts and votes) that must \
be complete and survive restarts. Begin with alc_status(): continue what it lists, else alc_run.
A strategy is {language} code that decides what to ask next; you do the thinking, and every answer is stored on disk. \
How to write one: alc_catalog(kind="help").

THE LOOP
1. alc_run(code, code_file or strategy, ctx) starts a session and returns its first pause.
2. status needs_response: answer EVERY pending prompt in ONE alc_continue, each with its query_id: \
responses=[{{query_id, response}}, …]. Repeat until the status differs.
3. running: the code still computes; call alc_status(session_id, wait_s=45). accepted: answer the prompts in pending. \
completed: use `result`. error: the strategy failed; report the reason, or follow `next`.
4. If a result has truncated=true, follow its `next` first, whatever its status.
Item 20 of 50 deserves the same care as item 1.

HOW TO ANSWER
- Read each prompt and think each answer yourself: never answer from a loop or a script.
- Exactly in the form that the prompt asks for (a number, JSON, one line) and nothing around it: code reads it.
- `system` is your role for this prompt alone. Take each prompt on its own: use neither other prompts nor this chat, \
and judge a draft as if another author had written it.
- A prompt with grounded=true: check with your tools (files, search, tests) before you answer. \
With underspecified=true: ask the user first.
- Do not invent an answer: send refuse="reason" in place of response. The strategy can deal with it.

SESSIONS OUTLIVE restarts, chats and this server. Before you start a task again, call alc_status(): \
an unfinished session continues with alc_continue, and no answered prompt is asked again. \
Sending the same answer again is safe.
If the tools are gone, the session is safe: do not redo its work. Ask the user to reconnect the server algocline or \
restart the host; then alc_status() lists the session, as `alc ps` at a terminal.
"""


class Server(MCPServer[ServerState]):
    """Turns every failed call into one sentence and its code; the SDK would show its own text, or that of pydantic.

    A call that needs the program that is on disk now goes back to the front, whose next server carries it out.
    """

    channel: Channel | None = None  # to the front; None in tests, which have the server in memory
    outgoing: Outgoing | None = None  # on that channel
    watch: prompts.Watch | None = None  # of what prompts/list depends on

    async def list_tools(self) -> list[MCPTool]:
        """Of a principal: what it may call, without the arguments that it may not give."""
        listed = [tool for tool in await super().list_tools() if principals.may_call(tool.name)]
        return [
            tool.model_copy(
                update={
                    "input_schema": principals.shown_schema(tool.input_schema),
                    "description": principals.shown_text(tool.description or ""),
                }
            )
            for tool in listed
        ]

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[ServerState, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        try:
            if context is not None:
                await context.request_context.lifespan_context.wait_until_open()
            if (tool := self._tool_manager.get_tool(name)) is not None:
                arguments = await within_cost(tool, arguments)
                arguments = given(tool.fn_metadata.arg_model.model_fields, arguments)
                principals.refuse_beyond(name, arguments.keys() & tool.fn_metadata.arg_model.model_fields.keys())
            reply = await super().call_tool(name, arguments, context)
            if results.is_unwritten(reply):
                return await self._long_reply(reply, context)
            return reply if context is None else results.for_host(reply, client_name(context))
        except (AlcError, ToolError) as exc:
            error = exc if isinstance(exc, AlcError) else exc.__cause__
            if isinstance(error, ProgramReplaced) and self.channel is not None and context is not None:
                await self.channel.hand_back(context.request_context.request_id)
                await anyio.sleep_forever()  # until the front ends this server
            return results.sentence(exc, name) if isinstance(exc, AlcError) else self._refusal(name, exc)
        finally:
            if self.watch is not None:
                self.watch.after_call(name)

    async def _long_reply(
        self, reply: CallToolResult, context: Context[ServerState, Any] | None
    ) -> CallToolResult | InputRequiredResult:
        """A long result, written beside the event loop; the SDK gets an empty one in its place."""
        written = await results.written(reply)
        if context is None:
            return written
        shown = results.for_host(written, client_name(context))
        number = context.request_context.request_id
        if not isinstance(shown, CallToolResult):
            return shown
        if (parts := long_parts.of_request()) is not None:
            return parts.result(shown)
        return shown if self.outgoing is None or number is None else self.outgoing.hold(number, shown)

    def _refusal(self, name: str, error: ToolError) -> CallToolResult:
        cause = error.__cause__
        tool = self._tool_manager.get_tool(name)
        if tool is None:
            listed = (tool.name for tool in self._tool_manager.list_tools())
            names = ", ".join(tool for tool in listed if principals.may_call(tool))
            return results.refusal(f"tool {quoted(name)} does not exist: the tools are {names}", "unknown_tool", name)
        if isinstance(cause, ValidationError):
            sentence = sentence_for(name, list(tool.fn_metadata.arg_model.model_fields), cause)
            return results.refusal(sentence, "bad_argument", name)
        if isinstance(cause, AlcError):
            return results.sentence(cause, name)
        if isinstance(cause, OSError) and cause.filename is not None:  # a path of the caller, or one in the home
            sentence = (
                f"{name} cannot use {cause.filename}: {cause.strerror}; give another name or path, or repair this one. "
                "No answer is lost"
            )
            return results.refusal(sentence, "unusable_path", name)
        traceback.print_exception(error)
        sentence = (
            f"{name} failed by an internal error of this server ({type(cause or error).__name__}; details are in its "
            "log). No answer is lost: check alc_status(), then retry"
        )
        return results.refusal(sentence, "internal", name)


ServerT = TypeVar("ServerT", bound=Server)


def build(fork_process: "ForkServerProcess | None" = None) -> Server:
    """The server, not yet running. `fork_process`: a fork server that was started before the SDK was imported."""
    return build_as(Server, fork_process)


def build_as(kind: type[ServerT], fork_process: "ForkServerProcess | None", node: "Node | None" = None) -> ServerT:
    """`node`: of the pool, where several servers share a database."""
    app = kind(
        "algocline",
        title="algocline",
        description="Runs reasoning strategies whose prompts the host's own model answers.",
        instructions=instructions_of(os.environ),
        version=__version__,
        tools=tools_of(os.environ, has_database=node is not None),
        lifespan=partial(_lifespan, fork_process, node),
        log_level="WARNING",
        subscriptions=False,  # the front tells of another list of prompts; who would subscribe would wait for the SDK
    )
    resources.register(app)
    prompts.register(app)
    return app


def instructions_of(environ: Mapping[str, str]) -> str:
    return INSTRUCTIONS.format(language="Python" if is_python_taught(environ) else "Lua")


def tools_of(environ: Mapping[str, str], *, has_database: bool = False) -> list[Tool]:
    """The set that ALC_TOOLS names, without those that a server with a database cannot serve. For an unknown set the
    core is listed, and each call says what is wrong."""
    chosen = environ.get("ALC_TOOLS", "") or "core"
    listed = [*sessions.tools(is_python_taught=is_python_taught(environ)), *branches.tools(), *catalog.tools()]
    if chosen in ("author", "full"):
        from algocline_mcp.server.tools import packages  # only for these sets: each module adds to the start

        listed += packages.tools()
    if chosen == "full":
        from algocline_mcp.server.compat import sessions as compat

        listed = compat.tools(listed, has_database=has_database)
    return listed


@asynccontextmanager
async def _lifespan(
    fork_process: "ForkServerProcess | None", node: "Node | None", app: MCPServer[ServerState]
) -> AsyncIterator[ServerState]:
    """Opens the home. A setting that does not work is reported by every tool call: the server stays up."""
    limits = Limits()
    try:
        limits = Limits.from_env(os.environ)
        tool_set(os.environ)
        check_settings(os.environ)
        answered_by(os.environ)
        home = Home.from_env(os.environ)
    except HomeUnusable as exc:
        server = ServerState(limits, exc)
    else:
        server = ServerState(limits, partial(_pool, home, limits, fork_process, node), answered_by(os.environ))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.run)
        if isinstance(app, Server) and app.channel is not None and app.watch is not None:
            tasks.start_soon(app.watch.run, server, app.channel.announce_prompts)
        yield server
        tasks.cancel_scope.cancel()


def _pool(home: Home, limits: Limits, fork_process: "ForkServerProcess | None", node: "Node | None") -> "Pool":
    from algocline_mcp.pool.dispatch import Pool
    from algocline_mcp.pool.node import environ_of_workers

    environ = os.environ if node is None else environ_of_workers(home, os.environ)
    return Pool(home, limits, environ=environ, fork_process=fork_process, is_home_required=False, node=node)


def serve(channel: Channel, fork_process: "ForkServerProcess | None" = None) -> NoReturn:
    """Serves until the front closes its end; then the process ends with exit code 0, or 1 after an internal error."""
    logging.captureWarnings(True)
    try:
        anyio.run(_serve, build(fork_process), channel)
    except BaseException:  # noqa: BLE001 - the process has to end, whatever threads are left
        traceback.print_exc()
        leave(1)
    leave()


async def _serve(app: Server, channel: Channel) -> None:
    # This is the body of MCPServer.run, which cannot be given other streams. Of its streams `stdio_server` needs only
    # iteration over lines, `write` and `flush`.
    stream: AsyncFile[str] = channel  # type: ignore[assignment]  # it has what `stdio_server` uses, see above
    lowlevel = app._lowlevel_server
    app.channel, app.watch = channel, prompts.Watch()
    channel.announce()
    async with stdio_server(stdin=stream, stdout=stream) as (incoming, outgoing), anyio.create_task_group() as tasks:
        tasks.start_soon(refuse_tracers_later)
        app.outgoing = Outgoing(outgoing, channel)
        options = lowlevel.create_initialization_options(NotificationOptions(prompts_changed=True))
        await lowlevel.run(incoming, app.outgoing, options)
        tasks.cancel_scope.cancel()


async def refuse_tracers_later() -> None:
    """Late: it imports ctypes, 3 ms that no request waits for."""
    await anyio.sleep(_QUIET_S)
    with suppress(HomeUnusable):  # a word that is no mode: each call says so
        await anyio.to_thread.run_sync(refuse_tracers, mode_of(os.environ))
