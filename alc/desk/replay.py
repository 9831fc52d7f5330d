"""Runs a strategy in an engine, and replays it in another one, for a test.

The second engine belongs to another process, and gets the journal of the first run without its last answers: it asks
every prompt again, and each must be the recorded one.
"""

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from alc.desk.model import Answer as ModelAnswer
from alc.desk.model import Model
from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.pool.dispatch import Pool, Strategy, continue_via_pool, run_via_pool, stop_via_pool
from algocline_mcp.pool.verify import scratch_pool
from algocline_mcp.session.events import Answer
from algocline_mcp.worker.engine.python.exceptions import Refused

_WAIT_S = 60.0  # of one step
_MAX_PAUSES = 1000  # of one run

Source = str | os.PathLike[str] | Callable[..., Any]


@dataclass(slots=True)
class Replayed:
    result: Any
    prompts: list[str]


@dataclass(slots=True)
class _Run:
    """The first run: its end, and the journal and the answers of its last pause."""

    state: dict[str, Any]
    sid: str
    journal: bytes = b""
    answers: list[Answer] = field(default_factory=list)


def replay(
    strategy: Source,
    ctx: Mapping[str, Any] | None = None,
    answers: Mapping[str, ModelAnswer] | Model | None = None,
    *,
    default: ModelAnswer | None = None,
) -> Replayed:
    """`strategy`: a path, or a function, whose file is run. `answers` and `default` as of alc.Model.

    Raises AssertionError where the strategy fails, or a prompt or the result is another one in the second engine."""
    path = Path(strategy if isinstance(strategy, str | os.PathLike) else inspect.getfile(strategy))
    model = answers if isinstance(answers, Model) else Model(answers, default=default)
    start = Strategy(path.read_text("utf-8"), language="python", ctx=dict(ctx or {}))
    return anyio.run(_replay, start, model)


async def _replay(start: Strategy, model: Model) -> Replayed:
    home = Home.from_env(os.environ)
    environ = dict(os.environ, ALC_SPAWN="exec")
    async with scratch_pool(home, Limits(), environ) as pool:
        first = await _run(pool, start, model)
    if first.answers:
        async with scratch_pool(home, Limits(), environ) as pool:
            second = await _again(pool, first)
        _compare(first.state, second)
    return Replayed(first.state["result"], model.prompts)


async def _run(pool: Pool, start: Strategy, model: Model) -> _Run:
    reply = await run_via_pool(pool, start, wait_s=_WAIT_S)
    run = _Run(reply.result, str(reply.session_id))
    try:
        for _ in range(_MAX_PAUSES):
            if run.state["status"] != "needs_response":
                break
            run.journal = pool.home.journal(run.sid).read_bytes()
            run.answers = [_answer(model, query) for query in run.state.get("queries", [run.state])]
            run.state = (await continue_via_pool(pool, run.sid, run.answers, wait_s=_WAIT_S)).result
    finally:
        await stop_via_pool(pool, run.sid, "delete")
    if run.state["status"] != "completed":
        raise AssertionError(
            f"the strategy ended in {run.state['status']}: {run.state.get('error', 'no result in time')}"
        )
    return run


def _answer(model: Model, query: Mapping[str, Any]) -> Answer:
    answer = model.answer(query)
    if isinstance(answer, Refused):
        return Answer(query["query_id"], refuse=answer.reason)
    return Answer(query["query_id"], answer)


async def _again(pool: Pool, run: _Run) -> dict[str, Any]:
    pool.home.journal(run.sid).write_bytes(run.journal)
    try:
        return dict((await continue_via_pool(pool, run.sid, run.answers, wait_s=_WAIT_S)).result)
    finally:
        await stop_via_pool(pool, run.sid, "delete")


def _compare(first: Mapping[str, Any], second: Mapping[str, Any]) -> None:
    if second["status"] != "completed":
        shown = [f"{key}: {second[key]!r}" for key in ("recorded", "replayed") if key in second]
        raise AssertionError("\n".join([f"the replay differs: {second.get('error', second['status'])}", *shown]))
    if first["result"] != second["result"]:
        raise AssertionError(f"the result differs:\nrecorded: {first['result']!r}\nreplayed: {second['result']!r}")
