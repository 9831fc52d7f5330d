"""A keeper for one strategy, in this process: answers prompts from a script, and keeps state, variables and cards."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

NOW_S = 1790000100.125
Record = dict[str, Any]


class ScriptedKeeper:
    """A channel of either language. `messages` has what arrived, in order: prompts, calls, forks, log lines, progress.

    `answers`: a text answers a prompt, a mapping is sent as it is (`{"refuse": …}`); without any, a prompt is echoed.
    `replies`: host function -> its replies in turn, `{"result": …}` or `{"error": …}`.
    """

    def __init__(
        self,
        answers: Sequence[str | Mapping[str, str]] = (),
        replies: Mapping[str, Sequence[Record]] | None = None,
    ) -> None:
        self.messages: list[Record] = []
        self._answers = list(answers)
        self._replies = {name: list(queue) for name, queue in (replies or {}).items()}
        self._state: dict[str, Any] = {}
        self._waited = 0  # queries of alc.aio

    def ask(self, line: bytes) -> bytes:
        assert b"\n" not in line
        message = json.loads(line)
        self.messages.append(message)
        name = message["name"] if message["op"] == "call" else message["op"]
        if self._replies.get(name):
            reply = self._replies[name].pop(0)
        elif name == "ask":
            reply = {"answers": [self._answer(query) for query in message["queries"]]}
        elif name == "wait":
            numbers = range(self._waited, self._waited + len(message["queries"]))
            self._waited = numbers.stop
            answers = map(self._answer, message["queries"])
            reply = {"answered": [list(pair) for pair in zip(numbers, answers, strict=True)], "woke": False}
        else:
            reply = self._perform(name, *message["args"])
        return json.dumps(reply, ensure_ascii=False).encode()

    def send(self, line: bytes) -> None:
        assert b"\n" not in line
        self.messages.append(json.loads(line))

    def _answer(self, query: Record) -> Record:
        if not self._answers:
            return {"response": f"<{query['prompt']}>"}
        answer = self._answers.pop(0)
        return {"response": answer} if isinstance(answer, str) else dict(answer)

    def _perform(self, name: str, *args: Any) -> Record:
        if name == "time":
            return {"result": NOW_S}
        function = getattr(self, "_" + name.replace(".", "_"), None)
        assert function is not None, f"no reply is scripted for {name}{args}"
        return {"result": function(*args)}

    def _env(self, name: str) -> str | None:
        return {"CITY": "Kyoto"}.get(name)

    def _budget(self) -> Record | None:
        return None

    def _llm_calls(self) -> int:
        return sum(len(message["queries"]) for message in self.messages if message["op"] == "ask")

    def _state_get(self, key: str) -> list[Any]:
        return [self._state[key]] if key in self._state else []

    def _state_has(self, key: str) -> bool:
        return key in self._state

    def _state_keys(self) -> list[str]:
        return sorted(self._state)

    def _state_set(self, key: str, value: Any) -> None:
        self._state[key] = value

    def _state_set_nx(self, key: str, value: Any) -> bool:
        return self._state.setdefault(key, value) is value

    def _state_delete(self, key: str) -> bool:
        return self._state.pop(key, None) is not None

    def _state_incr(self, key: str, delta: float, default: float) -> float:
        self._state[key] = float(self._state.get(key, default)) + delta
        return float(self._state[key])

    def _state_swap(self, key: str, old: list[Any], new: list[Any]) -> bool:
        if self._state_get(key) != old:
            return False
        self._state.pop(key, None)
        if new:
            self._state[key] = new[0]
        return True
