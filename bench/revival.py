"""Revival: from `continue` of a hibernated session to its next question, by the length of its journal."""

import statistics

import anyio
from measure import Row, Stopwatch, at_most, row
from stage import ENDLESS, Stage, answer, cancel_all, run, worker_gone

from algocline_mcp.pool.dispatch import Pool, PoolReply, stop_via_pool

PART = "revival"
LAUNCH = "one launch: a first prompt, in the same rounds"
_PER_ANSWER_MS = 0.4
_PER_COMPUTING = 1.2
_COMPUTING = """
local n, x = 0, 0
while true do
  for i = 1, 1000000 do x = x + i % 7 end
  n = n + 1
  alc.llm("question " .. n)
end
"""
_COMPUTING_STEPS = 10
_REST_S = 0.05  # who comes back comes after minutes, not in the next millisecond: a worker stands by again


async def measure(stage: Stage) -> list[Row]:
    rounds = stage.choose(5, 2)
    launches: list[float] = []
    rows: list[Row] = []
    async with stage.pool() as pool:
        for answers in (1, 5) if stage.is_quick else (1, 10, 100, 1000):
            revived: list[float] = []
            reply: PoolReply | None = None
            for _ in range(rounds):
                if reply is None or answers < 10 * rounds:  # else one more or less does not show
                    reply = await _session(pool, ENDLESS, answers)
                    await _hibernate(pool, reply)
                revived_ms, reply = await _revive(pool, reply)
                revived.append(revived_ms)
                launches.append(await _launch(pool))
            bound = statistics.median(launches) + _PER_ANSWER_MS * answers
            aim = at_most(statistics.median(revived), bound, "ms", "one launch + 0.4 ms per answer")
            rows.append(row(PART, f"journal of {answers} answers", revived, aim))
        rows.append(await _after_computing(pool, launches, rounds))
    return [*rows, row(PART, LAUNCH, launches)]


async def _after_computing(pool: Pool, launches: list[float], rounds: int) -> Row:
    """A strategy that computes in each step has to compute all that once more, and then the step that was asked."""
    computing: list[float] = []
    revived: list[float] = []
    for _ in range(rounds):
        with Stopwatch() as watch:
            reply = await _session(pool, _COMPUTING, _COMPUTING_STEPS)
        computing.append(watch.ms * (_COMPUTING_STEPS + 2) / (_COMPUTING_STEPS + 1))
        await _hibernate(pool, reply)
        revived_ms, _ = await _revive(pool, reply)
        revived.append(revived_ms)
    first_ms = statistics.median(computing)
    bound = statistics.median(launches) + _PER_COMPUTING * first_ms + _PER_ANSWER_MS * _COMPUTING_STEPS
    aim = at_most(statistics.median(revived), bound, "ms", "one launch + 1.2 × computing + 0.4 ms per answer")
    note = f"the same steps took {first_ms:.0f} ms when they were first computed"
    return row(PART, f"journal of {_COMPUTING_STEPS} answers with computing", revived, aim, note=note)


async def _session(pool: Pool, code: str, answers: int) -> PoolReply:
    """Its open prompt after so many answers."""
    reply = await run(pool, code)
    for _ in range(answers):
        reply = await answer(pool, reply)
    return reply


async def _hibernate(pool: Pool, reply: PoolReply) -> None:
    """On return its processes are gone: who asks a worker that is just leaving waits for its end too."""
    await stop_via_pool(pool, reply.session_id, "hibernate")
    await worker_gone(pool, reply.session_id)
    await anyio.sleep(_REST_S)


async def _revive(pool: Pool, reply: PoolReply) -> tuple[float, PoolReply]:
    """Milliseconds to the next prompt; afterwards it hibernates again."""
    with Stopwatch() as watch:
        reply = await answer(pool, reply)
    await _hibernate(pool, reply)
    return watch.ms, reply


async def _launch(pool: Pool) -> float:
    with Stopwatch() as watch:
        reply = await run(pool, ENDLESS)
    await cancel_all(pool, [reply.session_id])
    await anyio.sleep(_REST_S)
    await worker_gone(pool, reply.session_id)
    return watch.ms
