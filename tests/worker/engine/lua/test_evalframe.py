"""alc.eval with the built-in package evalframe: cases, graders and the report."""

from typing import Any

import pytest

from algocline_mcp.config.home import BUILT_IN_PACKAGES
from tests.worker.engine.lua.in_process import FakeChannel, play

MODULES = {
    "evalframe": (BUILT_IN_PACKAGES / "evalframe" / "init.lua").read_text(),
    "ask": "return { run = function(ctx) return { result = alc.llm(ctx.task) } end }",
    "broken": "return { run = function(ctx) error('no luck') end }",
    "opts": "return { run = function(ctx) return ctx.task .. ctx.n end }",
}
GRADED = [
    ("exact_match", "'a'", "a", True),
    ("exact_match", "'a'", " a ", True),
    ("exact_match", "{ 'b', 'a' }", "a", True),
    ("exact_match", "'a'", "b", False),
    ("contains", "'a.'", "xa.x", True),
    ("contains", "'a.'", "xabx", False),
    ("starts_with", "'ab'", "abc", True),
    ("starts_with", "'bc'", "abc", False),
    ("regex", "'^%d+$'", "123", True),
    ("number", "'42'", "It is 42", True),
    ("number", "42", "43", False),
    ("json_valid", "nil", '{"a": 1}', True),
    ("json_valid", "nil", "{a}", False),
    ("not_empty", "nil", " ", False),
    ("flexible_match", "'a'", "cat", True),
]


def report_of(scenario: str, strategy: str = "ask", answer: str = "a", options: str = "{}") -> Any:
    channel = FakeChannel(lambda query: {"response": answer}, modules=MODULES)
    return play(f"return alc.eval({scenario}, '{strategy}', {options})", channel).result


@pytest.mark.parametrize(("grader", "expected", "answer", "is_pass"), GRADED)
def test_a_grader_judges_an_answer(grader: str, expected: str, answer: str, is_pass: bool) -> None:
    report = report_of(
        f"{{ cases = {{ {{ input = '?', expected = {expected} }} }}, graders = {{ '{grader}' }} }}", answer=answer
    )

    assert report["results"][0]["passed"] is is_pass
    assert report["aggregated"]["passed"] == int(is_pass)


def test_a_report_has_sums_results_and_failures() -> None:
    cases = "{ input = '1', expected = 'a' }, { input = '2', expected = 'b', name = 'two' }"

    report = report_of(f"{{ name = 'n', cases = {{ {cases} }} }}")

    assert report["name"] == "ask:n"
    sums = report["aggregated"]
    assert (sums["total"], sums["passed"], sums["pass_rate"], sums["scores"]["mean"]) == (2, 1, 0.5, 0.5)
    assert [failure["name"] for failure in report["failures"]] == ["two"]
    assert report["results"][0]["output"] == "a"
    assert report["summary"] == "ask:n: 1 of 2 cases passed, mean score 0.500"


def test_a_function_grades_and_a_scenario_may_require_evalframe() -> None:
    half = "{ cases = { { input = '?' } }, graders = { function(response, case) return 0.75 end } }"
    bound = """(function() local ef = require("evalframe")
      local scored = { ef.grader("own")({ check = function() return 4 end }), { score = function(n) return n / 8 end } }
      return { ef.bind(scored), cases = { ef.case("x")({ input = "?" }) } } end)()"""
    code = f"return alc.eval({bound}, 'ask')"

    assert report_of(half)["results"][0]["score"] == 0.75
    ended = play(code, FakeChannel(modules=MODULES)).result
    assert (ended["results"][0]["score"], ended["results"][0]["name"]) == (0.5, "x")


def test_a_strategy_that_fails_fails_its_case_and_gets_its_options() -> None:
    cases = "{ cases = { { input = '?', expected = '?3' } } }"

    failed = report_of(cases, "broken")
    passed = report_of(cases, "opts", options="{ strategy_opts = { n = 3 } }")

    assert "no luck" in failed["results"][0]["error"]
    assert failed["aggregated"]["pass_rate"] == 0
    assert passed["aggregated"]["pass_rate"] == 1


def test_a_grader_that_fails_scores_nothing_and_says_why() -> None:
    report = report_of("{ cases = { { input = '?' } }, graders = { function() error('broken grader') end } }")

    assert report["results"][0]["score"] == 0
    assert "broken grader" in report["results"][0]["grades"][0]["error"]
