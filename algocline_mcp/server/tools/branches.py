"""The tool that starts a session from an earlier one.

Contract: as in sessions.py. The earlier session stays unchanged.
"""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult
from pydantic import Field

from algocline_mcp.errors import Refused
from algocline_mcp.server.tool_call.arguments import (
    ABSENT,
    Changed,
    Count,
    Flag,
    Lang,
    Text,
    WaitS,
    checked_ctx,
    checked_session_id,
)
from algocline_mcp.server.tool_call.pool_call import call_pool, host_result, run_in_thread, server_state
from algocline_mcp.server.tool_call.source import Chosen, Source, read_source
from algocline_mcp.server.tool_call.tool import Outcome, ToolContext, hints, make_tool

if TYPE_CHECKING:
    from algocline_mcp.pool import branch as branching


async def alc_branch(
    context: ToolContext,
    session_id: Text,
    at: Annotated[Text, Field(description="query_id to branch at")] = ABSENT,
    response: Annotated[Text, Field(description="New answer to `at`")] = ABSENT,
    code: Annotated[Text, Field(description="Corrected code")] = ABSENT,
    code_file: Text = ABSENT,
    language: Lang = None,
    ctx: Changed = None,
    n: Annotated[Count, Field(description="Branches, default 1")] = None,
    dry_run: Annotated[Flag, Field(description="Only list new prompts")] = False,
    wait_s: WaitS = None,
) -> Annotated[CallToolResult, Outcome]:
    """
    Start a session from an old one, left unchanged. With at: keeps the answers before that prompt, which is asked again
    or gets response. With code or ctx, or without at: reruns it with the old answers and asks only new prompts.
    The cure for error_code diverged.

    Returns what alc_run does; for n > 1 `branches`; for dry_run `asks`.
    """
    from algocline_mcp.pool import branch as branching

    server_state(context)
    sid = checked_session_id(session_id)
    chosen = Chosen(code, code_file, language=language)
    change = await _change(context, sid, chosen, at=at, response=response, ctx=ctx)
    result = await call_pool(
        context,
        wait_s,
        lambda pool, wait, on_progress: branching.branch_via_pool(
            pool, sid, change, n=n or 1, is_dry=dry_run, wait_s=wait, on_progress=on_progress
        ),
        timeout_advice="the branch may have started. Check alc_status() before you start it again",
    )
    return await host_result(context, result)


async def _change(
    context: ToolContext, sid: str, chosen: Chosen, *, at: str, response: str, ctx: dict[str, Any] | None
) -> "branching.Branch":
    """The arguments of alc_branch, checked. A `code_file` is relative to the project of session `sid`."""
    from algocline_mcp.pool import branch as branching

    server = server_state(context)
    source = None
    if chosen.code is not ABSENT or chosen.code_file:
        root, language = await branching.project_of(server.pool(), sid)
        near = replace(chosen, project_root=root if chosen.code_file else ABSENT, preferred=language)
        source = await read_source(near, home=server.pool().home, limits=server.limits)
    elif chosen.language is not None:
        raise Refused("language is that of the corrected code: give code or code_file too, or leave language out")
    return branching.Branch(
        at=at or None,
        response=None if response is ABSENT else response,
        code=source.code if source else None,
        ctx=None if ctx is None else checked_ctx(ctx, server.limits),
        chunk=source.chunk if source and chosen.code_file else None,
        lib_paths=source.lib_paths if source else (),
        package=await run_in_thread(context, partial(_package, source)) if source else None,
        language=source.language.name if source else None,
    )


def _package(source: Source) -> str | None:
    """See Branch. Code with a run(ctx) may be the parent's package, corrected."""
    from algocline_mcp.packages.metadata import metadata_of

    return source.name or ("" if metadata_of(source.code, source.language).is_library else None)


def tools() -> list[Tool]:
    return [make_tool(alc_branch, "Branch a session", hints(), None)]
