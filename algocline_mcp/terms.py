"""What the reserved keys of `ctx` ask for: the namespace of alc.state and the budget. Pure.

The header of a session records it, so that nothing else has to read `ctx`. A budget limits what a session may use;
`None` in it and in what remains means: not limited. Rules and sentences are the original's.
"""

from collections.abc import Mapping
from typing import Any

DEFAULT_NAMESPACE = "default"
BUDGET = ("max_llm_calls", "max_elapsed_ms", "max_tokens")  # in the order in which they are checked


def namespace_of(ctx: Mapping[str, Any]) -> str:
    """Of any text: whether it can be one is told to the strategy that uses it."""
    chosen = ctx.get("_ns")
    return chosen if isinstance(chosen, str) else DEFAULT_NAMESPACE


def budget_of(ctx: Mapping[str, Any]) -> dict[str, int]:
    """Its valid limits: whole numbers of at least 0. Whatever else `budget` holds is the strategy's own affair."""
    chosen = ctx.get("budget")
    if not isinstance(chosen, Mapping):
        return {}
    return {name: chosen[name] for name in BUDGET if type(chosen.get(name)) is int and chosen[name] >= 0}


def exceeded(budget: Mapping[str, int], *, calls: int, elapsed_ms: int, tokens: int, more: int) -> str | None:
    """Why `more` queries may not be asked now, or None where they may."""
    most = budget.get("max_llm_calls")
    if most is not None and calls + more > most:
        at_once = f", and {more} more were asked at once" if calls < most else ""
        return f"budget_exceeded: max_llm_calls ({most}) reached ({calls} used){at_once}"
    most = budget.get("max_elapsed_ms")
    if most is not None and elapsed_ms >= most:
        return f"budget_exceeded: max_elapsed_ms ({most}ms) reached ({elapsed_ms}ms elapsed)"
    most = budget.get("max_tokens")
    if most is not None and tokens >= most:
        return f"budget_exceeded: max_tokens ({most}) reached ({tokens} used)"
    return None


def remaining(budget: Mapping[str, int], *, calls: int, elapsed_ms: int, tokens: int) -> dict[str, int | None] | None:
    """What is left of each limit, never below 0; None without a budget."""
    if not budget:
        return None
    used = {"max_llm_calls": calls, "max_elapsed_ms": elapsed_ms, "max_tokens": tokens}
    return {name.removeprefix("max_"): max(0, budget[name] - used[name]) if name in budget else None for name in BUDGET}
