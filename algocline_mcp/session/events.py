"""What can happen to a session: events of the host and of its engines."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from algocline_mcp.session.records import Record


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the host: `response`, or `refuse` with a reason. `usage`: prompt_tokens, completion_tokens."""

    query_id: str | None
    response: str | None = None
    refuse: str | None = None
    usage: Mapping[str, int] | None = None
    by: str | None = None

    def item(self, query_id: str) -> Record:
        """As it stands in an answer record."""
        said = {"response": self.response} if self.refuse is None else {"refuse": self.refuse}
        told = {"usage": dict(self.usage) if self.usage else None, "by": self.by}
        return {"id": query_id} | said | {key: value for key, value in told.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Continue:
    answers: tuple[Answer, ...]
    now_s: float


@dataclass(frozen=True, slots=True)
class Status:
    pass


@dataclass(frozen=True, slots=True)
class Cancel:
    now_s: float


@dataclass(frozen=True, slots=True)
class Asked:
    stream: str
    queries: tuple[Record, ...]  # {prompt, system, max_tokens, grounded?, underspecified?, further options}
    now_s: float
    spent_s: float | None = None  # for how long its engine has computed in this step


@dataclass(frozen=True, slots=True)
class Called:
    """A host function was carried out. `times` > 1: as often in a row, with the same result. `n`: it changed what
    sessions share, as the n-th such effect of its stream."""

    stream: str
    name: str
    args: tuple[Any, ...]
    outcome: Record  # {result} or {error}
    times: int = 1
    n: int | None = None


@dataclass(frozen=True, slots=True)
class Noted:
    stream: str
    note: Record  # {level, message} or {progress: {step, total, message}}


@dataclass(frozen=True, slots=True)
class Forked:
    stream: str
    strategies: tuple[str, ...]
    ctx: Record
    on_error: str  # one of ON_ERROR
    now_s: float
    spent_s: float | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    stream: str
    outcome: Record  # {result, stats?} or {error}
    now_s: float
    spent_s: float | None = None


@dataclass(frozen=True, slots=True)
class Died:
    stream: str
    reason: str
    now_s: float


HostEvent = Continue | Status | Cancel


EngineEvent = Asked | Called | Noted | Forked | Ended | Died
