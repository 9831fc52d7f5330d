"""Strategies as little programs, run by a simulated engine and, for comparison, without any disturbance.

A program is a list of operations. What it has learned so far is its trace; each prompt carries a digest of it, so an
effect or an answer that was lost, changed or given to another prompt changes every later prompt and the result.
"""

import json
import zlib
from collections.abc import Callable, Generator
from random import Random
from typing import Any

from algocline_mcp.session import Record

Talk = Generator[Record, Record, Any]  # what the engine says; what it hears (nothing after a log line); the result


def write(rng: Random) -> list[list[Any]]:
    """A program of a few operations that asks at least once."""
    names = ("ask", "ask", "ask", "time", "time", "env", "module", "log", "progress", "if")
    program: list[list[Any]] = [[rng.choice(names)] for _ in range(rng.randrange(1, 7))]
    program.insert(rng.randrange(len(program) + 1), ["ask"])
    for operation in program:
        if operation[0] == "ask":
            operation.append(rng.choice((1, 1, 1, 2, 3)))
        if operation[0] == "if":
            operation.append(rng.choice(("ask", "time", "env")))
    if rng.random() < 0.1:
        program.append(["fail"])
    return program


def perform(program: list[list[Any]], whim: Callable[[], int] = lambda: 0) -> Talk:
    """`whim`: what a strategy that is not deterministic depends on."""
    trace: list[Any] = []
    for number, (name, *more) in enumerate(program):
        if name == "if":
            is_odd = _digest(trace) % 2
            name, more = (more[0], [1]) if is_odd else ("time", [])
        if name == "ask":
            prompts = [f"{number}.{n}: {_digest(trace):08x}" for n in range(more[0])]
            queries = [{"prompt": prompt, "system": None, "max_tokens": 64} for prompt in prompts]
            trace.append((yield {"op": "ask", "queries": queries})["answers"])
        elif name == "whim":
            trace.append(whim())
        elif name == "log":
            yield {"op": "log", "level": "info", "message": f"{_digest(trace)}"}
        elif name == "progress":
            yield {"op": "progress", "step": number, "total": len(program), "message": None}
        elif name == "fail":
            raise ValueError(f"boom {_digest(trace)}")
        else:
            args = {"time": [], "env": ["WORD"], "module": ["m"]}[name]
            trace.append((yield {"op": "call", "name": name, "args": args}))
            if name == "time":
                trace.append((yield {"op": "call", "name": name, "args": args}))
    return trace


def _digest(trace: list[Any]) -> int:
    return zlib.crc32(json.dumps(trace, sort_keys=True).encode())


def is_one_way(message: Record) -> bool:
    return message["op"] in ("log", "progress", "end")


def next_message(talk: Talk, heard: Record | None) -> Record:
    """What it says next; `end` at the last."""
    try:
        return talk.send(heard) if heard is not None else next(talk)
    except StopIteration as stop:
        return {"op": "end", "result": stop.value}
    except ValueError as exc:
        return {"op": "end", "error": str(exc)}


def undisturbed(
    program: list[list[Any]], answers: dict[str, Record], effects: list[Record]
) -> tuple[list[str], Record]:
    """The prompts in the order of their ids, and how the program ends, given these answers and effects."""
    talk = perform(program)
    left = iter(effects)
    prompts: list[str] = []
    heard: Record | None = None
    while (message := next_message(talk, heard))["op"] != "end":
        heard = None
        if message["op"] == "call":
            heard = next(left)
        elif message["op"] == "ask":
            ids = [f"q-{len(prompts) + n}" for n in range(len(message["queries"]))]
            prompts += [query["prompt"] for query in message["queries"]]
            heard = {"answers": [answers[each] for each in ids]}
    return prompts, {key: message[key] for key in ("result", "error") if key in message}
