"""Reports and charts: sums, the table, CSV, and charts that are pictures of the right size."""

import csv
import io
from typing import Any

import pytest

from algocline_mcp.evaluation import charts, report, statistics
from algocline_mcp.evaluation.cases import Case
from algocline_mcp.evaluation.graders import Grader
from algocline_mcp.evaluation.plan import Plan, new_plan
from algocline_mcp.evaluation.strategies import Contender

CASES = [Case(f"c{number}", "?", "yes, and\nno") for number in range(6)]
CONTENDERS = [Contender(label, "", label, "lua") for label in ("a.lua", "b.lua:n=3", "c.lua")]
PRICES = (2.0, 10.0)
PNG = b"\x89PNG\r\n\x1a\n"


def a_plan(count: int, *, prices: tuple[float, float] | None = None) -> Plan:
    return new_plan("q.jsonl", CASES, CONTENDERS[:count], epochs=2, answered_by="exec:m", prices=prices)


def a_report(
    count: int = 3, *, missing: int = 0, prices: tuple[float, float] | None = PRICES, plan: Plan | None = None
) -> dict[str, Any]:
    plan = plan or a_plan(count, prices=prices)
    rows = {}
    for part in plan.parts[: len(plan.parts) - missing]:
        score = float((part.case + part.epoch) % (part.strategy + 2) != 0)
        rows[part.sid] = {
            "sid": part.sid, "strategy": CONTENDERS[part.strategy].label, "case": CASES[part.case].id,
            "epoch": part.epoch, "status": "completed", "output": "x, y", "prompts": 1 + part.strategy,
            "prompt_tokens": 100, "response_tokens": 10, "is_estimated": False, "seconds": 0.5, "refusals": 0,
            "score": score, "pass": score == 1, "reason": "",
        }  # fmt: skip
    return report.build(plan, [Grader("exact")], rows)


def test_a_report_sums_each_strategy_and_compares_every_pair() -> None:
    built = a_report()

    first = built["strategies"][0]
    assert (first["runs"], first["cases"], first["prompts"], first["tokens"], first["seconds"]) == (
        12,
        6,
        12,
        1320,
        6.0,
    )
    assert first["cost"] == pytest.approx(12 * (100 * 2 + 10 * 10) / 1e6)
    assert first["score"] == 0.5  # each case once right and once wrong
    assert first["interval"] == "bootstrap (BCa)"
    assert [(item["first"], item["second"]) for item in built["comparisons"]] == [
        ("a.lua", "b.lua:n=3"), ("a.lua", "c.lua"), ("b.lua:n=3", "c.lua"),
    ]  # fmt: skip
    assert all("p_holm" in item for item in built["comparisons"])
    assert built["status"] == "completed"


def test_a_report_of_a_run_that_is_not_complete_says_so() -> None:
    assert a_report(missing=5)["status"] == "partial"
    assert a_report(missing=36)["strategies"][0]["score"] is None


def test_the_table_has_a_line_for_each_strategy_and_a_sentence_for_each_comparison() -> None:
    lines = report.as_table(a_report()).splitlines()

    assert lines[0].split() == ["strategy", "score", "95", "%", "interval", "prompts", "tokens", "seconds", "cost",
                                "refusals", "errors"]  # fmt: skip
    assert lines[1].startswith("a.lua")
    assert "50.0 %" in lines[1]
    assert "$0.0036" in lines[1]
    assert lines[5].startswith("b.lua:n=3 against a.lua: ")
    assert "Wilcoxon signed-rank test" in lines[5]
    assert "after Holm's correction" in lines[5]


def test_csv_has_a_line_for_each_run_with_what_was_expected() -> None:
    text = report.as_csv(a_report(), {case.id: case.expected for case in CASES})

    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 36
    assert rows[0]["expected"] == "yes, and\nno"
    assert rows[0]["output"] == "x, y"


def test_without_scipy_a_report_has_scores_and_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "has_scipy", lambda: False)

    built = a_report()

    assert built["strategies"][0]["score"] == 0.5
    assert built["strategies"][0]["low"] is None
    assert built["comparisons"] == []
    assert "pip install 'algocline-mcp[eval]'" in built["warnings"][0]
    assert " - " in report.as_table(built)


def test_charts_are_pictures() -> None:
    drawn = charts.charts(a_report())

    assert list(drawn) == ["score.png", "cost.png", "differences.png"]
    assert all(content.startswith(PNG) and len(content) > 10_000 for content in drawn.values())
    assert list(charts.charts(a_report(1, prices=None))) == ["score.png", "cost.png"]
    assert charts.charts(a_report(missing=36)) == {}


@pytest.mark.parametrize(
    ("points", "label"),
    [
        ([(1, 0.5), (2, 0.9)], "Pareto front"),
        ([(1, 0.9), (2, 0.5)], "Pareto front: one point,\nno other is better or cheaper"),
        ([(1, 0.9), (2, 0.5), (1, 0.9)], "Pareto front: one point,\nno other is better or cheaper"),
        ([(1, 0.9)], None),
    ],
)
def test_the_front_is_drawn_and_named_also_where_one_strategy_beats_the_others(
    points: list[tuple[float, float]], label: str | None
) -> None:
    report = a_report(1, prices=None)
    entry = report["strategies"][0]
    entries = [
        entry | {"strategy": f"s{number}", "tokens": cost, "runs": 1, "score": score}
        for number, (cost, score) in enumerate(points)
    ]

    figure = charts._cost(report, entries)

    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert [name for name in named if name.startswith("Pareto")] == ([label] if label else [])


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([(1, 0.5), (2, 0.4), (3, 0.9)], [0, 2]),
        ([(3, 0.9), (1, 0.9)], [1]),
        ([(1, 0.5), (1, 0.7)], [1]),
        ([(2, 0.5)], [0]),
        ([(1, 0.5), (2, 0.5)], [0]),
        ([(1, 0.5), (2, 0.4), (1, 0.5)], [0, 2]),
    ],
)
def test_the_pareto_front_has_what_nothing_beats(points: list[tuple[float, float]], front: list[int]) -> None:
    assert charts.pareto_front(points) == front
