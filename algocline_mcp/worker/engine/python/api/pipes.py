"""alc.pipe, which runs strategies one after the other, and alc.tuning, the parameters of a strategy."""

import asyncio
from asyncio import events
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
from importlib import import_module
from inspect import isawaitable
from typing import Any, Literal

from algocline_mcp.package_inputs import changes, forms_in
from algocline_mcp.worker.engine.python.api.answers import json_encode
from algocline_mcp.worker.engine.python.api.arguments import function_of
from algocline_mcp.worker.engine.python.api.texts import TEXTS, kind_of, problem
from algocline_mcp.worker.engine.python.api.world import log
from algocline_mcp.worker.engine.python.exceptions import Error

Ctx = dict[str, Any]
Run = Callable[[Ctx], Any]
Stages = Generator[Awaitable[Any], Any, Ctx]  # yields what a stage of coroutines returned, and is sent its result
OnStage = Callable[[int, str, Ctx], Any]
_MODES = ("abort", "skip", "continue")


def pipe(
    strategies: Sequence[str | Run],
    ctx: Mapping[str, Any],
    *,
    on_error: Literal["abort", "skip", "continue"] = "abort",
    on_stage: OnStage | None = None,
) -> Ctx:
    """Runs packages (by name) or functions in turn on a copy of `ctx`; the last `result` is the `task` of the next.

    `pipe_history` of the ctx that is returned tells what happened. `on_stage(i, name, ctx)` sees each stage that ended
    well; `i` counts from 0.
    """
    steps = stages(strategies, ctx, on_error, on_stage)
    try:
        awaitable = next(steps)
        while True:
            try:
                result = _run(awaitable)
            except Exception as exc:  # noqa: BLE001 - of the stage
                awaitable = steps.throw(exc)
            else:
                awaitable = steps.send(result)
    except StopIteration as end:
        last: Ctx = end.value
        return last


def _run(awaitable: Awaitable[Any]) -> Any:
    if events._get_running_loop() is None:
        return asyncio.run(_awaited(awaitable))
    if isinstance(awaitable, Coroutine):
        awaitable.close()
    raise Error("alc.pipe: a stage is a coroutine function, and this one is too: write await alc.aio.pipe(…)")


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def stages(strategies: Sequence[str | Run], ctx: Mapping[str, Any], on_error: str, on_stage: OnStage | None) -> Stages:
    """The pipe without the waiting, for alc.pipe and alc.aio.pipe."""
    if not isinstance(strategies, Sequence) or isinstance(strategies, str) or not strategies:
        raise problem("pipe.strategies")
    if not isinstance(ctx, Mapping):
        raise problem("pipe.ctx")
    if on_error not in _MODES:
        raise problem("pipe.mode", on_error)
    history: list[dict[str, Any]] = []
    current = {**ctx, "pipe_history": history}
    for i, entry in enumerate(strategies):
        name, run = _stage(entry, i)
        result, mistake = yield from _run_stage(name, run, current, is_tolerant=on_error != "abort")
        history.append({"strategy": name})
        if mistake is not None:
            history[-1]["error"] = mistake
            continue
        if not isinstance(result, dict):
            raise problem("pipe.result", name)
        current = result
        current["pipe_history"] = history  # also where a stage returns another dict
        if current.get("result") is not None:
            history[-1]["result"] = current["result"]
            if i + 1 < len(strategies):
                current["task"] = _task_of(current["result"])
        if on_stage is not None:
            function_of(on_stage, "alc.pipe", "on_stage")(i, name, current)
    return current


def _stage(entry: Any, i: int) -> tuple[str, Run]:
    if callable(entry):
        return f"(inline-{i + 1})", entry
    if not isinstance(entry, str):
        raise problem("pipe.type", i + 1)
    try:
        package = import_module(entry)
    except ImportError as exc:
        raise problem("pipe.load", entry, exc) from exc
    run = getattr(package, "run", None)
    if not callable(run):
        raise problem("pipe.run", entry)
    forms = forms_in(getattr(package, "meta", None))

    def with_inputs(ctx: Ctx) -> Any:
        ctx |= changes(entry, forms, ctx)
        return run(ctx)

    return entry, with_inputs


def _run_stage(
    name: str, run: Run, ctx: Ctx, *, is_tolerant: bool
) -> Generator[Awaitable[Any], Any, tuple[Any, str | None]]:
    """The result, or what went wrong."""
    try:
        result = run(ctx)
        if isawaitable(result):
            result = yield result
        return result, None
    except Exception as exc:
        if not is_tolerant or isinstance(exc, MemoryError):
            raise
        mistake = str(exc) if isinstance(exc, Error) else f"{type(exc).__name__}: {exc}"
        log("warn", TEXTS["pipe.failed"] % (name, mistake))
        return None, mistake


def _task_of(result: Any) -> str:
    return result if isinstance(result, str) else json_encode(result)


# ── tuning ────────────────────────────────────────────────────────────────────────────────────────────────


def tuning(defaults: Any, ctx: Mapping[str, Any] | None = None, *, prefix: str | None = None) -> Any:
    """A copy of `defaults` in which what `ctx` (or `ctx[prefix]`) says of the same keys stands instead."""
    if not isinstance(defaults, Mapping):
        return defaults
    source: Mapping[str, Any] = ctx if isinstance(ctx, Mapping) else {}
    own = None if prefix is None else source.get(prefix)
    if isinstance(own, Mapping):
        source = own
    elif own is not None:
        log("warn", TEXTS["tuning.prefix"] % (prefix, kind_of(own)))
        source = {}
    return _tuned(defaults, source)


def _tuned(defaults: Mapping[str, Any], source: Mapping[str, Any]) -> dict[str, Any]:
    result = {key: _chosen(default, source.get(key)) for key, default in defaults.items()}
    result.pop("_schema", None)  # it describes the parameters and is not a parameter
    return result


def _chosen(default: Any, value: Any) -> Any:
    if value is None:
        return default
    return _tuned(default, value) if isinstance(default, Mapping) and isinstance(value, Mapping) else value
