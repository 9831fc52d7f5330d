"""A channel of a strategy that runs outside an engine: it answers in the place of the keeper.

The strategy uses the Exchange of an engine, so every message is JSON here as there. Nothing is recorded.
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

Record = dict[str, Any]
Reply = Callable[[Mapping[str, Any]], Mapping[str, str]]  # of one query: {response} or {refuse}
OnLog = Callable[[str, str], None]  # level, message

_NEEDS_ENGINE = "{} needs an engine, and this strategy runs outside: run it with `alc run FILE.py`"


class DeskChannel:
    def __init__(self, reply: Reply, on_log: OnLog | None = None) -> None:
        self._reply = reply
        self._on_log = on_log
        self._waited_for = 0  # queries of `wait`, which counts them from 0
        self._asked = 0
        self._state: Record = {}

    def ask(self, line: bytes) -> bytes:
        message: Record = json.loads(line)
        match message["op"]:
            case "ask":
                reply: Record = {"answers": self._answer(message["queries"])}
            case "wait":
                reply = self._wait(message["queries"], message["wake_s"])
            case "call":
                reply = self._call(message["name"], message["args"])
            case _:
                reply = {"error": _NEEDS_ENGINE.format("alc.fork and alc.call")}
        return json.dumps(reply).encode()

    def send(self, line: bytes) -> None:
        message = json.loads(line)
        if self._on_log is not None:
            if message["op"] == "log":
                self._on_log(message["level"], message["message"])
            elif message["op"] == "progress":
                self._on_log("progress", f"{message['step']}/{message['total']} {message['message'] or ''}".rstrip())

    def _answer(self, queries: list[Record]) -> list[Mapping[str, str]]:
        self._asked += len(queries)
        return [self._reply(query) for query in queries]

    def _wait(self, queries: list[Record], wake_s: float | None) -> Record:
        """All new queries are answered at once, so a wait without any is a timer."""
        answered = [[self._waited_for + i, reply] for i, reply in enumerate(self._answer(queries))]
        self._waited_for += len(queries)
        if not queries:
            time.sleep(wake_s or 0)  # the strategy's own timer: nothing else can happen at a desk meanwhile
        return {"answered": answered, "woke": not queries}

    def _call(self, name: str, args: list[Any]) -> Record:
        if name == "time":
            return {"result": round(time.time(), 3)}
        if name == "env":
            return {"result": os.environ.get(args[0])}
        if name == "llm_calls":
            return {"result": self._asked}
        if name == "budget":
            return {"result": None}
        if name.startswith("state."):
            try:
                return {"result": self._of_state(name.removeprefix("state."), *args)}
            except TypeError:
                return {"error": f"alc.{name}: the value of {args[0]!r} is not a number"}
        return {"error": _NEEDS_ENGINE.format(f"alc.{name}")}

    def _of_state(self, name: str, key: str = "", *args: Any) -> Any:
        state = self._state
        stored = [state[key]] if key in state else []
        match name:
            case "keys":
                return sorted(state)
            case "get":
                return stored
            case "has":
                return bool(stored)
            case "set":
                state[key] = args[0]
                return None
            case "delete":
                return state.pop(key, None) is not None
            case "set_nx":
                return not stored and state.setdefault(key, args[0]) is args[0]
            case "incr":
                state[key] = (stored[0] if stored else args[1]) + args[0]
                return state[key]
            case _:  # swap
                before, after = args
                if stored == before:
                    state.pop(key, None)
                    state.update({key: after[0]} if after else {})
                return stored == before
