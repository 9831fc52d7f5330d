"""Many hibernated sessions, listed page by page and each one continued: `python bench/hibernated.py [--sessions N]`.

Starts them in a home below a temporary directory under default limits, so that at most the cap of them has a worker,
and ends those too; then a second server lists them all and answers each. Prints one JSON line with seconds and
milliseconds; exit code 1 where one is missing or ends with another result than its own.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.pool.dispatch import Pool, Strategy, continue_via_pool, list_via_pool, run_via_pool, stop_via_pool
from algocline_mcp.session.events import Answer
from algocline_mcp.storage.sockets import live_sessions

_AT_ONCE = 4


async def start(home: Home, sessions: int) -> None:
    async with Pool(home, Limits()) as pool:
        for number in range(sessions):
            code = f'local a = alc.llm("first of {number}") return a .. alc.llm("second of {number} after " .. a)'
            reply = await run_via_pool(pool, Strategy(code), wait_s=60)
            await continue_via_pool(pool, reply.session_id, [Answer("q-0", f"a{number}")], wait_s=60)
        for sid in live_sessions(home):
            await stop_via_pool(pool, sid, "hibernate")


async def listed(pool: Pool) -> tuple[dict[str, str], float]:
    """Every session with its open prompt, and milliseconds per page."""
    prompts: dict[str, str] = {}
    took_ms = []
    cursor = None
    while True:
        began = time.perf_counter()
        page = await list_via_pool(pool, cursor=cursor)
        took_ms.append((time.perf_counter() - began) * 1000)
        prompts |= {line["session_id"]: line["prompt"] for line in page["sessions"] if line["worker"] == "none"}
        if (cursor := page.get("cursor")) is None:
            return prompts, statistics.median(took_ms)


async def go_on(pool: Pool, prompts: dict[str, str]) -> tuple[int, list[float]]:
    """How many ended with their own result, and milliseconds from an answer to that."""
    took_ms: list[float] = []
    right = 0
    left = list(prompts)

    async def work() -> None:
        nonlocal right
        while left:
            sid = left.pop()
            number = prompts[sid].split()[2]
            began = time.perf_counter()
            reply = await continue_via_pool(pool, sid, [Answer("q-1", "!")], wait_s=60)
            took_ms.append((time.perf_counter() - began) * 1000)
            right += reply.result.get("result") == f"a{number}!"

    async with anyio.create_task_group() as tasks:
        for _ in range(_AT_ONCE):
            tasks.start_soon(work)
    return right, took_ms


async def measure(root: Path, sessions: int) -> dict[str, Any]:
    home = Home(root)
    began = time.monotonic()
    await start(home, sessions)
    started_s = time.monotonic() - began
    async with Pool(home, Limits()) as pool:
        prompts, page_ms = await listed(pool)
        began = time.monotonic()
        right, took_ms = await go_on(pool, prompts)
        continued_s = time.monotonic() - began
        left = (await list_via_pool(pool))["active_sessions"]
    return {
        "sessions": sessions,
        "listed": len(prompts),
        "right": right,
        "left": left,
        "started_s": round(started_s, 1),
        "page_ms": round(page_ms, 2),
        "continued_s": round(continued_s, 1),
        "median_ms": round(statistics.median(took_ms), 2),
        "worst_ms": round(max(took_ms), 2),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=1000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="alc") as name:
        figures = anyio.run(partial(measure, Path(name) / "h", args.sessions))
    print(json.dumps(figures))
    return int(not figures["listed"] == figures["right"] == args.sessions or figures["left"] > 0)


if __name__ == "__main__":
    sys.exit(main())
