"""Summary of a long text: its parts are summed up at once, then pairs of summaries, until one is left."""

import textwrap
from typing import Any

import alc


def run(ctx: dict[str, Any]) -> str:
    parts = textwrap.wrap(str(ctx["task"]) * 30, 90)[:5]
    level: list[str] = alc.parallel(parts, lambda part: f"Sum up: {part}")
    while len(level) > 1:
        pairs = [level[at : at + 2] for at in range(0, len(level), 2)]
        level = [alc.llm("Join: " + " | ".join(pair)) if len(pair) > 1 else pair[0] for pair in pairs]
    return level[0]
