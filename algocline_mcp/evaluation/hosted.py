"""Evaluations that a host answers: one session that runs alc.eval, and its report in the shape of report.py.

Contract: the directory of the run names the session before it begins; the report is read from its journal, so nobody
has to be there when it ends. A report of an ended session is saved, because retention removes journals.
"""

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import AlcError
from algocline_mcp.evaluation import report, statistics
from algocline_mcp.evaluation.plan import PLAN, REPORT, RunDirectory
from algocline_mcp.evaluation.report import Report
from algocline_mcp.history.new_session import Strategy
from algocline_mcp.history.reader import session_of as read_session
from algocline_mcp.languages import LUA
from algocline_mcp.session.results import metrics, status_of
from algocline_mcp.storage.clock import now_s
from algocline_mcp.storage.files import make_directories

# The texts of a caller are data, except for a scenario in Lua, which is code and runs in an engine like any other.
_EVALUATE = (
    "return alc.eval({scenario}, ctx.strategy, {{ strategy_opts = ctx.strategy_opts, auto_card = ctx.auto_card }})\n"
)
_BY_CODE = "local scenario = (function(...) {code}\nend)()\n"
_CHARS = 60  # of an input that names its case


@dataclass(frozen=True, slots=True)
class Request:
    """`scenario_code`: in Lua; else `scenario`: the name of one, or its table."""

    strategy: str
    options: Mapping[str, Any] = field(default_factory=dict)
    scenario_code: str | None = None
    scenario: Any = None
    scenario_label: str = "inline"
    auto_card: bool = False


def session_of(
    request: Request, project_root: str | None, lib_paths: tuple[str, ...], variants: Mapping[str, str]
) -> Strategy:
    ctx: dict[str, Any] = {
        "strategy": request.strategy,
        "strategy_opts": dict(request.options),
        "auto_card": request.auto_card,
    }
    if request.scenario_code is None:
        ctx["scenario"], before, name = request.scenario, "", "ctx.scenario"
    else:
        before, name = _BY_CODE.format(code=request.scenario_code.removeprefix("\ufeff")), "scenario"
    return Strategy(
        before + _EVALUATE.format(scenario=name),
        request.scenario_label,
        ctx,
        title=f"eval {request.scenario_label}: {request.strategy}",
        project_root=project_root,
        lib_paths=lib_paths,
        variants=variants,
        language=LUA.name,
    )


def create(home: Home, request: Request, sid: str) -> RunDirectory:
    """The directory of the run, with the id of its session."""
    created = now_s()
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(created))
    directory = RunDirectory(home.evals / f"{request.strategy[:40]}-{stamp}-{secrets.token_hex(4)}")
    make_directories(home.evals, directory.path)
    directory.save(PLAN, {
        "run_id": directory.run_id, "created_at": created, "session_id": sid, "strategy": request.strategy,
        "options": dict(request.options), "name": request.scenario_label,
    })  # fmt: skip
    return directory


def hosted_report(home: Home, limits: Limits, directory: RunDirectory, plan: Mapping[str, Any]) -> Report:
    """The report of the run; without cases while its session has not ended. Raises AlcError where it is gone."""
    session = read_session(home, limits, plan["session_id"])
    status = status_of(session)
    outcome = (session.final or {}).get("result") if status == "completed" else None
    auto = metrics(session, session.last_s)["auto"]
    rows = _rows(plan, outcome if isinstance(outcome, dict) else {})
    built: Report = {
        "run_id": plan["run_id"],
        "name": plan["name"],
        "created_at": plan["created_at"],
        "answered_by": "host",
        "graders": [],
        "status": "completed" if status == "completed" else "partial" if session.final is None else status,
        "session_id": plan["session_id"],
        "cases": len(rows),
        "epochs": 1,
        "strategies": [_entry(plan, rows, auto, is_failed=status == "error")],
        "comparisons": [],
        "rows": rows,
        "warnings": [] if statistics.has_scipy() else [statistics.NEEDS],
    }
    if isinstance(outcome, dict):
        built |= {"result": outcome, "summary": outcome.get("summary")}
        built |= {"cards": [outcome["card_id"]]} if "card_id" in outcome else {}
    if session.final is not None:
        if status != "completed":
            built["error"] = str(session.final.get("error", status))
        directory.save(REPORT, built)
    return built


def _rows(plan: Mapping[str, Any], outcome: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of our own report, and of that of evalframe, which keeps the case and the response as tables."""
    rows = []
    for number, item in enumerate(_list(outcome.get("results")), 1):
        case = item.get("case") if isinstance(item.get("case"), dict) else item
        response = item.get("response") if isinstance(item.get("response"), dict) else {"text": item.get("output")}
        text = str(case.get("input", ""))
        score = item.get("score")
        row = {
            "sid": plan["session_id"],
            "strategy": plan["strategy"],
            "case": case.get("name") or f"{number}: {text if len(text) <= _CHARS else text[: _CHARS - 1] + '…'}",
            "input": case.get("input"),
            "epoch": 0,
            "status": "error" if item.get("error") or response.get("error") else "completed",
            "output": response.get("text") or "",
            "pass": bool(item.get("passed")),
            "score": float(score) if isinstance(score, int | float) else float(bool(item.get("passed"))),
        }
        rows.append(row)
    return rows


def _list(value: Any) -> list[Any]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _entry(
    plan: Mapping[str, Any], rows: list[dict[str, Any]], auto: Mapping[str, Any], *, is_failed: bool
) -> dict[str, Any]:
    scores = list(report.case_scores(rows).values())
    passed = sum(row["pass"] for row in rows)
    entry: dict[str, Any] = {
        "strategy": plan["strategy"],
        "options": plan["options"],
        "cases": len(rows),
        "runs": len(rows),
        "score": sum(scores) / len(scores) if scores else None,
        "low": None,
        "high": None,
        "pass_rate": passed / len(rows) if rows else None,
        "passed": passed,
        "prompts": auto["llm_calls"],
        "prompt_tokens": auto["prompt_tokens"]["tokens"],
        "response_tokens": auto["response_tokens"]["tokens"],
        "tokens": auto["total_tokens"]["tokens"],
        "is_estimated": auto["total_tokens"]["source"] == "estimated",
        "seconds": auto["elapsed_ms"] / 1000,
        "cost": None,
        "refusals": 0,
        "errors": sum(row["status"] == "error" for row in rows) + is_failed,
        "ungraded": 0,
    }
    if scores and statistics.has_scipy():
        interval = statistics.interval_of(scores)
        entry |= {"low": interval.low, "high": interval.high, "interval": interval.method}
    return entry


def inputs_of(rows: Any) -> dict[str, str]:
    """Case -> its input, by which the cases of two runs are matched."""
    return {row["case"]: json.dumps(row.get("input"), sort_keys=True) for row in rows}


def is_gone(error: AlcError) -> bool:
    return error.code == "not_found"
