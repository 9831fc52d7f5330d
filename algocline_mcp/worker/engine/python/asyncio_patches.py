"""Changes to asyncio: in a session, `asyncio.run` makes the own event loop, and no order depends on an address.

Without a session everything is as it was: the fork server, which is where `install` is called, runs none.
"""

import asyncio
from asyncio import events, tasks
from collections.abc import Callable
from functools import wraps
from inspect import isawaitable
from typing import Any

from algocline_mcp.worker.engine.python.event_loop import NO_KERNEL, EventLoop, running_loop
from algocline_mcp.worker.engine.python.exceptions import Error
from algocline_mcp.worker.engine.python.exchange import Exchange
from algocline_mcp.worker.engine.python.session import current

_installed: list[type] = []


def install() -> None:
    """Puts the changes in place. Idempotent."""
    if not _installed:
        policy = _policy_class()
        policy._loop_factory = staticmethod(_loop_factory(policy._loop_factory))
        tasks.as_completed = asyncio.as_completed = _in_given_order(tasks.as_completed)
        # A private class, which typeshed does not know: gather() offers no other way to the future that it returns.
        tasks._GatheringFuture.__hash__ = _serial_hash  # type: ignore[attr-defined]
        asyncio.run_coroutine_threadsafe = _refusing_in_session(asyncio.run_coroutine_threadsafe)
        _installed.append(policy)


def _policy_class() -> Any:
    """The class whose `_loop_factory` makes the loops of asyncio.run. 3.14 deprecates the public way to it."""
    get_policy: Any = getattr(events, "_get_event_loop_policy", None) or events.get_event_loop_policy
    return type(get_policy())


def _loop_factory(original: Callable[[], asyncio.AbstractEventLoop]) -> Callable[[], asyncio.AbstractEventLoop]:
    def new_loop() -> asyncio.AbstractEventLoop:
        exchange = _exchange()
        return original() if exchange is None else EventLoop(exchange)

    return new_loop


def _exchange() -> Exchange | None:
    """Of the running session, if any."""
    try:
        return current().exchange
    except Error:
        return None


def _in_given_order(as_completed: Any) -> Any:
    """as_completed makes a set of coroutines, and then tasks in the order of the set, that is, of addresses."""

    @wraps(as_completed)
    def ordered(fs: Any, **options: Any) -> Any:
        if running_loop() is not None and not isawaitable(fs):
            fs = [asyncio.ensure_future(item) for item in dict.fromkeys(fs)]
        return as_completed(fs, **options)

    return ordered


def _refusing_in_session(run_coroutine_threadsafe: Any) -> Any:
    """The future that it returns blocks its thread until another one sets it. There is no other."""

    @wraps(run_coroutine_threadsafe)
    def refusing(coro: Any, loop: Any) -> Any:
        if _exchange() is None:
            return run_coroutine_threadsafe(coro, loop)
        coro.close()
        raise Error(NO_KERNEL.format("run_coroutine_threadsafe"))

    return refusing


def _serial_hash(future: Any) -> int:
    """Of what asyncio.gather returns."""
    loop = future.get_loop()
    if not isinstance(loop, EventLoop):
        return object.__hash__(future)
    if not hasattr(future, "_serial"):
        future._serial = next(loop.shared.serials)
    return int(future._serial)
