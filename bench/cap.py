"""The first prompt of a session below the cap of live workers and at the cap: `python bench/cap.py [--rounds N]`.

Starts as many paused sessions as the cap allows in a home below a temporary directory, then more: each of these has to
wait for the longest idle one to hibernate. Prints medians in milliseconds as one JSON line. Exit code 1 where the
second is more than 10 ms over the first.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import anyio

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.pool.dispatch import Pool, Strategy, list_via_pool, run_via_pool, stop_via_pool

_MOST_MS = 10.0


async def measure(home: Home, cap: int, rounds: int) -> tuple[list[float], list[float]]:
    async with Pool(home, Limits(pool_max=cap, pool_burst=cap), environ=os.environ) as pool:
        while pool.fork_server.pid is None and sys.platform == "linux":  # noqa: ASYNC110
            await anyio.sleep(0.01)
        below: list[float] = []
        at: list[float] = []
        for number in range(cap + rounds):
            began = time.perf_counter()
            await run_via_pool(pool, Strategy('return alc.llm("p")'), wait_s=10.0)
            (below if number < cap else at).append((time.perf_counter() - began) * 1000)
        for line in (await list_via_pool(pool, limit=200))["sessions"]:
            await stop_via_pool(pool, line["session_id"], "delete")
        return below, at


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cap", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=64)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="alc") as name:
        below, at = map(statistics.median, anyio.run(measure, Home(Path(name) / "h"), args.cap, args.rounds))
    print(json.dumps({"below_ms": round(below, 2), "at_ms": round(at, 2), "more_ms": round(at - below, 2)}))
    return int(at - below > _MOST_MS)


if __name__ == "__main__":
    sys.exit(main())
