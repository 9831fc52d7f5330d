"""asyncio in sessions with real engines and a real keeper."""

import random
import textwrap
import time
from typing import Any

import pytest

from algocline_mcp.errors import Refused
from algocline_mcp.languages import LANGUAGES, PYTHON
from algocline_mcp.pool.dispatch import Pool, continue_via_pool, status_via_pool
from algocline_mcp.session.events import Answer
from algocline_mcp.session.state import fold
from algocline_mcp.worker.engine import messages
from tests.rig.rig import WAIT_S, Rig, kill, run, until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        PYTHON.name not in LANGUAGES or not hasattr(messages, "Wait"),
        reason="workers do not prepare Python yet, or take no waits",
    ),
]

CHAINS = """
    import asyncio
    import alc

    async def chain(name):
        answer = name
        for _ in range(2):
            answer = await alc.aio.llm(answer)
        return answer
"""
GATHER = """
    async def run(ctx):
        return await asyncio.gather(*(chain(f"c{i}") for i in range(4)))
"""
SEMAPHORE = """
    async def run(ctx):
        two = asyncio.Semaphore(2)

        async def limited(i):
            async with two:
                return await alc.aio.llm(f"c{i}")

        return await asyncio.gather(*map(limited, range(5)))
"""
PLAIN = """
    def run(ctx):
        return [asyncio.run(chain("a")), alc.llm("between"), asyncio.run(chain("b"))]
"""
TIMER = """
    async def run(ctx):
        try:
            slow = await asyncio.wait_for(alc.aio.llm("slow"), 0.05)
        except TimeoutError:
            slow = "too late"
        return [slow, await chain("next")]
"""
SLEEP = """
    async def run(ctx):
        await asyncio.gather(*(asyncio.sleep(i / 100) for i in range(5)))
        return await alc.aio.llm("awake")
"""


def strategy(body: str) -> str:
    return textwrap.dedent(CHAINS) + textwrap.dedent(body)


async def play(
    pool: Pool,
    body: str,
    *,
    order: random.Random | None = None,
    rig: Rig | None = None,
    language: str = "python",
) -> tuple[Any, list[list[str]]]:
    """The result, and the prompts that are open at each pause. Those that begin with "slow" are never answered.

    `order`: answers come one by one, in random order. `rig`: the keeper is killed before each answer."""
    code = strategy(body) if language == "python" else body
    reply = await run(pool, code, chunk="strategy", language=language)
    pauses: list[list[str]] = []
    pending: dict[str, str] = {}
    while reply.result["status"] in ("needs_response", "accepted"):
        if reply.result["status"] == "needs_response":
            pending = {query["query_id"]: query["prompt"] for query in reply.result.get("queries") or [reply.result]}
            pauses.append(sorted(pending.values()))
        answerable = [query_id for query_id, prompt in pending.items() if not prompt.startswith("slow")]
        if pending and not answerable:  # its timer fires in the worker
            reply = await status_via_pool(pool, reply.session_id, wait_s=WAIT_S)
            continue
        if rig is not None:
            await kill(rig.keeper(reply.session_id))
        ids = answerable if order is None else [order.choice(answerable)]
        answers = [Answer(query_id, f"re {pending.pop(query_id)}") for query_id in ids]
        reply = await continue_via_pool(pool, reply.session_id, answers, wait_s=WAIT_S)
    return reply.result.get("result", reply.result.get("error")), pauses


async def test_all_open_queries_make_one_pause_and_two_calls_of_run_count_on(rig: Rig) -> None:
    async with rig.pool() as pool:
        gathered = await play(pool, GATHER)
        limited = await play(pool, SEMAPHORE)
        plain = await play(pool, PLAIN, rig=rig)

    assert gathered == ([f"re re c{i}" for i in range(4)], [[f"{re}c{i}" for i in range(4)] for re in ("", "re ")])
    assert limited == ([f"re c{i}" for i in range(5)], [["c0", "c1"], ["c2", "c3"], ["c4"]])
    assert plain == (["re re a", "re between", "re re b"], [["a"], ["re a"], ["between"], ["b"], ["re b"]])


async def test_each_answer_lets_its_task_go_on_also_after_kills(rig: Rig) -> None:
    async with rig.pool() as pool:
        result, pauses = await play(pool, GATHER, order=random.Random(1), rig=rig)

    assert result == [f"re re c{i}" for i in range(4)]
    assert len(pauses) == 8
    assert pauses[0] == [f"c{i}" for i in range(4)]
    assert len(pauses[-1]) == 1


async def test_a_timer_fires_while_a_query_is_open_and_a_replay_fires_it_again(rig: Rig) -> None:
    async with rig.pool() as pool:
        result, pauses = await play(pool, TIMER, rig=rig)

    assert result == ["too late", "re re next"]
    assert [pause for pause in pauses if pause != ["slow"]] == [["next"], ["re next"]]


async def test_timer_that_is_overdue_without_a_worker_fires_at_a_status_that_does_not_wait(rig: Rig) -> None:
    async with rig.pool() as pool:
        reply = await run(pool, strategy(TIMER.replace("0.05", "1")), chunk="s.py", language="python")
        sid = reply.session_id
        await kill(rig.keeper(sid))
        waits_no_more = len(rig.records(sid, "delivery"))  # a machine on which the second passed before the kill
        await until(lambda: waits_no_more or fold(rig.records(sid)).is_overdue(time.time()))

        seen = await status_via_pool(pool, sid)
        await until(lambda: len(rig.records(sid, "prompt")) > 1)

    assert seen.result["status"] in ("running", "needs_response")
    assert seen.result.get("prompt") != "slow"


BLOCKING = """
    def run(ctx):
        async def first():
            async with asyncio.timeout(0.05):
                await alc.aio.llm("slow")

        with contextlib.suppress(TimeoutError):
            asyncio.run(first())
        return [alc.llm("blocks"), alc.llm("twice")]
"""


async def test_answer_to_a_prompt_that_timed_out_is_refused_with_the_reason_also_after_a_kill(rig: Rig) -> None:
    async with rig.pool() as pool:
        reply = await run(pool, "import contextlib\n" + strategy(BLOCKING), chunk="s.py", language="python")
        while reply.result["status"] != "needs_response" or reply.result.get("prompt") != "blocks":
            reply = await status_via_pool(pool, reply.session_id, wait_s=WAIT_S)
        await kill(rig.keeper(reply.session_id))
        with pytest.raises(Refused) as refused:
            await continue_via_pool(pool, reply.session_id, [Answer("q-0", "late")], wait_s=WAIT_S)
        both = [Answer("q-0", "late"), Answer("q-1", "B")]
        reply = await continue_via_pool(pool, reply.session_id, both, wait_s=WAIT_S)
        last = await continue_via_pool(pool, reply.session_id, [Answer("q-2", "T")], wait_s=WAIT_S)

    assert "q-0 is no longer asked: the strategy waits for it no more" in str(refused.value)
    assert last.result["result"] == ["B", "T"]


async def test_a_session_with_nothing_but_timers_goes_on_by_itself(rig: Rig) -> None:
    async with rig.pool() as pool:
        assert await play(pool, SLEEP, rig=rig) == ("re awake", [["awake"]])


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("async def run(ctx):\n    await asyncio.Event().wait()", "no task can ever go on"),
        ("async def run(ctx):\n    await asyncio.open_connection('localhost', 80)", "create_connection needs"),
        ("async def run(ctx):\n    await asyncio.create_subprocess_exec('true')", "subprocess_exec needs"),
    ],
    ids=["deadlock", "socket", "process"],
)
async def test_what_cannot_go_on_ends_with_a_sentence(rig: Rig, body: str, sentence: str) -> None:
    async with rig.pool() as pool:
        error, pauses = await play(pool, body)

    assert (sentence in error, pauses) == (True, []), error
