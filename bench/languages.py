"""Python beside Lua as the language of a strategy, in the same rounds; Lua beside a fork server without Python."""

import os
import select
import socket
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

import anyio.to_thread
from measure import Comparison, Row, Stopwatch, Timed, at_most, beyond, figure, interleaved, other, ratio, row
from memory import rollup
from stage import PROGRAMS, WAIT_S, Stage, Steps, cancel_all, checked, processes
from startup import OURS, first_call_ms

from algocline_mcp.config.home import Home
from algocline_mcp.languages import LUA, PYTHON
from algocline_mcp.pool.dispatch import Pool, PoolReply, Strategy, run_via_pool
from algocline_mcp.pool.spawn import ForkServerProcess, worker_environment

PART = "languages"
ALONE = "Lua, fork server without Python"
_PROGRAM = PROGRAMS / "lua_fork_server.py"
_CODE = {
    LUA.name: 'local n = 0 while true do n = n + 1 alc.llm("question " .. n) end',
    PYTHON.name: 'def run(ctx):\n    n = 0\n    while True:\n        n += 1\n        alc.llm(f"question {n}")\n',
}
_NAMES = {LUA.name: "Lua", PYTHON.name: "Python"}

_FIRST_CALLS = {"alc_status": ("alc_status", dict[str, str]())} | {
    f"alc_run, {name}": ("alc_run", {"code": _CODE[language], "language": language})
    for language, name in _NAMES.items()
}
_READY = "from exec: the fork server is ready"

_FIRST_AT_MOST = 2.0
_STEP_AT_MOST = 1.6
_LUA_MS = 0.5
_PRIVATE_MIB = 3.0  # from Python 3.12 on: before, forked processes copy what they only count references to
_GROWTH_MIB = 12.0
_CALL_MS = 1300.0
_PAUSE_S = 0.05  # a worker stands by again 15 ms after the last request
_READY_S = 60.0
_SETTLE_S = 0.5


@dataclass(frozen=True, slots=True)
class _Ready:
    """The start of a fork server; its warm-up, which other processes take part in, is in the processor time."""

    took_ms: float
    cpu_ms: float


async def measure(stage: Stage) -> list[Row]:
    async with stage.pool() as pool, stage.pool(fork_server=_without_python) as alone:
        calls = {
            "Lua": _first(pool, LUA.name),
            "Python": _first(pool, PYTHON.name),
            ALONE: _first(alone, LUA.name),
        }
        first = await interleaved(stage.choose(60, 3), calls, pause_s=_PAUSE_S)
        both = {name: Steps(pool, await _run(pool, language)).once for language, name in _NAMES.items()}
        steps = await interleaved(stage.choose(200, 10), both, pause_s=0.0)
        await cancel_all(pool)
        memory = await _memory(stage, pool, alone)
    home = Home(stage.directory())
    starts = await anyio.to_thread.run_sync(_starts, stage, home)
    await stage.end_sessions(home)
    return [*_rows("first prompt", first), *_rows("step", steps), *memory, *starts]


def _rows(what: str, times: Mapping[str, list[float]]) -> list[Row]:
    """Of Lua, of Python, and where it was measured of Lua without Python."""
    bound = _FIRST_AT_MOST if ALONE in times else _STEP_AT_MOST
    python = ratio(f"{what}, Lua", times["Python"], times["Lua"], at_most=bound)
    rows = [row(PART, f"{what}, Python", times["Python"], python, note=_p10(times["Python"]))]
    if ALONE not in times:
        return [*rows, row(PART, f"{what}, Lua", times["Lua"], note=_p10(times["Lua"]))]
    lua = beyond(f"{what}, {ALONE}", times["Lua"], times[ALONE], at_most_ms=_LUA_MS)
    return [
        *rows,
        row(PART, f"{what}, Lua", times["Lua"], lua, note=_p10(times["Lua"])),
        other(PART, f"{what}, {ALONE}", times[ALONE], note=_p10(times[ALONE])),
    ]


def _p10(values: list[float]) -> str:
    return f"p10 {sorted(values)[len(values) // 10]:.2f} ms"


# ── calls ─────────────────────────────────────────────────────────────────────────────────────────────────


async def _run(pool: Pool, language: str) -> PoolReply:
    return checked(await run_via_pool(pool, Strategy(_CODE[language], language=language), wait_s=WAIT_S))


def _first(pool: Pool, language: str) -> Timed:
    async def once() -> float:
        with Stopwatch() as watch:
            reply = await _run(pool, language)
        await cancel_all(pool, [reply.session_id])
        return watch.ms

    return once


# ── memory ────────────────────────────────────────────────────────────────────────────────────────────────


async def _memory(stage: Stage, pool: Pool, alone: Pool) -> list[Row]:
    """Private memory of sessions at their first prompt, keeper and engine; what the fork server takes."""
    count = stage.choose(10, 2)
    language_of = {(await _run(pool, language)).session_id: language for language in _NAMES for _ in range(count)}
    alone_sids = {(await _run(alone, LUA.name)).session_id for _ in range(count)}
    await anyio.sleep(_SETTLE_S)  # a worker stands by again
    sizes: dict[str, list[float]] = defaultdict(list)
    for sid, mib in _private_mib(pool.home).items():
        sizes[_NAMES[language_of[sid]]].append(mib)
    sizes[ALONE] = list(_private_mib(alone.home).values())
    if len(sizes[ALONE]) != len(alone_sids) or len(sizes["Lua"]) != len(sizes["Python"]):
        raise RuntimeError(f"not all sessions are live: {dict(sizes)}")
    python, lua = (_private_aim(sizes[name]) for name in ("Python", "Lua"))
    name = "private memory of a session"
    rows = [
        row(PART, f"{name}, Python", sizes["Python"], python, unit="MiB"),
        row(PART, f"{name}, Lua", sizes["Lua"], lua, unit="MiB"),
        replace(row(PART, f"{name}, {ALONE}", sizes[ALONE], unit="MiB"), is_ours=False),
    ]
    with_python, without = (_fork_server_mib(one) for one in (pool, alone))
    growth = with_python - without
    aim = Comparison("without Python", with_python / without, f"{growth:+.1f} MiB, ≤ +12", growth <= _GROWTH_MIB)
    note = f"{without:.1f} MiB without Python; anonymous memory, that which its workers share included"
    return [*rows, figure(PART, "memory of the fork server", with_python, aim, unit="MiB", n=1, note=note)]


def _private_aim(values: list[float]) -> Comparison:
    return at_most(sum(values) / len(values), _PRIVATE_MIB, "MiB", "mean")


def _private_mib(home: Home) -> dict[str, float]:
    """By session, of those that are live."""
    private: dict[str, float] = defaultdict(float)
    for process in processes(home.root):
        if process.is_worker:
            sid = next(word for word in process.title.split() if word.startswith("p-"))
            private[sid] += rollup(process.pid).private_mib
    return private


def _fork_server_mib(pool: Pool) -> float:
    if pool.fork_server.pid is None:
        raise RuntimeError(f"there is no fork server: {pool.fork_server.warning}")
    return rollup(pool.fork_server.pid).anonymous_mib


# ── starts ────────────────────────────────────────────────────────────────────────────────────────────────


def _without_python(home: Home, environ: Mapping[str, str]) -> ForkServerProcess:
    return _start_fork_server([os.fspath(_PROGRAM)], home, environ)


def _start_fork_server(program: list[str], home: Home, environ: Mapping[str, str]) -> ForkServerProcess:
    """As `pool.spawn.start_fork_server`, which starts the program of the package only."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        fd = theirs.fileno()
        child = subprocess.Popen(
            [sys.executable, "-s", "-P", *program, "fork-server", "--control", str(fd)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=(fd,),
            start_new_session=True,
            cwd="/",
            env=worker_environment(home, environ),
        )
    child.returncode = 0  # the pool reaps it by its pid
    ours.setblocking(False)
    return ForkServerProcess(ours, child.pid)


def _starts(stage: Stage, home: Home) -> list[Row]:
    """From exec: of the fork server until it is ready, of the server until its first call is answered."""
    environ = stage.environ_of(home, {})
    programs = {"both languages": list(OURS), "without Python": [os.fspath(_PROGRAM)]}
    ready: dict[str, list[_Ready]] = defaultdict(list)
    calls: dict[str, list[float]] = defaultdict(list)
    for number in range(stage.choose(6, 1) + 1):
        for name, program in programs.items():
            ready[name].append(_until_ready(_start_fork_server(program, home, environ)))
        for name, (tool, arguments) in _FIRST_CALLS.items():
            took_ms = first_call_ms(environ, tool, arguments)
            if number:  # the first start in a home stores the replies of the handshake
                calls[name].append(took_ms)
    return [*_ready_rows(ready), *(_call_row(name, values) for name, values in calls.items())]


def _ready_rows(ready: Mapping[str, list[_Ready]]) -> list[Row]:
    rows = []
    for name, starts in ready.items():
        cpu_ms = statistics.median(start.cpu_ms for start in starts)
        note = f"{cpu_ms:.0f} ms of processor time"
        rows.append(row(PART, f"{_READY}, {name}", [start.took_ms for start in starts], note=note))
    with_python, without = ([start.cpu_ms for start in starts] for starts in ready.values())
    compared = ratio("without Python, processor time", with_python, without)
    return [replace(rows[0], comparisons=(compared,)), replace(rows[1], is_ours=False)]


def _call_row(name: str, values: list[float]) -> Row:
    aim = at_most(statistics.median(values), _CALL_MS, "ms")
    return row(PART, f"from exec: the first call is answered, {name}", values, aim)


def _until_ready(process: ForkServerProcess) -> _Ready:
    began = time.perf_counter()
    with process.control as control:
        if not select.select([control], [], [], _READY_S)[0] or b"ready" not in control.recv(4096):
            raise RuntimeError("the fork server did not get ready")
        took_ms = (time.perf_counter() - began) * 1000
    _, _, usage = os.wait4(process.pid, 0)  # it ends with its control socket
    return _Ready(took_ms, (usage.ru_utime + usage.ru_stime) * 1000)
