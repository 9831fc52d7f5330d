"""A function that asks, without the waiting: a generator that yields queries and gets their answers.

Contract: a generator yields the queries of one pause and is sent the answers in their order, `{response}` or `{refuse}`
each; an Error of the exchange is thrown in. So the functions of alc block at a yield, and those of alc.aio await.
"""

from collections.abc import Generator
from typing import Any, TypeVar

from algocline_mcp.worker.engine.python.exceptions import Error
from algocline_mcp.worker.engine.python.session import current

Record = dict[str, Any]
Result = TypeVar("Result")
Steps = Generator[list[Record], list[Record], Result]


def play(steps: Steps[Result]) -> Result:
    """Plays the steps to their end. Blocks at each pause."""
    try:
        queries = next(steps)
        while True:
            try:
                answers = current().exchange.ask(queries)
            except Error as exc:
                queries = steps.throw(exc)
            else:
                queries = steps.send(answers)
    except StopIteration as end:
        result: Result = end.value
        return result
