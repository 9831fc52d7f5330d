"""Scenarios in Lua: cases and graders of evalframe, run in engines."""

import pytest

from algocline_mcp.errors import Refused
from algocline_mcp.evaluation import runs
from algocline_mcp.evaluation.plan import new_plan
from algocline_mcp.evaluation.scenario import read_scenario
from tests.evaluation.test_runs import TWO, Scripted, entries
from tests.rig.rig import Rig

pytestmark = pytest.mark.anyio

SCENARIO = """
local ef = require("evalframe")
local near = { score = function(value) return value and 1 or 0.25 end }
return { name = "sums", ef.bind({ ef.graders.contains, near }), ef.bind({ function(r) return r.text ~= "" end }),
  cases = { ef.case({ name = "one", input = "1+1?", expected = "2" }), { input = "7+7?", expected = { "14" } } } }
"""


@pytest.mark.slow
async def test_a_scenario_gives_cases_and_grades_as_in_alc_eval(rig: Rig) -> None:
    async with rig.pool() as pool:
        cases, grader = await read_scenario(pool, "sums.lua", SCENARIO, [])
        plan = new_plan("sums.lua", cases, [TWO], epochs=1, answered_by="exec:m")
        directory, plan = runs.prepare(rig.home, plan, [grader], is_anew=False)
        result = await runs.evaluate(pool, directory, plan, [grader], runs.Execution(Scripted(), jobs=2))

    assert [(case.id, case.input, case.expected) for case in cases] == [("one", "1+1?", ["2"]), ("2", "7+7?", ["14"])]
    assert [(row["score"], row["pass"]) for row in result.report["rows"]] == [(1.0, True), (0.625, False)]
    assert entries(result)["two.lua"]["ungraded"] == 0


@pytest.mark.slow
async def test_a_bad_scenario_is_one_sentence(rig: Rig) -> None:
    bad = {
        "return 5": "bad.lua is not a scenario: a scenario returns a table with cases",
        "\nreturn nonsense.field": "bad.lua:2: attempt to index a nil value",
        "return { cases = { { expected = 'a' } } }": "bad.lua, case 1: the case has no `input`",
        "return { cases = {} }": "bad.lua has no case",
        "return {": "bad.lua is not a scenario: ",
    }

    async with rig.pool() as pool:
        for text, sentence in bad.items():
            with pytest.raises(Refused) as error:
                await read_scenario(pool, "bad.lua", text, [])
            assert sentence in str(error.value)
            assert "\n" not in str(error.value)
