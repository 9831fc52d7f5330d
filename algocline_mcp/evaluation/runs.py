"""Runs of an evaluation, from the command or a tool: begin or go on, grade anew, list, show, compare.

Contract: `evaluate` is what `alc eval` does. It finds the unfinished run of the same key and goes on with it, or begins
another; a finished one is shown again and nothing is asked, unless `is_anew`. Its report is on disk when it returns.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from algocline_mcp.answering.pool_calls import Bounded
from algocline_mcp.answering.prompts import Answerer
from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import AlcError, Refused
from algocline_mcp.evaluation import hosted, report, statistics
from algocline_mcp.evaluation.code_graders import check_code
from algocline_mcp.evaluation.execution import Outcome, Row, Sessions, carry_out
from algocline_mcp.evaluation.graders import Grader, check
from algocline_mcp.evaluation.grading import grade_rows, saved_graders
from algocline_mcp.evaluation.plan import PLAN, REPORT, Plan, RunDirectory, create_run, find_by_key, find_run, list_runs
from algocline_mcp.evaluation.report import Report
from algocline_mcp.history.new_session import Strategy
from algocline_mcp.pool.pool import Pool

MAX_JOBS = 64  # sessions at once: each has a worker
_SAMPLES = 1000  # of a card
_SAMPLE_CHARS = 1000  # of an input or output in them
_CARD = """
local card = alc.card.create(ctx.card)
alc.card.write_samples(card.card_id, ctx.samples)
return card.card_id
"""


@dataclass(frozen=True, slots=True)
class Progress:
    """Of a run that is being carried out. `rows`: those that have ended, not yet graded."""

    done: int
    total: int
    rows: Mapping[str, Row]


@dataclass(frozen=True, slots=True)
class Execution:
    """`jobs`: prompts that are answered at once, and sessions that run at once. `judged_by`: who answers a judge, where
    it is somebody else than the plan says; another one judges anew."""

    answerer: Answerer
    jobs: int
    on_progress: Callable[[Progress], None] = lambda progress: None
    judged_by: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """`problems`: why parts have not ended; empty for a run that is complete."""

    directory: RunDirectory
    plan: Plan
    report: Report
    problems: Sequence[str] = ()


def prepare(home: Home, plan: Plan, graders: Sequence[Grader], *, is_anew: bool) -> tuple[RunDirectory, Plan]:
    """The run to go on with, else a new one. Prices that are given count, those of the stored run otherwise. Raises
    Refused for graders that cannot grade these cases."""
    _check(graders, plan)
    directory = None if is_anew else find_by_key(home, plan.key)
    if directory is None:
        return create_run(home, plan), plan
    stored = directory.plan()
    return directory, stored if plan.prices is None else replace(stored, prices=plan.prices)


def _check(graders: Sequence[Grader], plan: Plan) -> None:
    check(graders, plan.cases)
    for grader in graders:
        check_code(grader)


async def evaluate(
    pool: Pool, directory: RunDirectory, plan: Plan, graders: Sequence[Grader], execution: Execution
) -> Result:
    """Carries out what is left of the run, grades it, and saves its report and its cards."""
    with directory.locked():
        sessions = Sessions(pool, Bounded(execution.answerer, execution.jobs), execution.jobs)
        rows = directory.rows()
        total = len(plan.parts)

        def on_row(row: Row) -> None:
            directory.add_row(row)
            rows[row["sid"]] = row
            execution.on_progress(Progress(len(rows), total, rows))

        execution.on_progress(Progress(len(rows), total, rows))
        outcome = await carry_out(sessions, plan, rows, on_row, parallel=execution.jobs)
        return await _graded(sessions, directory, plan, graders, outcome, execution)


async def regrade(
    pool: Pool, directory: RunDirectory, plan: Plan, graders: Sequence[Grader], execution: Execution
) -> Result:
    """Grades the recorded outputs anew; no prompt of a graded strategy is asked. Raises as `prepare`."""
    _check(graders, plan)
    with directory.locked():
        sessions = Sessions(pool, Bounded(execution.answerer, execution.jobs), execution.jobs)
        return await _graded(sessions, directory, plan, graders, Outcome(directory.rows(), []), execution)


async def _graded(
    sessions: Sessions,
    directory: RunDirectory,
    plan: Plan,
    graders: Sequence[Grader],
    outcome: Outcome,
    execution: Execution,
) -> Result:
    judged_by = execution.judged_by or plan.answered_by
    rows, parallel = outcome.rows, execution.jobs
    unanswered = await grade_rows(directory, plan, graders, rows, sessions, judged_by=judged_by, parallel=parallel)
    problems = [*outcome.problems, *unanswered]
    result = report.build(plan, graders, rows)
    if result["status"] == "completed" and not problems:
        result["cards"] = await _cards(sessions, plan, result)
    directory.save(REPORT, result)
    return Result(directory, plan, result, problems)


async def _cards(sessions: Sessions, plan: Plan, result: Report) -> list[str]:
    """A card for each strategy, created once: by a session whose id is in the plan. A run that is graded anew keeps
    its cards, which never change."""
    cards = []
    for number, entry in enumerate(result["strategies"]):
        ctx = {"card": _card(plan, number, entry, result), "samples": _samples(plan, entry["strategy"], result)}
        try:
            state = await sessions.finish(plan.card_sid(number), Strategy(_CARD, "card", ctx, title="eval: card"))
        except AlcError as exc:
            result["warnings"].append(f"the card of {entry['strategy']} could not be created: {exc}")
            continue
        if state["status"] == "completed":
            cards.append(str(state["result"]))
        else:
            result["warnings"].append(f"the card of {entry['strategy']} could not be created: {state.get('error')}")
    return cards


def _card(plan: Plan, number: int, entry: Mapping[str, Any], result: Report) -> dict[str, Any]:
    contender = plan.contenders[number]
    model = plan.answered_by.partition(":")[2] if not plan.answered_by.startswith(("exec:", "answers:")) else None
    card: dict[str, Any] = {
        "pkg": {"name": contender.package},
        "scenario": {"name": plan.name, "run_id": plan.run_id, "graders": result["graders"]},
        "stats": {
            "pass_rate": entry["pass_rate"],
            "mean_score": entry["score"],
            "ci_low": entry["low"],
            "ci_high": entry["high"],
            "n": entry["runs"],
            "passed": entry["passed"],
        },
        "cost": {
            "llm_calls": entry["prompts"],
            "input_tokens": entry["prompt_tokens"],
            "output_tokens": entry["response_tokens"],
            "usd_estimate": entry["cost"],
        },
    }
    if contender.options:
        card["params"] = dict(contender.options)
    return card | ({"model": {"id": model}} if model else {})


def _samples(plan: Plan, label: str, result: Report) -> list[dict[str, Any]]:
    cases = {case.id: case for case in plan.cases}
    names = ("case", "epoch", "status", "output", "score", "pass", "reason", "sid")
    return [
        {name: _cut(row[name]) for name in names if name in row} | {"input": _cut(cases[row["case"]].input)}
        for row in result["rows"]
        if row["strategy"] == label
    ][:_SAMPLES]


def _cut(value: Any) -> Any:
    """The whole text is in the report and in the journal; the samples of a card have a limit."""
    text = value if isinstance(value, str) else json.dumps(value)
    return value if len(text) <= _SAMPLE_CHARS else text[: _SAMPLE_CHARS - 1] + "…"


# ── stored runs ───────────────────────────────────────────────────────────────────────────────────────────


def stored_report(directory: RunDirectory, limits: Limits) -> Report:
    """The report of a run. For one that was killed before it had any: that of the rows so far, with the scores of the
    graders that need no session."""
    if (saved := directory.load(REPORT)) is not None:
        return saved
    if "session_id" in (plan := directory.load(PLAN) or {}):
        return hosted.hosted_report(Home(directory.path.parent.parent), limits, directory, plan)
    return report.build(directory.plan(), saved_graders(directory), directory.rows())


def summary(directory: RunDirectory, limits: Limits) -> dict[str, Any]:
    """One line of a list."""
    result = stored_report(directory, limits)
    names = ("run_id", "name", "created_at", "answered_by", "graders", "status", "cases", "epochs")
    own = ("strategy", "score", "low", "high", "pass_rate", "prompts", "tokens", "errors")
    entries = [{name: entry[name] for name in own} for entry in result["strategies"]]
    return {name: result[name] for name in names} | {"strategies": entries}


def summaries(home: Home, limits: Limits, limit: int) -> list[dict[str, Any]]:
    lines = []
    for directory in list_runs(home)[:limit]:
        try:
            lines.append(summary(directory, limits))
        except (AlcError, KeyError, ValueError):
            continue  # of another version, or damaged: alc eval show says so
    return lines


def compare_runs(home: Home, limits: Limits, first: str, second: str) -> list[statistics.Comparison]:
    """Each strategy of the second run against each of the first, on the cases that both have. Raises Refused."""
    scores: list[dict[str, dict[str, float]]] = []
    for run_id in (first, second):
        directory = find_run(home, run_id)
        result = stored_report(directory, limits)
        inputs = _inputs(directory, result)
        scores.append({
            f"{entry['strategy']} ({directory.run_id})": {
                f"{case}: {inputs[case]}": score  # the same id may name another case in another file
                for case, score in report.case_scores(
                    row for row in result["rows"] if row["strategy"] == entry["strategy"]
                ).items()
            }
            for entry in result["strategies"]
        })  # fmt: skip
    pairs = [(one, other) for one in scores[0] for other in scores[1] if one != other]
    if not pairs:
        raise Refused("a run cannot be compared with itself: give two runs")
    return statistics.holm([statistics.compare(one, other, scores[0] | scores[1]) for one, other in pairs])


def _inputs(directory: RunDirectory, result: Report) -> dict[str, str]:
    """Case -> its input, by which the cases of two runs are matched."""
    if "session_id" in result:
        return hosted.inputs_of(result["rows"])
    return {case.id: json.dumps(case.input, sort_keys=True) for case in directory.plan().cases}


def history(home: Home, limits: Limits, strategy: str | None, limit: int) -> list[dict[str, Any]]:
    """One line for each strategy of each run, newest first, in upstream's shape: `{eval_id, strategy, timestamp,
    status, pass_rate, mean_score, total_cases, passed, llm_calls, elapsed_ms, summary}`."""
    lines: list[dict[str, Any]] = []
    for directory in list_runs(home):
        if len(lines) >= limit:
            break
        try:
            result = stored_report(directory, limits)
            lines += [_line(result, entry) for entry in result["strategies"] if strategy in (None, entry["strategy"])]
        except (AlcError, KeyError, ValueError):
            continue  # its session is gone, or it is of another version
    return lines[:limit]


def _line(result: Report, entry: Mapping[str, Any]) -> dict[str, Any]:
    rate = "not graded" if entry["score"] is None else f"{entry['passed']} of {entry['runs']} passed"
    return {
        "eval_id": result["run_id"],
        "strategy": entry["strategy"],
        "timestamp": round(result["created_at"]),
        "status": result["status"],
        "pass_rate": entry["pass_rate"],
        "mean_score": entry["score"],
        "total_cases": entry["cases"],
        "passed": entry["passed"],
        "llm_calls": entry["prompts"],
        "elapsed_ms": round(entry["seconds"] * 1000),
        "summary": result.get("summary") or f"{result['name']}: {entry['strategy']}, {rate}",
    }
