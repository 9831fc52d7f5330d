"""Several servers on one home: each reaches every session, and each answer is used once."""

import json
from typing import Any

import anyio
import pytest

from algocline_mcp.pool.dispatch import Pool, list_via_pool
from tests.rig.rig import ASK_TWICE, Rig, kill, run, say
from tests.worker.keeper.test_kills import prompts

pytestmark = pytest.mark.anyio


@pytest.mark.slow
async def test_two_servers_on_one_home_see_all_sessions_and_either_goes_on_with_them(rig: Rig) -> None:
    async with rig.pool() as here, rig.pool() as there:
        one, *_ = await run(here, ASK_TWICE)
        two, *_ = await run(there, ASK_TWICE)
        lists = [await list_via_pool(pool) for pool in (here, there)]
        prompts = [(await say(pool, sid, "q-0", "A")).result["prompt"] for pool, sid in ((there, one), (here, two))]
        ends = [(await say(pool, sid, "q-1", "B")).result["result"] for pool, sid in ((here, one), (there, two))]

    assert [[line["session_id"] for line in listed["sessions"]] for listed in lists] == [[two, one]] * 2
    assert prompts == ["second after A"] * 2
    assert ends == ["A+B"] * 2


@pytest.mark.slow
async def test_five_clients_and_a_killed_keeper_fifty_times_take_each_answer_once(rig: Rig) -> None:
    rounds = 50
    code = f'local all = {{}} for i = 1, {rounds} do all[i] = alc.llm("p" .. i) end return table.concat(all, ",")'
    owners: set[int] = set()  # how many keepers of this session were seen at a time

    async def watch(sid: str) -> None:
        while True:
            owners.add(len(rig.keepers(sid)))
            await anyio.sleep(0.002)

    async with rig.pool() as here, rig.pool() as there, anyio.create_task_group() as tasks:
        sid, *_ = await run(here, code)
        tasks.start_soon(watch, sid)
        for number in range(rounds):
            replies = await race(rig, [here, there, here, there, here], sid, number)
            results = {json.dumps(each["result" if number == rounds - 1 else "prompt"]) for each in replies}
            assert len(replies) == 5, number
            assert len(results) == 1, number
        tasks.cancel_scope.cancel()

    assert rig.answers(sid) == [(f"q-{n}", f"a{n}") for n in range(rounds)]
    assert prompts(rig, sid) == [f"p{n + 1}" for n in range(rounds)]
    assert max(owners) == 1


async def race(rig: Rig, pools: list[Pool], sid: str, number: int) -> list[dict[str, Any]]:
    """Every pool sends the same answer; in between the keeper is killed, in each round a little later."""
    results: list[dict[str, Any]] = []

    async def answer(pool: Pool) -> None:
        results.append((await say(pool, sid, f"q-{number}", f"a{number}")).result)

    keepers = rig.keepers(sid)
    async with anyio.create_task_group() as tasks:
        for pool in pools:
            tasks.start_soon(answer, pool)
        for _ in range(number % 10):
            await anyio.lowlevel.checkpoint()
        for pid in keepers:
            await kill(pid)
    return results
