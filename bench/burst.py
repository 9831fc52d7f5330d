"""Many sessions at once: runs and answers in one burst, and steps without a pause over many sessions.

Each session gets a number and asks with it, so a prompt that reaches the wrong session is noticed.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from mcp import Client
from measure import Comparison, Row, Stopwatch, figure, none, other, ratio, row
from stage import ENDLESS, WAIT_S, Stage, answer, call, cancel_all, processes, run
from upstream import Upstream

from algocline_mcp.config.home import Home
from algocline_mcp.pool.dispatch import Pool, PoolReply

PART = "burst"
PORT = "upstream's scheme, ported"
_PORT_AT_MOST = 0.2
_NUMBERED = 'local a = alc.llm("one " .. ctx.number) return alc.llm("two " .. ctx.number .. " " .. a)'
_UPSTREAM = "upstream, 100 runs through its client, elsewhere: 519 ms host mode (12 of 500 refused), 160 ms in process"

Start = Callable[[int], Awaitable[tuple[str, str]]]  # number of the session -> its id and its prompt


async def measure(stage: Stage) -> list[Row]:
    return await _against_port(stage) + await _whole(stage) + await _large(stage) + await _throughput(stage)


async def _all_at_once(count: int, start: Start, expected: str) -> tuple[float, dict[str, int]]:
    """Milliseconds until the last one was answered, and how many were refused or got something else."""
    sids: list[str] = []
    wrong = {"refused": 0, "lost": 0}

    async def one(number: int) -> None:
        try:
            sid, prompt = await start(number)
        except Exception:  # noqa: BLE001  whatever it was: this run was refused
            wrong["refused"] += 1
            return
        sids.append(sid)
        wrong["lost"] += prompt != expected.format(number)

    with Stopwatch() as watch:
        async with anyio.create_task_group() as tasks:
            for number in range(count):
                tasks.start_soon(one, number)
    wrong["lost"] += len(sids) - len(set(sids))
    return watch.ms, wrong


class _Ours:
    """A burst of runs, then of answers, then all are cancelled."""

    def __init__(self, pool: Pool, count: int) -> None:
        self._pool = pool
        self._count = count
        self._replies: dict[int, PoolReply] = {}
        self.runs: list[float] = []
        self.answers: list[float] = []
        self.wrong = {"refused": 0, "lost": 0}

    async def once(self) -> None:
        for times, start, expected in (
            (self.runs, self._run, "one {}"),
            (self.answers, self._answer, "two {} A"),
        ):
            took_ms, wrong = await _all_at_once(self._count, start, expected)
            times.append(took_ms)
            for name, number in wrong.items():
                self.wrong[name] += number
        await cancel_all(self._pool)

    async def _run(self, number: int) -> tuple[str, str]:
        return self._seen(number, await run(self._pool, _NUMBERED, number=number))

    async def _answer(self, number: int) -> tuple[str, str]:
        return self._seen(number, await answer(self._pool, self._replies[number]))

    def _seen(self, number: int, reply: PoolReply) -> tuple[str, str]:
        self._replies[number] = reply
        return reply.session_id, reply.result["prompt"]


async def _against_port(stage: Stage) -> list[Row]:
    with Upstream(stage.directory()) as port:
        return await _beside(stage, port)


async def _beside(stage: Stage, port: Upstream) -> list[Row]:
    count = stage.choose(100, 5)
    port_times: list[float] = []
    port_wrong = {"refused": 0, "lost": 0}

    async def start(number: int) -> tuple[str, str]:
        sid, result = await port.run_via_pool(_NUMBERED, {"number": number})
        return sid, result["Paused"]["queries"][0]["prompt"]

    async with stage.pool() as pool:
        ours = _Ours(pool, count)
        for _ in range(stage.choose(3, 1)):
            await ours.once()
            took_ms, wrong = await _all_at_once(count, start, "one {}")
            port.end_workers()
            port_times.append(took_ms)
            for name, number in wrong.items():
                port_wrong[name] += number
    faster = ratio(f"{count} runs at once, {PORT}", ours.runs, port_times, at_most=_PORT_AT_MOST)
    failed = ", ".join(f"{number} {name}" for name, number in port_wrong.items())
    return [
        row(PART, f"{count} runs at once, pool layer", ours.runs, faster, none(ours.wrong)),
        row(PART, f"{count} answers at once, pool layer", ours.answers),
        other(PART, f"{count} runs at once, {PORT}", port_times, note=f"of {count * len(port_times)} runs {failed}"),
    ]


async def _whole(stage: Stage) -> list[Row]:
    count = stage.choose(100, 5)
    home = Home(stage.directory())
    times: list[float] = []
    wrong = {"refused": 0, "lost": 0}
    async with stage.client(home) as client:
        for _ in range(stage.choose(3, 1)):
            took_ms, prompts = await _all_at_once(count, _starter(client), "one {}")
            times.append(took_ms)
            for name, number in prompts.items():
                wrong[name] += number
    return [row(PART, f"{count} runs at once, whole", times, none(wrong), note=_UPSTREAM)]


def _starter(client: Client) -> Start:
    async def start(number: int) -> tuple[str, str]:
        result: dict[str, Any] = await call(client, "alc_run", code=_NUMBERED, ctx={"number": number}, wait_s=WAIT_S)
        return result["session_id"], result["prompt"]

    return start


async def _large(stage: Stage) -> list[Row]:
    count = stage.choose(200, 8)
    async with stage.pool() as pool:
        ours = _Ours(pool, count)
        before = _fork_servers(pool)
        for _ in range(stage.choose(2, 1)):
            await ours.once()
        is_same = before == _fork_servers(pool)
    note = "by the fork server that was there before" if is_same else "its fork server was replaced meanwhile"
    return [row(PART, f"{count} runs at once, pool layer", ours.runs, none(ours.wrong), note=note)]


def _fork_servers(pool: Pool) -> set[int]:
    return {each.pid for each in processes(pool.home.root) if not each.is_worker}


async def _throughput(stage: Stage) -> list[Row]:
    sessions, steps = stage.choose(50, 5), stage.choose(100, 5)
    times: list[float] = []

    async def go_on(reply: PoolReply) -> None:
        for _ in range(steps):
            began = time.perf_counter()
            reply = await answer(pool, reply)
            times.append((time.perf_counter() - began) * 1000)

    async with stage.pool() as pool:
        replies = [await run(pool, ENDLESS) for _ in range(sessions)]
        with Stopwatch() as watch:
            async with anyio.create_task_group() as tasks:
                for reply in replies:
                    tasks.start_soon(go_on, reply)
    total = sessions * steps
    is_whole: Comparison = none({"lost": total - len(times)})
    rate = total / watch.ms * 1000
    return [
        figure(PART, f"{total} steps over {sessions} sessions", rate, is_whole, unit="steps/s", n=total),
        row(PART, f"one of those steps, {sessions} under way", times),
    ]
