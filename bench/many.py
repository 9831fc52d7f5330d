"""Many sessions on the disk: whether a step, a page and the first answer after a start feel their number."""

import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from listing import fill
from measure import Row, Stopwatch, at_most, interleaved, ratio, row
from stage import ENDLESS, Stage, Steps, answer, run, unfinished, worker_gone

from algocline_mcp.config.limits import Limits
from algocline_mcp.pool.dispatch import Pool, PoolReply, list_via_pool, stop_via_pool

PART = "many on disk"
_FEW = 10
_ANSWERS = 12
_STEP_AT_MOST = 1.2
_PAGE_MS = 15.0
_FIRST_MS = 100.0


async def measure(stage: Stage) -> list[Row]:
    many = stage.choose(10_000, 50)
    few_step, many_step = f"step, {_FEW} on disk", f"step, {many} on disk"
    async with _filled(stage, _FEW) as few_pool, _filled(stage, many) as many_pool:
        few, full = Steps(few_pool, await run(few_pool, ENDLESS)), Steps(many_pool, await run(many_pool, ENDLESS))
        calls = {few_step: few.once, many_step: full.once}
        times = await interleaved(stage.choose(200, 10), calls, pause_s=0.0)
        pages, page_cpu_ms = await _pages(many_pool, stage.choose(30, 5))
        firsts = await _firsts(many_pool, full.reply, stage.choose(7, 2))
    step_aim = ratio(few_step, times[many_step], times[few_step], at_most=_STEP_AT_MOST)
    page_aim = at_most(statistics.median(pages), _PAGE_MS, "ms")
    first_aim = at_most(statistics.median(firsts), _FIRST_MS, "ms")
    note = f"journals of {_ANSWERS} answers; {page_cpu_ms:.1f} ms of processor time"
    return [
        row(PART, few_step, times[few_step]),
        row(PART, many_step, times[many_step], step_aim),
        row(PART, f"page of {many} sessions", pages, page_aim, note=note),
        row(PART, f"first answer after a start, {many} on disk", firsts, first_aim),
    ]


@asynccontextmanager
async def _filled(stage: Stage, sessions: int) -> AsyncIterator[Pool]:
    """Hibernated sessions and as many finished ones. They go before the stage ends what is unfinished, one by one."""
    async with stage.pool() as pool:
        fill(pool.home, sessions, _ANSWERS)
        made = unfinished(pool.home)
        try:
            yield pool
        finally:
            for sid in made:
                pool.home.journal(sid).unlink(missing_ok=True)  # one that has ended is archived behind its reply


async def _pages(pool: Pool, rounds: int) -> tuple[list[float], float]:
    """Milliseconds of each, and the median of the processor time of this process."""
    took_ms: list[float] = []
    cpu_ms: list[float] = []
    for _ in range(rounds):
        began = time.process_time()
        with Stopwatch() as watch:
            await list_via_pool(pool)
        cpu_ms.append((time.process_time() - began) * 1000)
        took_ms.append(watch.ms)
        await anyio.sleep(0.01)
    return took_ms, statistics.median(cpu_ms)


async def _firsts(pool: Pool, reply: PoolReply, rounds: int) -> list[float]:
    """Each by a server that has just started, of a session that has no worker."""
    took_ms: list[float] = []
    for _ in range(rounds):
        await stop_via_pool(pool, reply.session_id, "hibernate")
        await worker_gone(pool, reply.session_id)
        async with Pool(pool.home, Limits.from_env(pool.environ), environ=pool.environ) as fresh:
            await fresh.fork_server.started()
            with Stopwatch() as watch:
                reply = await answer(fresh, reply)
            took_ms.append(watch.ms)
    return took_ms
