"""Reserved keys of `ctx`: the namespace of alc.state, the budget, and variables for alc.env. Pure.

The header of a session records the first two, so that nothing else has to read `ctx`. A budget limits what a session
may use; `None` in the remainder means: not limited. Rules and sentences are upstream's.
"""

import json
from collections.abc import Mapping
from typing import Any

DEFAULT_NAMESPACE = "default"
_EXAMPLE = '{"inject": {"NAME": "value"}}'
_BUDGET_EXAMPLE = '{"max_llm_calls": 20}'
BUDGET = ("max_llm_calls", "max_elapsed_ms", "max_tokens")  # in the order in which they are checked


def namespace_of(ctx: Mapping[str, Any]) -> str:
    """`ctx._ns` if it is a text, else the default. The strategy that uses an unusable name gets the error."""
    chosen = ctx.get("_ns")
    return chosen if isinstance(chosen, str) else DEFAULT_NAMESPACE


def budget_of(ctx: Mapping[str, Any]) -> dict[str, int]:
    """The valid limits of `ctx.budget`: whole numbers of at least 0. A new session has no other (`unusable_budget`)."""
    chosen = ctx.get("budget")
    if not isinstance(chosen, Mapping):
        return {}
    return {name: chosen[name] for name in BUDGET if type(chosen.get(name)) is int and chosen[name] >= 0}


def unusable_budget(ctx: Mapping[str, Any]) -> str | None:
    """What is wrong with `ctx.budget`, or None. A limit that nobody reads is a budget that does not hold."""
    budget = ctx.get("budget")
    if budget is None:
        return None
    form = f"give an object such as {_BUDGET_EXAMPLE} with any of {', '.join(BUDGET)}"
    if not isinstance(budget, Mapping):
        return f"ctx.budget is {_kind(budget)} and not an object: {form}"
    for name, value in budget.items():
        if name not in BUDGET:
            return f"ctx.budget has no limit {str(name)[:64]!r}: {form}"
        if value is not None and (type(value) is not int or value < 0):
            return f"ctx.budget.{name} is not a whole number of at least 0: {form}"
    return None


def environ_of(ctx: str) -> dict[str, Any]:
    """`ctx.env` of the ctx (as JSON) of a header; empty if it is not an object."""
    if '"env"' not in ctx:
        return {}  # without reading two megabytes
    chosen = json.loads(ctx)
    env = chosen.get("env") if isinstance(chosen, dict) else None
    return env if isinstance(env, dict) else {}


def unusable_environ(ctx: Mapping[str, Any]) -> str | None:
    """What is wrong with `ctx.env`, in upstream's words, or None."""
    env = ctx.get("env")
    if env is None:
        return None
    if not isinstance(env, Mapping):
        return f"ctx.env must be an object such as {_EXAMPLE}, got {_kind(env)}: name a value of your own otherwise"
    injected, dotenv = env.get("inject"), env.get("dotenv")
    if injected is not None and not isinstance(injected, Mapping):
        return f"ctx.env.inject must be an object, got {_kind(injected)}"
    for key, value in (injected or {}).items():
        if not isinstance(value, str):
            return f"ctx.env.inject: value for key '{key[:64]}' must be a string, got {_kind(value)}"
    if dotenv is not None and not isinstance(dotenv, str):
        return f"ctx.env.dotenv must be a path, got {_kind(dotenv)}"
    return None


def _kind(value: Any) -> str:
    kinds = {bool: "bool", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return kinds.get(type(value), "null")


def exceeded(budget: Mapping[str, int], *, calls: int, elapsed_ms: int, tokens: int, more: int) -> str | None:
    """Why `more` queries may not be asked now, or None if they may."""
    limit = budget.get("max_llm_calls")
    if limit is not None and calls + more > limit:
        at_once = f", and {more} more were asked at once" if calls < limit else ""
        return f"budget_exceeded: max_llm_calls ({limit}) reached ({calls} used){at_once}"
    limit = budget.get("max_elapsed_ms")
    if limit is not None and elapsed_ms >= limit:
        return f"budget_exceeded: max_elapsed_ms ({limit}ms) reached ({elapsed_ms}ms elapsed)"
    limit = budget.get("max_tokens")
    if limit is not None and tokens >= limit:
        return f"budget_exceeded: max_tokens ({limit}) reached ({tokens} used)"
    return None


def remaining(budget: Mapping[str, int], *, calls: int, elapsed_ms: int, tokens: int) -> dict[str, int | None] | None:
    """What is left of each limit, never below 0; None without a budget."""
    if not budget:
        return None
    used = {"max_llm_calls": calls, "max_elapsed_ms": elapsed_ms, "max_tokens": tokens}
    return {name.removeprefix("max_"): max(0, budget[name] - used[name]) if name in budget else None for name in BUDGET}
