"""A prompt, its answer, and the interface of whatever answers without a person.

Contract: `Answerer.answer` returns the answer to one prompt, or raises NoAnswer with a sentence; it may run for several
prompts at once. A refusal of a model is an answer. `Prompt.digest` and `Prompt.occurrence` together name a prompt
across sessions: the n-th time that a session asks the same.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from algocline_mcp.errors import AlcError
from algocline_mcp.pool.replies import OWN_FIELDS
from algocline_mcp.session.digests import query_digest
from algocline_mcp.session.results import DEFAULT_MAX_TOKENS

# Fields that are no options of a query: a state with one query has those of both.
_OWN = (OWN_FIELDS - {"grounded", "underspecified"}) | {"digest", "stream"}


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """`options`: everything else that the strategy gave, such as `schema`, `grounded` and options of the host."""

    text: str
    system: str | None = None
    max_tokens: int = DEFAULT_MAX_TOKENS
    options: Mapping[str, Any] = field(default_factory=dict)
    query_id: str = "q-0"
    session_id: str = ""
    index: int = 0  # among the prompts of the session, in the order of asking
    occurrence: int = 0  # among the prompts of the session with the same digest
    epoch: int | None = None  # of several sessions that run the same, as an evaluation does with --epochs

    @cached_property
    def digest(self) -> str:
        return query_digest({**self.options, **_asked(self.text, self.system, self.max_tokens)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Either `text` or `refusal`, a reason. `usage`: prompt_tokens, completion_tokens. `cost`: in US dollars, where it
    is known. `by`: who answered. `warning`: a sentence for the user, such as that the answer was cut."""

    text: str | None = None
    refusal: str | None = None
    usage: Mapping[str, int] | None = None
    cost: float | None = None
    by: str | None = None
    warning: str | None = None


class NoAnswer(AlcError):
    """No answer to a prompt, which stays open."""

    code = "unanswered"


class Answerer(Protocol):
    async def answer(self, prompt: Prompt) -> Answer: ...


async def close(answerer: Answerer) -> None:
    """Closes the connections that an answerer may hold; it can be used again."""
    aclose = getattr(answerer, "aclose", None)
    if aclose is not None:
        await aclose()


class Numbering:
    """Gives the prompts of one session their index and their occurrence; a prompt that comes again keeps both."""

    def __init__(self, session_id: str = "", epoch: int | None = None) -> None:
        self.session_id = session_id
        self._epoch = epoch
        self._known: dict[str, tuple[int, int]] = {}
        self._counts: Counter[str] = Counter()

    def begin(self, asked: Iterable[Mapping[str, Any]]) -> None:
        """`asked`: all queries that the session has asked before, in order."""
        for query in asked:
            self.prompt(query)

    def prompt(self, query: Mapping[str, Any]) -> Prompt:
        """`query`: as in the result of a tool, or as in a journal."""
        query_id = str(query["query_id"] if "query_id" in query else query["id"])
        fields: dict[str, Any] = {
            "text": query["prompt"],
            "system": query.get("system"),
            "max_tokens": query.get("max_tokens", DEFAULT_MAX_TOKENS),
            # A flag that is off is not shown to the host.
            "options": {key: value for key, value in query.items() if key not in _OWN and value is not False},
            "query_id": query_id,
            "session_id": self.session_id,
        }
        if query_id not in self._known:
            digest = Prompt(**fields).digest
            self._known[query_id] = len(self._known), self._counts[digest]
            self._counts[digest] += 1
        index, occurrence = self._known[query_id]
        return Prompt(**fields, index=index, occurrence=occurrence, epoch=self._epoch)


def _asked(text: str, system: str | None, max_tokens: int) -> dict[str, Any]:
    return {"prompt": text, "system": system, "max_tokens": max_tokens}
