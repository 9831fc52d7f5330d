"""Charts of a run as PNG, by matplotlib; the extra `eval`.

    score.png         the score of each strategy with its interval
    cost.png          score against cost (US dollars, else tokens a run), with the Pareto front
    differences.png   where two strategies differ: each case, sorted by the difference of its scores

Contract: `write_charts` writes into a directory that exists and returns the names. It uses neither a display nor the
state of pyplot. Colours are those of Okabe and Ito, which colour-blind readers can tell apart.
"""

import io
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from algocline_mcp.evaluation.report import Report, case_scores
from algocline_mcp.storage.files import replace_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NEEDS = "charts need matplotlib: pip install 'algocline-mcp[eval]'"
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#999999")
_BETTER, _WORSE, _EQUAL = "#009E73", "#D55E00", "#BBBBBB"
_INK, _PALE, _FRONT = "#222222", "#DDDDDD", "#888888"
_LABEL_CHARS = 32
_MAX_CASES = 60  # with a label each
_STYLE: Any = {
    "font.size": 11,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": "#888888",
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": "#555555",
    "ytick.color": _INK,
    "svg.hashsalt": "alc",
}


@cache
def has_matplotlib() -> bool:
    return find_spec("matplotlib") is not None


def write_charts(report: Report, directory: Path) -> list[str]:
    """Needs matplotlib. Raises OSError."""
    drawn = charts(report)
    for name, content in drawn.items():
        replace_atomically(directory / name, content, is_durable=False, mode=0o644)
    return list(drawn)


def charts(report: Report) -> dict[str, bytes]:
    """Name -> PNG. Without a graded case there is none; with one strategy there are no differences."""
    import matplotlib as mpl  # 0.5 s, which only an evaluation spends

    entries = [entry for entry in report["strategies"] if entry["score"] is not None]
    if not entries:
        return {}
    with mpl.rc_context(_STYLE):
        drawn = {"score.png": _png(_score(report, entries)), "cost.png": _png(_cost(report, entries))}
        if report["comparisons"]:
            drawn["differences.png"] = _png(_differences(report))
    return drawn


def _figure(width: float, height: float) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    return figure, axes


def _png(figure: "Figure") -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def _label(text: str) -> str:
    return text if len(text) <= _LABEL_CHARS else text[: _LABEL_CHARS - 1] + "…"


def _percent_axis(axis: Any) -> None:
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _subtitle(report: Report) -> str:
    epochs = f" × {report['epochs']} epochs" if report["epochs"] > 1 else ""
    partial = ", not complete" if report["status"] != "completed" else ""
    return f"{report['name']}: {report['cases']} cases{epochs}, graded by {', '.join(report['graders'])}{partial}"


# ── score ─────────────────────────────────────────────────────────────────────────────────────────────────


def _score(report: Report, entries: Sequence[Mapping[str, Any]]) -> "Figure":
    figure, axes = _figure(7.5, 1.5 + 0.55 * len(entries))
    for row, entry in enumerate(entries):
        colour, score = _COLOURS[row % len(_COLOURS)], entry["score"]
        low, high = (entry["low"], entry["high"]) if entry["low"] is not None else (score, score)
        axes.plot([low, high], [row, row], color=colour, alpha=0.35, linewidth=7, solid_capstyle="round")
        axes.plot(score, row, "o", color=colour, markersize=9, markeredgecolor="white", markeredgewidth=1.2)
        axes.annotate(
            f"{100 * score:.1f} %", (score, row), xytext=(0, 9), textcoords="offset points", ha="center", fontsize=9.5
        )
    axes.set_yticks(range(len(entries)), [_label(entry["strategy"]) for entry in entries])
    axes.set_ylim(len(entries) - 0.4, -0.7)
    axes.set_xlim(-0.02, 1.02)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=_PALE, linewidth=0.8)
    _percent_axis(axes.xaxis)
    axes.set_title("Score, with 95 % intervals", pad=22)
    axes.text(0, 1.015, _subtitle(report), transform=axes.transAxes, fontsize=9.5, color="#666666", va="bottom")
    return figure


# ── cost ──────────────────────────────────────────────────────────────────────────────────────────────────


def cost_of(entry: Mapping[str, Any]) -> float:
    """Of one run: US dollars where prices are known, else tokens."""
    total = float(entry["tokens"] if entry["cost"] is None else entry["cost"])
    return total / max(1, int(entry["runs"]))


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points `(cost, score)` to which no other is better in one and as good in the other, by cost."""
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1])):
        if not front or points[index][1] > points[front[-1]][1] or points[index] == points[front[-1]]:
            front.append(index)
    return front


def _cost(report: Report, entries: Sequence[Mapping[str, Any]]) -> "Figure":
    figure, axes = _figure(8.5, 4.4)
    points = [(cost_of(entry), entry["score"]) for entry in entries]
    front = pareto_front(points)
    if len(points) > 1:
        _draw_front(axes, [points[index] for index in front])
    for row, (entry, (cost, score)) in enumerate(zip(entries, points, strict=True)):
        colour, is_in_front = _COLOURS[row % len(_COLOURS)], row in front
        if entry["low"] is not None:
            interval = [entry["low"], entry["high"]]
            axes.plot([cost, cost], interval, color=colour, alpha=0.35, linewidth=6, solid_capstyle="round")
        face, edge = (colour, "white") if is_in_front else ("white", colour)
        label = _label(entry["strategy"])
        axes.plot(cost, score, "o", color=face, markersize=10, markeredgecolor=edge, markeredgewidth=1.6, label=label)
    # Beside the axes: names at the points lie on each other where strategies are alike.
    figure.legend(loc="outside right upper", frameon=False, fontsize=10, borderaxespad=2.2)
    axes.set_xlim(0, 1.12 * max(cost for cost, _ in points) or 1)
    axes.set_ylim(-0.03, 1.05)
    axes.grid(color=_PALE, linewidth=0.8)
    _percent_axis(axes.yaxis)
    is_priced = entries[0]["cost"] is not None
    tokens = "tokens a run (estimated)" if any(entry["is_estimated"] for entry in entries) else "tokens a run"
    axes.set_xlabel("US dollars a run" if is_priced else tokens)
    axes.set_ylabel("score")
    axes.set_title("Score against cost", pad=22)
    axes.text(0, 1.015, _subtitle(report), transform=axes.transAxes, fontsize=9.5, color="#666666", va="bottom")
    return figure


def _draw_front(axes: "Axes", points: Sequence[tuple[float, float]]) -> None:
    """A line through the points of the front; a ring where it is one point, which a line would not show."""
    xs, ys = zip(*points, strict=True)
    if len(set(points)) > 1:
        axes.step(xs, ys, where="post", color=_FRONT, linewidth=1.4, linestyle=(0, (4, 3)), label="Pareto front")
    else:
        label = "Pareto front: one point,\nno other is better or cheaper"
        axes.plot(xs, ys, "o", color="none", markersize=19, markeredgecolor=_FRONT, markeredgewidth=1.4, label=label)


# ── differences ───────────────────────────────────────────────────────────────────────────────────────────


def _differences(report: Report) -> "Figure":
    """Of the last strategy against the first."""
    labels = [entry["strategy"] for entry in report["strategies"]]
    item = next(one for one in report["comparisons"] if (one["first"], one["second"]) == (labels[0], labels[-1]))
    before, after = (case_scores(row for row in report["rows"] if row["strategy"] == label)
                     for label in (item["first"], item["second"]))  # fmt: skip
    common = [(after[case] - before[case], case) for case in before if case in after]
    values = sorted(common, key=lambda pair: -pair[0])
    figure, axes = _figure(7.5, 1.9 + 0.19 * min(len(values), _MAX_CASES))
    colours = [_BETTER if value > 0 else _WORSE if value < 0 else _EQUAL for value, _ in values]
    rows = range(len(values))
    axes.barh(rows, [value for value, _ in values], color=colours, height=0.72)
    axes.scatter([0] * len(values), rows, s=9, color=colours, zorder=3)
    axes.axvline(0, color="#888888", linewidth=1)
    axes.axvspan(item["low"], item["high"], color="#0072B2", alpha=0.10, linewidth=0, zorder=0)
    axes.axvline(item["difference"], color="#0072B2", linewidth=1.6, zorder=4)
    if len(values) <= _MAX_CASES:
        axes.set_yticks(rows, [_label(case) for _, case in values], fontsize=8.5)
    else:
        axes.set_yticks([])
        axes.set_ylabel(f"{len(values)} cases")
    axes.set_ylim(len(values) - 0.3, -0.7)
    limit = max(0.1, 1.08 * max(abs(value) for value, _ in values))
    axes.set_xlim(-limit, limit)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=_PALE, linewidth=0.8)
    _percent_axis(axes.xaxis)
    axes.set_xlabel("difference of the score; the line is the mean, the band its 95 % interval", fontsize=9.5)
    axes.set_title(f"{_label(item['second'])} against {_label(item['first'])}", pad=22)
    counts = f"better in {item['better']}, worse in {item['worse']} of {item['cases']} cases"
    text = f"{counts}; p = {item['p']:.3g} ({item['test']})"
    axes.text(0, 1.015, text, transform=axes.transAxes, fontsize=9.5, color="#666666", va="bottom")
    return figure
