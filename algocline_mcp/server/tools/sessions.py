"""The tools a host sees: their texts, their arguments, and what they ask the pool.

Contract. Each tool is `async`, checks its arguments before anything happens, and answers within `wait_s` plus
`limits.grace_s`. A refused call raises an AlcError and has changed nothing; the server makes it a text. A strategy
that failed is no failed call: it returns `status: error`. Nothing happens at import; `tools()` registers. What a
call needs beyond that is imported by the call: the server's start does not wait for it (host/opening.py).
"""

import inspect
import json
import os
import re
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

import anyio
import anyio.to_thread
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult, ToolAnnotations
from pydantic import BaseModel, ConfigDict, Field

from algocline_mcp.errors import Refused
from algocline_mcp.server.tool_call import results
from algocline_mcp.server.tool_call.arguments import ABSENT, Changed, Count, Ctx, Flag, Kind, Limit, Mode, Opts, Responses, Text, Usage, View, WaitS, quoted
from algocline_mcp.server.tool_call.truncation import fit, shown_bytes
from algocline_mcp.server.tool_call.lifespan import Opened
from algocline_mcp.server.tool_call.source import read_source
from algocline_mcp.server.tool_call.deadline import allowed_s, watched, within
from algocline_mcp.config.limits import Limits
from algocline_mcp.packages.project import project_of

if TYPE_CHECKING:
    from algocline_mcp.pool import dispatch


class Outcome(BaseModel):
    """The published schema is open: what else comes depends on `status`. A list of sessions has neither field."""

    model_config = ConfigDict(extra="allow")
    status: str = ""
    session_id: str = ""


class Listing(BaseModel):
    """Of the catalog: which fields come depends on `kind`."""

    model_config = ConfigDict(extra="allow")


Host = Context[Opened, Any]
Found = TypeVar("Found")
SessionId = Text


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
    from algocline_mcp.server.tool_call.answers import gather
    from algocline_mcp.pool import dispatch
    from algocline_mcp.session.state import Answer

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
    place = cataloging.Place(held.usable().home, held.limits, os.environ)
    asked = cataloging.Asked(name, query, limit, cursor)
    return results.result(await look(host, partial(cataloging.catalog, place, kind, asked)))


# ── checks ────────────────────────────────────────────────────────────────────────────────────────────────

_ID = re.compile(r"[A-Za-z0-9_.-]{1,80}")


def opened(host: Host) -> Opened:
    """Raises HomeUnusable first of all: while the home does not work, no other advice helps."""
    held: Opened = host.request_context.lifespan_context
    held.usable()
    return held


def checked_sid(session_id: str) -> str:
    if not session_id:
        raise Refused("session_id is empty: take it from alc_run, or from the list of alc_status()")
    if not _ID.fullmatch(session_id):
        raise Refused(f"Session {quoted(session_id)} not found: no id looks like this; alc_status() lists them")
    return session_id


def checked_ctx(ctx: dict[str, Any], limits: Limits) -> dict[str, Any]:
    from algocline_mcp.protocol.messages import is_deeper

    if is_deeper(ctx, limits.json_depth):
        raise Refused(f"ctx nests more than {limits.json_depth} levels deep: flatten it")
    size = len(json.dumps(ctx, ensure_ascii=False).encode("utf-8", "replace"))
    if size > limits.ctx_bytes:
        cure = "shorten it, or put the bulk into a file that the host reads"
        raise Refused(f"ctx has {size} bytes, at most {limits.ctx_bytes}: {cure}", code="too_large")
    return ctx


def _clipped(title: str, chars: int) -> str:
    return title if len(title) <= chars else title[: chars - 1] + "…"


# ── asking the pool ───────────────────────────────────────────────────────────────────────────────────────

Call = Callable[["dispatch.Pool", float, "dispatch.OnProgress"], Awaitable["dispatch.PoolReply"]]


async def ask(
    host: Host,
    wait_s: float | None,
    call: Call,
    *,
    unanswered: str,
    refused: list[dict[str, Any]] | None = None,
    warnings: Sequence[str] = (),
    cursor: str = "",
    spare: int = 0,
) -> CallToolResult:
    """The pool's reply to `call`, as the result of a tool. `refused`: items that the pool never saw. `cursor`: where
    an earlier reply was cut. `spare`: bytes to leave of what the host shows."""
    held = opened(host)
    pool, limits = held.usable(), held.limits
    wait = allowed_s(limits.wait_s if wait_s is None else wait_s, client_name(host), limits.wait_max_s)
    reply = await watched(
        lambda told: call(pool, wait, told),
        host.report_progress,
        within_s=wait + limits.grace_s,
        unanswered=unanswered,
    )
    result = dict(reply.result)
    if refused:
        result["refused"] = [*result.get("refused", []), *refused]
    if warnings:
        result["warnings"] = [*result.get("warnings", []), *warnings]
    if reply.pool_save_error is not None:
        result["pool_save_error"] = reply.pool_save_error
    return results.result(fit(result, room_of(host) - spare, cursor))


def room_of(host: Host) -> int:
    """How many bytes of one result the host shows."""
    return shown_bytes(client_name(host), opened(host).limits.output_bytes)


async def look(host: Host, work: Callable[[], Found]) -> Found:
    """What `work` finds on the disk. Not in one of the SDK's threads, and not beyond the deadline of a call."""
    found = anyio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))
    return await within(opened(host).limits.grace_s, found, unanswered="ask again, perhaps with a lower limit")


def client_name(host: Host) -> str:
    told = host.session.client_params
    return told.client_info.name if told is not None else ""


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


def hints(
    *, read_only: bool = False, destructive: bool = False, idempotent: bool = False, is_open: bool = False
) -> ToolAnnotations:
    """`is_open`: it reaches beyond the home and the file it is given."""
    return ToolAnnotations(
        read_only_hint=read_only, destructive_hint=destructive, idempotent_hint=idempotent, open_world_hint=is_open
    )


def tool(function: Callable[..., Any], title: str, annotations: ToolAnnotations, meta: dict[str, Any] | None) -> Tool:
    tool = Tool.from_function(
        function, title=title, description=_flowing(function.__doc__ or ""), annotations=annotations, meta=meta
    )
    # By default the SDK ignores arguments it does not know: a misspelt one would be an answer that never came.
    model = tool.fn_metadata.arg_model
    model.model_config["extra"] = "forbid"
    model.model_rebuild(force=True)
    tool.parameters = _lean(model.model_json_schema(by_alias=True))
    tool.fn_metadata.output_schema = _lean(tool.fn_metadata.output_schema or {})
    return tool


def _flowing(text: str) -> str:
    """Paragraphs without the line breaks that only the source needs."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n".join(" ".join(paragraph.split("\n")) for paragraph in paragraphs)


def _lean(schema: dict[str, Any]) -> dict[str, Any]:
    """`schema` without titles, and without the defaults that stand for *absent*: tokens that say nothing."""
    lean: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "properties":
            lean[key] = {name: _lean(inner) for name, inner in value.items()}
        elif key == "description" and "properties" in schema:
            continue  # a model's docstring is for readers of the code
        elif key != "title" and not (key == "default" and value in ("", None, {}, False)):
            lean[key] = _lean(value) if isinstance(value, dict) else value
    return lean
