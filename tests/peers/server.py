"""A server without MCP, as a process that can be killed: calls of pool.dispatch as JSON lines on stdin, one after the
other; each is answered by one line on stdout, `{result, pool_save_error}` or `{error, code}`.

Environment: ALC_HOME and the limits. First line on stdout: `{pid}`. Ends at the end of stdin.
"""

import json
import os
import sys
from typing import Any

import anyio
import anyio.to_thread

from algocline_mcp.errors import AlcError
from algocline_mcp.limits import Home, Limits
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
from algocline_mcp.session import Answer


def tell(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)


async def call(pool: Pool, order: dict[str, Any]) -> PoolReply:
    wait_s = order.get("wait_s", 10.0)
    match order["call"]:
        case "run":
            return await run_via_pool(pool, Strategy(order["code"]), wait_s=wait_s)
        case "continue":
            return await continue_via_pool(pool, order["sid"], [Answer(*order["answer"])], wait_s=wait_s)
        case "status":
            return await status_via_pool(pool, order["sid"], wait_s=wait_s)
        case "stop":
            return await stop_via_pool(pool, order["sid"], order["mode"])
    return PoolReply("", await list_via_pool(pool), None)


async def main() -> None:
    async with Pool(Home.from_env(os.environ), Limits.from_env(os.environ)) as pool:
        tell({"pid": os.getpid()})
        while line := await anyio.to_thread.run_sync(sys.stdin.readline):
            try:
                reply = await call(pool, json.loads(line))
            except AlcError as exc:
                tell({"error": str(exc), "code": exc.code})
            else:
                tell({"result": reply.result, "pool_save_error": reply.pool_save_error})


if __name__ == "__main__":
    try:
        anyio.run(main)
    except AlcError as exc:
        tell({"pid": os.getpid(), "error": str(exc), "code": exc.code})
