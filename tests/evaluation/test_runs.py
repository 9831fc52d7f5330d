"""Runs with real workers: figures as scipy gives them, nothing asked twice, and what happens where nobody answers."""

import json
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from algocline_mcp.answering.prompts import Answer, Answerer, NoAnswer, Prompt
from algocline_mcp.answering.recordings import Recorded, Recording, Remembering
from algocline_mcp.errors import Refused
from algocline_mcp.evaluation import runs
from algocline_mcp.evaluation.cases import parse_cases
from algocline_mcp.evaluation.execution import MAX_FAILURES
from algocline_mcp.evaluation.graders import Grader, parse_grader
from algocline_mcp.evaluation.plan import ROWS, Plan, list_runs, new_plan
from algocline_mcp.evaluation.strategies import Contender
from algocline_mcp.history import retention
from algocline_mcp.pool.dispatch import gen_pool_sid
from tests.evaluation import scripted_model
from tests.evaluation.scripted_model import CASES, COUNT, STRATEGY_ONE, STRATEGY_TWO, is_right
from tests.rig.processes import until
from tests.rig.rig import Rig
from tests.rig.stdio_home import StdioHome

pytestmark = pytest.mark.anyio

ONE = Contender("one.py", STRATEGY_ONE, "one.py", "python")
TWO = Contender("two.lua", STRATEGY_TWO, "two.lua", "lua")
NUMBER = [Grader("number")]


class Scripted:
    """Answers as the scripted model. `failing`: words in prompts that get no answer."""

    def __init__(self, failing: Sequence[str] = (), refused: Sequence[str] = ()) -> None:
        self.asked: list[str] = []
        self.failing, self.refused = failing, refused

    async def answer(self, prompt: Prompt) -> Answer:
        if any(word in prompt.text for word in self.failing):
            raise NoAnswer("nobody is there")
        self.asked.append(prompt.text)
        if any(word in prompt.text for word in self.refused):
            return Answer(refusal="not allowed")
        if "Judge whether" in prompt.text:
            is_first = len(prompt.text) % 2 == 0 and "Your last answer" not in prompt.text
            return Answer(text="It is." if is_first else "It is right.\nGRADE: C")
        return Answer(text=scripted_model.answer(prompt.text), usage={"prompt_tokens": 10, "completion_tokens": 3})


def plan_of(text: str = CASES, contenders: Sequence[Contender] = (ONE, TWO), **options: Any) -> Plan:
    return new_plan("sums.jsonl", parse_cases("sums.jsonl", text), contenders, answered_by="exec:m",
                    **{"epochs": 1} | options)  # fmt: skip


async def evaluated(
    rig: Rig, plan: Plan, model: Answerer, graders: Sequence[Grader] = NUMBER, *, regrades: bool = False
) -> runs.Result:
    directory, stored = runs.prepare(rig.home, plan, graders, is_anew=False)
    async with rig.pool() as pool:
        work = runs.regrade if regrades else runs.evaluate
        return await work(pool, directory, stored, graders, runs.Execution(model, jobs=4))


def entries(result: runs.Result) -> dict[str, dict[str, Any]]:
    return {entry["strategy"]: entry for entry in result.report["strategies"]}


def assert_figures(report: dict[str, Any]) -> None:
    """The counts, intervals and p-values that scipy gives for the rule of the model."""
    passes = [[is_right(strategy, number) for number in range(COUNT)] for strategy in range(2)]
    for entry, own, prompts in zip(report["strategies"], passes, (COUNT, 2 * COUNT), strict=True):
        interval = stats.binomtest(sum(own), COUNT).proportion_ci(0.95, method="wilson")
        assert (entry["passed"], entry["runs"], entry["prompts"]) == (sum(own), COUNT, prompts)
        assert (entry["low"], entry["high"]) == (interval.low, interval.high)
        assert entry["score"] == sum(own) / COUNT
    (comparison,) = report["comparisons"]
    pairs = Counter(zip(*passes, strict=True))
    better, worse = pairs[False, True], pairs[True, False]
    assert (comparison["better"], comparison["worse"]) == (better, worse)
    assert comparison["p"] == stats.binomtest(better, better + worse, 0.5).pvalue
    assert comparison["test"] == "McNemar's exact test"


@pytest.mark.slow
async def test_the_figures_of_two_strategies_are_those_of_scipy(rig: Rig) -> None:
    model = Scripted()

    result = await evaluated(rig, plan_of(), model)

    assert_figures(result.report)
    assert result.report["status"] == "completed"
    assert max(Counter(model.asked).values()) == 1
    assert entries(result)["one.py"]["prompt_tokens"] == 10 * COUNT
    assert not entries(result)["one.py"]["is_estimated"]
    assert len(result.report["cards"]) == 2

    again = await evaluated(rig, plan_of(), model)

    assert again.report == result.report
    assert len(model.asked) == 3 * COUNT


@pytest.mark.slow
def test_a_run_that_is_killed_three_times_gives_the_same_figures_and_asks_nothing_twice(
    stdio_home: StdioHome, tmp_path: Path
) -> None:
    (tmp_path / "sums.jsonl").write_text(CASES)
    (tmp_path / "one.py").write_text(STRATEGY_ONE)
    (tmp_path / "two.lua").write_text(STRATEGY_TWO)
    asked = tmp_path / "asked"
    stdio_home.environment |= {"ASKED": str(asked), "KILL_AT": "7,24,51"}
    program = shlex.join([sys.executable, "-S", "-E", scripted_model.__file__])
    strategies = ["--strategy", str(tmp_path / "one.py"), "--strategy", str(tmp_path / "two.lua")]
    options = ["--grader", "number", "--exec", f"exec {program}", "--jobs", "1", "--json"]
    command = ["eval", str(tmp_path / "sums.jsonl"), *strategies, *options]

    killed = [stdio_home.alc(*command).returncode for _ in range(3)]
    last = stdio_home.alc(*command)

    assert killed == [-9, -9, -9]
    assert last.returncode == 0, last.stderr
    assert_figures(json.loads(last.stdout))
    prompts = asked.read_text().splitlines()
    assert len(prompts) == len(set(prompts)) == 3 * COUNT
    assert len(list((stdio_home.root / "evals").iterdir())) == 1


@pytest.mark.slow
async def test_a_prompt_without_an_answer_leaves_its_case_open_and_the_next_time_goes_on(rig: Rig) -> None:
    plan, model = plan_of("".join(CASES.splitlines(keepends=True)[:4])), Scripted(failing=["Check 2+2"])

    first = await evaluated(rig, plan, model)

    assert first.report["status"] == "partial"
    assert len(first.report["rows"]) == 7
    assert first.problems == ["case 'c2', two.lua: nobody is there"]

    model.failing = ()
    second = await evaluated(rig, plan, model)

    assert second.report["status"] == "completed"
    assert second.directory.run_id == first.directory.run_id
    assert max(Counter(model.asked).values()) == 1


@pytest.mark.slow
async def test_where_nobody_answers_nothing_more_is_begun(rig: Rig) -> None:
    result = await evaluated(rig, plan_of(), Scripted(failing=["+"]))

    assert len(result.problems) < MAX_FAILURES + 4
    assert result.report["strategies"][0]["score"] is None
    assert result.report["comparisons"] == []


@pytest.mark.slow
async def test_refusals_errors_and_epochs_are_counted(rig: Rig) -> None:
    broken = Contender("broken.lua", 'alc.llm(ctx.task) error("no luck")', "broken.lua", "lua")
    plan = plan_of('{"input": "1+1?", "expected": 2}\n{"input": "2+2?", "expected": 4}', (TWO, broken), epochs=2)

    result = await evaluated(rig, plan, Scripted(refused=["Draft 1+1"]))

    two, failed = entries(result)["two.lua"], entries(result)["broken.lua"]
    assert (two["runs"], two["cases"], two["refusals"], two["errors"], two["passed"]) == (4, 2, 2, 2, 2)
    assert (failed["errors"], failed["score"]) == (4, 0.0)
    assert "no luck" in result.report["rows"][1]["error"]


class Drawing:
    """Never gives an answer twice."""

    def __init__(self) -> None:
        self.count = 0

    async def answer(self, prompt: Prompt) -> Answer:
        self.count += 1
        return Answer(text=str(self.count))


@pytest.mark.slow
async def test_each_epoch_gets_recorded_answers_of_its_own(rig: Rig, tmp_path: Path) -> None:
    twice = Contender("twice.lua", 'return alc.llm("?") .. alc.llm("?") .. alc.llm(ctx.task)', "twice.lua", "lua")
    plan = plan_of('{"input": "1+1?", "expected": 2}', (twice,), epochs=3)
    file = str(tmp_path / "a.jsonl")
    drawing = Drawing()
    asked = await evaluated(rig, plan, Remembering(drawing, None, file), [Grader("exact")])

    again = replace(plan, answered_by="answers:a.jsonl", key="k", run_id="r", sids=[gen_pool_sid() for _ in plan.sids])
    recorded = await evaluated(rig, again, Recorded(Recording.read(file), None, file), [Grader("exact")])

    outputs = [sorted(row["output"] for row in result.report["rows"]) for result in (asked, recorded)]
    assert drawing.count == 9
    assert len(set(outputs[1])) == 3
    assert sorted("".join(outputs[1])) == sorted("".join(outputs[0])), "each answer once"
    assert recorded.problems == []


@pytest.mark.slow
async def test_recorded_answers_are_graded_anew_by_code_and_by_a_judge(rig: Rig) -> None:
    plan, model = plan_of("".join(CASES.splitlines(keepends=True)[:4])), Scripted()
    await evaluated(rig, plan, model)
    count = len(model.asked)
    python = "def grade(output, expected, case):\n    return {'score': 0.5, 'reason': case['id'] + expected}\n"
    lua = "return function(output, expected, case) return output:find(expected, 1, true) ~= nil end"

    half = await evaluated(rig, plan, model, [parse_grader("g.py", lambda path: python)], regrades=True)
    sure = await evaluated(rig, plan, model, [parse_grader("g.lua", lambda path: lua)], regrades=True)

    assert len(model.asked) == count
    assert {row["reason"] for row in half.report["rows"]} == {"c00", "c12", "c24", "c36"}
    assert entries(half)["one.py"]["score"] == 0.5
    assert entries(sure)["one.py"]["passed"] == 2

    judged = await evaluated(rig, plan, model, [Grader("judge")], regrades=True)
    asked = len(model.asked)
    again = await evaluated(rig, plan, model, [Grader("judge")], regrades=True)

    assert entries(judged)["one.py"]["score"] == 1.0
    assert judged.report["rows"][0]["reason"] == "It is right."
    assert again.report == judged.report
    assert len(model.asked) == asked


@pytest.mark.slow
async def test_a_grader_that_fails_leaves_a_row_without_a_score(rig: Rig) -> None:
    plan = plan_of("".join(CASES.splitlines(keepends=True)[:2]), (TWO,))
    grader = parse_grader("g.lua", lambda path: "return function(o, e, c) return c.id == 'c0' or 'good' end")

    result = await evaluated(rig, plan, Scripted(), [grader])

    assert entries(result)["two.lua"]["ungraded"] == 1
    assert "returned 'good': it must be true" in result.report["rows"][1]["grade_error"]


async def test_two_processes_do_not_carry_out_one_run(rig: Rig) -> None:
    directory, _ = runs.prepare(rig.home, plan_of(), NUMBER, is_anew=False)

    with directory.locked(), pytest.raises(Refused, match="being carried out by another process"), directory.locked():
        pass


async def test_another_strategy_is_another_run_and_another_grader_is_not(rig: Rig) -> None:
    first, _ = runs.prepare(rig.home, plan_of(), NUMBER, is_anew=False)
    same, plan = runs.prepare(rig.home, plan_of(), [Grader("exact")], is_anew=False)
    other, _ = runs.prepare(rig.home, plan_of(contenders=(TWO,)), NUMBER, is_anew=False)

    assert same.path == first.path
    assert plan == first.plan()
    assert other.path != first.path
    assert len(list_runs(rig.home)) == 2


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"contenders": (ONE, ONE)}, "the strategy 'one.py' is given twice"),
        ({"epochs": 100_000}, "at most 50000: run fewer"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        plan_of(**options)


def test_a_grader_that_does_not_compile_is_refused_before_anything_is_asked(rig: Rig) -> None:
    grader = parse_grader("g.py", lambda path: "def grade(:\n")

    with pytest.raises(Refused, match=r"g\.py, line 1: invalid syntax: correct the grader"):
        runs.prepare(rig.home, plan_of(), [grader], is_anew=False)

    assert list_runs(rig.home) == []


@pytest.mark.slow
async def test_a_result_that_was_not_kept_is_an_error_and_not_a_null(rig: Rig) -> None:
    plan, exact = plan_of('{"input": "1+1?", "expected": "null"}', (TWO,)), [Grader("exact")]
    first = await evaluated(rig, plan, Scripted(), exact)
    (first.directory.path / ROWS).unlink()  # as if the process had been killed before it wrote the row
    archived = rig.home.finished_journal(plan.sids[0])
    await until(lambda: archived.exists() and not any(process.sid for process in rig.processes()))  # it holds the lock
    await until(lambda: retention.scrub(archived, "none"))

    again = await evaluated(rig, plan, Scripted(), exact)

    assert "ALC_KEEP=none has removed its result" in again.report["rows"][0]["error"]
    assert entries(again)["two.lua"]["passed"] == 0
