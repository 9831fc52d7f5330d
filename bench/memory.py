"""Memory of live paused sessions, and whether a step or a run grows slower with their number.

Each live session has an entry in the registry, so a run among n of them is a run with n entries.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import anyio
from measure import Row, Stopwatch, at_most, beyond, figure, ratio, row
from stage import ENDLESS, Process, Stage, answer, cancel_all, processes, run

from algocline_mcp.pool.dispatch import Pool, PoolReply

PART = "growth"
_PRIVATE_MIB = 2.6
_PRIVATE_FROM = 300  # sessions
_STEP_AT_MOST = 1.5
_RUN_AT_MOST = {300: 1.5}  # sessions -> ratio
_RUN_BEYOND_MS = {1000: 5.0}
_AT_ONCE = 8
_SETTLE_S = 0.3


@dataclass(frozen=True, slots=True)
class Seen:
    """With so many sessions live. Sizes in MiB, one per session; `lost`: of the machine's memory, per session."""

    private: list[float]
    pss: list[float]
    lost: float
    fork_server: float
    steps: list[float]
    runs: list[float]


async def measure(stage: Stage) -> list[Row]:
    sizes = (3, 6) if stage.is_quick else (10, 100, 300, 1000)
    seen: dict[int, Seen] = {}
    async with stage.pool() as pool:
        available = _available_mib()
        live: list[PoolReply] = []
        for size in sizes:
            live += await _start(pool, size - len(live))
            seen[size] = await _look(stage, pool, live, available)
        least = sizes[0]
        await cancel_all(pool, [reply.session_id for reply in live[least:]])
        again = await _look(stage, pool, live[:least], available)
    return [
        row
        for size in sizes
        for row in _rows(size, seen, seen[least].steps + again.steps, seen[least].runs + again.runs)
    ]


def _rows(size: int, seen: dict[int, Seen], least_steps: list[float], least_runs: list[float]) -> list[Row]:
    """`least_…`: with the fewest sessions, from before and after all others: what drifts meanwhile is in both."""
    least, here = min(seen), seen[size]
    mean = sum(here.private) / len(here.private)
    aims = [at_most(mean, _PRIVATE_MIB, "MiB", "mean")] if size >= _PRIVATE_FROM else []
    note = f"mean {mean:.2f}; fork server {here.fork_server:.1f} MiB besides"
    rows = [
        row(PART, f"private memory per session, {size} live", here.private, *aims, unit="MiB", note=note),
        row(PART, f"proportional memory per session, {size} live", here.pss, unit="MiB"),
    ]
    if here.lost > 0:
        lost = "what the machine has less, rough: kernel's share included, disturbed by all else"
        rows.append(
            figure(PART, f"available memory lost per session, {size} live", here.lost, unit="MiB", n=size, note=lost)
        )
    if size == least:
        return [*rows, row(PART, _step(size), least_steps), row(PART, _run(size), least_runs)]
    run_aim = ratio(_run(least), here.runs, least_runs, at_most=_RUN_AT_MOST.get(size))
    if size in _RUN_BEYOND_MS:
        run_aim = beyond(_run(least), here.runs, least_runs, at_most_ms=_RUN_BEYOND_MS[size])
    step_aim = ratio(_step(least), here.steps, least_steps, at_most=_STEP_AT_MOST if size >= _PRIVATE_FROM else None)
    return [*rows, row(PART, _step(size), here.steps, step_aim), row(PART, _run(size), here.runs, run_aim)]


def _step(size: int) -> str:
    return f"step, {size} live"


def _run(size: int) -> str:
    return f"first prompt, {size} live"


async def _start(pool: Pool, count: int) -> list[PoolReply]:
    limiter = anyio.CapacityLimiter(_AT_ONCE)
    started: list[PoolReply] = []

    async def start() -> None:
        async with limiter:
            started.append(await run(pool, ENDLESS))

    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(start)
    return started


async def _look(stage: Stage, pool: Pool, live: list[PoolReply], available: float) -> Seen:
    await anyio.sleep(_SETTLE_S)
    lost = (available - _available_mib()) / len(live)
    private, pss, fork_server = _sizes(processes(pool.home.root))
    steps, runs = [], []
    for index in islice(cycle(range(min(10, len(live)))), stage.choose(60, 6)):
        with Stopwatch() as watch:
            live[index] = await answer(pool, live[index])
        steps.append(watch.ms)
    for _ in range(stage.choose(25, 3)):
        with Stopwatch() as watch:
            reply = await run(pool, ENDLESS)
        runs.append(watch.ms)
        await cancel_all(pool, [reply.session_id])
        await anyio.sleep(0.01)
    return Seen(private, pss, lost, fork_server, steps, runs)


# ── what the kernel says ──────────────────────────────────────────────────────────────────────────────────


def _sizes(running: list[Process]) -> tuple[list[float], list[float], float]:
    """Private and proportional MiB of each session, all its processes; private MiB of the rest."""
    private: dict[int, float] = defaultdict(float)
    pss: dict[int, float] = defaultdict(float)
    rest = 0.0
    for process in running:
        memory = rollup(process.pid)
        if process.is_worker:
            private[process.group] += memory.private_mib
            pss[process.group] += memory.proportional_mib
        else:
            rest += memory.private_mib
    return list(private.values()), list(pss.values()), rest


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one process. `anonymous`: all that is no file's, shared with other processes or not."""

    private_mib: float = 0.0
    proportional_mib: float = 0.0
    anonymous_mib: float = 0.0


def rollup(pid: int) -> Memory:
    """A process that has ended meanwhile has no memory."""
    kib: Counter[str] = Counter()
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
            name, size, *_ = line.split()
            kib[name] += int(size)
    except (FileNotFoundError, ProcessLookupError):  # the second: it ended after the file was opened
        pass
    except PermissionError as exc:  # no process of this program lets another program of its user look
        raise RuntimeError("only root may measure the memory of workers: run this part as root") from exc
    private = kib["Private_Clean:"] + kib["Private_Dirty:"]
    return Memory(private / 1024, kib["Pss:"] / 1024, kib["Anonymous:"] / 1024)


def _available_mib() -> float:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/meminfo names no MemAvailable")
