"""The tools that run, answer, show and stop sessions: their texts, their arguments, their calls of the pool.

Contract. Each tool is `async`, checks its arguments before it does anything, and answers within `wait_s` plus
`limits.grace_s`. A refused call raises an AlcError and has changed nothing; the server turns it into a text. A strategy
that failed is not a failed call: the result has `status: error`. Nothing happens at import; `tools()` registers. What
only a call needs is imported by the call, so that the start of the server does not wait for it.

The docstrings and descriptions below are read by the model at every start of a chat: `tools/list` has a budget, which
tests/server/tool_call/test_tool.py checks.
"""

import os
from typing import TYPE_CHECKING, Annotated, Any, cast

from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult
from pydantic import Field

from algocline_mcp.errors import Refused
from algocline_mcp.packages.project import project_of
from algocline_mcp.server.tool_call import results
from algocline_mcp.server.tool_call.absence import VERBATIM
from algocline_mcp.server.tool_call.arguments import (
    ABSENT,
    Ctx,
    CtxFiles,
    Finished,
    Lang,
    Limit,
    Mode,
    Opts,
    Responses,
    Text,
    Usage,
    View,
    WaitS,
    checked_ctx,
    checked_session_id,
)
from algocline_mcp.server.tool_call.ctx_files import read_files
from algocline_mcp.server.tool_call.deadline import with_deadline
from algocline_mcp.server.tool_call.pool_call import call_pool, host_result, max_result_bytes, server_state
from algocline_mcp.server.tool_call.source import Chosen, Source, check_inputs, read_source
from algocline_mcp.server.tool_call.tool import Outcome, ToolContext, hints, joined_lines, make_tool

if TYPE_CHECKING:
    from algocline_mcp.pool import dispatch


async def alc_run(
    context: ToolContext,
    code: Annotated[Text, Field(description="Python or Lua source")] = ABSENT,
    code_file: Annotated[Text, Field(description=".py or .lua, relative to project_root")] = ABSENT,
    strategy: Annotated[Text, Field(description="Name of an installed strategy")] = ABSENT,
    task: Annotated[Text, Field(description="Becomes ctx.task")] = ABSENT,
    opts: Annotated[Opts, Field(description="Merged into ctx")] = {},  # noqa: B006 - read only
    ctx: Annotated[Ctx, Field(description="Input: the global ctx")] = {},  # noqa: B006
    ctx_files: Annotated[CtxFiles, Field(description="{name: path}: ctx[name] is the file's text")] = {},  # noqa: B006
    title: Annotated[Text, Field(description="Label for lists")] = ABSENT,
    project_root: Text = ABSENT,
    language: Lang = None,
    wait_s: Annotated[WaitS, Field(description="Max seconds to the first pause")] = None,
) -> Annotated[CallToolResult, Outcome]:
    """
    Start a strategy: Python code decides what to ask, you do the thinking. At alc.llm(prompt) it pauses and this call
    returns the prompt; alc.llm returns the answer that you send with alc_continue.

    Give code, code_file or strategy (alc_catalog lists them). Example: code=`draft = alc.llm(f"Draft: {ctx['task']}");
    return alc.llm(f"Fix the weakest point: {draft}")`, task="...". Most used: alc.llm(prompt, system=),
    alc.parallel(items, prompt_of) -> answers, alc.llm_json(prompt, schema=), alc.match_enum(answer, words),
    alc.call(strategy, ctx). All of alc: alc_catalog(kind="help"). Standard modules work, files and network do
    not. Lua works too.

    Returns status needs_response (prompt with query_id, or queries), running, completed (result) or error. Unfinished
    sessions outlive restarts: check alc_status() before you start a task again.
    """
    from algocline_mcp.pool import dispatch

    server = server_state(context)
    limits = server.limits
    chosen = Chosen(code, code_file, strategy, project_root, language)
    source = await read_source(chosen, home=server.pool().home, limits=limits)
    given = ctx | opts | ({} if task is ABSENT else {"task": task})
    if both := given.keys() & ctx_files.keys():
        raise Refused(f"{min(both)} is given in ctx_files and in ctx, opts or task: give it once")
    texts = await read_files(ctx_files, project_root, limits)
    checked = checked_ctx(given | texts, limits)
    check_inputs(source, checked)
    started = _strategy(source, checked, _shortened(title, limits.title_chars))
    result = await call_pool(
        context,
        wait_s,
        lambda pool, wait, on_progress: dispatch.run_via_pool(pool, started, wait_s=wait, on_progress=on_progress),
        timeout_advice="the session may have started. Check alc_status() before you start it again",
        additions={"warnings": list(source.warnings)},
    )
    return await host_result(context, result)


def _strategy(source: Source, ctx: dict[str, Any], title: str) -> "dispatch.Strategy":
    from algocline_mcp.pool import dispatch

    return dispatch.Strategy(
        code=source.code,
        chunk=source.chunk,
        ctx=ctx,
        title=title or None,
        project_root=source.project_root or project_of(os.environ),
        lib_paths=source.lib_paths,
        name=source.name,
        variants=source.variants,
        language=source.language.name,
    )


def _shortened(title: str, chars: int) -> str:
    return title if len(title) <= chars else title[: chars - 1] + "…"


async def alc_continue(
    context: ToolContext,
    session_id: Text,
    response: Annotated[Text, VERBATIM, Field(description="Exactly in the form asked for")] = ABSENT,
    responses: Responses = None,
    refuse: Annotated[Text, Field(description="Reason, instead of a response")] = ABSENT,
    query_id: Annotated[Text, Field(description="The prompt you answer")] = ABSENT,
    usage: Usage = None,
    by: Annotated[Text, Field(description="Who answered")] = ABSENT,
    wait_s: WaitS = None,
) -> Annotated[CallToolResult, Outcome]:
    """
    Answer prompts of a session. Returns its next pause or its end.

    One prompt: response with its query_id. Several: all in one call, responses=[{query_id, response}, ...], in any
    order. Invalid items are listed in `refused`, the others count. Resending an answer is safe; the first answer to a
    query_id stands. If you were asked to answer one prompt for somebody else, send it with wait_s=0, then stop.

    Returns what alc_run does, or accepted (answers are missing, see pending). If running, wait with alc_status.
    """
    from algocline_mcp.pool import dispatch
    from algocline_mcp.server.tool_call.answers import answer_of, gather

    limits = server_state(context).limits
    sid = checked_session_id(session_id)
    single = answer_of(query_id=query_id, response=response, refuse=refuse, usage=usage, by=by)
    answers, invalid = gather(single, responses, limits)
    result = await call_pool(
        context,
        wait_s,
        lambda pool, wait, on_progress: dispatch.continue_via_pool(
            pool, sid, answers, wait_s=wait, on_progress=on_progress, is_checked=True
        ),
        timeout_advice=f"session {sid} may have taken the answer. Call alc_status, or send the same answer again: "
        "this is safe",
        additions={"refused": invalid},
    )
    return await host_result(context, result)


async def alc_status(
    context: ToolContext,
    session_id: Annotated[Text, Field(description="Omit to list sessions")] = ABSENT,
    wait_s: Annotated[WaitS, Field(description="Max seconds to wait, default 0")] = None,
    view: View = None,
    limit: Limit = None,
    cursor: Annotated[Text, Field(description="Cursor from the previous page")] = ABSENT,
    finished: Annotated[Finished, Field(description="List the finished sessions")] = False,
) -> Annotated[CallToolResult, Outcome]:
    """
    Show one session, or list the unfinished ones. With session_id: what alc_continue would return now (prompts, result,
    error); with view: one page about it.

    Without session_id: {active_sessions, sessions: [{session_id, title, status, ...}]}, this project's first, also
    from earlier chats.
    """
    if finished:
        return await finished_result(context, session_id, view, limit, cursor)
    return await status_result(context, session_id, wait_s, view, limit, cursor)


async def finished_result(
    context: ToolContext, session_id: str, view: str | None, limit: int | None, cursor: str
) -> CallToolResult:
    """The result of alc_status(finished=true)."""
    server = server_state(context)
    if session_id or view:
        raise Refused("finished lists the finished sessions: leave session_id and view out, or leave finished out")
    from algocline_mcp.pool import dispatch

    call = dispatch.list_finished_via_pool(server.pool(), limit=limit, cursor=cursor or None)
    return await host_result(context, await with_deadline(server.limits.grace_s, call, timeout_advice=_READ_AGAIN))


async def status_result(
    context: ToolContext,
    session_id: str,
    wait_s: float | None,
    view: str | None,
    limit: int | None,
    cursor: str,
    reserved_bytes: int = 0,
) -> CallToolResult:
    """The result of alc_status. `reserved_bytes`: of what the host shows, left free for what the caller adds."""
    server_state(context)
    if not session_id and view:
        raise Refused(f"view={view} needs a session_id: alc_status() lists them")
    if session_id and not view and limit:
        raise Refused("limit applies to the list of sessions and to a view: add view, or leave session_id out")
    if view:
        return await _view_result(context, checked_session_id(session_id), view, limit, cursor)
    if not session_id:
        return await _list_result(context, limit, cursor, reserved_bytes)
    from algocline_mcp.pool import dispatch

    sid = checked_session_id(session_id)
    result = await call_pool(
        context,
        wait_s or 0.0,
        lambda pool, wait, on_progress: dispatch.status_via_pool(pool, sid, wait_s=wait, on_progress=on_progress),
        timeout_advice=f"session {sid} is safe on disk; ask again",
    )
    return await host_result(context, result, cursor=cursor, reserved_bytes=reserved_bytes)


_READ_AGAIN = "ask again; the sessions are safe on disk"


async def _view_result(context: ToolContext, sid: str, view: str, limit: int | None, cursor: str) -> CallToolResult:
    from algocline_mcp.pool import dispatch

    server, page_bytes = server_state(context), max_result_bytes(context)
    call = dispatch.view_via_pool(server.pool(), sid, view, limit=limit, cursor=cursor or None, page_bytes=page_bytes)
    return results.result(await with_deadline(server.limits.grace_s, call, timeout_advice=_READ_AGAIN))


async def _list_result(context: ToolContext, limit: int | None, cursor: str, reserved_bytes: int) -> CallToolResult:
    from algocline_mcp.pool import dispatch

    server = server_state(context)
    call = dispatch.list_via_pool(server.pool(), limit=limit, cursor=cursor or None, project=project_of(os.environ))
    listing = await with_deadline(server.limits.grace_s, call, timeout_advice=_READ_AGAIN)
    return await host_result(context, listing, reserved_bytes=reserved_bytes)


async def alc_stop(
    context: ToolContext,
    session_id: Text,
    mode: Mode = "hibernate",
) -> Annotated[CallToolResult, Outcome]:
    """
    Stop a session. hibernate ends its processes and loses nothing: alc_continue resumes it. cancel ends the session
    for good; delete also removes its journal.
    """
    from algocline_mcp.pool import dispatch
    from algocline_mcp.pool.replies import stopped

    sid = checked_session_id(session_id)
    stop_mode = cast("dispatch.StopMode", mode)  # the validator of the argument has checked it
    if (answering := server_state(context).answering()) is not None:
        answering.stop(sid)
    result = await call_pool(
        context,
        0.0,
        lambda pool, wait, on_progress: dispatch.stop_via_pool(pool, sid, stop_mode),
        timeout_advice=f"session {sid} may have been stopped. Check with alc_status, or call alc_stop again",
        goes_on=False,
    )
    return await host_result(context, stopped(result) if mode == "hibernate" else result)


# Where the kernel does not confine Python.
_LUA_TEXT = """
    Start a strategy: Lua code decides what to ask, you do the thinking. At alc.llm(prompt) it pauses and this call
    returns the prompt; alc.llm returns the answer that you send with alc_continue.

    Give code, code_file or strategy (alc_catalog lists them). Example: code=`local draft = alc.llm("Draft: "..ctx.task)
    return alc.llm("Fix the weakest point: "..draft)`, task="...". Most used: alc.llm(prompt, {system=}),
    alc.parallel(items, prompt_of) -> answers, alc.llm_json(prompt, {schema=}), alc.match_enum(answer, words),
    alc.call(strategy, ctx). All of alc: alc_catalog(kind="help").

    Returns status needs_response (prompt with query_id, or queries), running, completed (result) or error. Unfinished
    sessions outlive restarts: check alc_status() before you start a task again.
    """

# Hosts load tools on demand; the three tools of the loop are worth their tokens from the first turn on.
_ALWAYS_LOADED = {"anthropic/alwaysLoad": True}


def tools(*, is_python_taught: bool) -> list[Tool]:
    """Newly registered tools, in the order of the loop."""
    text = None if is_python_taught else joined_lines(_LUA_TEXT)
    return [
        make_tool(alc_run, "Run a strategy", hints(), _ALWAYS_LOADED, text=text),
        make_tool(alc_continue, "Answer a session", hints(idempotent=True), _ALWAYS_LOADED),
        make_tool(alc_status, "Show sessions", hints(read_only=True, idempotent=True), _ALWAYS_LOADED),
        make_tool(alc_stop, "Stop a session", hints(destructive=True, idempotent=True), None),
    ]
