"""Idle server: the memory of a window whose host has listed the tools and called none."""

import contextlib
import os
import sys
from dataclasses import replace

import anyio
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from measure import Row, at_most, figure
from memory import rollup
from stage import Stage, processes

from algocline_mcp.config.home import Home

PART = "idle server"
_WINDOW_MIB = 15.0
_SETTLE_S = 5.0  # the baseline imports the SDK and starts its fork server meanwhile


async def measure(stage: Stage) -> list[Row]:
    rows = []
    for name, python in (("a window without a call", sys.executable), ("the same, baseline", stage.baseline)):
        if python is not None:
            mib, count, resident = await _window(stage, python)
            is_ours = python == sys.executable
            aims = [at_most(mib, _WINDOW_MIB, "MiB")] if is_ours else []
            note = f"{count} processes, {resident:.1f} MiB resident"
            rows.append(replace(figure(PART, name, mib, *aims, unit="MiB", n=1, note=note), is_ours=is_ours))
    return rows


async def _window(stage: Stage, python: str) -> tuple[float, int, float]:
    """Proportional MiB of all processes of the second window in a home, their number, and their resident MiB."""
    home = Home(stage.directory())
    command = StdioServerParameters(
        command=python, args=["-m", "algocline_mcp"], env=stage.environ_of(home, {}), cwd=stage.directory()
    )
    for _ in range(2):  # the first one stores the replies
        async with Client(command) as client:
            await client.list_tools()
            await anyio.sleep(stage.choose(int(_SETTLE_S), 1))
            running = [process.pid for process in processes(home.root)]
            mib = sum(rollup(pid).proportional_mib for pid in running)
            resident = sum(_resident_mib(pid) for pid in running)
    return mib, len(running), resident


def _resident_mib(pid: int) -> float:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
    return 0.0
