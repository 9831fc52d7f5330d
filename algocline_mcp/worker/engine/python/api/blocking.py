"""Functions of alc that ask: they block until the host has answered."""

from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar, Unpack, overload

from algocline_mcp.worker.engine.python.api import asking
from algocline_mcp.worker.engine.python.api.asking import JsonAnswer
from algocline_mcp.worker.engine.python.api.options import CacheOptions, Options, ParallelOptions, Query
from algocline_mcp.worker.engine.python.api.steps import play

Item = TypeVar("Item")
Default = TypeVar("Default")


def llm(prompt: str | int | float, **options: Unpack[Options]) -> str:
    """Asks the host's model. Raises Refused where the host refuses, BudgetExceeded where ctx.budget is used up."""
    return play(asking.llm(prompt, options))


def llm_batch(items: Iterable[Query]) -> list[str]:
    """Asks several at once, in one pause. Answers stand in the order of the items; a refused one raises at any use,
    except alc.refused."""
    return play(asking.llm_batch(items))


def parallel(
    items: Iterable[Item], prompt_fn: Callable[..., str | Query], **options: Unpack[ParallelOptions]
) -> list[Any]:
    """One pause for all items: `prompt_fn(item, i)` returns a prompt or an item of llm_batch.

    `post_fn(answer, item, i)` returns what to keep. Either may take fewer arguments. `i` counts from 0.
    """
    return play(asking.parallel(items, prompt_fn, options))


def ground(claim: str | int | float, **options: Unpack[Options]) -> str:
    """alc.llm with the option `grounded`: the answer shall rest on facts that were looked up."""
    return play(asking.ground(claim, options))


def specify(prompt: str | int | float, **options: Unpack[Options]) -> str:
    """alc.llm with the option `underspecified`: ask the user if need be."""
    return play(asking.specify(prompt, options))


@overload
def llm_safe(prompt: str | int | float, default: None = None, **options: Unpack[Options]) -> str | None: ...
@overload
def llm_safe(prompt: str | int | float, default: Default, **options: Unpack[Options]) -> str | Default: ...
def llm_safe(prompt: str | int | float, default: Any = None, **options: Unpack[Options]) -> Any:
    """alc.llm that logs a warning and returns the default instead of raising."""
    return play(asking.llm_safe(prompt, default, options))


@overload
def llm_json(prompt: str | int | float, *, details: Literal[False] = False, **options: Unpack[Options]) -> Any: ...
@overload
def llm_json(prompt: str | int | float, *, details: Literal[True], **options: Unpack[Options]) -> JsonAnswer: ...
def llm_json(prompt: str | int | float, *, details: bool = False, **options: Unpack[Options]) -> Any:
    """The answer read as JSON, or None; if it cannot be read, or does not fit `schema`, it is asked for once more.

    With `details` a named tuple: `value`, `answer` (the last one as it was) and `mismatch` (where it does not fit).
    """
    answer = play(asking.llm_json(prompt, options))
    return answer if details else answer.value


def cache(prompt: str | int | float, **options: Unpack[CacheOptions]) -> str:
    """alc.llm that asks the same query once: prompt and all options are the key, or `cache_key`; `cache_skip` asks in
    any case. 256 answers, the oldest leaves first."""
    return play(asking.cache(prompt, options))
