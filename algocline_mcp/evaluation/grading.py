"""Grades the rows of a run: by rules here, by code in sessions of their own.

Contract: `grade_rows` may be called again, with the same graders or with others; it asks no prompt of the graded
strategies, and of a judge only what it has not answered. The ids of the sessions that grade are on disk before the
first of them exists. An output that a grader could not grade has a `grade_error` and no score.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from algocline_mcp.errors import AlcError
from algocline_mcp.evaluation.cases import Case
from algocline_mcp.evaluation.code_graders import grade_of_state, session_of
from algocline_mcp.evaluation.execution import Row, Sessions, Unanswered, for_all
from algocline_mcp.evaluation.graders import Grade, Grader, combined, grade
from algocline_mcp.evaluation.plan import GRADING, Plan, RunDirectory
from algocline_mcp.pool.dispatch import gen_pool_sid


def graders_json(graders: Sequence[Grader]) -> list[dict[str, Any]]:
    return [
        asdict(grader) | {"options": dict(grader.options), "lib_paths": list(grader.lib_paths)} for grader in graders
    ]


def saved_graders(directory: RunDirectory) -> list[Grader]:
    """The graders of the run's last grading."""
    saved = (directory.load(GRADING) or {}).get("graders", [])
    return [Grader(**item | {"lib_paths": tuple(item["lib_paths"])}) for item in saved]


def judge_of(directory: RunDirectory, plan: Plan) -> str:
    """Who answered the judge of the last grading, in the form of `Plan.answered_by`."""
    return str((directory.load(GRADING) or {}).get("judged_by", plan.answered_by))


def _sids(
    directory: RunDirectory, plan: Plan, graders: Sequence[Grader], judged_by: str
) -> Mapping[str, Sequence[str]]:
    """Session of a part -> the session for each grader that is code. New ones for new graders, and where somebody else
    judges."""
    wanted = graders_json(graders)
    saved = directory.load(GRADING) or {}
    has_judge = any(grader.kind == "judge" for grader in graders)
    is_same_judge = not has_judge or judge_of(directory, plan) == judged_by
    if saved.get("graders") == wanted and is_same_judge:
        return dict(saved["sids"])
    count = sum(grader.is_code for grader in graders)
    sids = {part.sid: [gen_pool_sid() for _ in range(count)] for part in plan.parts} if count else {}
    directory.save(GRADING, {"graders": wanted, "judged_by": judged_by, "sids": sids})
    return sids


async def grade_rows(
    directory: RunDirectory,
    plan: Plan,
    graders: Sequence[Grader],
    rows: Mapping[str, Row],
    sessions: Sessions,
    *,
    judged_by: str,
    parallel: int,
) -> list[str]:
    """Adds `score`, `pass` and `reason` to each row. Returns sentences about those that could not be graded yet."""
    sids = _sids(directory, plan, graders, judged_by)
    cases = {case.id: case for case in plan.cases}
    problems: list[str] = []

    async def grade_row(row: Row) -> None:
        for key in ("score", "pass", "reason", "grade_error"):
            row.pop(key, None)
        if row["status"] != "completed":
            row |= {"score": 0.0, "pass": False, "reason": ""}
            return
        try:
            epoch = row["epoch"] if plan.epochs > 1 else None
            grading = _Grading(sessions, sids.get(row["sid"], ()), epoch)
            one = combined(await _grades(graders, row, cases[row["case"]], grading))
        except Unanswered as exc:
            problems.append(f"case {row['case']!r}, {row['strategy']}: not graded: {exc}")
        except AlcError as exc:
            row["grade_error"] = str(exc)
        else:
            row |= {"score": one.score, "pass": one.is_pass, "reason": one.reason}

    await for_all(grade_row, list(rows.values()), parallel=parallel if sids else 1)
    return problems


@dataclass(frozen=True, slots=True)
class _Grading:
    """Where the graders of one row run. `sids`: of those that are code. `epoch`: of several."""

    sessions: Sessions
    sids: Sequence[str]
    epoch: int | None


async def _grades(graders: Sequence[Grader], row: Row, case: Case, grading: _Grading) -> list[Grade]:
    grades = []
    own = iter(grading.sids)
    for grader in graders:
        if grader.is_code:
            title = f"eval: grade of {row['strategy']}, case {case.id}"
            session = session_of(grader, row["output"], case, title)
            state = await grading.sessions.finish(next(own), session, grading.epoch)
            grades.append(grade_of_state(grader, state))
        else:
            grades.append(grade(grader, row["output"], case))
    return grades
