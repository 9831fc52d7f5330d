"""Best-first search: the open ideas lie in a heap, the best one is refined next."""

import heapq
from dataclasses import dataclass, field
from typing import Any

import alc


@dataclass(order=True)
class Idea:
    cost: float
    text: str = field(compare=False)
    depth: int = field(compare=False, default=0)


def run(ctx: dict[str, Any]) -> list[Any]:
    heap = [Idea(0.0, str(ctx["task"]))]
    seen: list[tuple[str, float]] = []
    for _ in range(4):
        idea = heapq.heappop(heap)
        for child in range(2):
            text = alc.llm(f"Refine ({idea.depth}.{child}): {idea.text}")
            cost = -alc.parse_score(alc.llm(f"Score from 1 to 10: {text}"))
            seen.append((text, cost))
            heapq.heappush(heap, Idea(cost, text, idea.depth + 1))
    return [heapq.heappop(heap), seen]
