"""Scenarios in Lua, as evalframe has them: their cases as data, and their graders as a grader that is code.

Contract: the scenario is code of the user, so it runs in an engine, never in this process: once to list its cases, and
once for each output that it grades. Functions and bindings of evalframe grade as they do in alc.eval.
"""

from collections.abc import Sequence
from contextlib import suppress

from algocline_mcp.errors import AlcError, Refused
from algocline_mcp.evaluation.cases import Case, checked
from algocline_mcp.evaluation.graders import Grader
from algocline_mcp.history.new_session import Strategy
from algocline_mcp.languages import LUA
from algocline_mcp.pool import dispatch
from algocline_mcp.pool.pool import Pool

SUFFIX = LUA.suffix
_WAIT_S = 45.0
# The first line of the scenario stays the first line, so its errors keep their lines.
_BEFORE = "local scenario = (function(...) "
_LIST = """
end)()
if type(scenario) ~= "table" or type(scenario.cases) ~= "table" then
  error("a scenario returns a table with cases", 0)
end
local cases = {}
for i, case in ipairs(scenario.cases) do
  local name = case.name
  if name == "" then
    name = nil
  end
  cases[i] = { id = name or tostring(i), input = case.input, expected = case.expected, metadata = { number = i } }
end
return { cases = cases }
"""
# The output stands for a strategy that has just returned it.
_GRADE = """
end)()
return function(output, _, case)
  package.preload.alc_given_output = function()
    return { run = function() return output end }
  end
  local one = {}
  for key, value in pairs(scenario) do
    one[key] = value
  end
  one.cases = { scenario.cases[case.metadata.number] }
  local result = alc.eval(one, "alc_given_output").results[1]
  local score = math.max(0, math.min(1, result.score or (result.passed and 1 or 0)))
  return { score = score, pass = result.passed == true }
end
"""


async def read_scenario(pool: Pool, name: str, text: str, lib_paths: Sequence[str]) -> tuple[list[Case], Grader]:
    """Its cases, and the grader that its bindings or graders are. `lib_paths`: where its `require` looks. Raises
    Refused for a scenario that fails or has a bad case."""
    source = text.removeprefix("\ufeff")
    strategy = Strategy(_BEFORE + source + _LIST, name, title=f"eval: cases of {name}", lib_paths=tuple(lib_paths))
    reply = await dispatch.run_via_pool(pool, strategy, wait_s=_WAIT_S)
    result = reply.result
    with suppress(AlcError):  # retention deletes the session later
        await dispatch.stop_via_pool(pool, reply.session_id, "delete")
    if result["status"] != "completed":
        reason = str(result.get("error", f"it is {result['status']} and has not returned")).partition("\n")[0]
        raise Refused(f"{name} is not a scenario: {reason}", code="bad_scenario")
    cases = result["result"]["cases"] or []  # an empty list of Lua arrives as an empty object
    named = ((f"case {number}", case) for number, case in enumerate(cases, 1))
    grader = Grader("function", {"file": name}, _BEFORE + source + _GRADE, LUA.name, tuple(lib_paths))
    return checked(name, named), grader
