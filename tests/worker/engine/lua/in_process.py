"""Runs a strategy in this process, with a channel that answers from functions and mappings."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from algocline_mcp.config.limits import MIB
from algocline_mcp.worker.engine.lua.runtime import prepare
from algocline_mcp.worker.engine.process import Start

CREATED_S = 1790000000.0
NOW_S = 1790000100.125

Query = dict[str, Any]
Answer = Mapping[str, Any]


def echo(query: Query) -> Answer:
    return {"response": f"<{query['prompt']}>"}


class FakeChannel:
    """Records all messages. Answers queries by calling `answer`, modules and variables from mappings."""

    def __init__(
        self,
        answer: Callable[[Query], Answer] = echo,
        *,
        modules: Mapping[str, str] | None = None,
        environ: Mapping[str, str] | None = None,
        now_s: Iterable[float] = (),
    ) -> None:
        self.queries: list[list[Query]] = []
        self.calls: list[list[Any]] = []
        self.sent: list[dict[str, Any]] = []
        self._answer = answer
        self._modules = modules or {}
        self._environ = environ or {}
        self._now_s = iter(now_s)

    def ask(self, line: bytes) -> bytes:
        assert b"\n" not in line
        message = json.loads(line)
        if message["op"] == "ask":
            self.queries.append(message["queries"])
            reply: dict[str, Any] = {"answers": [self._answer(query) for query in message["queries"]]}
        else:
            self.calls.append([message["name"], *message["args"]])
            reply = self._called(message["name"], *message["args"])
        return json.dumps(reply, ensure_ascii=False).encode()

    def send(self, line: bytes) -> None:
        self.sent.append(json.loads(line))

    @property
    def logged(self) -> list[tuple[str, str]]:
        return [(line["level"], line["message"]) for line in self.sent if line["op"] == "log"]

    def _called(self, name: str, *args: str) -> dict[str, Any]:
        if name == "time":
            return {"result": next(self._now_s, NOW_S)}
        if name == "env":
            return {"result": self._environ.get(args[0])}
        if name == "budget":
            return {"result": None}
        if args[0] in self._modules:
            return {"result": {"source": self._modules[args[0]], "chunk": f"{args[0]}.lua"}}
        return {"error": f"module '{args[0]}' not found: looked nowhere"}


@dataclass(frozen=True, slots=True)
class Ended:
    message: dict[str, Any]

    @property
    def result(self) -> Any:
        assert "result" in self.message, self.message
        return self.message["result"]

    @property
    def error(self) -> str:
        assert "error" in self.message, self.message
        error = self.message["error"]
        assert isinstance(error, str)
        return error


def last_line(
    code: str,
    channel: FakeChannel | None = None,
    *,
    ctx: str = "{}",
    seed: int = 1,
    heap_bytes: int = 64 * MIB,
) -> bytes:
    runtime = prepare(heap_bytes=heap_bytes, headroom_bytes=16 * MIB, line_bytes=8 * MIB)
    start = Start(code=code, chunk="panel.lua", ctx=ctx, seed=seed, created_s=CREATED_S)
    return runtime.run(start, channel or FakeChannel())


def play(code: str, channel: FakeChannel | None = None, **options: Any) -> Ended:
    """Runs the code as panel.lua in a fresh runtime."""
    line = last_line(code, channel, **options)
    assert b"\n" not in line
    message = json.loads(line)
    assert message.pop("op") == "end"
    return Ended(message)
