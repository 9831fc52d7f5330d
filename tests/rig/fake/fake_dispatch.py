"""A pool without workers, behind the seam of `algocline_mcp.pool.dispatch`.

Its "strategy" is JSON: `{"pauses": [["prompt", …], …]}` asks pause by pause and returns all answers; `{"do": …}` plays
one of the troubles of `_TROUBLES`. Anything else completes at once and echoes what it was started with.
"""

import json
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Self

import anyio

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import HomeUnusable, Refused
from algocline_mcp.session.events import Answer

StopMode = Literal["hibernate", "cancel", "delete"]


class Progress(NamedTuple):
    step: int
    total: int
    message: str | None


OnProgress = Callable[[Progress], Awaitable[None]]


class PoolReply(NamedTuple):
    session_id: str
    result: dict[str, Any]
    pool_save_error: str | None


@dataclass(frozen=True, slots=True)
class Strategy:
    code: str
    chunk: str = "strategy"
    ctx: Mapping[str, Any] = field(default_factory=dict)
    title: str | None = None
    project_root: str | None = None
    lib_paths: tuple[str, ...] = ()
    name: str | None = None
    variants: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Session:
    pauses: list[list[str]]
    asked: int = 0
    pending: dict[str, str] = field(default_factory=dict)
    answers: list[Any] = field(default_factory=list)
    is_cancelled: bool = False


class Pool:
    def __init__(
        self, home: Home, limits: Limits, *, environ: Mapping[str, str] = os.environ, fork_process: object = None
    ) -> None:
        self.home = home
        self.sessions: dict[str, Session] = {}

    async def __aenter__(self) -> Self:
        try:
            self.home.root.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise HomeUnusable(f"{self.home.root} is no directory: set ALC_HOME to one") from exc
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass


async def _refuse(on_progress: OnProgress | None) -> dict[str, Any]:
    raise Refused("the fake refuses this: ask for something else", code="busy")


async def _break(on_progress: OnProgress | None) -> dict[str, Any]:
    raise KeyError("a secret of the program")


async def _hang(on_progress: OnProgress | None) -> dict[str, Any]:
    await anyio.sleep_forever()
    raise AssertionError


async def _spoil(on_progress: OnProgress | None) -> dict[str, Any]:
    return {"half": "\ud800x", "nan": float("nan")}


async def _progress(on_progress: OnProgress | None) -> dict[str, Any]:
    assert on_progress is not None
    for step in (1, 2, 1):
        await on_progress(Progress(step, 2, f"step {step}"))
        await anyio.sleep(0.15)  # longer than the gap between two notices
    return {}


async def _print(on_progress: OnProgress | None) -> dict[str, Any]:
    print("stray words")
    os.write(1, b"more of them\n")
    await anyio.run_process(["echo", "and of a child"], stdout=None, stderr=None)
    return {"stdin": os.read(0, 100).decode()}


_TROUBLES: dict[str, Callable[[OnProgress | None], Awaitable[dict[str, Any]]]] = {
    "refuse": _refuse,
    "break": _break,
    "hang": _hang,
    "spoil": _spoil,
    "progress": _progress,
    "print": _print,
}


async def run_via_pool(
    pool: Pool, strategy: Strategy, *, wait_s: float, on_progress: OnProgress | None = None
) -> PoolReply:
    try:
        plan = json.loads(strategy.code)
    except ValueError:
        plan = None
    sid = f"p-{len(pool.sessions) + 1:x}-0123456789abcdef"
    if isinstance(plan, dict) and "do" in plan:
        result = await _TROUBLES[plan["do"]](on_progress)
        return PoolReply(sid, _completed(sid, result), None)
    if isinstance(plan, dict) and plan.get("status") == "error":
        return PoolReply(sid, {"session_id": sid, **plan}, None)
    if isinstance(plan, dict) and "pauses" in plan:
        pool.sessions[sid] = Session(plan["pauses"])
        return PoolReply(sid, _state(sid, pool.sessions[sid]), None)
    echo = {name: getattr(strategy, name) for name in strategy.__slots__}
    return PoolReply(sid, _completed(sid, echo | {"wait_s": wait_s}), "registry.json: disk full")


async def continue_via_pool(
    pool: Pool, sid: str, answers: Sequence[Answer], *, wait_s: float, on_progress: OnProgress | None = None
) -> PoolReply:
    session = _session(pool, sid)
    refused = []
    for answer in answers:
        query_id = answer.query_id or next(iter(session.pending), "")
        if query_id in session.pending:
            del session.pending[query_id]
            session.answers.append({**answer.item(query_id)})
        else:
            refused.append({"query_id": query_id, "reason": f"unknown query_id: {query_id}"})
    if len(refused) == len(answers):
        raise Refused(refused[0]["reason"])
    return PoolReply(sid, _state(sid, session) | ({"refused": refused} if refused else {}), None)


async def status_via_pool(
    pool: Pool, sid: str, *, wait_s: float = 0, on_progress: OnProgress | None = None
) -> PoolReply:
    return PoolReply(sid, _state(sid, _session(pool, sid)), None)


async def list_via_pool(
    pool: Pool, *, limit: int | None = None, cursor: str | None = None, project: str | None = None
) -> dict[str, Any]:
    return {"active_sessions": len(pool.sessions), "sessions": [{"session_id": sid} for sid in pool.sessions]}


async def view_via_pool(
    pool: Pool,
    sid: str,
    view: str,
    *,
    limit: int | None = None,
    cursor: str | None = None,
    page_bytes: int,
    is_whole: bool = False,
) -> dict[str, Any]:
    asked = {"limit": limit, "cursor": cursor, "page_bytes": page_bytes}
    return {"status": "running", "session_id": sid, "view": view, **asked}


async def stop_via_pool(pool: Pool, sid: str, mode: StopMode) -> PoolReply:
    session = _session(pool, sid)
    session.is_cancelled = mode == "cancel"
    return PoolReply(sid, _state(sid, session), None)


def _session(pool: Pool, sid: str) -> Session:
    if sid not in pool.sessions:
        raise Refused(f"Session {sid} not found: start one with alc_run", code="not_found")
    return pool.sessions[sid]


def _completed(sid: str, result: Any) -> dict[str, Any]:
    return {"status": "completed", "session_id": sid, "result": result, "stats": {"auto": {}, "custom": {}}}


def _state(sid: str, session: Session) -> dict[str, Any]:
    if session.is_cancelled:
        return {"status": "cancelled", "session_id": sid, "stats": {}}
    if not session.pending and session.pauses:
        for prompt in session.pauses.pop(0):
            session.pending[f"q-{session.asked}"] = prompt
            session.asked += 1
    if not session.pending:
        return _completed(sid, session.answers)
    queries = [
        {"id": query_id, "query_id": query_id, "prompt": prompt, "system": f"role {query_id}", "max_tokens": 1024}
        for query_id, prompt in session.pending.items()
    ]
    if len(queries) == 1:
        del queries[0]["id"]
        return {"status": "needs_response", "session_id": sid, **queries[0]}
    return {"status": "needs_response", "session_id": sid, "queries": queries}
