"""Runs code of either language against a scripted keeper. Code is an expression, else the body of a function."""

import ast
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import alc
from algocline_mcp.config.limits import MIB
from algocline_mcp.worker.engine.lua.runtime import prepare
from algocline_mcp.worker.engine.process import Start
from algocline_mcp.worker.engine.python.api.refused import assert_refusals_seen
from algocline_mcp.worker.engine.python.exchange import Exchange
from algocline_mcp.worker.engine.python.results import to_json
from algocline_mcp.worker.engine.python.session import Session, running
from tests.worker.engine.conformance.keeper import ScriptedKeeper

LIMITS = {"heap_bytes": 64 * MIB, "headroom_bytes": 16 * MIB, "line_bytes": 8 * MIB}


@dataclass(frozen=True, slots=True)
class Outcome:
    """`error` is without the place in the strategy and without a traceback."""

    result: Any
    error: str | None
    messages: list[dict[str, Any]]


def run_lua(code: str, keeper: ScriptedKeeper) -> Outcome:
    runtime = prepare(**LIMITS)
    end = json.loads(runtime.run(_start(f"return ({code})"), keeper))
    if end.get("error", "").startswith("syntax error"):
        end = json.loads(prepare(**LIMITS).run(_start(code), keeper))
    error = end.get("error", "").partition("\nstack traceback:")[0]
    return Outcome(end.get("result"), re.sub(r"panel:\d+: ", "", error) or None, keeper.messages)


def run_python(code: str, keeper: ScriptedKeeper) -> Outcome:
    try:
        body = f"return {ast.unparse(ast.parse(code, mode='eval'))}"
    except SyntaxError:
        body = code
    names: dict[str, Any] = {"__name__": "panel"}
    exec("def run(alc):\n    " + body.replace("\n", "\n    "), names)
    try:
        with running(session_of(code, keeper)):
            result = to_json(names["run"](alc))
            assert_refusals_seen()
    except (alc.Error, TypeError) as exc:
        return Outcome(None, re.sub(r"<string>:\d+: ", "", str(exc)), keeper.messages)
    return Outcome(result, None, keeper.messages)


def session_of(code: str, keeper: ScriptedKeeper) -> Session:
    return Session(_start(code), Exchange(keeper, LIMITS["line_bytes"]))


RUNNERS: dict[str, Callable[[str, ScriptedKeeper], Outcome]] = {"lua": run_lua, "python": run_python}


def _start(code: str) -> Start:
    return Start(code=code, chunk="panel", ctx="{}", seed=1, created_s=1790000000.0)
