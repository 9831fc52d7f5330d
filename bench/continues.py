"""A burst of runs and then of continues through one client, with the caps that a user has."""

import sys
import time
from collections.abc import Awaitable
from typing import Any

import anyio
from mcp import Client
from measure import Row, none, other, ratio, row
from stage import TWO_QUESTIONS, WAIT_S, Stage, call

from algocline_mcp.config.home import Home

PART = "burst of continues"
BASELINE = "baseline"
_RUNS, _CONTINUES = 0.6, 0.3  # of the time of the baseline
_ROUNDS = 7  # of three, the median varied by a fifth


async def measure(stage: Stage) -> list[Row]:
    """Each round has a server and a home of its own: a burst must not pay for what the one before left."""
    count = stage.choose(100, 5)
    servers = {"whole": sys.executable} | ({BASELINE: stage.baseline} if stage.baseline is not None else {})
    runs: dict[str, list[float]] = {name: [] for name in servers}
    continues: dict[str, list[float]] = {name: [] for name in servers}
    wrong = {"lost": 0}
    for _ in range(stage.choose(_ROUNDS, 1)):
        for name, python in servers.items():
            async with stage.client(Home(stage.directory()), python=python, ALC_POOL_MAX="") as client:
                took_ms, paused = await _at_once([_run(client) for _ in range(count)])
                runs[name].append(took_ms)
                took_ms, answered = await _at_once([_continue(client, result) for result in paused])
                continues[name].append(took_ms)
            wrong["lost"] += count - [result.get("prompt") for result in answered].count("second after A")
    rows = []
    for what, times, aim in (("runs", runs, _RUNS), ("continues", continues, _CONTINUES)):
        ours, theirs = times["whole"], times.get(BASELINE)
        against = [ratio(BASELINE, ours, theirs, at_most=aim)] if theirs is not None else []
        rows.append(row(PART, f"{count} {what} at once", ours, *against, none(wrong), note=_least(ours)))
        if theirs is not None:
            rows.append(other(PART, f"{count} {what} at once, baseline", theirs, note=_least(theirs)))
    return rows


def _least(times: list[float]) -> str:
    return f"least {min(times):.0f} ms"


async def _at_once(calls: list[Awaitable[dict[str, Any]]]) -> tuple[float, list[dict[str, Any]]]:
    """Milliseconds until the last one was answered, and the results."""
    results: list[dict[str, Any]] = []

    async def one(pending: Awaitable[dict[str, Any]]) -> None:
        results.append(await pending)

    began = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for pending in calls:
            tasks.start_soon(one, pending)
    return (time.perf_counter() - began) * 1000, results


async def _run(client: Client) -> dict[str, Any]:
    return await call(client, "alc_run", code=TWO_QUESTIONS, wait_s=WAIT_S)


async def _continue(client: Client, paused: dict[str, Any]) -> dict[str, Any]:
    named = {name: paused[name] for name in ("session_id", "query_id")}
    return await call(client, "alc_continue", response="A", wait_s=WAIT_S, **named)
