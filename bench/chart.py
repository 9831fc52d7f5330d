"""Draws figures of a run of the benchmark as bars: `python bench/chart.py results.json docs/performance.svg`.

Each group has a scale of its own, from zero to its longest bar. A group without figures is left out.
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

from report import shown

# title of a group -> bars: (label, part and name of the row)
GROUPS: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "The first prompt of a run": (
        ("here", "first prompt", "pool layer"),
        ("a program per session, as upstream does", "first prompt", "upstream's scheme, ported"),
    ),
    "From an answer to the next prompt, through the official client": (
        ("here", "step", "whole: alc_continue"),
        ("a tool of the SDK that does nothing", "step", "whole: stub of a bare MCPServer"),
    ),
    "The answer that ends a session, through the official client": (
        ("here", "last step", "the last step, whole"),
        ("the version before", "last step", "the last step, whole, baseline"),
    ),
    "100 runs at once, until each has its prompt": (
        ("here", "burst of continues", "100 runs at once"),
        ("the version before", "burst of continues", "100 runs at once, baseline"),
    ),
    "100 answers at once, until each has its next prompt": (
        ("here", "burst of continues", "100 continues at once"),
        ("the version before", "burst of continues", "100 continues at once, baseline"),
    ),
    "A host starts the server and lists its tools": (
        ("here, from the second start on", "start", "tools/list, handshake: second"),
        ("a bare server of the SDK", "start", "tools/list, handshake: bare MCPServer"),
    ),
    "Memory of a window that calls no tool": (
        ("here", "idle server", "a window without a call"),
        ("the version before", "idle server", "the same, baseline"),
    ),
}
_WIDTH, _MARGIN, _BAR_X, _BAR_WIDTH = 760, 16, 330, 330
_LINE = 20  # pixels
_OURS, _OTHERS = "#1f6f8b", "#b9c4ca"


def svg(figures: Mapping[tuple[str, str], tuple[float, str]]) -> str:
    """`figures`: (part, name) of a row -> its median and unit."""
    lines, y = [], _MARGIN
    for title, bars in GROUPS.items():
        known = [(label, *figures[part, name]) for label, part, name in bars if (part, name) in figures]
        if known:
            y += _LINE
            lines += [f'<text x="{_MARGIN}" y="{y}" font-weight="600">{escape(title)}</text>', *_bars(known, y)]
            y += _LINE * len(known) + _LINE // 2
    style = 'font-family="system-ui, sans-serif" font-size="13" fill="#1b2a33"'
    height = y + _MARGIN
    frame = f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>'
    size = f'width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}"'
    body = "\n".join([frame, *lines])
    return f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size} {style}>\n{body}\n</svg>\n'


def _bars(bars: list[tuple[str, float, str]], y: int) -> Iterator[str]:
    longest = max(value for _, value, _ in bars)
    for number, (label, value, unit) in enumerate(bars):
        base = y + _LINE * (number + 1)
        width = max(1.0, _BAR_WIDTH * value / longest)
        color = _OURS if number == 0 else _OTHERS
        yield f'<text x="{_BAR_X - 8}" y="{base}" text-anchor="end">{escape(label)}</text>'
        yield f'<rect x="{_BAR_X}" y="{base - 11}" width="{width:.1f}" height="13" rx="2" fill="{color}"/>'
        yield f'<text x="{_BAR_X + width + 6:.1f}" y="{base}">{escape(shown(value))} {escape(unit)}</text>'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("chart", type=Path)
    arguments = parser.parse_args()
    rows = json.loads(arguments.results.read_text())["rows"]
    figures = {(row["part"], row["name"]): (row["median"], row["unit"]) for row in rows if row["median"] is not None}
    arguments.chart.write_text(svg(figures))


if __name__ == "__main__":
    main()
