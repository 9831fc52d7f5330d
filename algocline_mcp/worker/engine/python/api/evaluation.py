"""alc.eval: the graders are a library in Lua, so it runs in an engine for Lua."""

from collections.abc import Mapping
from typing import Any

from algocline_mcp.worker.engine.python.api.forks import call
from algocline_mcp.worker.engine.python.api.texts import problem


def eval(
    scenario: Mapping[str, Any] | str,
    strategy: str,
    *,
    strategy_opts: Mapping[str, Any] | None = None,
    auto_card: bool = False,
    card_pkg: str | None = None,
) -> Any:
    """Runs a package on the cases of a scenario: `{cases: [{input, expected}], graders: ["exact_match"]}`, or the name
    of one. Returns the report. A grader that is a function has to be in a scenario in Lua."""
    if not scenario:
        raise problem("eval.missing")
    if not isinstance(scenario, Mapping | str):
        raise problem("eval.type")
    if not isinstance(strategy, str):
        raise problem("eval.strategy")
    ctx: dict[str, Any] = {"scenario": scenario, "strategy": strategy, "auto_card": auto_card}
    options = {"strategy_opts": strategy_opts, "card_pkg": card_pkg}
    return call("alc_evaluate", ctx | {name: value for name, value in options.items() if value is not None})
