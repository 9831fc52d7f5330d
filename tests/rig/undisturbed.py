"""Another session on the same server, which goes on while something hostile happens."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median

import anyio

from algocline_mcp.pool.dispatch import Pool, stop_via_pool
from tests.rig.rig import run, say, until

QUICK_S = 15.0  # of each step; one takes 5 ms on an idle machine
_STEPS_BEFORE = 9
# How much the median of the steps may grow. On an idle machine it grows by less than 5 ms; the rest is for other work
# that may begin on the machine meanwhile. A step that waits for the hostile session is far beyond.
_GROWTH_FACTOR, _GROWTH_S = 4.0, 0.25


@asynccontextmanager
async def undisturbed(pool: Pool) -> AsyncIterator[None]:
    """Another session makes its steps meanwhile, each of them quickly, and half of them about as quickly as before."""
    sid, *_ = await run(pool, 'local n = 0 while true do alc.llm("p") n = n + 1 end')
    took_s: list[float] = []

    async def step() -> None:
        began = anyio.current_time()
        reply = await say(pool, sid, f"q-{len(took_s)}", "A")
        took_s.append(anyio.current_time() - began)

        assert reply.result["query_id"] == f"q-{len(took_s)}"
        assert took_s[-1] < QUICK_S

    async def go_on() -> None:
        while True:
            await step()
            await anyio.sleep(0.02)

    for _ in range(_STEPS_BEFORE):
        await step()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(go_on)
        yield
        await until(lambda: len(took_s) > _STEPS_BEFORE)
        tasks.cancel_scope.cancel()
    await stop_via_pool(pool, sid, "cancel")
    before_s, during_s = median(took_s[:_STEPS_BEFORE]), median(took_s[_STEPS_BEFORE:])
    assert during_s < _GROWTH_FACTOR * before_s + _GROWTH_S, f"{before_s:.4f} s before, {during_s:.4f} s meanwhile"
