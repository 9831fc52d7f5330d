"""Events of a session: calls of the host, and messages of its engines."""

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
        """The item of an answer record."""
        answer = {"response": self.response} if self.refuse is None else {"refuse": self.refuse}
        details = {"usage": dict(self.usage) if self.usage else None, "by": self.by}
        return {"id": query_id} | answer | {key: value for key, value in details.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Continue:
    """`is_checked`: the caller can correct an answer that does not fit the schema of its prompt."""

    answers: tuple[Answer, ...]
    now_s: float
    is_checked: bool = False


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
    spent_s: float | None = None  # seconds that the engine has computed in this step
    is_wait: bool = False  # the stream goes on with any answer; then there may be no query
    wake_s: float | None = None  # or after so many seconds, where it waits
    withdrawn: tuple[int, ...] = ()  # numbers of the queries of its waits whose answers it waits for no more


@dataclass(frozen=True, slots=True)
class Delivered:
    """A stream goes on from its wait, with all answers that are there, or because its timer fired."""

    stream: str
    now_s: float


@dataclass(frozen=True, slots=True)
class Called:
    """A host function was carried out. `times` > 1: as often in a row, with the same result. `n`: the function changed
    values that sessions share, as the n-th such effect of its stream."""

    stream: str
    name: str
    args: tuple[Any, ...]
    outcome: Record  # {result} or {error}
    times: int = 1
    n: int | None = None


@dataclass(frozen=True, slots=True)
class Logged:
    stream: str
    note: Record  # {level, message, phase?} or {progress: {step, total, message}}


@dataclass(frozen=True, slots=True)
class Forked:
    stream: str
    strategies: tuple[str, ...]
    ctx: Record
    on_error: str  # one of ON_ERROR
    now_s: float
    spent_s: float | None = None
    abis: tuple[Record | None, ...] = ()  # of the children; None: that of the session, as for all of an empty tuple


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


EngineEvent = Asked | Delivered | Called | Logged | Forked | Ended | Died
