"""Python as a language of the engine: plain CPython, made deterministic, whose only way out is its channel.

Contract: `prepare` imports what a strategy may import and puts the patches in place, inactive; a fork server does so
before its first fork. `run` makes them active: a strategy sees a recorded clock, numbers from the seed of its session,
and modules as the keeper reads them. Whatever it does to this process, the keeper takes its messages only, and the
kernel holds the rest (worker/confinement).
"""

import gc
import inspect
import json
import mmap
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from types import MappingProxyType
from typing import Any

import algocline_mcp.worker.engine.python.lean_asyncio  # noqa: F401

# isort: split
import alc
from algocline_mcp import package_inputs
from algocline_mcp.errors import HomeUnusable
from algocline_mcp.languages import PYTHON
from algocline_mcp.python_source import NO_RESULT, compile_strategy
from algocline_mcp.worker.engine.process import Channel, LanguageRuntime, Start
from algocline_mcp.worker.engine.python import asyncio_patches, determinism, event_loop, operator_modules
from algocline_mcp.worker.engine.python.api.refused import assert_refusals_seen
from algocline_mcp.worker.engine.python.errors import OUT_OF_MEMORY, describe
from algocline_mcp.worker.engine.python.exchange import Exchange
from algocline_mcp.worker.engine.python.modules import Modules, preload
from algocline_mcp.worker.engine.python.output import captured
from algocline_mcp.worker.engine.python.results import to_json
from algocline_mcp.worker.engine.python.session import Session, running

# A journal that was written under another ABI is not replayed. Workers are started with PYTHONHASHSEED=0; one that was
# started in another way would put sets of texts in another order.
ABI = PYTHON.abi(lambda distribution: "") | ({"hash_randomization": True} if sys.flags.hash_randomization else {})

# Of address space, whose pages are never touched. Given back where a strategy fails: one that had filled the memory by
# small objects left none for the text of its error, and on 3.11 and 3.13 the engine died.
_RESERVE_BYTES = 4 << 20
_OUT_OF_MEMORY = Exchange.encode({"op": "end", "error": f"MemoryError: {OUT_OF_MEMORY}"})

_WITHOUT_RETURN = "the strategy ended without a result, so it is null: return …, or end the code with an expression"


def prepare(*, heap_bytes: int, headroom_bytes: int, line_bytes: int) -> LanguageRuntime:
    """Returns a runtime without a session: fork any number of times, then call `run` once in each child.

    The kernel limits the memory (RLIMIT_AS of the engine), so `heap_bytes` and `headroom_bytes` are not used here."""
    names: tuple[str, ...] = ()
    problem: str | None = None
    try:
        names = operator_modules.load(os.environ)
    except HomeUnusable as exc:  # strategies in Lua go on
        problem = str(exc)
    allowed = preload(names)
    asyncio_patches.install()
    determinism.install()
    return _PythonRuntime(allowed, line_bytes, problem)


class _PythonRuntime:
    def __init__(self, allowed: frozenset[str], line_bytes: int, problem: str | None) -> None:
        self.problem = problem
        self._allowed = allowed
        self._line_bytes = line_bytes

    def run(self, start: Start, channel: Channel) -> bytes:
        try:
            return self._run(start, channel)
        except MemoryError:  # what the strategy has left behind may fill the memory still
            return _OUT_OF_MEMORY

    def _run(self, start: Start, channel: Channel) -> bytes:
        exchange = Exchange(channel, self._line_bytes)
        session = Session(start, exchange)
        modules = Modules(lambda name: MappingProxyType(exchange.call("module", name)), self._allowed)
        with ExitStack() as stack:
            stack.enter_context(running(session))
            stack.enter_context(captured(exchange.log))
            modules.install()
            stack.callback(modules.remove)
            stack.callback(determinism.deactivate)
            determinism.activate(start.seed, exchange.time, exchange.sleep)
            reserve = stack.enter_context(mmap.mmap(-1, _RESERVE_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
            line = self._last_line(session, modules, give_reserve=reserve.close)
        if not isinstance(exchange.failure, MemoryError):  # that one is the error of the strategy
            exchange.check()
        return line

    def _last_line(self, session: Session, modules: Modules, give_reserve: Callable[[], object]) -> bytes:
        try:
            outcome = self._outcome(session, modules)
            session.exchange.check()
            line = session.exchange.encode(outcome | {"op": "end"})
            if len(line) > self._line_bytes:
                raise ValueError(
                    f"result of {len(line)} bytes as JSON, at most {self._line_bytes} (ALC_LINE_BYTES): return less of "
                    "it, no answer is lost"
                )
        except BaseException as exc:  # noqa: BLE001  whatever a strategy raises is its result
            give_reserve()
            if isinstance(exc, MemoryError):
                modules.clear()  # the text of the error needs some
            error = describe(exc, modules.sources)
            exc.__traceback__ = None
            gc.collect()
            line = session.exchange.encode({"op": "end", "error": error} | _warnings(session))
        return line

    def _outcome(self, session: Session, modules: Modules) -> dict[str, Any]:
        start = session.start
        session.ctx = json.loads(start.ctx)
        program = compile_strategy(start.code, start.chunk, is_entry=True)
        namespace = modules.entry(start.chunk, start.code)
        namespace |= {"alc": alc, "ctx": session.ctx}
        value = program.start(namespace, partial(_give_inputs, session))
        if inspect.iscoroutine(value):
            value = event_loop.run(value, session.exchange)
        if value is NO_RESULT:
            session.add_warning(_WITHOUT_RETURN)
            value = None
        result = to_json(value)
        assert_refusals_seen()
        stats = {"stats": session.stats} if session.stats else {}
        return {"result": result} | stats | _warnings(session)


def _give_inputs(session: Session, namespace: dict[str, Any]) -> None:
    """Puts the inputs that `meta` of a package declares into ctx, each of its type. Raises InputError."""
    forms = package_inputs.forms_in(namespace.get("meta"))
    if not forms:
        return
    name = session.start.chunk.removeprefix("fork of ").removesuffix(".py").removesuffix("/__init__")
    is_child = session.start.heap_bytes is not None  # of alc.fork, which hands one ctx to several packages
    for sentence in package_inputs.unknown(name, forms, session.ctx, is_near=is_child):
        session.warn(sentence)
    session.ctx |= package_inputs.changes(name, forms, session.ctx)


def _warnings(session: Session) -> dict[str, Any]:
    return {"warnings": session.warnings} if session.warnings else {}
