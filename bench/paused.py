"""Memory of many paused sessions with default settings: `python bench/paused.py [--sessions N]`.

Starts them over the official client in a home below a temporary directory, so that a server, its fork server and as
many workers live as the defaults allow; the others hibernate. Then adds up the proportional memory (PSS) of every
process of that home. Prints one JSON line in MiB; exit code 1 where the sum is over `--aim`.
"""

import argparse
import json
import os
import sys
from functools import partial
from typing import Any

import anyio
import machine
from memory import rollup
from stage import ENDLESS, WAIT_S, Stage, call, processes, unfinished

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits

_SETTLE_S = Limits().burst_s + 1.0  # after the last one: the burst is over, and a worker stands by again


async def measure(stage: Stage, sessions: int) -> dict[str, Any]:
    del stage.environ["ALC_POOL_MAX"]  # the default is what is measured
    home = Home(stage.directory())
    async with stage.client(home) as client:
        for _ in range(sessions):
            await call(client, "alc_run", code=ENDLESS, wait_s=WAIT_S)
        await anyio.sleep(_SETTLE_S)
        running = processes(home.root)
        shares = {process.pid: rollup(process.pid).proportional_mib for process in running}
        workers = {process.pid for process in running if process.is_worker}
        figures = {
            "sessions": len(unfinished(home)),
            "live": len(list(home.pool.glob("p-*.sock"))),
            "processes": len(running),
            "all_mib": round(sum(shares.values()), 1),
            "workers_mib": round(sum(share for pid, share in shares.items() if pid in workers), 1),
            "python": machine.describe(stage.root)["python"],
        }
        for sid in unfinished(home):  # else the stage ends them one by one
            if not home.socket(sid).exists():
                os.unlink(home.journal(sid))
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--aim", type=float, default=250.0, metavar="MIB")
    args = parser.parse_args()
    with Stage(is_quick=False) as stage:
        figures = anyio.run(partial(measure, stage, args.sessions))
    print(json.dumps(figures))
    return int(figures["sessions"] != args.sessions or figures["all_mib"] > args.aim)


if __name__ == "__main__":
    sys.exit(main())
