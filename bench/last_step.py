"""The step that ends a session beside the ordinary step before it, in the same sessions."""

import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace

from mcp import Client
from measure import Row, beyond, other, ratio, row
from stage import TWO_QUESTIONS, WAIT_S, Stage, call, run

from algocline_mcp.config.home import Home
from algocline_mcp.pool.dispatch import Pool, continue_via_pool
from algocline_mcp.session.events import Answer

PART = "last step"
POOL, WHOLE, BASELINE = "pool layer", "whole", "whole, baseline"
_LATER_MS = 0.5

Steps = Callable[[], Awaitable[tuple[float, float]]]  # milliseconds of an ordinary step and of the last one


async def measure(stage: Stage) -> list[Row]:
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(stage.pool())
        layers: dict[str, Steps] = {
            POOL: _of_pool(pool),
            WHOLE: _of_client(await stack.enter_async_context(stage.client(Home(stage.directory())))),
        }
        if stage.baseline is not None:
            baseline = stage.client(Home(stage.directory()), python=stage.baseline)
            layers[BASELINE] = _of_client(await stack.enter_async_context(baseline))
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in layers}
        for _ in range(stage.choose(100, 5)):
            for name, steps in layers.items():
                times[name].append(await steps())
    ordinary = {name: [first for first, _ in pairs] for name, pairs in times.items()}
    last = {name: [second for _, second in pairs] for name, pairs in times.items()}
    rows = []
    for name in layers:
        comparisons = [beyond("an ordinary step", last[name], ordinary[name], at_most_ms=_LATER_MS)]
        if name == WHOLE and stage.baseline is not None:
            comparisons.append(ratio(BASELINE, last[name], last[BASELINE]))
        ours = row(PART, f"the last step, {name}", last[name], *comparisons, note=_p10(last[name]))
        rows.append(replace(ours, comparisons=(), is_ours=False) if name == BASELINE else ours)
        rows.append(other(PART, f"an ordinary step, {name}", ordinary[name], note=_p10(ordinary[name])))
    return rows


def _of_pool(pool: Pool) -> Steps:
    async def steps() -> tuple[float, float]:
        reply = await run(pool, TWO_QUESTIONS)
        times = []
        for _ in range(2):
            given = Answer(reply.result["query_id"], "A")
            began = time.perf_counter()
            reply = await continue_via_pool(pool, reply.session_id, [given], wait_s=WAIT_S)
            times.append((time.perf_counter() - began) * 1000)
        return _checked(times, reply.result["status"])

    return steps


def _of_client(client: Client) -> Steps:
    async def steps() -> tuple[float, float]:
        result = await call(client, "alc_run", code=TWO_QUESTIONS, wait_s=WAIT_S)
        times = []
        for _ in range(2):
            named = {name: result[name] for name in ("session_id", "query_id")}
            began = time.perf_counter()
            result = await call(client, "alc_continue", response="A", wait_s=WAIT_S, **named)
            times.append((time.perf_counter() - began) * 1000)
        return _checked(times, result["status"])

    return steps


def _checked(times: list[float], status: str) -> tuple[float, float]:
    if status != "completed":
        raise RuntimeError(f"the last step did not end the session: {status}")
    ordinary, last = times
    return ordinary, last


def _p10(values: list[float]) -> str:
    return f"p10 {sorted(values)[len(values) // 10]:.2f} ms"
