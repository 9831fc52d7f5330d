"""Functions behind `alc ps`, `alc stop` and `alc logs`.

Contract: no MCP server is started. The functions work on the home directly, through the functions of pool.dispatch that
the tools use too; only `stop` enters a pool, because it signals workers. They raise AlcErrors and print nothing.
"""

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import anyio

from algocline_mcp.cli.arguments import home_of
from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import HomeUnusable, Refused
from algocline_mcp.history.listing import list_finished, list_unfinished, not_found
from algocline_mcp.history.reader import records_of
from algocline_mcp.packages.project import project_of
from algocline_mcp.pool import dispatch
from algocline_mcp.pool.registry import PoolRegistry
from algocline_mcp.session.records import Record
from algocline_mcp.storage.owners import owners_of

_HEADS = ("SESSION", "STATUS", "WAITS FOR", "WORKER", "AGE", "LANGUAGE", "TITLE")
_IDS_SHOWN = 3
_AGES = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


def _pool(sid: str = "") -> dispatch.Pool:
    """Raises HomeUnusable for a home that exists and cannot be read: it is not an empty home. With `sid`: of the part
    that holds this session."""
    home = home_of(sid) if sid else Home.from_env(os.environ)
    for path in (home.root, home.sessions):
        try:
            os.scandir(path).close()
        except FileNotFoundError:
            break  # no session was ever started
        except OSError as exc:
            raise HomeUnusable(f"cannot read {path}: {exc.strerror}; repair it or set ALC_HOME elsewhere") from exc
    return _pool_of(home)


def _pool_of(home: Home) -> dispatch.Pool:
    """Without a fork server: at most one worker is needed here."""
    return dispatch.Pool(home, Limits.from_env(os.environ), environ=dict(os.environ, ALC_SPAWN="exec"))


# ── ps ────────────────────────────────────────────────────────────────────────────────────────────────────


def listed(*, also_finished: bool) -> dict[str, Any]:
    """The list of alc_status(), each line with `pid` (of its keeper; None without a worker) and `age_s`, and with its
    `owner` where the home has several; with `also_finished`, those of `list_finished` beside it."""
    users = _pool()
    pids, owners = live_pids(users.home), owners_of(users.home)
    lists = []
    for owner, home in owners:
        pool = _pool_of(home)
        sessions = list_unfinished(home, pool.limits, project=project_of(os.environ))
        if also_finished:
            sessions |= list_finished(home, pool.limits)
        for line in [*sessions["sessions"], *sessions.get("finished", ())]:
            _complete(line, pool, pids)
            if len(owners) > 1:
                line["owner"] = owner
        lists.append(sessions)
    return lists[0] if len(lists) == 1 else _merged(lists, users.limits)


def _complete(line: dict[str, Any], pool: dispatch.Pool, pids: Mapping[str, int]) -> None:
    line["pid"] = pids.get(line["session_id"])
    if line["pid"] is None and line["worker"] == "live" and not dispatch.is_listening(pool, line["session_id"]):
        line["worker"] = "none"  # the worker was killed while no server was there to remove its socket
    add_age(line)


def add_age(line: dict[str, Any]) -> None:
    if "created_at" in line:
        line["age_s"] = round(max(0.0, time.time() - line["created_at"]), 3)


def _merged(lists: Sequence[Mapping[str, Any]], limits: Limits) -> dict[str, Any]:
    """The lists of several owners as one, newest first."""
    merged: dict[str, Any] = {}
    for name in ("active_sessions", "finished_sessions"):
        if name in lists[0]:
            merged[name] = sum(sessions[name] for sessions in lists)
    for name in ("sessions", "finished"):
        if name in lists[0]:
            lines = [line for sessions in lists for line in sessions[name]]
            merged[name] = sorted(lines, key=lambda line: str(line["session_id"]), reverse=True)[: limits.listed]
    counts = sum((Counter(sessions.get("counts", {})) for sessions in lists), Counter())
    return merged | {"counts": {name: counts[name] for name in ("unfinished", "live", "finished")}}


def live_pids(home: Home) -> dict[str, int]:
    """The pid of the worker of each session that has a live one."""
    try:
        entries = PoolRegistry.load(home.registry).sessions
    except (OSError, ValueError):
        return {}
    return {entry.sid: entry.pid for entry in entries if entry.identity.is_alive()}


def table(sessions: Mapping[str, Any]) -> str:
    """The sessions of `listed`, one a line."""
    lines_shown = [*sessions["sessions"], *sessions.get("finished", ())]
    if not lines_shown and "nodes" not in sessions:
        return f"no session is {'here' if 'finished' in sessions else 'unfinished'}; start one with: alc run FILE"
    rows = [_HEADS, *map(_row, lines_shown)]
    for name in ("node", "owner"):
        if any(line.get(name) for line in lines_shown):
            column = (name.upper(), *(str(line.get(name, "")) for line in lines_shown))
            rows = [(sid, cell, *others) for (sid, *others), cell in zip(rows, column, strict=True)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    left = sessions["active_sessions"] - len(sessions["sessions"])
    if left:
        lines.append(f"and {left} older sessions: set ALC_LISTED higher to see them")
    left = sessions.get("finished_sessions", 0) - len(sessions.get("finished", ()))
    if left > 0:
        lines.append(f"and {left} older finished sessions: set ALC_LISTED higher to see them")
    if "nodes" in sessions:
        nodes = ", ".join(f"{node['node']} ({node['sessions']})" for node in sessions["nodes"])
        lines.append(f"nodes, and how many sessions each holds: {nodes or 'none'}")
    return "\n".join(lines)


def _row(line: Mapping[str, Any]) -> tuple[str, ...]:
    pending = line.get("pending", [])
    more = f" and {len(pending) - _IDS_SHOWN} more" if len(pending) > _IDS_SHOWN else ""
    worker = str(line["pid"]) if line["pid"] is not None else str(line["worker"])
    age = _age(line["age_s"]) if "age_s" in line else ""
    status = line.get("error_code") or line["status"]
    return (
        line["session_id"],
        status,
        ", ".join(pending[:_IDS_SHOWN]) + more,
        worker,
        age,
        str(line.get("language", "")),
        " ".join(str(line.get("title", "")).split()),
    )


def _age(seconds: float) -> str:
    size, unit = next((age for age in _AGES if seconds >= age[0]), _AGES[-1])
    return f"{seconds / size:.0f} {unit}"


def first_listed() -> tuple[str, str]:
    """Id and title of the session that `alc ps` lists first, without those whose journal cannot be read."""
    pool = _pool()
    for line in list_unfinished(pool.home, pool.limits, project=project_of(os.environ))["sessions"]:
        if "title" in line or line["status"] != "error":
            return line["session_id"], " ".join(line.get("title", "").split())
    raise Refused("no session is unfinished here: start one with alc run FILE, or give the id of a session")


# ── stop ──────────────────────────────────────────────────────────────────────────────────────────────────


def stop(sid: str, mode: dispatch.StopMode) -> str:
    """A sentence about the state of the session."""

    async def ask() -> dispatch.PoolReply:
        async with _pool(sid) as pool:
            return await dispatch.stop_via_pool(pool, sid, mode)

    reply = anyio.run(ask)
    status = reply.result["status"]
    if status == "deleted":
        sentence = f"session {sid} is deleted"
    elif status == "cancelled":
        sentence = f"session {sid} is cancelled; its journal stays, but the session cannot go on"
    elif status == "completed" or (status == "error" and "error_code" not in reply.result):
        sentence = f"session {sid} had already ended: {status}"
    else:
        sentence = f"session {sid} has no worker now, and nothing is lost; go on with: alc continue {sid}"
    return f"{sentence} ({reply.pool_save_error})" if reply.pool_save_error else sentence


# ── logs ──────────────────────────────────────────────────────────────────────────────────────────────────


def log(sid: str) -> list[str]:
    """The log of a session in order, then the stderr of its worker. Raises Refused for an unknown id."""
    pool = _pool() if os.sep in sid else _pool(sid)
    if os.sep in sid:
        raise Refused(not_found(pool.home, pool.limits, sid), code="not_found")
    lines = list(_log_lines(records_of(pool.home, pool.limits, sid)))
    try:
        said = pool.home.stderr(sid).read_text(errors="replace").splitlines()
    except OSError:
        said = []
    return [*lines, *([f"── stderr of its worker ({pool.home.stderr(sid)}) ──", *said] if said else [])]


def _log_lines(records: Iterable[Record]) -> Iterator[str]:
    """Lines of the log. A log record has no time, because a replay must equal it: its line gets the time of the record
    before it."""
    t = 0.0
    for record in records:
        t = record.get("t", t)
        clock = datetime.fromtimestamp(t).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        stream = f"[{record['stream']}] " if record.get("stream") else ""
        match record["kind"]:
            case "note" if "progress" in record:
                progress = record["progress"]
                said = progress["message"] or ""
                yield f"{clock}  progress  {stream}{progress['step']}/{progress['total']} {said}".rstrip()
            case "note":
                yield f"{clock}  {record['level']:8}  {stream}{record['message']}"
            case "crash":
                yield f"{clock}  crash     {stream}{record['reason']}"
            case "misfit":
                yield f"{clock}  misfit    an answer to {', '.join(record['query_ids'])} did not fit"
            case "delivery" if not record["answered"]:
                yield f"{clock}  wake      {stream}its timer fired"
            case "fork":
                children = enumerate(record["strategies"], record["first"])
                named = ", ".join(f"{strategy} as {child}" for child, strategy in children)
                yield f"{clock}  fork      {stream}{named}"
            case "end":
                yield f"{clock}  end       {stream}{record.get('error', 'completed')}"
            case "final" if record["status"] != "completed":
                yield f"{clock}  {record['status']:8}  {record.get('error', 'ended on demand')}"
