"""The model of specs in Lua: lust.model."""

import pytest

from algocline_mcp.packages.specs import Spec, SpecRun, run_specs
from tests.rig.rig import WAIT_S, Rig

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
SPEC = """
local it, expect = lust.it, lust.expect
local before = alc
it("answers", function()
  local model = lust.model({ answers = { first = "A", again = { "B", "C" } }, default = "D" })
  expect(alc.llm("the first")).to.equal("A")
  expect(alc.llm_batch({ { prompt = "again" }, { prompt = "again" } })).to.equal({ "B", "C" })
  expect(alc.parallel({ 1, 2 }, function(n) return "n" .. n end, { post_fn = function(a, n) return a .. n end }))
    .to.equal({ "D1", "D2" })
  expect(alc.llm_safe("again", {}, "none")).to.equal("none")
  expect(alc.json_encode({ 1 })).to.equal("[1]")
  expect(#model.prompts).to.equal(6)
end)
it("answers chains, whose recorded prompts may stand in any order", function()
  local function run(ctx)
    local pairs = alc.parallel(ctx.items, function(item) return alc.llm(alc.llm(item)) end, { chain = true })
    return { pairs, alc.parallel({ function() return alc.llm("last") end }) }
  end
  local turns = {}
  for i, prompt in ipairs({ "a", "b", "re b", "re a", "last" }) do
    turns[i] = { prompt = prompt, response = "re " .. prompt }
  end
  local result = lust.model().replay(run, { items = { "a", "b" } }, turns)
  expect(result).to.equal({ { "re re a", "re re b" }, { "re last" } })
  local _, problem = pcall(lust.model().replay, run, { items = { "a", "c" } }, turns)
  expect(problem).to.match("prompt 3 differs from the recorded one")
end)
it("ends with the case", function() expect(alc).to.be(before) end)
it("has no answer", function() lust.model() alc.llm("What?") end)
it("reads JSON", function()
  lust.model({ default = 'So: {"a": 1}' })
  expect(alc.llm_json("x")).to.equal({ a = 1 })
end)
"""


async def test_a_model_answers_the_prompts_of_one_case(rig: Rig) -> None:
    async with rig.pool() as pool:
        report = await run_specs(SpecRun([Spec("spec", SPEC)]), pool.limits, {"PATH": ""}, WAIT_S)

    (failure,) = report["failures"]
    assert (report["passed"], failure["name"]) == (4, "has no answer")
    assert "no answer to the prompt: What?" in failure["error"]
