"""An exchange without a keeper: answers `wait` in an order that a test chooses, and moves its own clock."""

import random
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from algocline_mcp.worker.engine.python.exceptions import Error
from algocline_mcp.worker.engine.python.session import Session

Record = dict[str, Any]
Choose = Callable[[list[int]], list[int]]


def all_at_once(numbers: list[int]) -> list[int]:
    return numbers


def one_by_one(numbers: list[int]) -> list[int]:
    return numbers[:1]


def nothing(_numbers: list[int]) -> list[int]:
    return []


def in_random_order(seed: int) -> Choose:
    """Any number of the open queries, in any order."""
    source = random.Random(seed)

    def choose(numbers: list[int]) -> list[int]:
        return source.sample(numbers, source.randint(1, len(numbers)))

    return choose


class FakeExchange:
    """`choose` gets the numbers of the open queries and returns which ones the host answers. None: the timer fires."""

    def __init__(self, choose: Choose = all_at_once, *, budget: int = 1000) -> None:
        self.choose = choose
        self.budget = budget
        self.clock_s = 1_000.0
        self.prompts: list[str] = []
        self.pauses: list[list[str]] = []  # prompts that are open at each pause
        self.waits: list[tuple[int, float | None]] = []  # new queries and timer of each
        self.logged: list[str] = []
        self.abandoned: Callable[[], list[int]] = list
        self.withdrawn: list[str] = []  # prompts
        self.is_crossing = False  # the answer to what is withdrawn is on the way already
        self.open: dict[int, str] = {}
        self._count = 0

    def ask(self, queries: Sequence[Record]) -> list[Record]:
        texts = [query["prompt"] for query in queries]
        self.prompts += texts
        self.pauses.append(texts)
        return [self.answer(text) for text in texts]

    def ask_any(self, queries: Sequence[Record], wake_s: float | None) -> Record:
        self.waits.append((len(queries), wake_s))
        crossed = [[number, self.answer(self._withdraw(number))] for number in self.abandoned()]
        if self._count + len(queries) > self.budget:
            raise Error(f"budget_exceeded: {self.budget} prompts")
        for query in queries:
            self.open[self._count] = query["prompt"]
            self.prompts.append(query["prompt"])
            self._count += 1
        if self.is_crossing and crossed:
            return {"answered": crossed, "woke": False}
        if wake_s == 0:
            return {"answered": [], "woke": True}
        chosen = self.choose(list(self.open)) if self.open else []
        assert chosen or wake_s is not None, "nothing can end this wait"
        if self.open:
            self.pauses.append(list(self.open.values()))
        if not chosen:
            self.clock_s += wake_s or 0
            return {"answered": [], "woke": True}
        return {"answered": [[n, self.answer(self.open.pop(n))] for n in sorted(chosen)], "woke": False}

    def _withdraw(self, number: int) -> str:
        self.withdrawn.append(self.open.pop(number))
        return self.withdrawn[-1]

    def answer(self, prompt: str) -> Record:
        return {"refuse": "no"} if prompt.startswith("refuse") else {"response": f"re {prompt}"}

    def time(self) -> float:
        return self.clock_s

    def log(self, level: str, message: str, *, is_warning: bool = False) -> None:
        self.logged.append(message)


def session_of(exchange: FakeExchange) -> Session:
    start: Any = SimpleNamespace()
    stand_in: Any = exchange
    return Session(start, stand_in)
