"""The names of the Rust program's tools, for hosts and prompts that know those; listed with ALC_TOOLS=full.

Contract: thin. Each calls what the tools of the core call and gives its result the original's shape, so a session that
was started here goes on there. `alc_run` and `alc_status` take the original's arguments as well as their own. What
changes state or cards is a strategy of one line, which makes the change exactly once like any other.
"""

import os
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
from algocline_mcp.pool.registry import PoolRegistry, PoolSessionEntry
from algocline_mcp.server.compat import cards, logs, packages, state
from algocline_mcp.server.compat.status import PREVIEW_CHARS, Filter, checked, snapshot
from algocline_mcp.server.tool_call import results
from algocline_mcp.server.tool_call.arguments import ABSENT, Ctx, Limit, Opts, Text, View, WaitS, count, flag
from algocline_mcp.server.tool_call.deadline import within
from algocline_mcp.server.tool_call.tool import Host, Listing, Outcome, checked_sid, hints, look, opened, room_of, tool
from algocline_mcp.server.tool_call.truncation import BESIDE_BYTES, beside, beside_each
from algocline_mcp.server.tools import sessions as core
from algocline_mcp.storage.clock import now_s

HostMode = Annotated[bool, PlainValidator(flag("host_mode")), WithJsonSchema({"type": "boolean"})]
History = Annotated[bool, PlainValidator(flag("include_history")), WithJsonSchema({"type": "boolean"})]
PendingFilter = Annotated[Any, PlainValidator(lambda value: value), WithJsonSchema({})]
MaxChars = Annotated[int | None, PlainValidator(count("max_chars", 0)), WithJsonSchema({"type": "integer"})]
Days = Annotated[int | None, PlainValidator(count("days")), WithJsonSchema({"type": "integer"})]
_LOGS = 50
_LOG_CHARS = 100_000
_READ = hints(read_only=True, idempotent=True)


# ── sessions ──────────────────────────────────────────────────────────────────────────────────────────────


async def alc_run(
    host: Host,
    code: Text = ABSENT,
    code_file: Text = ABSENT,
    strategy: Annotated[Text, Field(description="An installed one, by name")] = ABSENT,
    task: Annotated[Text, Field(description="ctx.task")] = ABSENT,
    opts: Annotated[Opts, Field(description="More of ctx")] = {},  # noqa: B006 - read only
    ctx: Annotated[Ctx, Field(description="Input, the Lua global `ctx`")] = {},  # noqa: B006
    title: Text = ABSENT,
    project_root: Text = ABSENT,
    host_mode: Annotated[HostMode, Field(description="Every session has a worker of its own")] = False,
    wait_s: WaitS = None,
) -> Annotated[CallToolResult, Outcome]:
    return await core.alc_run(host, code, code_file, strategy, task, opts, ctx, title, project_root, wait_s)


async def alc_advice(
    host: Host,
    strategy: Text,
    task: Text = ABSENT,
    opts: Opts = {},  # noqa: B006 - read only
    project_root: Text = ABSENT,
    wait_s: WaitS = None,
) -> Annotated[CallToolResult, Outcome]:
    """Run an installed strategy, as alc_run(strategy=, task=, opts=)."""
    if not strategy:
        raise Refused('strategy is empty: alc_catalog(kind="strategies") lists what is installed')
    return await core.alc_run(host, strategy=strategy, task=task, opts=opts, project_root=project_root, wait_s=wait_s)


async def alc_status(
    host: Host,
    session_id: Annotated[Text, Field(description="Leave out to list the sessions")] = ABSENT,
    wait_s: WaitS = None,
    view: View = None,
    limit: Limit = None,
    cursor: Text = ABSENT,
    pending_filter: Annotated[PendingFilter, Field(description='"meta", "preview", "full", or which fields')] = ABSENT,
    include_history: History = False,
) -> Annotated[CallToolResult, Outcome]:
    wanted = _filter(pending_filter)
    told = await core.looked(host, session_id, wait_s, view, limit, cursor, 0 if view else BESIDE_BYTES)
    if view:
        return told
    found: dict[str, Any] = told.structured_content or {}
    sids = [session_id] if session_id else [each["session_id"] for each in found.get("sessions", [])]
    shots = await look(host, partial(_snapshots, host, sids, wanted, include_history))
    if session_id:
        return results.result(beside(found, shots.get(session_id, {}), room_of(host)))
    return results.result(beside_each(found, shots, room_of(host)) if sids else found)


def _filter(given: Any) -> Filter | None:
    if given is ABSENT:
        return None
    text = os.environ.get("ALC_PROMPT_PREVIEW_CHARS", "")
    return checked(given, preview_chars=int(text) if text.isdecimal() else PREVIEW_CHARS)


def _snapshots(host: Host, sids: list[str], wanted: Filter | None, include_history: bool) -> dict[str, dict[str, Any]]:
    held = opened(host)
    found = {}
    for sid in sids:
        try:
            records = records_of(held.usable().home, held.limits, sid)
            found[sid] = snapshot(records, now_s=now_s(), pending=wanted, include_history=include_history)
        except AlcError:
            continue  # its line says what is wrong with it
    return found


# ── the pool ──────────────────────────────────────────────────────────────────────────────────────────────


async def alc_pool_status(host: Host, sid: Text = ABSENT) -> Annotated[CallToolResult, Listing]:
    """List the live workers. A session without one is not lost: alc_status lists it, alc_continue wakes it."""
    found = await look(host, partial(_live, host, sid))
    lines = [_entry(each) | {"created_at": each.created_at, "status": "running"} for each in found]
    return results.result({"sessions": lines, "pool_version": __version__})


async def alc_pool_ensure(host: Host) -> Annotated[CallToolResult, Listing]:
    """List the live workers. There is nothing to ensure: workers are started when a session needs one."""
    found = await look(host, partial(_live, host, ""))
    return results.result({"sessions": [_entry(each) for each in found], "pool_version": __version__})


async def alc_pool_stop(
    host: Host, sid: Annotated[Text, Field(description="Leave out to stop all")] = ABSENT
) -> Annotated[CallToolResult, Listing]:
    """End workers. Their sessions are kept and go on with alc_continue; alc_stop(mode="cancel") ends a session."""
    held = opened(host)
    found = await look(host, partial(_live, host, sid))
    stopped, errors = [], []

    async def stop(each: PoolSessionEntry) -> None:
        try:
            await dispatch.stop_via_pool(held.usable(), each.sid, "hibernate")
            stopped.append(each.sid)
        except AlcError as exc:
            errors.append(f"sid={each.sid}: {exc}")

    async def stop_all() -> None:
        async with anyio.create_task_group() as tasks:
            for each in found:
                tasks.start_soon(stop, each)

    await within(held.limits.grace_s, stop_all(), unanswered="look with alc_pool_status, and call this again")
    return results.result({"stopped": sorted(stopped), "errors": errors})


def _live(host: Host, sid: str) -> list[PoolSessionEntry]:
    try:
        entries = PoolRegistry.load(opened(host).usable().home.registry).sessions
    except (OSError, ValueError):
        entries = []  # it is set aside and rebuilt by the next write
    return [each for each in entries if sid in ("", each.sid) and each.identity.is_alive()]


def _entry(each: PoolSessionEntry) -> dict[str, Any]:
    return {"sid": each.sid, "pid": each.pid, "sock": each.sock, "version": each.version}


# ── info, logs, notes, stats ──────────────────────────────────────────────────────────────────────────────


async def alc_info(host: Host) -> Annotated[CallToolResult, Listing]:
    """Tell version, settings, and where things lie."""
    held = opened(host)
    home = held.usable().home
    search_path = await look(host, lambda: SearchPath.of(home, os.environ, find_root(os.environ)))
    told: dict[str, Any] = {
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
    return results.result(told | ({"packages_dir": str(home.packages)} if home.packages.is_dir() else {}))


async def alc_log_view(
    host: Host,
    session_id: Annotated[Text, Field(description="Leave out to list the logs")] = ABSENT,
    limit: Limit = None,
    max_chars: Annotated[MaxChars, Field(description="0: no limit")] = None,
) -> Annotated[CallToolResult, Listing]:
    """Show the log of a session that is over: its prompts and answers, and notes."""
    home = opened(host).usable().home
    if not session_id:
        found = await look(host, partial(logs.logs, home, limit or _LOGS))
        return results.result({"sessions": found})
    most = _LOG_CHARS if max_chars is None else max_chars
    return results.result(await look(host, partial(logs.log, home, checked_sid(session_id), most)))


async def alc_note(
    host: Host, session_id: Text, content: Text, title: Text = ABSENT
) -> Annotated[CallToolResult, Listing]:
    """Add a note to the log of a session that is over."""
    home, sid = opened(host).usable().home, checked_sid(session_id)
    noted = await look(host, partial(logs.note, home, sid, content, title or None))
    return results.result({"session_id": sid, "notes_count": noted})


async def alc_stats(host: Host, strategy: Text = ABSENT, days: Days = None) -> Annotated[CallToolResult, Listing]:
    """Sum up the sessions that are over, by strategy."""
    home = opened(host).usable().home
    told = await look(host, partial(logs.sums, home, strategy=strategy or None, days=days))
    return results.result(
        told | {"card_sinks": [each for each in os.environ.get("ALC_CARD_SINKS", "").split("|") if each]}
    )


# ── registration ──────────────────────────────────────────────────────────────────────────────────────────


def tools(found: list[Tool]) -> list[Tool]:
    """`found`, with the two that take more in their places, and the original's others behind."""
    taken = {each.name: each for each in found}
    for function in (alc_run, alc_status):
        mine = taken[function.__name__]
        function.__doc__ = getattr(core, function.__name__).__doc__
        assert mine.annotations is not None
        taken[mine.name] = tool(function, cast("str", mine.title), mine.annotations, mine.meta)
    own = [
        tool(alc_advice, "Run a strategy by name", hints(), None),
        tool(alc_info, "PackageMetadata this server", _READ, None),
        tool(alc_pool_status, "List workers", _READ, None),
        tool(alc_pool_ensure, "List workers", _READ, None),
        tool(alc_pool_stop, "End workers", hints(idempotent=True), None),
        tool(alc_log_view, "Show logs", _READ, None),
        tool(alc_note, "Add a note", hints(), None),
        tool(alc_stats, "Sum up runs", _READ, None),
    ]
    return [*taken.values(), *own, *packages.tools(), *state.tools(), *cards.tools()]
