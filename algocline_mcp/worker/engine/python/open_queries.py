"""Queries that tasks wait for: each is numbered as the keeper numbers it, and its answer goes to the task that asked.

Contract: a query is sent with the next wait. A task that is cancelled before that takes its query back; the query of
one that is cancelled later is withdrawn with the next message that asks or waits, and an answer that is there by then
is dropped. Numbers count the
queries of a session, whatever loop asked: `asyncio.run` may be called several times, also inside `to_thread`.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from algocline_mcp.worker.engine.python.exceptions import Error

Record = dict[str, Any]


class Waiting(Protocol):
    """Of the exchange with the keeper."""

    abandoned: Callable[[], list[int]]

    def ask_any(self, queries: Sequence[Record], wake_s: float | None) -> Record: ...


class _Asked:
    """Queries that one task has asked together, and the answers so far."""

    def __init__(self, queries: Sequence[Record], future: "asyncio.Future[list[Record]]") -> None:
        self.queries = queries
        self.future = future
        self._answers: dict[int, Record] = {}

    @property
    def is_waited_for(self) -> bool:
        return not self.future.done() and not self.future.get_loop().is_closed()

    def answer(self, index: int, answer: Record) -> None:
        self._answers[index] = answer
        if len(self._answers) == len(self.queries) and self.is_waited_for:
            self.future.set_result([self._answers[i] for i in range(len(self.queries))])


class OpenQueries:
    def __init__(self, exchange: Waiting) -> None:
        self._exchange = exchange
        self._unsent: list[_Asked] = []
        self._sent: dict[int, tuple[_Asked, int]] = {}  # by the number of the query
        self._count = 0  # of queries sent
        exchange.abandoned = self._abandoned

    def _abandoned(self) -> list[int]:
        """Numbers of the queries that no task waits for any more. They are forgotten."""
        numbers = [number for number, (asked, _) in self._sent.items() if not asked.is_waited_for]
        for number in numbers:
            del self._sent[number]
        return numbers

    @property
    def is_waited_for(self) -> bool:
        """Whether an answer would let a task go on."""
        return any(asked.is_waited_for for asked in self._unsent) or any(
            asked.is_waited_for for asked, _ in self._sent.values()
        )

    async def ask(self, queries: Sequence[Record]) -> list[Record]:
        """Waits until all the queries are answered: `{response}` or `{refuse}` for each."""
        asked = _Asked(queries, asyncio.get_running_loop().create_future())
        self._unsent.append(asked)
        return await asked.future

    def wait(self, wake_s: float | None) -> bool:
        """Sends the new queries and blocks until any open one is answered, or for `wake_s` seconds. Whether that was
        the reason to return. What the keeper refuses goes to the tasks that asked for it."""
        unsent, self._unsent = [asked for asked in self._unsent if asked.is_waited_for], []
        try:
            return self._send(unsent, wake_s)
        except Error as exc:
            if not unsent:
                raise
            if len(unsent) == 1:
                unsent[0].future.set_exception(exc)
        for asked in unsent if len(unsent) > 1 else ():  # one by one: a refusal must not reach the tasks beside it
            try:
                self._send([asked], 0)
            except Error as exc:
                asked.future.set_exception(exc)
        return False

    def _send(self, unsent: Sequence[_Asked], wake_s: float | None) -> bool:
        reply = self._exchange.ask_any([query for asked in unsent for query in asked.queries], wake_s)
        for asked in unsent:
            for index in range(len(asked.queries)):
                self._sent[self._count] = (asked, index)
                self._count += 1
        for number, answer in reply["answered"]:
            if number in self._sent:  # else it was withdrawn when its answer was on the way
                asked, index = self._sent.pop(number)
                asked.answer(index, answer)
        return bool(reply["woke"])
