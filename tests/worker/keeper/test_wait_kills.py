"""Tasks in Python and chains in Lua wait for queries of their own; a keeper is killed at each fail point."""

import contextlib
import os

import pytest

from algocline_mcp.errors import AlcError
from algocline_mcp.pool.dispatch import status_via_pool
from tests.rig.rig import WAIT_S, Rig, run, say, until

pytestmark = pytest.mark.anyio

TASKS = """
import asyncio
import alc

async def run(ctx):
    async def chain(name):
        first = await alc.aio.llm(f"first {name}")
        return await alc.aio.llm(f"second {name} after {first}")

    return await asyncio.gather(*map(chain, "abc"))
"""
CHAINS = """
return alc.parallel({ "a", "b", "c" }, function(name)
  local first = alc.llm("first " .. name)
  return alc.llm("second " .. name .. " after " .. first)
end, { chain = true })
"""
CODE = {"python": TASKS, "lua": CHAINS}
NAMES = ("prompt.recorded", "answer.recorded", "delivery.recorded")
POINTS = [("python", f"{name}:{n}") for name in NAMES for n in (1, 2, 4)] + [("lua", f"{name}:2") for name in NAMES]


@pytest.mark.parametrize(("language", "point"), POINTS)
async def test_each_task_gets_its_own_answers_wherever_the_keeper_is_killed(
    rig: Rig, language: str, point: str
) -> None:
    name, _, passage = point.partition(":")
    environ = {**os.environ, "ALC_FAILPOINT": f"{name}:kill:{passage}"}
    async with rig.pool(environ=environ, resends=2) as pool:
        with contextlib.suppress(AlcError):
            sid, reply, _ = await run(pool, CODE[language], language=language)
            while reply["status"] == "needs_response":
                last = (reply.get("queries") or [reply])[-1]["query_id"]
                reply = (await say(pool, sid, last, f"<{last}>")).result
        await until(lambda: not rig.workers())
    (path,) = [*rig.home.sessions.glob("p-*.journal"), *rig.home.finished.glob("p-*.journal")]
    rig.expected_reports.add(sid := path.stem)
    async with rig.pool() as pool:
        reply = (await status_via_pool(pool, sid, wait_s=WAIT_S)).result
        while reply["status"] == "needs_response":
            last = (reply.get("queries") or [reply])[-1]["query_id"]
            reply = (await say(pool, sid, last, f"<{last}>")).result

    prompts = {each["prompt"]: each["id"] for record in rig.records(sid, "prompt") for each in record["queries"]}
    firsts = {name: prompts[f"first {name}"] for name in "abc"}
    assert reply["result"] == [f"<{prompts[f'second {name} after <{firsts[name]}>']}>" for name in "abc"]
    assert len(rig.answers(sid)) == 6
