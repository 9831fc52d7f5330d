"""The report of a run: one entry for each strategy, the comparisons, the rows; as JSON, CSV and a table. Pure.

    {run_id, name, created_at, answered_by, graders, status: completed | partial, cases, epochs,
     strategies: [{strategy, cases, runs, score, low, high, interval, pass_rate, passed, prompts, prompt_tokens,
                   response_tokens, tokens, is_estimated, seconds, cost, refusals, errors, ungraded}],
     comparisons: [{first, second, test, cases, better, worse, difference, low, high, p, p_holm?}],
     rows: [{sid, strategy, case, epoch, status, output, score, pass, …}], warnings}

`score` is the mean over cases of the mean over epochs; a run that failed scores 0. The sums, such as prompts and
seconds, are over all runs of the strategy, without the graders'.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from algocline_mcp.evaluation import statistics
from algocline_mcp.evaluation.graders import Grader
from algocline_mcp.evaluation.plan import Plan
from algocline_mcp.evaluation.statistics import Comparison

Report = dict[str, Any]
Row = Mapping[str, Any]

_COLUMNS = ("strategy", "case", "epoch", "status", "score", "pass", "output", "expected", "reason", "error", "prompts",
            "prompt_tokens", "response_tokens", "seconds", "refusals", "sid")  # fmt: skip
_OUTPUT_CHARS = 60
_SUMS = ("prompts", "prompt_tokens", "response_tokens", "seconds", "refusals")


def build(plan: Plan, graders: Sequence[Grader], rows: Mapping[str, Row]) -> Report:
    """`rows`: by session id, graded."""
    ordered = [rows[part.sid] for part in plan.parts if part.sid in rows]
    labels = [contender.label for contender in plan.contenders]
    scores = {label: case_scores(row for row in ordered if row["strategy"] == label) for label in labels}
    report: Report = {
        "run_id": plan.run_id,
        "name": plan.name,
        "created_at": plan.created_at,
        "answered_by": plan.answered_by,
        "graders": [grader.label for grader in graders],
        "status": "completed" if len(ordered) == len(plan.parts) else "partial",
        "cases": len(plan.cases),
        "epochs": plan.epochs,
        "strategies": [
            _entry(label, [row for row in ordered if row["strategy"] == label], scores[label], plan.prices)
            for label in labels
        ],
        "comparisons": [],
        "rows": ordered,
        "warnings": [],
    }
    if not statistics.has_scipy():
        report["warnings"].append(statistics.NEEDS)
    elif len(labels) > 1 and all(scores.values()):
        report["comparisons"] = [comparison(item) for item in statistics.compare_all(scores)]
    return report


def case_scores(rows: Iterable[Row]) -> dict[str, float]:
    """Case -> the mean of its scores."""
    scores: dict[str, list[float]] = {}
    for row in rows:
        if "score" in row:
            scores.setdefault(row["case"], []).append(row["score"])
    return {case: sum(values) / len(values) for case, values in scores.items()}


def _entry(
    label: str, rows: Sequence[Row], scores: Mapping[str, float], prices: tuple[float, float] | None
) -> dict[str, Any]:
    graded = [row for row in rows if "score" in row]
    passed = sum(bool(row["pass"]) for row in graded)
    entry: dict[str, Any] = {
        "strategy": label,
        "cases": len(scores),
        "runs": len(rows),
        "score": sum(scores.values()) / len(scores) if scores else None,
        "low": None,
        "high": None,
        "pass_rate": passed / len(graded) if graded else None,
        "passed": passed,
        **{name: sum(row[name] for row in rows) for name in _SUMS},
    }
    if scores and statistics.has_scipy():
        interval = statistics.interval_of(list(scores.values()))
        entry |= {"low": interval.low, "high": interval.high, "interval": interval.method}
    entry["tokens"] = entry["prompt_tokens"] + entry["response_tokens"]
    entry["is_estimated"] = any(row["is_estimated"] for row in rows)
    entry["cost"] = None
    if prices is not None:
        entry["cost"] = (entry["prompt_tokens"] * prices[0] + entry["response_tokens"] * prices[1]) / 1_000_000
    entry["errors"] = sum(row["status"] != "completed" for row in rows)
    entry["ungraded"] = len(rows) - len(graded)
    return entry


def comparison(item: Comparison) -> dict[str, Any]:
    values = {name: getattr(item, name) for name in ("first", "second", "test", "cases", "better", "worse")}
    values |= {"difference": item.difference, "low": item.interval.low, "high": item.interval.high, "p": item.p}
    return values | ({} if item.p_holm is None else {"p_holm": item.p_holm})


# ── views ─────────────────────────────────────────────────────────────────────────────────────────────────


def as_csv(report: Report, expected: Mapping[str, Any]) -> str:
    """One line for each run. `expected`: by case."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, _COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in report["rows"]:
        writer.writerow({**row, "expected": expected.get(row["case"])})
    return text.getvalue()


def as_table(report: Report) -> str:
    """The strategies, and the comparisons in sentences."""
    head = ["strategy", "score", "95 % interval", "prompts", "tokens", "seconds", "cost", "refusals", "errors"]
    lines = [head, *(_cells(entry) for entry in report["strategies"])]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    table = [
        "  ".join(cell.ljust(width) if not column else cell.rjust(width)
                  for column, (cell, width) in enumerate(zip(line, widths, strict=True))).rstrip()
        for line in lines
    ]  # fmt: skip
    sentences = [sentence(item) for item in report["comparisons"]]
    return "\n".join([*table, *([""] if sentences else []), *sentences])


def as_cases(report: Report) -> str:
    """One line for each case: the mean score of each strategy, in the order of the table."""
    labels = [entry["strategy"] for entry in report["strategies"]]
    scores = {label: case_scores(row for row in report["rows"] if row["strategy"] == label) for label in labels}
    ids = list(dict.fromkeys(row["case"] for row in report["rows"]))
    width = max((len(case) for case in ids), default=0)
    lines = []
    for case in ids:
        cells = [f"{scores[label][case]:.2f}" if case in scores[label] else "   -" for label in labels]
        failed = [row for row in report["rows"] if row["case"] == case and not row.get("pass")]
        outputs = "; ".join(dict.fromkeys(_shortened(row.get("error") or row["output"]) for row in failed))
        lines.append(f"{case.ljust(width)}  {'  '.join(cells)}  {outputs}".rstrip())
    return "\n".join(lines)


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _OUTPUT_CHARS else text[: _OUTPUT_CHARS - 1] + "…"


def _cells(entry: Mapping[str, Any]) -> list[str]:
    score, low = entry["score"], entry["low"]
    return [
        entry["strategy"],
        "-" if score is None else _percent(score),
        "-" if low is None else f"{_percent(low)} – {_percent(entry['high'])}",
        f"{entry['prompts']:,}",
        f"{'~' if entry['is_estimated'] else ''}{entry['tokens']:,}",
        f"{entry['seconds']:.1f}",
        "-" if entry["cost"] is None else f"${entry['cost']:.4f}",
        str(entry["refusals"]),
        str(entry["errors"]),
    ]


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def sentence(item: Mapping[str, Any]) -> str:
    difference = f"{100 * item['difference']:+.1f} points [{100 * item['low']:+.1f}, {100 * item['high']:+.1f}]"
    corrected = f", {item['p_holm']:.3g} after Holm's correction" if "p_holm" in item else ""
    return (
        f"{item['second']} against {item['first']}: {difference}; better in {item['better']} and worse in "
        f"{item['worse']} of {item['cases']} cases; p = {item['p']:.3g} ({item['test']}){corrected}"
    )
