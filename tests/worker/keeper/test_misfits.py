"""An answer that does not fit its schema, handed in through the tool: refused, counted on disk, corrected."""

import os

import pytest

from algocline_mcp.errors import Refused
from algocline_mcp.pool.dispatch import PoolReply, continue_via_pool, status_via_pool
from algocline_mcp.pool.pool import Pool
from algocline_mcp.session.events import Answer
from tests.rig.rig import WAIT_S, Rig, run

pytestmark = pytest.mark.anyio

CODES = {
    "lua": """
local answer = alc.llm("first", {schema = {type = "object", required = {"n"}}})
return answer .. alc.llm("second")
""",
    "python": """
import alc

class Model:
    @classmethod
    def model_json_schema(cls):
        return {"type": "object", "required": ["n"]}

answer = alc.llm("first", schema=Model)
return answer + alc.llm("second")
""",
}


async def hand_in(pool: Pool, sid: str, *answers: Answer) -> PoolReply:
    return await continue_via_pool(pool, sid, answers, wait_s=WAIT_S, is_checked=True)


@pytest.mark.parametrize("language", CODES)
async def test_answer_that_does_not_fit_is_refused_twice_and_then_taken(rig: Rig, language: str) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, CODES[language], language=language)
        for text, reason in (("{}", r"answer\.n is missing"), ("none", "no complete JSON object")):
            with pytest.raises(Refused, match=f"the answer to q-0 does not fit: .*{reason}.*q-0 stays open") as raised:
                await hand_in(pool, sid, Answer("q-0", text))
            assert raised.value.code == "misfit"
            assert (await status_via_pool(pool, sid)).result["query_id"] == "q-0"
        second = (await hand_in(pool, sid, Answer("q-0", "none"))).result
        end = (await hand_in(pool, sid, Answer("q-1", "!"))).result

    assert (second["query_id"], end["result"]) == ("q-1", "none!")
    assert [record["query_ids"] for record in rig.records(sid, "misfit")] == [["q-0"], ["q-0"]]


@pytest.mark.parametrize("passage", [1, 2])
async def test_count_of_refusals_outlives_a_keeper_that_is_killed_at_one(rig: Rig, passage: int) -> None:
    """The server sends the answer again, so of the refusal that was not heard the next one is left, or none."""
    environ = {**os.environ, "ALC_FAILPOINT": f"misfit.recorded:kill:{passage}"}
    async with rig.pool(environ=environ, resends=2) as pool:
        sid, *_ = await run(pool, CODES["lua"])
        rig.expected_reports.add(sid)
        refusals, result = 0, None
        while result is None:
            try:
                result = (await hand_in(pool, sid, Answer("q-0", "{}"))).result
            except Refused:
                refusals += 1

    assert (result["query_id"], refusals) == ("q-1", passage - 1)
    assert len(rig.records(sid, "misfit")) == 2
    assert rig.answers(sid) == [("q-0", "{}")]
