"""alc.card and alc.eval in Lua: the calls that they send to the keeper, and the results of its replies."""

from typing import Any

import pytest

from tests.worker.engine.lua.in_process import FakeChannel, echo, play
from tests.worker.engine.lua.test_state import Keeper

SENT: dict[str, tuple[str, list[Any]]] = {
    "create": ("alc.card.create({pkg = {name = 'p'}, list = {}})", ["card.create", {"pkg": {"name": "p"}, "list": {}}]),
    "get": ("alc.card.get('c')", ["card.get", "c"]),
    "list": ("alc.card.list()", ["card.list", None]),
    "list of a package": ("alc.card.list({pkg = 'p'})", ["card.list", {"pkg": "p"}]),
    "find": ("alc.card.find({where = {n = 1}, limit = 5})", ["card.find", {"where": {"n": 1}, "limit": 5}]),
    "find all": ("alc.card.find(ctx.null)", ["card.find", None]),
    "append": ("alc.card.append('c', {x = 1})", ["card.append", "c", {"x": 1}]),
    "alias_set": ("alc.card.alias_set('best', 'c')", ["card.alias_set", "best", "c", None]),
    "alias_set with a note": ("alc.card.alias_set('b', 'c', {note = 'n'})",
                              ["card.alias_set", "b", "c", {"note": "n"}]),
    "alias_list": ("alc.card.alias_list()", ["card.alias_list", None]),
    "get_by_alias": ("alc.card.get_by_alias('best')", ["card.get_by_alias", "best"]),
    "write_samples": ("alc.card.write_samples('c', {1, {a = 2}})", ["card.write_samples", "c", [1, {"a": 2}]]),
    "read_samples": ("alc.card.read_samples('c', {offset = 1}, 'more')", ["card.read_samples", "c", {"offset": 1}]),
    "lineage": ("alc.card.lineage({card_id = 'c'})", ["card.lineage", {"card_id": "c"}]),
    "sink_backfill": ("alc.card.sink_backfill({sink = 's'})", ["card.sink_backfill", {"sink": "s"}]),
}  # fmt: skip


@pytest.mark.parametrize(("code", "call"), SENT.values(), ids=SENT.keys())
def test_call_goes_to_the_keeper_and_its_result_comes_back(code: str, call: list[Any]) -> None:
    channel = Keeper({"result": ["r"]})

    ended = play(f"return {code}", channel, ctx='{"null":null}')

    assert channel.calls == [call]
    assert ended.result == {"result": ["r"]}


def test_null_that_comes_back_is_nil() -> None:
    assert play("return alc.card.get('c') == nil", Keeper(None)).result is True


MISUSED = [
    ("alc.card.create()", "alc.card.create: the card must be a table and not nil"),
    ("alc.card.create('p')", "alc.card.create: the card must be a table and not string"),
    (
        "alc.card.create({params = {f = print}})",
        "alc.card.create: the card.params.f is a function: JSON has no such value",
    ),
    ("alc.card.get(5)", "alc.card.get: the card_id must be a string and not number"),
    ("alc.card.list('p')", "alc.card.list: the filter must be a table and not string"),
    ("alc.card.append('c')", "alc.card.append: the fields must be a table and not nil"),
    ("alc.card.append('c', ctx.null)", "alc.card.append: the fields must be a table and not userdata"),
    ("alc.card.alias_set('a')", "alc.card.alias_set: the card_id must be a string and not nil"),
    ("alc.card.write_samples('c', 5)", "alc.card.write_samples: the samples must be a table and not number"),
    ("alc.card.lineage('c')", "alc.card.lineage: the query must be a table and not string"),
]


@pytest.mark.parametrize(("call", "problem"), MISUSED)
def test_misuse_is_an_error_with_its_line_and_sends_no_call(call: str, problem: str) -> None:
    channel = Keeper()

    code = f"local ok, problem = pcall(function()\n {call}\n end)\n return problem"
    ended = play(code, channel, ctx='{"null":null}')

    assert ended.result == f"panel.lua:2: {problem}"
    assert channel.calls == []


# ── alc.eval ──────────────────────────────────────────────────────────────────────────────────────────────

# As much of the package evalframe as alc.eval uses.
EVALFRAME = """
local M = { graders = {} }
function M.graders.exact_match(answer, case) return answer == case.expected end
function M.graders.contains(answer, case) return answer:find(case.expected, 1, true) ~= nil end
M.bind = setmetatable({ is_binding = function(b) return b.is_bound == true end },
  { __call = function(_, b) return { is_bound = true, grade = b[1] } end })
M.case = setmetatable({ is_case = function(c) return c.is_case == true end },
  { __call = function(_, c) return { is_case = true, input = c.input, expected = c.expected } end })
M.providers = { algocline = function(o)
  return function(input) return require(o.strategy).run({ task = input, opts = o.opts }).result end
end }
function M.suite(name)
  return function(spec)
    assert(#spec > 0, "at least one binding required")
    local results, passed = {}, 0
    for i, case in ipairs(spec.cases) do
      local answer, good = spec.provider(case.input), true
      for _, b in ipairs(spec) do good = good and b.grade(answer, case) end
      results[i], passed = { input = case.input, passed = good }, passed + (good and 1 or 0)
    end
    local sums = { total = #results, passed = passed, pass_rate = passed / #results, scores = { mean = 0.5 } }
    local report = { name = name, aggregated = sums, results = results, failures = {}, summary = "s" }
    return { run = function() return { to_table = function() return report end } end }
  end
end
return M
"""
PLAIN = (
    """{ cases = { { input = "a", expected = "<a>" }, { input = "b", expected = "b" } }, graders = { "contains" } }"""
)
BOUND = """
local ef = require("evalframe")
return { ef.bind({ ef.graders.exact_match }), cases = { ef.case({ input = "a", expected = "<a>" }) }, name = "bound" }
"""
MODULES = {
    "evalframe": EVALFRAME,
    "ask": "return { run = function(ctx) return { result = alc.llm(ctx.task) } end }",
    "bound": BOUND,
    "scenarios.plain": f"return {PLAIN}",
    "broken": "return nonsense.field",
    "number": "return 5",
}


class Evaluated(FakeChannel):
    """Has one scenario in the home, and returns the same id for each card."""

    def __init__(self, modules: dict[str, str] = MODULES) -> None:
        super().__init__(echo, modules=modules)

    def _called(self, name: str, *args: Any) -> dict[str, Any]:
        if name == "scenario":
            known = args[0] == "home"
            return {"result": {"source": BOUND, "chunk": "home.lua"}} if known else {"error": "no such scenario"}
        return {"result": {"card_id": "c-1"}} if name.startswith("card.") else super()._called(name, *args)


REPORTS = [
    (PLAIN, "ask:inline", [2, 2]),
    ("'scenarios.plain'", "ask:scenarios.plain", [2, 2]),
    ("'plain'", "ask:plain", [2, 2]),
    ("'bound'", "ask:bound", [1, 1]),
    ("'home'", "ask:home", [1, 1]),
    ("{ name = 'own', cases = { { input = 'a', expected = 'x' } } }", "ask:own", [1, 0]),
    ("{ cases = { { input = 'a', expected = 'a' } }, graders = { function() return true end } }", "ask:inline", [1, 1]),
]


@pytest.mark.parametrize(("scenario", "name", "counts"), REPORTS, ids=lambda argument: str(argument)[:20])
def test_report_of_a_strategy_on_a_scenario(scenario: str, name: str, counts: list[int]) -> None:
    channel = Evaluated()

    report = play(f"return alc.eval({scenario}, 'ask')", channel).result

    assert report["name"] == name
    assert [report["aggregated"]["total"], report["aggregated"]["passed"]] == counts
    assert not [call for call in channel.calls if call[0].startswith("card.")]


def test_card_of_a_report_has_its_sums_and_its_results_as_samples() -> None:
    channel = Evaluated()

    report = play(f"return alc.eval({PLAIN}, 'ask', {{ auto_card = true, card_pkg = 'own' }})", channel).result

    stats = {"pass_rate": 1.0, "mean_score": 0.5, "n": 2, "passed": 2}
    card = {"pkg": {"name": "own"}, "scenario": {"name": "inline"}, "stats": stats}
    assert report["card_id"] == "c-1"
    assert [call for call in channel.calls if call[0].startswith("card.")] == [
        ["card.create", card],
        ["card.write_samples", "c-1", report["results"]],
    ]
    assert ("info", "alc.eval: card c-1") in channel.logged


UNEVALUATED = [
    ("nil", "alc.eval: scenario is required"),
    ("5, 'ask'", "alc.eval: scenario must be a string or table"),
    ("{}, 5", "alc.eval: strategy must be a string package name"),
    ("'nowhere', 'ask'", "alc.eval: could not resolve scenario 'nowhere'"),
    ("'broken', 'ask'", "alc.eval: failed to load scenario 'broken': broken.lua:1: attempt to index a nil value"),
    ("'number', 'ask'", "alc.eval: scenario 'number' is a number and not a table"),
    ("{ graders = { 'none' } }, 'ask'", "alc.eval: unknown grader 'none'"),
    ("{ graders = { 5 } }, 'ask'", "alc.eval: a grader must be a name or a function and not number"),
    ("{ cases = 5 }, 'ask'", "alc.eval: cases must be an array and not number"),
    ("{ cases = { { expected = 'a' } } }, 'ask'", "alc.eval: case #1 must have an 'input' field"),
    ("{ cases = { 'a' } }, 'ask'", "alc.eval: case #1 must have an 'input' field"),
    ("{}, 'ask', 5", "alc.eval: the last argument must be a table of options and not number"),
]


@pytest.mark.parametrize(("arguments", "problem"), UNEVALUATED)
def test_invalid_evaluation_is_an_error_at_its_line(arguments: str, problem: str) -> None:
    code = f"local ok, problem = pcall(function()\n alc.eval({arguments})\n end)\n return problem"

    assert play(code, Evaluated()).result.startswith(f"panel.lua:2: {problem}")


def test_without_evalframe_the_error_says_how_to_get_it() -> None:
    error = play("return alc.eval({}, 'ask')", Evaluated({})).error

    assert "alc.eval: evalframe not installed: put its folder below one of the library paths" in error
