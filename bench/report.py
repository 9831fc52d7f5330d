"""Rows as a table on the terminal, as JSON and as a chart. A chart needs matplotlib; the rest nothing."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from measure import Comparison, Row

_HEAD = ("", "median", "p99", "n", "ratio", "against", "aim", "met")
_WIDEST = 62
_COLUMNS = 2


def table(rows: Sequence[Row]) -> str:
    lines: list[tuple[str, ...]] = [_HEAD]
    notes: list[str] = []
    for number, row in enumerate(rows):
        if number == 0 or rows[number - 1].part != row.part:
            lines.append((row.part.upper(), *[""] * 7))
        lines += _lines(row, notes)
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    shown = [_aligned(line, widths) for line in lines]
    numbered = [f"[{number}] {note}" for number, note in enumerate(notes, 1)]
    return "\n".join([shown[0], "─" * len(shown[0]), *shown[1:], "", *numbered])


def _lines(row: Row, notes: list[str]) -> list[tuple[str, ...]]:
    name = f"  {row.name}"
    if row.note:
        if row.note not in notes:
            notes.append(row.note)
        name += f" [{notes.index(row.note) + 1}]"
    if row.median is None:
        return [(name, "not run", "", "", "", row.reason[:_WIDEST], "", "")]
    figures = (f"{shown(row.median)} {row.unit}", "" if row.p99 is None else shown(row.p99), str(row.n))
    first, *others = row.comparisons or (Comparison("", None),)
    return [(name, *figures, *_cells(first)), *(("", "", "", "", *_cells(other)) for other in others)]


def _cells(comparison: Comparison) -> tuple[str, str, str, str]:
    met = {True: "yes", False: "NO", None: ""}[comparison.is_met]
    quotient = "" if comparison.ratio is None else f"{shown(comparison.ratio)} ×"
    return quotient, comparison.against, comparison.aim or "", met


def _aligned(line: tuple[str, ...], widths: Sequence[int]) -> str:
    """Figures to the right."""
    cells = [
        text.rjust(width) if 1 <= at <= 4 else text.ljust(width)
        for at, (text, width) in enumerate(zip(line, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def shown(value: float) -> str:
    """Three digits that count."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def write_json(path: Path, rows: Sequence[Row], machine: Mapping[str, str], **run: Any) -> None:
    content = {"machine": dict(machine), **run, "rows": [row.as_json() for row in rows]}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def draw(path: Path, rows: Sequence[Row], machine: Mapping[str, str]) -> bool:
    """One panel per part and unit; ours are blue. Returns whether there was anything to draw, and matplotlib."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot  # after the choice above: a terminal need not have a display

    panels: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.median:
            panels.setdefault((row.part, row.unit), []).append(row)
    panels = {key: rows_of_panel for key, rows_of_panel in panels.items() if len(rows_of_panel) > 1}
    if not panels:
        return False
    tall = max(map(len, panels.values())) * 0.24 + 0.9
    lines = math.ceil(len(panels) / _COLUMNS)
    drawing, axes = pyplot.subplots(lines, _COLUMNS, figsize=(13, tall * lines), squeeze=False, layout="constrained")
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    for axis, ((part, unit), rows_of_panel) in zip(axes.flat, panels.items(), strict=False):
        _panel(axis, f"{part} ({unit})", rows_of_panel, is_logarithmic=unit == "ms")
    facts = ", ".join(machine[name] for name in ("cpu", "system", "python", "file system"))
    drawing.suptitle(
        f"{facts}, {machine['cores']} cores, load {machine['load']}. Dots: median, whiskers: p99", fontsize=9
    )
    drawing.savefig(path, dpi=110)
    pyplot.close(drawing)
    return True


def _panel(axis: Any, title: str, rows: Sequence[Row], *, is_logarithmic: bool) -> None:
    """Dots, not bars: on a logarithmic scale the length of a bar means nothing."""
    for at, row in enumerate(rows):
        median = row.median or 0.0
        colour = "tab:blue" if row.is_ours else "dimgrey"
        axis.plot([median, row.p99 or median], [at, at], color="lightgrey", linewidth=2, zorder=1)
        axis.plot([median], [at], marker="o", markersize=5, color=colour, zorder=2)
        axis.annotate(shown(median), (median, at), xytext=(0, 4), textcoords="offset points", ha="center", fontsize=6)
    if is_logarithmic:
        axis.set_xscale("log")
    else:
        axis.set_xlim(left=0)
    axis.set_yticks(range(len(rows)), [row.name for row in rows])
    axis.set_ylim(len(rows) - 0.5, -0.8)
    axis.set_title(title, loc="left", fontsize=9)
    axis.tick_params(labelsize=7)
    axis.grid(axis="x", color="whitesmoke")
    axis.spines[["top", "right"]].set_visible(False)
