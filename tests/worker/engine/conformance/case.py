"""A row of the conformance tables: what a call of alc does, in both languages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """`lua` and `python` are the code of a function, or an expression.

    `error`: a part of the sentence, with the words of wording.py in braces. `messages`: what the keeper gets, without
    log lines; None: not compared. `logged`: how each log line goes on after its level. See ScriptedKeeper for the rest.
    """

    lua: str
    python: str
    result: Any = None
    error: str | None = None
    answers: Sequence[str | Mapping[str, str]] = ()
    replies: Mapping[str, Sequence[Record]] = field(default_factory=dict)
    messages: Sequence[Record] | None = None
    logged: Sequence[str] = ()

    def __str__(self) -> str:
        return self.python


def ask(*queries: str | Record) -> Record:
    """The message of one pause. A text is a prompt without options."""
    plain = {"system": None, "max_tokens": 1024}
    return {
        "op": "ask",
        "queries": [plain | ({"prompt": query} if isinstance(query, str) else query) for query in queries],
    }


def call(name: str, *args: Any) -> Record:
    return {"op": "call", "name": name, "args": list(args)}
