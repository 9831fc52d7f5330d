"""Alternatives from PyPI: the same two-question program in LangGraph and in DBOS.

Each runs in a process of its own (programs/), without a worker between: their question and answer never leave that
process, ours go to another one and back. The answer comes after a moment, as a model's does.
"""

import contextlib
import importlib.util
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

import anyio
import anyio.to_thread
from measure import Comparison, Row, Stopwatch, not_run, other, ratio, row
from stage import PROGRAMS, TWO_QUESTIONS, Stage, answer, cancel_all, run

from algocline_mcp.pool.dispatch import Pool

PART = "alternatives"
OURS = "algocline-mcp, pool layer"
_THINK_S = 0.02
_POLL_S = 1.0  # DBOS looks for messages so often: an answer comes at any moment between two looks
_INSTALL = "pip install -e '.[bench]'"
_ROUNDS_OF_POLL = 0.3  # of all rounds: each takes DBOS a second


@dataclass(frozen=True, slots=True)
class Other:
    name: str
    package: str
    setting: str
    is_slow: bool = False


# Each group runs beside ours by itself: what one does while it waits shall not burden the others.
GROUPS = (
    (Other("LangGraph, default", "langgraph", "default"), Other("LangGraph, flushing", "langgraph", "flushing")),
    (Other("DBOS, default", "dbos", "default", True), Other("DBOS, flushing", "dbos", "flushing", True)),
    (Other("DBOS, looks every 10 ms", "dbos", "quick-poll"),),
)


@dataclass(slots=True)
class Times:
    """Milliseconds; the first value of each is dropped."""

    start: list[float] = field(default_factory=list)
    step: list[float] = field(default_factory=list)

    def add(self, start_ms: float, step_ms: float) -> None:
        self.start.append(start_ms)
        self.step.append(step_ms)

    def of(self, what: str) -> list[float]:
        return (self.start if what == "start" else self.step)[1:]


@dataclass(slots=True)
class Group:
    """What was measured side by side: ours, and by name the others, or why they were not."""

    ours: Times = field(default_factory=Times)
    others: dict[str, Times] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


async def measure(stage: Stage) -> list[Row]:
    async with stage.pool() as pool:
        groups = [await _group(stage, pool, others) for others in GROUPS]
    return [each for what in ("start", "step") for each in _rows(what, groups)]


async def _group(stage: Stage, pool: Pool, others: tuple[Other, ...]) -> Group:
    group = Group()
    rounds = stage.choose(20, 3)
    think_s = _THINK_S
    with ExitStack() as stack:
        programs: dict[str, _Program] = {}
        for other in others:
            if other.is_slow:
                rounds = max(2, int(stage.choose(20, 3) * _ROUNDS_OF_POLL))
                think_s = _THINK_S + _POLL_S
            try:
                programs[other.name] = stack.enter_context(_program(stage, other.package, other.setting))
            except _NotRunning as exc:
                group.reasons[other.name] = str(exc)
        group.settings = {name: program.setting for name, program in programs.items()}
        for _ in range(rounds + 1):
            await _ours(pool, group.ours)
            for name, program in programs.items():
                took = await anyio.to_thread.run_sync(program.play, random.uniform(_THINK_S, think_s))
                group.others.setdefault(name, Times()).add(took["start_ms"], took["step_ms"])
    return group


def _rows(what: str, groups: Sequence[Group]) -> list[Row]:
    ahead: list[Comparison] = []
    rows: list[Row] = []
    for group in groups:
        for name, times in group.others.items():
            ahead.append(ratio(f"{what}, {name}", group.ours.of(what), times.of(what), at_most=1.0))
            rows.append(other(PART, f"{what}, {name}", times.of(what), note=group.settings[name]))
        rows += [not_run(PART, f"{what}, {name}", reason) for name, reason in group.reasons.items()]
    all_ours = [value for group in groups for value in group.ours.of(what)]
    note = "each ratio is to ours in the rounds that both took part in"
    return [row(PART, f"{what}, {OURS}", all_ours, *ahead, note=note), *rows]


async def _ours(pool: Pool, times: Times) -> None:
    with Stopwatch() as start:
        reply = await run(pool, TWO_QUESTIONS)
    await anyio.sleep(_THINK_S)
    with Stopwatch() as step:
        reply = await answer(pool, reply)
    times.add(start.ms, step.ms)
    await cancel_all(pool, [reply.session_id])
    await anyio.sleep(_THINK_S)


# ── the others ────────────────────────────────────────────────────────────────────────────────────────────


class _NotRunning(Exception):
    """The sentence says why."""


class _Program:
    def __init__(self, process: subprocess.Popen[str], errors: IO[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in, self._out = process.stdin, process.stdout
        self._errors = errors
        greeting = self._hear()
        self.setting = f"{greeting['versions']}: {greeting['setting']}"

    def play(self, think_s: float) -> dict[str, float]:
        self._in.write(json.dumps({"think_s": think_s}) + "\n")
        self._in.flush()
        return self._hear()

    def _hear(self) -> dict[str, Any]:
        line = self._out.readline()
        if not line:
            self._errors.seek(0)
            last = (self._errors.read().strip() or "it ended and said nothing").splitlines()[-1]
            raise _NotRunning(last)
        said: dict[str, Any] = json.loads(line)
        return said


@contextmanager
def _program(stage: Stage, package: str, setting: str) -> Iterator[_Program]:
    """Raises _NotRunning where it is not installed or does not start."""
    if importlib.util.find_spec(package) is None:
        raise _NotRunning(f"{package} is not installed: {_INSTALL}")
    program = os.fspath(PROGRAMS / f"{package}_program.py")
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, program, setting, os.fspath(stage.directory())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            yield _Program(process, errors)
        finally:
            with contextlib.suppress(BrokenPipeError):
                process.communicate(timeout=30)
            process.kill()
            process.wait()
