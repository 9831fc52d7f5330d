"""Export of a run as logs of inspect_ai, written with its own library; the extra `inspect`.

Contract: one log for each strategy, NAME.eval, which `inspect view` and its extension for VS Code open. A sample is one
run of one case; its messages are the prompts and answers in its journal, where that is still there. Scores, tokens and
seconds are those of the report.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from algocline_mcp import __version__
from algocline_mcp.errors import AlcError, Refused
from algocline_mcp.evaluation.cases import Case
from algocline_mcp.evaluation.graders import alternatives_of
from algocline_mcp.evaluation.plan import Plan
from algocline_mcp.evaluation.report import Report
from algocline_mcp.session.records import Record

NEEDS = "logs of inspect_ai need its library: pip install 'algocline-mcp[inspect]'"
Messages = Callable[[str], Sequence[Record]]
_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


def require_library() -> None:
    """Raises Refused without it."""
    if find_spec("inspect_ai") is None:
        raise Refused(NEEDS)


def write_logs(plan: Plan, report: Report, directory: Path, records_of: Messages) -> list[str]:
    """The names of the files. `records_of`: of a session. Raises Refused without the library, OSError."""
    require_library()
    from inspect_ai.log import write_eval_log  # 2 s, which only an export spends

    names = []
    for number, entry in enumerate(report["strategies"]):
        name = f"{plan.run_id}_{number + 1}_{_NAME.sub('_', entry['strategy'])}.eval"
        write_eval_log(_log(plan, report, number, records_of), str(directory / name))
        names.append(name)
    return names


def _log(plan: Plan, report: Report, number: int, records_of: Messages) -> Any:
    from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalMetric, EvalResults, EvalScore, EvalSpec, EvalStats

    entry, contender = report["strategies"][number], plan.contenders[number]
    rows = [row for row in report["rows"] if row["strategy"] == entry["strategy"]]
    scorer = "+".join(report["graders"]) or "grade"
    figures = {
        "mean": entry["score"],
        "pass_rate": entry["pass_rate"],
        "ci_low": entry["low"],
        "ci_high": entry["high"],
    }
    metrics = {name: EvalMetric(name=name, value=value) for name, value in figures.items() if value is not None}
    score = EvalScore(name=scorer, scorer=scorer, scored_samples=len(rows) - entry["ungraded"],
                      unscored_samples=entry["ungraded"], metrics=metrics)  # fmt: skip
    created = _iso(plan.created_at)
    ids = [case.id for case in plan.cases]
    usage = {_model(plan): _usage(entry, entry["cost"])}
    return EvalLog(
        status="success" if report["status"] == "completed" else "started",
        eval=EvalSpec(
            run_id=plan.run_id,
            eval_id=f"{plan.run_id}-{number + 1}",
            created=created,
            task=Path(plan.name).stem,
            solver=entry["strategy"],
            solver_args=dict(contender.options),
            dataset=EvalDataset(name=plan.name, samples=len(ids), sample_ids=ids),
            model=_model(plan),
            config=EvalConfig(epochs=plan.epochs),
            packages={"algocline-mcp": __version__},
        ),
        results=EvalResults(total_samples=len(plan.cases) * plan.epochs, completed_samples=len(rows), scores=[score]),
        stats=EvalStats(started_at=created, completed_at=created, model_usage=usage),
        samples=[_sample(plan, row, _case(plan, row["case"]), scorer, records_of) for row in rows],
    )


def _model(plan: Plan) -> str:
    return plan.answered_by.replace(":", "/", 1)


def _case(plan: Plan, case_id: str) -> Case:
    return next(case for case in plan.cases if case.id == case_id)


def _usage(counts: Mapping[str, Any], cost: float | None = None) -> Any:
    from inspect_ai.model import ModelUsage

    prompts, answers = counts["prompt_tokens"], counts["response_tokens"]
    return ModelUsage(input_tokens=prompts, output_tokens=answers, total_tokens=prompts + answers, total_cost=cost)


def _sample(plan: Plan, row: Mapping[str, Any], case: Case, scorer: str, records_of: Messages) -> Any:
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ModelOutput
    from inspect_ai.scorer import Score

    scores = None
    if "score" in row:
        metadata = {"pass": row["pass"]}
        reason = row.get("reason") or None
        scores = {scorer: Score(value=row["score"], answer=row["output"], explanation=reason, metadata=metadata)}
    own = ("sid", "status", "prompts", "refusals", "error", "grade_error")
    return EvalSample(
        id=case.id,
        epoch=row["epoch"] + 1,
        input=case.input if isinstance(case.input, str) else str(case.input),
        choices=list(case.choices) or None,
        target=alternatives_of(case),
        messages=_messages(row["sid"], records_of),
        output=ModelOutput.from_content(_model(plan), row["output"]),
        scores=scores,
        metadata={**case.metadata, **{name: row[name] for name in own if name in row}},
        model_usage={_model(plan): _usage(row)},
        total_time=row["seconds"],
    )


def _messages(sid: str, records_of: Messages) -> list[Any]:
    """Prompts and answers in the order of answering; nothing where retention has removed the journal."""
    from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser

    try:
        records = records_of(sid)
    except (AlcError, OSError):
        return []
    queries = {query["id"]: query for record in records if record["kind"] == "prompt" for query in record["queries"]}
    messages: list[Any] = []
    for item in (item for record in records if record["kind"] == "answer" for item in record["answers"]):
        query = queries[item["id"]]
        if query.get("system"):
            messages.append(ChatMessageSystem(content=query["system"]))
        messages.append(ChatMessageUser(content=query["prompt"]))
        messages.append(ChatMessageAssistant(content=item.get("response") or f"(refused: {item.get('refuse', '')})"))
    return messages


def _iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(seconds))
