"""alc.log, alc.progress, alc.time, alc.budget_*: what goes to the keeper's record and comes from it."""

from typing import Any, TypedDict

from algocline_mcp.worker.engine.python.api.host import call
from algocline_mcp.worker.engine.python.api.numbers import whole
from algocline_mcp.worker.engine.python.api.texts import problem
from algocline_mcp.worker.engine.python.session import current

_PHASE_CHARS = 80  # of a name; the rest is cut off


class Budget(TypedDict, total=False):
    llm_calls: int
    elapsed_ms: int
    tokens: int


def log(level: str, message: Any) -> None:
    """A line in the log; `error`, `warn`, `info` or `debug`."""
    current().exchange.log(str(level), str(message))


def progress(step: int, total: int, message: Any = None) -> None:
    """Shows the host how far the strategy is; a `total` of 0 is unknown."""
    shown = None if message is None else str(message)
    current().exchange.progress(_count(step, "step"), _count(total, "total"), shown)


def phase(name: Any) -> None:
    """Marks where a part of the run begins, for its transcript, its summary and its page: "draft", "check", …."""
    shown = " ".join(str(name).split())[:_PHASE_CHARS]
    if name is None or not shown:
        raise problem("phase")
    current().exchange.phase(shown)


def _count(value: Any, name: str) -> int:
    count = whole(value)
    if count is None or count < 0:
        raise problem("progress", name, value)
    return count


def time() -> float:
    """Unix seconds, with a resolution of 1 ms. Recorded."""
    return float(call("time"))


def budget_remaining() -> Budget | None:
    """What ctx.budget still allows, each only where it is limited; None without a budget."""
    left = call("budget")
    if left is None:
        return None
    remaining: Budget = left
    for name in [name for name, value in left.items() if value is None]:
        del left[name]
    return remaining


def budget_check() -> bool:
    """False when a limit of ctx.budget is used up."""
    return all(value > 0 for value in (budget_remaining() or {}).values() if isinstance(value, int))
