"""Another session on the same server, which goes on while something hostile happens."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from algocline_mcp.pool.dispatch import Pool, stop_via_pool
from tests.rig.rig import run, say, until

QUICK_S = 15.0  # of a step that takes 5 ms on an idle machine


@asynccontextmanager
async def undisturbed(pool: Pool) -> AsyncIterator[None]:
    """Another session makes its steps meanwhile, each of them quickly."""
    sid, *_ = await run(pool, 'local n = 0 while true do alc.llm("p") n = n + 1 end')
    number = 0

    async def go_on() -> None:
        nonlocal number
        while True:
            began = anyio.current_time()
            reply = await say(pool, sid, f"q-{number}", "A")
            number += 1

            assert reply.result["query_id"] == f"q-{number}"
            assert anyio.current_time() - began < QUICK_S
            await anyio.sleep(0.02)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(go_on)
        yield
        await until(lambda: number)
        tasks.cancel_scope.cancel()
    await stop_via_pool(pool, sid, "cancel")
