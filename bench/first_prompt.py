"""First prompt: from `run` to the first question, pool layer alone and whole through the official client."""

from contextlib import ExitStack

from floor import Floor, blocking, fork_floor
from mcp import Client
from measure import Row, Stopwatch, Timed, beyond, interleaved, not_run, other, ratio, row
from stage import TWO_QUESTIONS, WAIT_S, Stage, bare_call, call, cancel_all, run
from upstream import Upstream

from algocline_mcp.config.home import Home
from algocline_mcp.pool.dispatch import Pool

PART = "first prompt"
POOL, EXEC = "pool layer", "pool layer, workers by exec"
PORT, FLOOR = "upstream's scheme, ported", "floor: fork and flush"
WHOLE, BARE = "whole: alc_run", "whole: alc_status()"

_PORT_AT_MOST = 0.1
_FLOOR_AT_MOST = 2.0
_WHOLE_MS = 5.0
_UPSTREAM = "upstream over its bare call, elsewhere: 58.1 ms host mode, 1.9 ms in process, not durable"


async def measure(stage: Stage) -> list[Row]:
    with ExitStack() as floors:
        floor = floors.enter_context(fork_floor(stage))
        port = _Port(floors.enter_context(Upstream(stage.directory())))
        home = Home(stage.directory())
        async with stage.pool() as pool, stage.pool(ALC_SPAWN="exec") as by_exec, stage.client(home) as client:
            reason = _trouble(floor)
            calls = {
                POOL: _first(pool),
                PORT: port.once,
                **({} if reason else {FLOOR: blocking(floor)}),
                WHOLE: _whole(client),
                BARE: bare_call(client),
                EXEC: _first(by_exec),
            }
            times = await interleaved(stage.choose(40, 3), calls)
    against_port = ratio(PORT, times[POOL], times[PORT], at_most=_PORT_AT_MOST)
    against_floor = [] if reason else [ratio(FLOOR, times[POOL], times[FLOOR], at_most=_FLOOR_AT_MOST)]
    slept = f"mostly sleeps of 50 ms, while Python starts; not durable; besides, {port.refused} runs refused"
    return [
        row(PART, POOL, times[POOL], against_port, *against_floor),
        row(PART, EXEC, times[EXEC], ratio(PORT, times[EXEC], times[PORT]), note="without the fork server"),
        other(PART, PORT, times[PORT], note=slept),
        not_run(PART, FLOOR, reason) if reason else other(PART, FLOOR, times[FLOOR]),
        row(PART, WHOLE, times[WHOLE], beyond(BARE, times[WHOLE], times[BARE], at_most_ms=_WHOLE_MS), note=_UPSTREAM),
        other(PART, BARE, times[BARE]),
    ]


def _trouble(floor: Floor) -> str:
    """Why it cannot be measured: it stands in for the keeper, and knows more of the program than all else here."""
    try:
        floor()
    except (OSError, RuntimeError) as exc:
        return f"the fork server of the floor failed: {exc}"
    return ""


def _first(pool: Pool) -> Timed:
    async def once() -> float:
        with Stopwatch() as watch:
            reply = await run(pool, TWO_QUESTIONS)
        await cancel_all(pool, [reply.session_id])
        return watch.ms

    return once


class _Port:
    """A run that the scheme refuses by itself is counted and tried again: only a good one has a time."""

    def __init__(self, port: Upstream) -> None:
        self._port = port
        self.refused = 0

    async def once(self) -> float:
        while True:
            try:
                with Stopwatch() as watch:
                    _, result = await self._port.run_via_pool(TWO_QUESTIONS, {})
            except ConnectionRefusedError:
                self.refused += 1
                continue
            finally:
                self._port.end_workers()
            if "Paused" not in result:
                raise RuntimeError(f"the port answered {result}")
            return watch.ms


def _whole(client: Client) -> Timed:
    async def once() -> float:
        with Stopwatch() as watch:
            result = await call(client, "alc_run", code=TWO_QUESTIONS, wait_s=WAIT_S)
        await call(client, "alc_stop", session_id=result["session_id"], mode="cancel")
        return watch.ms

    return once
