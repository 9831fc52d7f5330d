"""Chains of alc.parallel in sessions with real engines and a real keeper."""

import random

import pytest

from algocline_mcp.pool.dispatch import continue_via_pool
from algocline_mcp.session.events import Answer
from tests.rig.rig import WAIT_S, Rig, kill, run, say
from tests.worker.engine.python.test_asyncio_sessions import play
from tests.worker.keeper.test_fork import asked, install

pytestmark = pytest.mark.anyio

CHAINS = """
local function chain(name)
  return alc.llm(alc.llm(name))
end
"""
FOUR = CHAINS + "return alc.parallel({ 'c0', 'c1', 'c2', 'c3' }, chain, { chain = true })"
FAILING = CHAINS + """
local ok, problem = pcall(alc.parallel, {
  function() return chain("beside") end,
  function() alc.llm("last") error("broken", 0) end,
})
return { alc.llm("after"), problem }
"""  # fmt: skip
FORKED = CHAINS + """
return alc.parallel({
  function() return chain("a") end,
  function() return alc.call("pair", { names = { "b", "c" } }) end,
})
"""  # fmt: skip
PAIR = f"{CHAINS} return {{ run = function(ctx) return alc.parallel(ctx.names, chain, {{ chain = true }}) end }}"


async def test_all_open_prompts_make_one_pause(rig: Rig) -> None:
    async with rig.pool() as pool:
        played = await play(pool, FOUR, language="lua")

    assert played == ([f"re re c{i}" for i in range(4)], [[f"{re}c{i}" for i in range(4)] for re in ("", "re ")])


async def test_each_answer_lets_its_chain_go_on_also_after_kills(rig: Rig) -> None:
    async with rig.pool() as pool:
        result, pauses = await play(pool, FOUR, order=random.Random(1), rig=rig, language="lua")

    assert result == [f"re re c{i}" for i in range(4)]
    assert pauses[0] == [f"c{i}" for i in range(4)]
    assert (len(pauses), len(pauses[-1])) == (8, 1)


async def test_what_a_failed_chain_leaves_behind_is_asked_no_longer_also_after_a_kill(rig: Rig) -> None:
    async with rig.pool() as pool:
        reply = await run(pool, FAILING)
        sid, first = reply.session_id, asked(reply)
        reply = await say(pool, sid, "q-1", "x")
        after = asked(reply)
        await kill(rig.keeper(sid))
        reply = await say(pool, sid, next(iter(after)), "y")

    assert first == {"q-0": "beside", "q-1": "last"}
    assert list(after.values()) == ["after"]
    assert reply.result["result"] == ["y", "strategy:6: alc.parallel: function 2 failed: broken"]


async def test_chains_in_a_package_that_a_chain_calls(rig: Rig) -> None:
    install(rig, pair=PAIR)

    async with rig.pool() as pool:
        result, pauses = await play(pool, FORKED, rig=rig, language="lua")

    assert result == ["re re a", ["re re b", "re re c"]]
    assert pauses == [["b", "c"], ["re b", "re c"], ["a"], ["re a"]]  # no chain goes on while one waits for a call


async def test_the_budget_of_the_session_refuses_what_the_chains_ask_too_much(rig: Rig) -> None:
    async with rig.pool() as pool:
        reply = await run(pool, FOUR, ctx={"budget": {"max_llm_calls": 5}})
        ids = list(asked(reply))
        reply = await continue_via_pool(pool, reply.session_id, [Answer(one, "x") for one in ids], wait_s=WAIT_S)

    assert "strategy:5: alc.parallel: function 2 failed: " in reply.result["error"]
    assert "budget_exceeded" in reply.result["error"]
