"""alc.fork and alc.call: run strategies of any language, each in an engine of its own."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NotRequired, TypedDict

from algocline_mcp.worker.engine.python.api.arguments import listed
from algocline_mcp.worker.engine.python.api.json_values import plain_of
from algocline_mcp.worker.engine.python.api.texts import problem
from algocline_mcp.worker.engine.python.session import current

_NAME = re.compile(r"[A-Za-z0-9_]+")
_MODES = {"skip": "skip", "fail": "fail", "abort": "fail"}  # upstream documents fail, its code takes abort


class Entry(TypedDict):
    strategy: str
    ok: bool
    result: NotRequired[Any]
    error: NotRequired[str]


def fork(
    strategies: Iterable[str], ctx: Mapping[str, Any], *, on_error: Literal["skip", "fail", "abort"] = "skip"
) -> list[Entry]:
    """Runs packages by name in parallel, each with a copy of `ctx`; results stand in the order of the names."""
    names = [_name(name, "alc.fork") for name in listed(strategies) or ()]
    if not names:
        raise problem("fork.strategies")
    json = _ctx(ctx, "alc.fork")
    if on_error not in _MODES:
        raise problem("fork.mode", on_error)
    reply = current().exchange.fork(names, json, _MODES[on_error])
    if "failed" in reply:
        raise problem("fork.failed", "alc.fork", reply["failed"]["strategy"], reply["failed"]["error"])
    entries: list[Entry] = reply["entries"]
    return entries


def call(name: str, ctx: Mapping[str, Any] | None = None) -> Any:
    """The result of one package, of any language, run in an engine of its own. Raises Error where it fails."""
    reply = current().exchange.fork([_name(name, "alc.call")], _ctx({} if ctx is None else ctx, "alc.call"), "fail")
    if "failed" in reply:
        raise problem("fork.failed", "alc.call", reply["failed"]["strategy"], reply["failed"]["error"])
    return reply["entries"][0].get("result")


def _name(name: Any, function: str) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise problem("fork.name", function, name)
    return name


def _ctx(ctx: Any, function: str) -> dict[str, Any]:
    if not isinstance(ctx, Mapping):
        raise problem("fork.ctx", function)
    json: dict[str, Any] = plain_of(ctx, function, "ctx")
    return json
