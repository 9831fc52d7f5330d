"""A pool without workers, which takes the place of `algocline_mcp.pool.dispatch`.

Contract. Sessions are records in memory; the pure parts of the product (`decide`, `view`, `view_of`, `result_of`)
decide and show. So results and refusals have the shapes of the real module; tests/pool/test_dispatch_contract.py holds
both to the same tests. There are no workers, no journals, no hibernation and no time.

The code of a strategy is JSON: `{"pauses": [["prompt", …], …]}` asks pause by pause and returns all answers;
`{"status": "error", …}` is the result; `{"do": …}` is a fault of `_FAULTS`. Any other code completes at once and
returns the fields of its Strategy and `wait_s`.
"""

import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self

import anyio

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import HomeUnusable, ProgramReplaced, Refused
from algocline_mcp.history.new_session import Strategy, header_of
from algocline_mcp.history.views import PAGE_BYTES, Page, view_of
from algocline_mcp.pool.replies import OnProgress, PoolReply, Progress, result_of
from algocline_mcp.session.decisions import decide
from algocline_mcp.session.events import Answer, Asked, Cancel, Continue, Ended, EngineEvent, HostEvent
from algocline_mcp.session.records import Record
from algocline_mcp.session.results import summary, view
from algocline_mcp.session.state import fold
from algocline_mcp.session.streams import MAIN
from algocline_mcp.storage.clock import now_s
from algocline_mcp.storage.files import make_directories

__all__ = [
    "OnProgress",
    "Pool",
    "PoolReply",
    "Progress",
    "StopMode",
    "Strategy",
    "continue_via_pool",
    "list_via_pool",
    "run_via_pool",
    "status_via_pool",
    "stop_via_pool",
    "view_via_pool",
]

StopMode = Literal["hibernate", "cancel", "delete"]


@dataclass
class Session:
    records: list[Record]
    pauses: list[list[str]]  # prompts that are not asked yet

    def on_event(self, event: HostEvent | EngineEvent) -> dict[str, Any]:
        """Decides as a keeper does. Returns the data of its response, or raises Refused."""
        decision = decide(fold(self.records), event)
        self.records += decision.records
        if decision.error is not None:
            raise Refused(decision.error.reason, code=decision.error.code)
        refused = [{"query_id": refusal.query_id, "reason": refusal.reason} for refusal in decision.refused]
        return self.data(is_accepted=decision.is_taken) | {"refused": refused}

    def data(self, *, is_accepted: bool = False) -> dict[str, Any]:
        self._run()
        return {"feed_result": view(fold(self.records), now_s=now_s(), accepted=is_accepted and not self._has_asked)}

    def _run(self) -> None:
        """What an engine does: asks the prompts of the next pause, or ends with all answers as its result."""
        session = fold(self.records)
        self._has_asked = False
        if session.pending or session.final is not None:
            return
        if self.pauses:
            first = session.streams[MAIN].asked
            queries = tuple(
                {"prompt": prompt, "system": f"role q-{first + n}", "max_tokens": 1024}
                for n, prompt in enumerate(self.pauses.pop(0))
            )
            self.records += decide(session, Asked(MAIN, queries, now_s())).records
            self._has_asked = True
        else:
            answers = [item for record in self.records if record["kind"] == "answer" for item in record["answers"]]
            self.records += decide(session, Ended(MAIN, {"result": answers}, now_s())).records


class Pool:
    def __init__(
        self,
        home: Home,
        limits: Limits,
        *,
        environ: Mapping[str, str] = os.environ,
        fork_process: object = None,
        is_home_required: bool = True,
        node: object = None,
    ) -> None:
        self.home = home
        self.limits = limits
        self.files = anyio.CapacityLimiter(2)
        self.sessions: dict[str, Session] = {}

    async def __aenter__(self) -> Self:
        try:
            make_directories(self.home.root)
        except OSError as exc:
            cause = f"{exc.filename}: {exc.strerror}; repair it or set ALC_HOME elsewhere"
            raise HomeUnusable(f"ALC_HOME={self.home.root} cannot hold sessions: {cause}") from exc
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
        await anyio.sleep(0.15)  # longer than the gap between two notifications
    return {}


async def _print(on_progress: OnProgress | None) -> dict[str, Any]:
    print("stray words")
    os.write(1, b"more of them\n")
    await anyio.run_process(["echo", "and of a child"], stdout=None, stderr=None)
    return {"stdin": os.read(0, 100).decode()}


async def _outdated(on_progress: OnProgress | None) -> dict[str, Any]:
    """As where the program on disk has been replaced; the next server is of the new one."""
    mark = Path(os.environ["ALC_HOME"]) / "replaced"
    if not mark.exists():
        mark.parent.mkdir(exist_ok=True)
        mark.touch()
        raise ProgramReplaced("the program on disk is another one")
    return {"pid": os.getpid()}


async def _pid(on_progress: OnProgress | None) -> dict[str, Any]:
    return {"pid": os.getpid()}


_FAULTS: dict[str, Callable[[OnProgress | None], Awaitable[dict[str, Any]]]] = {
    "refuse": _refuse,
    "break": _break,
    "hang": _hang,
    "spoil": _spoil,
    "progress": _progress,
    "print": _print,
    "outdated": _outdated,
    "pid": _pid,
}


async def run_via_pool(
    pool: Pool, strategy: Strategy, *, wait_s: float, on_progress: OnProgress | None = None
) -> PoolReply:
    sid = f"p-{len(pool.sessions) + 1:x}-0123456789abcdef"
    session = Session([header_of(pool.limits, strategy, sid=sid) | {"sandbox": "off"}], [])
    plan = _plan(strategy.code)
    if "pauses" in plan:
        session.pauses = plan["pauses"]
        pool.sessions[sid] = session
        return PoolReply(sid, result_of(sid, session.data()), None)
    if plan.get("status") == "error":
        return PoolReply(sid, {"session_id": sid, **plan}, None)
    if "do" in plan:
        result, error = await _FAULTS[plan["do"]](on_progress), None
    else:
        result = {field.name: getattr(strategy, field.name) for field in fields(strategy)} | {"wait_s": wait_s}
        error = "registry.json: disk full"
    pool.sessions[sid] = session
    return PoolReply(sid, result_of(sid, session.on_event(Ended(MAIN, {"result": result}, now_s()))), error)


def _plan(code: str) -> dict[str, Any]:
    try:
        plan = json.loads(code)
    except ValueError:
        return {}
    return plan if isinstance(plan, dict) else {}


async def continue_via_pool(
    pool: Pool,
    sid: str,
    answers: Sequence[Answer],
    *,
    wait_s: float,
    on_progress: OnProgress | None = None,
    is_checked: bool = False,
) -> PoolReply:
    data = _session(pool, sid).on_event(Continue(tuple(answers), now_s(), is_checked))
    return PoolReply(sid, result_of(sid, data), None)


async def status_via_pool(
    pool: Pool, sid: str, *, wait_s: float = 0.0, on_progress: OnProgress | None = None
) -> PoolReply:
    return PoolReply(sid, result_of(sid, _session(pool, sid).data()), None)


async def stop_via_pool(pool: Pool, sid: str, mode: StopMode) -> PoolReply:
    session = _session(pool, sid)
    if mode == "delete":
        del pool.sessions[sid]
        return PoolReply(sid, {"status": "deleted", "session_id": sid}, None)
    data = session.on_event(Cancel(now_s())) if mode == "cancel" else session.data()
    return PoolReply(sid, result_of(sid, data), None)


async def list_via_pool(
    pool: Pool, *, limit: int | None = None, cursor: str | None = None, project: str | None = None
) -> dict[str, Any]:
    folds = [fold(session.records) for session in reversed(pool.sessions.values())]
    unfinished = [session for session in folds if session.final is None]
    if not unfinished:
        return {"active_sessions": 0, "sessions": []}
    count = len(unfinished)
    lines = [
        summary(session, worker="live") | {"prompt": next(iter(session.pending.values()))["prompt"]}
        for session in unfinished[: limit or pool.limits.listed]
    ]
    counts = {"unfinished": count, "live": count, "finished": len(folds) - count}
    more = {"cursor": lines[-1]["session_id"]} if len(lines) < count else {}
    return {"active_sessions": count, "sessions": lines, "counts": counts, "sandbox": "off"} | more


async def view_via_pool(
    pool: Pool,
    sid: str,
    view: str,
    *,
    limit: int | None = None,
    cursor: str | None = None,
    page_bytes: int = PAGE_BYTES,
    is_whole: bool = False,
) -> dict[str, Any]:
    items = sys.maxsize if is_whole else limit or pool.limits.listed
    page = Page(limit=items, cursor=cursor, max_bytes=page_bytes, is_limit_chosen=is_whole or limit is not None)
    return view_of(_session(pool, sid).records, view, page, worker="live", now_s=now_s())


def _session(pool: Pool, sid: str) -> Session:
    if sid not in pool.sessions:
        raise Refused(f"Session {sid} not found: start one with alc_run", code="not_found")
    return pool.sessions[sid]
