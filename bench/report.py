"""Rows as a table on the terminal and as JSON."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from measure import Comparison, Row

_HEAD = ("", "median", "p99", "n", "ratio", "against", "aim", "met")
_WIDEST = 62


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
