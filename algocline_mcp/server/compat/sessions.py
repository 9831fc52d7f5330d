"""Upstream's tool names, for hosts and prompts that know them; listed with ALC_TOOLS=full.

Contract: each tool calls the functions that the core tools call and returns upstream's shape, so both sets of tools can
be mixed in one session. `alc_run` and `alc_status` accept upstream's arguments in addition to their own. A tool that
changes state or cards runs a strategy of one line, so the change is made exactly once. docs/compatibility.md lists the
differences.
"""

import os
from contextlib import suppress
from functools import partial
from typing import Annotated, Any, cast

import anyio
from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult
from pydantic import Field, PlainValidator, WithJsonSchema

from algocline_mcp import __version__
from algocline_mcp.errors import AlcError, Refused
from algocline_mcp.history.reader import records_of
from algocline_mcp.packages.lookup import SearchPath
from algocline_mcp.packages.project import find_root
from algocline_mcp.pool import dispatch
from algocline_mcp.pool.offline import refreshed, visible
from algocline_mcp.pool.registry import PoolRegistry, PoolSessionEntry
from algocline_mcp.server.compat import cards, evaluation, logs, package_authoring, packages, state
from algocline_mcp.server.compat.arguments import AnyValue
from algocline_mcp.server.compat.status import PREVIEW_CHARS, PendingFilter, parse_pending_filter, snapshot
from algocline_mcp.server.tool_call import results
from algocline_mcp.server.tool_call.arguments import (
    ABSENT,
    Ctx,
    CtxFiles,
    Finished,
    Lang,
    Limit,
    Opts,
    Text,
    View,
    WaitS,
    checked_session_id,
    count,
    flag,
)
from algocline_mcp.server.tool_call.deadline import with_deadline
from algocline_mcp.server.tool_call.pool_call import max_result_bytes, run_in_thread, server_state
from algocline_mcp.server.tool_call.tool import Listing, Outcome, ToolContext, hints, make_tool
from algocline_mcp.server.tool_call.truncation import OMISSION_NOTE_BYTES, with_snapshot, with_snapshots
from algocline_mcp.server.tools import sessions as core
from algocline_mcp.session.owner import caller
from algocline_mcp.storage.clock import now_s
from algocline_mcp.storage.sockets import live_sessions

HostMode = Annotated[bool, PlainValidator(flag("host_mode")), WithJsonSchema({"type": "boolean"})]
History = Annotated[bool, PlainValidator(flag("include_history")), WithJsonSchema({"type": "boolean"})]
MaxChars = Annotated[int | None, PlainValidator(count("max_chars", 0)), WithJsonSchema({"type": "integer"})]
Days = Annotated[int | None, PlainValidator(count("days")), WithJsonSchema({"type": "integer"})]
_DEFAULT_LOGS = 50
_LOG_CHARS = 100_000
_READ = hints(read_only=True, idempotent=True)


# ── sessions ──────────────────────────────────────────────────────────────────────────────────────────────


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
    host_mode: Annotated[HostMode, Field(description="No effect: every session has its own worker")] = False,
    wait_s: Annotated[WaitS, Field(description="Max seconds to the first pause")] = None,
) -> Annotated[CallToolResult, Outcome]:
    return await core.alc_run(
        context, code, code_file, strategy, task, opts, ctx, ctx_files, title, project_root, language, wait_s
    )


async def alc_advice(
    context: ToolContext,
    strategy: Text,
    task: Text = ABSENT,
    opts: Opts = {},  # noqa: B006 - read only
    project_root: Text = ABSENT,
    wait_s: WaitS = None,
) -> Annotated[CallToolResult, Outcome]:
    """Run an installed strategy. Same as alc_run(strategy=, task=, opts=)."""
    if not strategy:
        raise Refused('strategy is empty: alc_catalog(kind="strategies") lists what is installed')
    return await core.alc_run(
        context, strategy=strategy, task=task, opts=opts, project_root=project_root, wait_s=wait_s
    )


async def alc_status(
    context: ToolContext,
    session_id: Annotated[Text, Field(description="Omit to list sessions")] = ABSENT,
    wait_s: Annotated[WaitS, Field(description="Max seconds to wait, default 0")] = None,
    view: View = None,
    limit: Limit = None,
    cursor: Annotated[Text, Field(description="Cursor from the previous page")] = ABSENT,
    pending_filter: Annotated[
        AnyValue, Field(description='Fields of pending queries: "meta", "preview", "full", or an object')
    ] = ABSENT,
    include_history: History = False,
    finished: Annotated[Finished, Field(description="List the finished sessions")] = False,
) -> Annotated[CallToolResult, Outcome]:
    if finished:
        return await core.finished_result(context, session_id, view, limit, cursor)
    filter = _filter(pending_filter)
    reply = await core.status_result(
        context, session_id, wait_s, view, limit, cursor, 0 if view else OMISSION_NOTE_BYTES
    )
    if view:
        return reply
    result: dict[str, Any] = reply.structured_content or {}
    sids = [session_id] if session_id else [line["session_id"] for line in result.get("sessions", [])]
    for sid in sids:
        with suppress(AlcError):
            await refreshed(server_state(context).pool(), sid)
    snapshots = await run_in_thread(context, partial(_snapshots, context, sids, filter, include_history))
    max_bytes = max_result_bytes(context)
    if session_id:
        whole = partial(with_snapshot, result, snapshots.get(session_id, {}), max_bytes)
    elif sids:
        whole = partial(with_snapshots, result, snapshots, max_bytes)
    else:
        return results.result(result)
    return results.result(await run_in_thread(context, whole))


def _filter(value: Any) -> PendingFilter | None:
    if value is ABSENT:
        return None
    text = os.environ.get("ALC_PROMPT_PREVIEW_CHARS", "")
    return parse_pending_filter(value, preview_chars=int(text) if text.isdecimal() else PREVIEW_CHARS)


def _snapshots(
    context: ToolContext, sids: list[str], filter: PendingFilter | None, include_history: bool
) -> dict[str, dict[str, Any]]:
    server = server_state(context)
    snapshots = {}
    for sid in sids:
        try:
            records = visible(server.pool(), sid, records_of(server.pool().home, server.limits, sid))
            snapshots[sid] = snapshot(records, now_s=now_s(), pending=filter, include_history=include_history)
        except AlcError:
            continue  # the line of the session shows the error
    return snapshots


# ── the pool ──────────────────────────────────────────────────────────────────────────────────────────────


async def alc_pool_status(context: ToolContext, sid: Text = ABSENT) -> Annotated[CallToolResult, Listing]:
    """List the live workers. A session without a worker is not lost: alc_status lists it, alc_continue revives it."""
    entries = await run_in_thread(context, partial(_live, context, sid))
    lines = [_line(entry) | {"created_at": entry.created_at, "status": "running"} for entry in entries]
    return results.result({"sessions": lines, "pool_version": __version__})


async def alc_pool_ensure(context: ToolContext) -> Annotated[CallToolResult, Listing]:
    """List the live workers. Nothing is started: a session gets a worker when it needs one."""
    entries = await run_in_thread(context, partial(_live, context, ""))
    return results.result({"sessions": [_line(entry) for entry in entries], "pool_version": __version__})


async def alc_pool_stop(
    context: ToolContext, sid: Annotated[Text, Field(description="Omit to stop all")] = ABSENT
) -> Annotated[CallToolResult, Listing]:
    """End workers. Their sessions are kept: alc_continue revives them. To end a session use alc_stop(mode="cancel")."""
    server = server_state(context)
    entries = await run_in_thread(context, partial(_live, context, sid))
    stopped, errors = [], []

    async def stop(entry: PoolSessionEntry) -> None:
        try:
            await dispatch.stop_via_pool(server.pool(), entry.sid, "hibernate")
            stopped.append(entry.sid)
        except AlcError as exc:
            errors.append(f"sid={entry.sid}: {exc}")

    async def stop_all() -> None:
        async with anyio.create_task_group() as tasks:
            for entry in entries:
                tasks.start_soon(stop, entry)

    await with_deadline(server.limits.grace_s, stop_all(), timeout_advice="check with alc_pool_status, then try again")
    return results.result({"stopped": sorted(stopped), "errors": errors})


def _live(context: ToolContext, sid: str) -> list[PoolSessionEntry]:
    home = server_state(context).pool().home
    own = live_sessions(home)  # the registry lists the workers of all owners
    try:
        entries = PoolRegistry.load(home.registry).sessions
    except (OSError, ValueError):
        entries = []  # the next write sets a corrupt registry aside and rebuilds it
    return [entry for entry in entries if sid in ("", entry.sid) and entry.key in own and entry.identity.is_alive()]


def _line(entry: PoolSessionEntry) -> dict[str, Any]:
    return {"sid": entry.sid, "pid": entry.pid, "sock": entry.sock, "version": entry.version}


# ── info, logs, annotations, statistics ──────────────────────────────────────────────────────────────────────────────


async def alc_info(context: ToolContext) -> Annotated[CallToolResult, Listing]:
    """Show the version, the settings, and the directories of logs and packages."""
    server = server_state(context)
    home = server.pool().home
    search_path = await run_in_thread(context, lambda: SearchPath.of(home, os.environ, find_root(os.environ)))
    info: dict[str, Any] = {
        "version": __version__,
        "preset_catalog_version": None,
        "log_dir": {"resolved": str(home.finished), "source": "ALC_HOME" if "ALC_HOME" in os.environ else "HOME"},
        "log_enabled": True,
        "tracing": "stderr only",
        "search_paths": [
            {"path": str(path), "source": "ALC_PACKAGES_PATH" if origin == "path" else "default"}
            for path, origin in search_path.roots
        ],
        "project_root": None if search_path.project.root is None else str(search_path.project.root),
        "settings": {name: value for name, value in sorted(os.environ.items()) if name.startswith("ALC_")},
    }
    return results.result(info | ({"packages_dir": str(home.packages)} if home.packages.is_dir() else {}))


async def alc_log_view(
    context: ToolContext,
    session_id: Annotated[Text, Field(description="Omit to list the logs")] = ABSENT,
    limit: Limit = None,
    max_chars: Annotated[MaxChars, Field(description="Maximum length as JSON; 0: no limit")] = None,
) -> Annotated[CallToolResult, Listing]:
    """Show the log of a finished session: its prompts, its answers and its notes."""
    home = server_state(context).pool().home
    if not session_id:
        lines = await run_in_thread(context, partial(logs.list_logs, home, limit or _DEFAULT_LOGS))
        return results.result({"sessions": lines})
    chars = _LOG_CHARS if max_chars is None else max_chars
    return results.result(
        await run_in_thread(context, partial(logs.read_log, home, checked_session_id(session_id), chars))
    )


async def alc_note(
    context: ToolContext, session_id: Text, content: Text, title: Text = ABSENT
) -> Annotated[CallToolResult, Listing]:
    """Add a note to the log of a finished session."""
    home, sid = server_state(context).pool().home, checked_session_id(session_id)
    count = await run_in_thread(context, partial(logs.annotate, home, sid, content, title or None))
    return results.result({"session_id": sid, "notes_count": count})


async def alc_stats(
    context: ToolContext, strategy: Text = ABSENT, days: Days = None
) -> Annotated[CallToolResult, Listing]:
    """Show averages and totals of the finished sessions, by strategy."""
    home = server_state(context).pool().home
    statistics = await run_in_thread(context, partial(logs.statistics, home, strategy=strategy or None, days=days))
    sinks = [path for path in os.environ.get("ALC_CARD_SINKS", "").split("|") if path and not caller()]
    return results.result(statistics | {"card_sinks": sinks})


# ── registration ──────────────────────────────────────────────────────────────────────────────────────────


# They keep something in the home, or read all that is there. The home of a server with a database is a cache.
_OF_A_HOME = frozenset(
    (
        *("alc_log_view", "alc_note", "alc_stats", "alc_card_install", "alc_card_sink_backfill"),
        *("alc_eval", "alc_eval_history", "alc_eval_detail", "alc_eval_compare"),
    )
)


def tools(listed: list[Tool], *, has_database: bool) -> list[Tool]:
    """`listed`, with alc_run and alc_status replaced by those that take upstream's arguments, and upstream's tools."""
    by_name = {tool.name: tool for tool in listed}
    for function in (alc_run, alc_status):
        replaced = by_name[function.__name__]
        assert replaced.annotations is not None
        title, text = cast("str", replaced.title), replaced.description
        by_name[replaced.name] = make_tool(function, title, replaced.annotations, replaced.meta, text=text)
    own = [
        make_tool(alc_advice, "Run a strategy by name", hints(), None),
        make_tool(alc_info, "About this server", _READ, None),
        make_tool(alc_pool_status, "List workers", _READ, None),
        make_tool(alc_pool_ensure, "List workers", _READ, None),
        make_tool(alc_pool_stop, "End workers", hints(idempotent=True), None),
        make_tool(alc_log_view, "Show logs", _READ, None),
        make_tool(alc_note, "Add a note", hints(), None),
        make_tool(alc_stats, "Show statistics", _READ, None),
    ]
    rooms = (packages, package_authoring, state, cards, evaluation)
    upstream = [*own, *(tool for room in rooms for tool in room.tools())]
    return [*by_name.values(), *(tool for tool in upstream if not (has_database and tool.name in _OF_A_HOME))]
