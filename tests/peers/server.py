"""A server without MCP, as a process that a test can kill.

Reads calls of pool.dispatch as JSON lines from stdin, and writes one line per call to stdout: `{result,
pool_save_error}` or `{error, code}`. Calls without an `id` run one after the other. Calls with an `id` run side by
side, and their replies have the same `id`.

Environment: ALC_HOME and the limits. First line on stdout: `{pid}`. Ends at the end of stdin.
"""

import json
import os
import sys
from typing import Any

import anyio
import anyio.to_thread

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import AlcError
from algocline_mcp.pool.dispatch import (
    Pool,
    PoolReply,
    Strategy,
    continue_via_pool,
    list_via_pool,
    run_via_pool,
    status_via_pool,
    stop_via_pool,
)
from algocline_mcp.session.events import Answer


def send(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)


async def call(pool: Pool, order: dict[str, Any]) -> PoolReply:
    wait_s = order.get("wait_s", 60.0)
    match order["call"]:
        case "run":
            return await run_via_pool(pool, Strategy(order["code"], ctx=order.get("ctx", {})), wait_s=wait_s)
        case "continue":
            answers = [Answer(*item) for item in order.get("answers") or [order["answer"]]]
            return await continue_via_pool(pool, order["sid"], answers, wait_s=wait_s)
        case "status":
            return await status_via_pool(pool, order["sid"], wait_s=wait_s)
        case "stop":
            return await stop_via_pool(pool, order["sid"], order["mode"])
    return PoolReply("", await list_via_pool(pool), None)


async def answer(pool: Pool, order: dict[str, Any]) -> None:
    call_id = {"id": order["id"]} if "id" in order else {}
    try:
        reply = await call(pool, order)
    except AlcError as exc:
        send({"error": str(exc), "code": exc.code, **call_id})
    else:
        send({"result": reply.result, "pool_save_error": reply.pool_save_error, **call_id})


async def main() -> None:
    home, limits = Home.from_env(os.environ), Limits.from_env(os.environ)
    async with Pool(home, limits) as pool, anyio.create_task_group() as tasks:
        send({"pid": os.getpid()})
        while line := await anyio.to_thread.run_sync(sys.stdin.readline):
            order = json.loads(line)
            if "id" in order:
                tasks.start_soon(answer, pool, order)
            else:
                await answer(pool, order)
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    try:
        anyio.run(main)
    except AlcError as exc:
        send({"pid": os.getpid(), "error": str(exc), "code": exc.code})
