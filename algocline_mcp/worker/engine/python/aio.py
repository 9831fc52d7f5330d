"""Functions of alc.aio: those of alc that wait, as coroutines. While one waits, other tasks of the strategy go on.

A task that is cancelled takes its query back: the next pause does not list it, and a late answer is refused.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar, Unpack, overload

from algocline_mcp.worker.engine.python.api import asking, forks, pipes
from algocline_mcp.worker.engine.python.api.asking import JsonAnswer
from algocline_mcp.worker.engine.python.api.forks import Entry
from algocline_mcp.worker.engine.python.api.options import CacheOptions, Options, ParallelOptions, Query
from algocline_mcp.worker.engine.python.api.steps import Record, Steps
from algocline_mcp.worker.engine.python.event_loop import running_loop
from algocline_mcp.worker.engine.python.exceptions import Error
from algocline_mcp.worker.engine.python.session import current

Item = TypeVar("Item")
Default = TypeVar("Default")
Result = TypeVar("Result")


async def play(steps: Steps[Result]) -> Result:
    """Plays the steps to their end. Awaits at each pause."""
    try:
        queries = next(steps)
        while True:
            try:
                answers = await _ask(queries)
            except Error as exc:
                queries = steps.throw(exc)
            else:
                queries = steps.send(answers)
    except StopIteration as end:
        result: Result = end.value
        return result
    finally:
        steps.close()


async def _ask(queries: Sequence[Record]) -> list[Record]:
    loop = running_loop()
    if loop is None:  # another loop, or none: outside an engine answers come at once
        return current().exchange.ask(queries)
    return await loop.shared.queries.ask(queries)


async def llm(prompt: str | int | float, **options: Unpack[Options]) -> str:
    """Asks the host's model. Raises Refused where the host refuses, BudgetExceeded where ctx.budget is used up."""
    return await play(asking.llm(prompt, options))


async def llm_batch(items: Iterable[Query]) -> list[str]:
    """Asks several at once. Answers stand in the order of the items; a refused one raises at any use, except
    alc.refused."""
    return await play(asking.llm_batch(items))


async def parallel(
    items: Iterable[Item], prompt_fn: Callable[..., str | Query], **options: Unpack[ParallelOptions]
) -> list[Any]:
    """One batch for all items: `prompt_fn(item, i)` returns a prompt or an item of llm_batch.

    `post_fn(answer, item, i)` returns what to keep; it may be a coroutine function, and these run at the same time.
    """
    values = await play(asking.parallel(items, prompt_fn, options))
    awaited = iter(await asyncio.gather(*filter(isawaitable, values)))
    return [next(awaited) if isawaitable(value) else value for value in values]


async def ground(claim: str | int | float, **options: Unpack[Options]) -> str:
    """llm with grounded=True: the answer shall rest on facts that were looked up."""
    return await play(asking.ground(claim, options))


async def specify(prompt: str | int | float, **options: Unpack[Options]) -> str:
    """llm with underspecified=True: ask the user if need be."""
    return await play(asking.specify(prompt, options))


@overload
async def llm_safe(prompt: str | int | float, default: None = None, **options: Unpack[Options]) -> str | None: ...
@overload
async def llm_safe(prompt: str | int | float, default: Default, **options: Unpack[Options]) -> str | Default: ...
async def llm_safe(prompt: str | int | float, default: Any = None, **options: Unpack[Options]) -> Any:
    """llm that logs a warning and returns the default instead of raising."""
    return await play(asking.llm_safe(prompt, default, options))


@overload
async def llm_json(
    prompt: str | int | float, *, details: Literal[False] = False, **options: Unpack[Options]
) -> Any: ...
@overload
async def llm_json(prompt: str | int | float, *, details: Literal[True], **options: Unpack[Options]) -> JsonAnswer: ...
async def llm_json(prompt: str | int | float, *, details: bool = False, **options: Unpack[Options]) -> Any:
    """The answer read as JSON, or None; if it cannot be read, or does not fit `schema`, it is asked for once more.

    With `details` also the last answer as it was, and where that does not fit the schema.
    """
    answer = await play(asking.llm_json(prompt, options))
    return answer if details else answer.value


async def cache(prompt: str | int | float, **options: Unpack[CacheOptions]) -> str:
    """llm that asks the same query once, as alc.cache does. Tasks that ask it before its answer is there each ask."""
    return await play(asking.cache(prompt, options))


async def fork(
    strategies: Iterable[str], ctx: Mapping[str, Any], *, on_error: Literal["skip", "fail", "abort"] = "skip"
) -> list[Entry]:
    """alc.fork. The children run in parallel, and no task of this strategy runs until all have ended."""
    return forks.fork(strategies, ctx, on_error=on_error)


async def call(name: str, ctx: Mapping[str, Any] | None = None) -> Any:
    """alc.call. No task of this strategy runs until the package has ended."""
    return forks.call(name, ctx)


async def pipe(
    strategies: Sequence[str | pipes.Run],
    ctx: Mapping[str, Any],
    *,
    on_error: Literal["abort", "skip", "continue"] = "abort",
    on_stage: pipes.OnStage | None = None,
) -> pipes.Ctx:
    """alc.pipe. Stages that are coroutine functions let other tasks go on."""
    steps = pipes.stages(strategies, ctx, on_error, on_stage)
    try:
        awaitable = next(steps)
        while True:
            try:
                result = await awaitable
            except Exception as exc:  # noqa: BLE001 - of the stage
                awaitable = steps.throw(exc)
            else:
                awaitable = steps.send(result)
    except StopIteration as end:
        last: pipes.Ctx = end.value
        return last


async def sleep(seconds: float) -> None:
    """asyncio.sleep."""
    await asyncio.sleep(seconds)


if not TYPE_CHECKING:  # a checker shall find a wrong name itself

    def __getattr__(name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(
            f"alc.aio.{name}: no such function. alc.aio has what waits for answers; the others are called as alc.{name}"
        )
