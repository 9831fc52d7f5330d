"""Strategies as little programs, run by a simulated engine and, for comparison, without any disturbance.

A program is a list of operations. What it has learned so far is its trace; each prompt holds a digest of the trace, so
an effect or an answer that was lost, changed or given to another prompt changes every later prompt and the result. Its
forks are programs too, by the names of packages in the ctx.
"""

import json
import re
import zlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from algocline_mcp.session.records import Record

Talk = Generator[Record, Record, Any]  # what the engine says; what it hears (nothing after a log line); the result


_FORKS = 2  # forks above the innermost children


def write(rng: Random, depth: int = 0) -> list[list[Any]]:
    """A program of a few operations that asks at least once."""
    names = ["ask", "ask", "ask", "time", "time", "env", "module", "log", "progress", "if"]
    program: list[list[Any]] = [[rng.choice(names)] for _ in range(rng.randrange(1, 7 - 2 * depth))]
    if depth < _FORKS and rng.random() < 0.3:
        program.insert(rng.randrange(2), ["fork"])
    program.insert(rng.randrange(len(program) + 1), ["ask"])
    for operation in program:
        if operation[0] == "ask":
            operation.append(rng.choice((1, 1, 1, 2, 3)))
        if operation[0] == "fork":
            programs = {name: write(rng, depth + 1) for name in "abc"[: rng.randrange(1, 4)]}
            operation += [programs, rng.choice(("skip", "fail"))]
        if operation[0] == "if":
            operation.append(rng.choice(("ask", "time", "env")))
    if rng.random() < (0.2 if depth else 0.1):
        program.append(["fail"])
    return program


def with_waits(rng: Random) -> list[list[Any]]:
    """A program that waits for any answer, with and without timers, and asks plainly in between."""
    program = write(rng, _FORKS)
    for _ in range(rng.randrange(1, 4)):
        race = ["race", rng.randrange(1, 4), rng.choice((None, None, 0, 0.5, 60)), rng.random() < 0.5]
        program.insert(rng.randrange(len(program) + 1), race)
    return program


def perform(program: list[list[Any]], whim: Callable[[], int] = lambda: 0) -> Talk:
    """`whim`: what a strategy that is not deterministic depends on."""
    trace: list[Any] = []
    left = 0  # queries of waits whose answers have not come
    for number, (name, *more) in enumerate(program):
        if name == "if":
            is_odd = _digest(trace) % 2
            name, more = (more[0], [1]) if is_odd else ("time", [])
        if name == "ask":
            prompts = [f"{number}.{n}: {_digest(trace):08x}" for n in range(more[0])]
            schema = {"schema": {"type": "object"}} if number % 3 == 0 else {}
            queries = [{"prompt": prompt, "system": None, "max_tokens": 64, **schema} for prompt in prompts]
            trace.append((yield {"op": "ask", "queries": queries})["answers"])
        elif name == "race":
            count, wake_s, is_to_the_end = more
            queries = [{"prompt": f"{number}.w{n}: {_digest(trace):08x}", "system": None, "max_tokens": 64}
                       for n in range(count)]  # fmt: skip
            left += count
            trace.append((yield {"op": "wait", "queries": queries, "wake_s": wake_s}))
            left -= len(trace[-1]["answered"])
            while is_to_the_end and left:
                trace.append((yield {"op": "wait", "queries": [], "wake_s": None}))
                left -= len(trace[-1]["answered"])
        elif name == "fork":
            programs, on_error = more
            strategies = [*programs, next(iter(programs))]
            heard = yield {"op": "fork", "strategies": strategies, "ctx": programs, "on_error": on_error}
            if "failed" in heard:
                raise ValueError(f"fork: {heard['failed']['error']}")
            trace.append(heard)
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


def program_of(start: Record) -> list[list[Any]]:
    """What an engine is told to run: a program, or one of those in its ctx."""
    match = re.search(r"require\('(\w+)'\)", start["code"])
    program: list[list[Any]] = json.loads(start["ctx"])[match[1]] if match else json.loads(start["code"])
    return program


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


@dataclass
class Undisturbed:
    """A run that nothing disturbs, given the answers and effects that a journal holds, and the order in which children
    ended. `prompts` by id; `ends` by stream: of one that was dropped, or never came so far, there is none."""

    records: Sequence[Record]
    prompts: dict[str, str] = field(default_factory=dict)
    ends: dict[str, Record] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._answers = {item["id"]: _given(item) for record in self.records for item in record.get("answers", ())}

    def run(self, program: list[list[Any]], stream: str = "") -> None:
        talk = perform(program)
        left = [record for record in self.records if record.get("stream", "") == stream]
        effects = iter(_effects(left))
        deliveries = iter([record["answered"] for record in left if record["kind"] == "delivery"])
        forks = iter([record for record in left if record["kind"] == "fork"])
        asked = 0
        heard: Record | None = None
        while (message := next_message(talk, heard))["op"] != "end":
            heard = None
            if message["op"] == "call":
                heard = next(effects, None)
            elif message["op"] == "fork":
                heard = self._forked(message, next(forks, None))
            elif message["op"] in ("ask", "wait"):
                prefix = f"f-{stream}" if stream else "q"
                ids = [f"{prefix}-{asked + n}" for n in range(len(message["queries"]))]
                asked += len(ids)
                self.prompts.update(zip(ids, [query["prompt"] for query in message["queries"]], strict=True))
                is_wait = message["op"] == "wait"
                heard = self._delivered(next(deliveries, None)) if is_wait else _answered(ids, self._answers)
            if heard is None and not is_one_way(message):
                return
        self.ends[stream] = {key: message[key] for key in ("result", "error") if key in message}

    def _delivered(self, answered: list[list[Any]] | None) -> Record | None:
        if answered is None:
            return None
        said = [[number, self._answers[query_id]] for number, query_id in answered]
        return {"answered": said, "woke": not said}

    def _forked(self, message: Record, record: Record | None) -> Record | None:
        """None where it was not over."""
        if record is None:
            return None
        children = [str(record["first"] + n) for n in range(len(message["strategies"]))]
        for child, name in zip(children, message["strategies"], strict=True):
            self.run(message["ctx"][name], child)
        ended = [each["stream"] for each in self.records if each["kind"] == "end" and each["stream"] in children]
        failed = next((child for child in ended if "error" in self.ends[child]), None)
        if failed is not None and message["on_error"] == "fail":
            return {"failed": {"strategy": message["strategies"][children.index(failed)], **self.ends[failed]}}
        if len(ended) < len(children):
            return None
        named = zip(message["strategies"], [self.ends[child] for child in children], strict=True)
        return {"entries": [{"strategy": name, "ok": "result" in end, **end} for name, end in named]}


def _effects(records: Sequence[Record]) -> list[Record]:
    return [
        {key: record[key] for key in ("result", "error") if key in record}
        for record in records
        if record["kind"] in ("effect", "module")
        for _ in range(record.get("times", 1))
    ]


def _answered(ids: Sequence[str], answers: dict[str, Record]) -> Record | None:
    return {"answers": [answers[each] for each in ids]} if all(each in answers for each in ids) else None


def _given(item: Record) -> Record:
    return {key: item[key] for key in ("response", "refuse") if key in item}
