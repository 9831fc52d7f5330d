"""The tools a host sees: their texts, their arguments, and what they ask the pool.

Contract. Each tool is `async`, checks its arguments before anything happens, and answers within `wait_s` plus
`limits.grace_s`. A refused call raises an AlcError and has changed nothing; the server makes it a text. A strategy
that failed is no failed call: it returns `status: error`. Nothing happens at import; `tools()` registers. What a
call needs beyond that is imported by the call: the server's start does not wait for it (server/tool_call/lifespan.py).
"""

import os
from functools import partial
from typing import TYPE_CHECKING, Annotated, cast

from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult
from pydantic import Field

from algocline_mcp.errors import Refused
from algocline_mcp.packages.project import project_of
from algocline_mcp.server.tool_call import results
from algocline_mcp.server.tool_call.arguments import (
    ABSENT,
    Changed,
    Count,
    Ctx,
    Flag,
    Kind,
    Limit,
    Mode,
    Opts,
    Responses,
    Text,
    Usage,
    View,
    WaitS,
)
from algocline_mcp.server.tool_call.deadline import within
from algocline_mcp.server.tool_call.source import read_source
from algocline_mcp.server.tool_call.tool import (
    Host,
    Listing,
    Outcome,
    SessionId,
    ask,
    checked_ctx,
    checked_sid,
    hints,
    look,
    opened,
    room_of,
    tool,
)
from algocline_mcp.server.tool_call.truncation import fit

if TYPE_CHECKING:
    from algocline_mcp.pool import dispatch


async def alc_run(
    host: Host,
    code: Annotated[Text, Field(description="Lua source")] = ABSENT,
    code_file: Annotated[Text, Field(description="Lua file, relative to project_root")] = ABSENT,
    strategy: Annotated[Text, Field(description="An installed one, by name")] = ABSENT,
    task: Annotated[Text, Field(description="ctx.task")] = ABSENT,
    opts: Annotated[Opts, Field(description="More of ctx")] = {},  # noqa: B006 - read only
    ctx: Annotated[Ctx, Field(description="Input, the Lua global `ctx`")] = {},  # noqa: B006
    title: Annotated[Text, Field(description="A few words to find it by")] = ABSENT,
    project_root: Text = ABSENT,
    wait_s: Annotated[WaitS, Field(description="Longest wait for the first pause")] = None,
) -> Annotated[CallToolResult, Outcome]:
    """
    Start a strategy: Lua code decides what to ask, you do the thinking. At alc.llm(prompt) it pauses and this call
    returns the prompt; your answer, given with alc_continue, is what alc.llm returns.

    Give code, code_file or strategy (alc_catalog lists them). Example: code=`local draft = alc.llm("Draft: "..ctx.task)
    return alc.llm("Fix the weakest point: "..draft)`, task="...". Also alc.llm(prompt, {system=, max_tokens=}),
    alc.llm_batch({{prompt=}, ...}), alc.json_decode, alc.log, alc.progress(step, total, text).

    Returns status needs_response (prompt with query_id, or queries), running, completed (result) or error. Sessions
    outlive restarts and do not expire: look at alc_status() before starting a task anew.
    """
    from algocline_mcp.pool import dispatch

    held = opened(host)
    limits = held.limits
    source = await read_source(code, code_file, strategy, project_root, home=held.usable().home, limits=limits)
    started = dispatch.Strategy(
        code=source.code,
        chunk=source.chunk,
        ctx=checked_ctx(ctx | opts | ({} if task is ABSENT else {"task": task}), limits),
        title=_clipped(title, limits.title_chars) or None,
        project_root=source.project_root or project_of(os.environ),
        lib_paths=source.lib_paths,
        name=source.name,
        variants=source.variants,
    )
    return await ask(
        host,
        wait_s,
        lambda pool, wait, told: dispatch.run_via_pool(pool, started, wait_s=wait, on_progress=told),
        unanswered="the session may have started all the same; look at alc_status() before you start it again",
        warnings=source.warnings,
    )


async def alc_continue(
    host: Host,
    session_id: SessionId,
    response: Annotated[Text, Field(description="In exactly the form asked for")] = ABSENT,
    responses: Responses = None,
    refuse: Annotated[Text, Field(description="Reason, instead of response")] = ABSENT,
    query_id: Annotated[Text, Field(description="Which prompt is answered")] = ABSENT,
    usage: Usage = None,
    by: Annotated[Text, Field(description="Who answered")] = ABSENT,
    wait_s: Annotated[WaitS, Field(description="Longest wait for the next pause")] = None,
) -> Annotated[CallToolResult, Outcome]:
    """
    Answer the prompts of a session. It goes on, and this call returns its next pause or its end.

    One prompt: response and query_id. Several: all in one call, responses=[{query_id, response}, ...], in any
    order. Bad items are listed in `refused`, the others are taken. Sending an answer again is safe; another text for
    an answered query_id is refused.

    Returns what alc_run does, or accepted (answers are missing, see pending). If running, wait with alc_status.
    """
    from algocline_mcp.pool import dispatch
    from algocline_mcp.server.tool_call.answers import gather
    from algocline_mcp.session.events import Answer

    held = opened(host)
    sid = checked_sid(session_id)
    single = Answer(
        query_id=None if query_id is ABSENT else query_id,
        response=None if response is ABSENT else response,
        refuse=None if refuse is ABSENT else refuse,
        usage=usage,
        by=None if by is ABSENT else by,
    )
    answers, unusable = gather(single, responses, held.limits.answer_bytes)
    return await ask(
        host,
        wait_s,
        lambda pool, wait, told: dispatch.continue_via_pool(pool, sid, answers, wait_s=wait, on_progress=told),
        unanswered=f"session {sid} may have taken it; ask alc_status, or send the same again, which is safe",
        refused=unusable,
    )


async def alc_status(
    host: Host,
    session_id: Annotated[Text, Field(description="Leave out to list the sessions")] = ABSENT,
    wait_s: Annotated[WaitS, Field(description="Longest wait while running, default 0")] = None,
    view: View = None,
    limit: Limit = None,
    cursor: Annotated[Text, Field(description="Of the result before")] = ABSENT,
) -> Annotated[CallToolResult, Outcome]:
    """
    Look at one session, or list all. With session_id: what alc_continue would return now (prompts, result, error).
    With view: a page of its journal.

    Without: {active_sessions, sessions: [{session_id, title, status, ...}]}, this project's first, also of earlier
    chats.
    """
    return await looked(host, session_id, wait_s, view, limit, cursor)


async def looked(
    host: Host, session_id: str, wait_s: float | None, view: str | None, limit: int | None, cursor: str, spare: int = 0
) -> CallToolResult:
    """`spare`: bytes of what the host shows that are left for what is put beside it."""
    from algocline_mcp.pool import dispatch

    held = opened(host)
    if not session_id and view:
        raise Refused(f"view={view} needs a session_id: alc_status() lists them")
    if session_id and not view and limit:
        raise Refused("limit is of the list or of a view: give view too, or leave session_id out")
    if view or not session_id:
        pool, start, most = held.usable(), cursor or None, room_of(host)
        look = (
            dispatch.view_via_pool(pool, checked_sid(session_id), view, limit=limit, cursor=start, page_bytes=most)
            if view
            else dispatch.list_via_pool(pool, limit=limit, cursor=start, project=project_of(os.environ))
        )
        again = "ask again; the sessions are safe on disk"
        found = await within(held.limits.grace_s, look, unanswered=again)
        return results.result(found if view else fit(found, most - spare))
    sid = checked_sid(session_id)
    return await ask(
        host,
        wait_s or 0.0,
        lambda pool, wait, told: dispatch.status_via_pool(pool, sid, wait_s=wait, on_progress=told),
        unanswered=f"session {sid} is safe on disk; ask again",
        cursor=cursor,
        spare=spare,
    )


async def alc_stop(
    host: Host, session_id: SessionId, mode: Annotated[Mode, Field(description="The last two are final")] = "hibernate"
) -> Annotated[CallToolResult, Outcome]:
    """
    Stop a session. hibernate frees its processes and loses nothing: alc_continue wakes it. cancel ends it; delete
    removes its journal too.
    """
    from algocline_mcp.pool import dispatch

    sid = checked_sid(session_id)
    chosen = cast("dispatch.StopMode", mode)  # the argument's own check has seen to it
    return await ask(
        host,
        0.0,
        lambda pool, wait, told: dispatch.stop_via_pool(pool, sid, chosen),
        unanswered=f"session {sid} may have been stopped; look with alc_status, or call this again",
    )


async def alc_branch(
    host: Host,
    session_id: SessionId,
    at: Annotated[Text, Field(description="A query_id; what came before it is shared")] = ABSENT,
    response: Annotated[Text, Field(description="Another answer to at")] = ABSENT,
    code: Annotated[Text, Field(description="Corrected code")] = ABSENT,
    code_file: Text = ABSENT,
    ctx: Changed = None,
    n: Annotated[Count, Field(description="How many branches, default 1")] = None,
    dry_run: Annotated[Flag, Field(description="Only say what would be asked")] = False,
    wait_s: WaitS = None,
) -> Annotated[CallToolResult, Outcome]:
    """
    Start a session from an old one, which stays as it is. With at: the same up to that prompt, which is asked anew or
    gets response. With code or ctx, or without at: runs anew, and only prompts the old one did not answer are asked.
    The way out of error_code diverged.

    Returns what alc_run does, or for n > 1 branches, or for dry_run asks.
    """
    from algocline_mcp.pool import branch as branching

    held = opened(host)
    sid = checked_sid(session_id)
    source = None
    if code is not ABSENT or code_file:
        root = await branching.project_of(held.usable(), sid) if code_file else ABSENT
        source = await read_source(code, code_file, ABSENT, root, home=held.usable().home, limits=held.limits)
    change = branching.Branch(
        at=at or None,
        response=None if response is ABSENT else response,
        code=source.code if source else None,
        ctx=None if ctx is None else checked_ctx(ctx, held.limits),
        chunk=source.chunk if source and code_file else None,
        lib_paths=source.lib_paths if source else (),
    )
    return await ask(
        host,
        wait_s,
        lambda pool, wait, told: branching.branch_via_pool(
            pool, sid, change, n=n or 1, is_dry=dry_run, wait_s=wait, on_progress=told
        ),
        unanswered="the branch may have started all the same; look at alc_status() before you start it again",
    )


async def alc_catalog(
    host: Host,
    kind: Kind = "strategies",
    name: Annotated[Text, Field(description="This one")] = ABSENT,
    query: Annotated[Text, Field(description="Words in it")] = ABSENT,
    limit: Limit = None,
    cursor: Annotated[Text, Field(description="Goes on")] = ABSENT,
) -> Annotated[CallToolResult, Listing]:
    """
    List strategies with the median prompts and tokens of past runs, packages, or the cards and state that strategies
    keep. With name: which opts a strategy takes; a namespace of state, or namespace/key.
    """
    from algocline_mcp.packages import catalog as cataloging  # 4 ms of a start

    held = opened(host)
    context = cataloging.PackageContext(held.usable().home, held.limits, os.environ)
    asked = cataloging.CatalogQuery(name, query, limit, cursor)
    return results.result(await look(host, partial(cataloging.catalog, context, kind, asked)))


# ── checks ────────────────────────────────────────────────────────────────────────────────────────────────


def _clipped(title: str, chars: int) -> str:
    return title if len(title) <= chars else title[: chars - 1] + "…"


# ── asking the pool ───────────────────────────────────────────────────────────────────────────────────────


# ── registration ──────────────────────────────────────────────────────────────────────────────────────────

# Hosts load tools on demand; the two that make the loop are worth their place from the first turn on.
_AT_ONCE = {"anthropic/alwaysLoad": True}


def tools() -> list[Tool]:
    """Freshly registered, in the order of the loop."""
    return [
        tool(alc_run, "Run a strategy", hints(), _AT_ONCE),
        tool(alc_continue, "Answer a session", hints(idempotent=True), _AT_ONCE),
        tool(alc_status, "Look at sessions", hints(read_only=True, idempotent=True), None),
        tool(alc_stop, "Stop a session", hints(destructive=True, idempotent=True), None),
        tool(alc_branch, "Branch a session", hints(), None),
        tool(alc_catalog, "What is here", hints(read_only=True, idempotent=True), None),
    ]
