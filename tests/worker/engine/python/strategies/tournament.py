"""Sorting by a judge: the model compares two texts, and is the key of a third order."""

from functools import cmp_to_key
from typing import Any

import alc


def better(left: str, right: str) -> int:
    answer = alc.llm(f"Which is better, A or B?\nA: {left}\nB: {right}")
    return -1 if len(answer) % 2 else 1


def run(ctx: dict[str, Any]) -> dict[str, Any]:
    texts = [f"{ctx['task']} {name}" for name in ("one", "two", "three", "four")]
    ranked = sorted(texts, key=cmp_to_key(better))
    longest = max(ranked, key=lambda text: len(alc.llm(f"Describe {text}")))
    return {"ranked": ranked, "longest": longest}
