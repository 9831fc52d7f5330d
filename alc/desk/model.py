"""Answers of a test: a strategy that runs outside an engine asks a Model instead of the host."""

from collections.abc import Callable, Iterator, Mapping, MutableSequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from alc.desk.channel import DeskChannel
from algocline_mcp.config.limits import Limits
from algocline_mcp.worker.engine.process import Start
from algocline_mcp.worker.engine.python.exceptions import Refused
from algocline_mcp.worker.engine.python.exchange import Exchange
from algocline_mcp.worker.engine.python.session import Session, running

Answer = str | Refused | Callable[[str], str | Refused]
Answers = Answer | MutableSequence[Answer]
_SHOWN = 200  # characters of a prompt in a sentence


class NoAnswer(LookupError):
    """No answer to a prompt. Not an alc.Error, which a strategy may catch: a test must see it."""


class Answerer(Protocol):
    def answer(self, query: Mapping[str, Any]) -> str | Refused: ...


AnyAnswerer = TypeVar("AnyAnswerer", bound=Answerer)


class Model:
    """Answers by what a prompt contains: `Model({"nurse": "no 2"}, default="yes 8")`.

    The first key in the order of `answers` that the prompt contains counts. A value is the answer, a function of the
    prompt, `alc.Refused("…", "the reason")`, or a list of those, one after the other; when it is used up, the next key
    counts. `prompts` and `queries` hold what was asked, in order.
    """

    def __init__(self, answers: Mapping[str, Answers] | None = None, *, default: Answer | None = None) -> None:
        self.answers: dict[str, Answers] = dict(answers or {})
        self.default = default
        self.queries: list[dict[str, Any]] = []

    @property
    def prompts(self) -> list[str]:
        return [query["prompt"] for query in self.queries]

    def answer(self, query: Mapping[str, Any]) -> str | Refused:
        prompt: str = query["prompt"]
        self.queries.append(dict(query))
        fitting = (self.answers[part] for part in self.answers if part in prompt)
        chosen = next((answers for answers in fitting if answers != []), self.default)
        value = chosen.pop(0) if isinstance(chosen, MutableSequence) else chosen
        if value is None:
            raise NoAnswer(f"the model has no answer to {prompt[:_SHOWN]!r}: add a part of it, or a default")
        return value if isinstance(value, str | Refused) else value(prompt)


@contextmanager
def use(model: AnyAnswerer, *, on_log: Callable[[str, str], None] | None = None) -> Iterator[AnyAnswerer]:
    """While it is open, the functions of alc work in this process and `model` answers. State is in memory.

    Raises what the model raised, also where the strategy caught it."""
    limits = Limits()
    exchange = Exchange(DeskChannel(lambda query: _reply(model, query), on_log), limits.line_bytes)
    start = Start(code="", chunk="strategy", ctx="{}", seed=0, created_s=0.0)
    with running(Session(start, exchange)):
        yield model
        exchange.check()


def _reply(model: Answerer, query: Mapping[str, Any]) -> dict[str, str]:
    answer = model.answer(query)
    return {"refuse": answer.reason} if isinstance(answer, Refused) else {"response": answer}
