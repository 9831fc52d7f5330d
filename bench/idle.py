"""Idle: how often the kernel has to run any process of paused sessions, their server and its fork server included."""

import contextlib
import os
from pathlib import Path

import anyio
from mcp import Client
from measure import Row, at_most, figure
from stage import ENDLESS, WAIT_S, Stage, call, processes

from algocline_mcp.config.home import Home

PART = "idle"
_SETTLE_S = 1.0
_UPSTREAM = "upstream, 20 paused sessions in 10 s, elsewhere: 1,324 in host mode, 0 in process"


async def measure(stage: Stage) -> list[Row]:
    sessions, watched_s = stage.choose(100, 5), stage.choose(10, 1)
    home = Home(stage.directory())
    async with stage.client(home) as client:
        async with anyio.create_task_group() as tasks:
            for _ in range(sessions):
                tasks.start_soon(_start, client)
        await anyio.sleep(_SETTLE_S)
        pids = [process.pid for process in processes(home.root)]
        before = {pid: _switches(pid) for pid in pids}
        await anyio.sleep(watched_s)
        switches_of = {pid: _switches(pid) - count for pid, count in before.items()}
    switches = sum(switches_of.values())
    name = f"context switches of {sessions} paused sessions in {watched_s} s"
    note = f"{len(pids)} processes, {sum(count > 0 for count in switches_of.values())} of them ran; {_UPSTREAM}"
    return [figure(PART, name, switches, at_most(switches, 0, "switches"), unit="switches", n=len(pids), note=note)]


async def _start(client: Client) -> None:
    await call(client, "alc_run", code=ENDLESS, wait_s=WAIT_S)


def _switches(pid: int) -> int:
    """Of all its threads. One that has ended counts no further."""
    total = 0
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            for line in Path(f"/proc/{pid}/task/{thread}/status").read_text().splitlines():
                if "ctxt_switches" in line:
                    total += int(line.split()[1])
    return total
