"""What each row of the session's three tables shall say, stated once more and by hand, with a history for each."""

from dataclasses import dataclass

from algocline_mcp import session
from algocline_mcp.session import (
    Asked,
    Called,
    Cancel,
    Continue,
    Decision,
    Died,
    Ended,
    EngineEvent,
    Forked,
    HostEvent,
    Noted,
    Phase,
    Record,
    Refusal,
    Status,
    decide,
    evolve,
)

from . import build
from .build import MARK, History, Start, header, query, said

NEW, RUNNING, PAUSED, FINISHED, STUCK = Phase
KINDS = ("header", "module", "effect", "note", "prompt", "fork", "end", "answer", "flushed", "crash", "final")

MODULE = Called("", "module", ("m",), {"result": {"source": "", "chunk": "m.lua"}})
EFFECT = Called("", "time", (), {"result": 1.5})
NOTE = Noted("", {"level": "info", "message": "m"})
PROMPT = Asked("", (query("p"),), 2000.0)
CHILD_PROMPT = Asked("0", (query("p"),), 2000.0)
LAST_PROMPT = Asked("1", (query("p"),), 2000.0)
FORK = Forked("", ("a", "b"), {}, "skip", 2000.0)
CHILD_END = Ended("1", {"result": 1}, 2000.0)
CRASH = Died("", "ended by SIGSEGV", 2000.0)
END = Ended("", {"result": 1}, 2000.0)
CANCEL = Cancel(2000.0)


def continued(*query_ids: str) -> Continue:
    return Continue(tuple(said(query_id, "a") for query_id in query_ids), 2000.0)


@dataclass(frozen=True)
class Transition:
    """A record in a phase, and the phase after it. `event`: what deserves that record, or the record itself."""

    phase: Phase
    kind: str
    after: Phase
    start: Start
    event: HostEvent | EngineEvent | Record

    @property
    def row(self) -> tuple[Phase, str]:
        return self.phase, self.kind

    def check(self, history: History) -> None:
        event = self.event
        (record,) = (event,) if isinstance(event, dict) else decide(history.session, event).records
        assert (history.session.phase, record["kind"]) == self.row
        evolve(history.session, record)
        assert history.session.phase is self.after


TRANSITIONS = [
    Transition(NEW, "header", RUNNING, build.new, header()),
    Transition(RUNNING, "module", RUNNING, build.running, MODULE),
    Transition(RUNNING, "effect", RUNNING, build.running, EFFECT),
    Transition(RUNNING, "note", RUNNING, build.running, NOTE),
    Transition(RUNNING, "prompt", PAUSED, build.running, PROMPT),
    Transition(RUNNING, "prompt", RUNNING, build.forked, CHILD_PROMPT),
    Transition(RUNNING, "prompt", PAUSED, build.running_beside_a_prompt, LAST_PROMPT),
    Transition(RUNNING, "fork", RUNNING, build.running, FORK),
    Transition(RUNNING, "end", RUNNING, build.forked, CHILD_END),
    Transition(RUNNING, "end", PAUSED, build.running_beside_a_prompt, CHILD_END),
    Transition(RUNNING, "answer", RUNNING, build.running_beside_a_prompt, continued("f-0-0")),
    Transition(RUNNING, "crash", RUNNING, build.running, CRASH),
    Transition(RUNNING, "crash", STUCK, build.struck_twice, CRASH),
    Transition(RUNNING, "final", FINISHED, build.running, END),
    Transition(RUNNING, "flushed", RUNNING, build.running, MARK),
    Transition(PAUSED, "answer", RUNNING, build.paused, continued("q-0")),
    Transition(PAUSED, "answer", PAUSED, build.paused_at_two, continued("q-1")),
    Transition(PAUSED, "answer", RUNNING, build.paused_at_two, continued("q-1", "q-0")),
    Transition(PAUSED, "crash", PAUSED, build.paused, CRASH),
    Transition(PAUSED, "crash", STUCK, build.paused_struck_twice, CRASH),
    Transition(PAUSED, "final", FINISHED, build.paused, CANCEL),
    Transition(PAUSED, "flushed", PAUSED, build.paused, MARK),
    Transition(STUCK, "module", RUNNING, build.stuck, MODULE),
    Transition(STUCK, "effect", RUNNING, build.stuck, EFFECT),
    Transition(STUCK, "note", RUNNING, build.stuck, NOTE),
    Transition(STUCK, "note", PAUSED, build.stuck_at_a_prompt, NOTE),
    Transition(STUCK, "prompt", PAUSED, build.stuck, PROMPT),
    Transition(STUCK, "prompt", RUNNING, lambda: build.forked().die(3, stream="1"), CHILD_PROMPT),
    Transition(STUCK, "fork", RUNNING, build.stuck, FORK),
    Transition(STUCK, "end", RUNNING, lambda: build.forked().die(3, stream="1"), CHILD_END),
    Transition(STUCK, "end", PAUSED, build.stuck_child, CHILD_END),
    Transition(STUCK, "crash", STUCK, build.stuck, CRASH),
    Transition(STUCK, "final", FINISHED, build.stuck, CANCEL),
    Transition(STUCK, "flushed", STUCK, build.stuck, MARK),
    Transition(FINISHED, "flushed", FINISHED, build.completed, MARK),
]


@dataclass(frozen=True)
class Reply:
    """A call in a phase, and the whole decision that it gets. `word`: what the table calls it."""

    phase: Phase
    call: str
    word: str
    start: Start
    event: HostEvent
    decision: Decision

    @property
    def row(self) -> tuple[Phase, str]:
        return self.phase, self.call

    def check(self, history: History) -> None:
        assert history.session.phase is self.phase
        assert decide(history.session, self.event) == self.decision


def _takes(query_id: str) -> Decision:
    return Decision(records=({"kind": "answer", "answers": [{"id": query_id, "response": "a"}], "t": 2000.0},))


def _asks(what_waits: str) -> Decision:
    sentence = f"Either 'response' or 'responses' must be provided; {what_waits}"
    return Decision(error=Refusal(None, sentence, "no_answer"))


def _unknown(what_waits: str) -> Decision:
    refusal = Refusal("q-9", f"unknown query_id: q-9; {what_waits}", "unknown_query")
    return Decision(refused=(refusal,), error=refusal)


BARE, STATUS = Continue((), 2000.0), Status()
TOLD, RETRIED = Decision(), Decision(is_retry=True)
CANCELLED = Decision(records=({"kind": "final", "status": "cancelled", "t": 2000.0},))

REPLIES = [
    Reply(RUNNING, "continue", "judge", build.running_beside_a_prompt, continued("f-0-0"), _takes("f-0-0")),
    Reply(RUNNING, "bare", "ask", build.running, BARE, _asks("nothing is pending: the session is running")),
    Reply(RUNNING, "status", "tell", build.running, STATUS, TOLD),
    Reply(RUNNING, "cancel", "end", build.running, CANCEL, CANCELLED),
    Reply(PAUSED, "continue", "judge", build.paused, continued("q-0"), _takes("q-0")),
    Reply(PAUSED, "bare", "ask", build.paused_at_two, BARE, _asks("pending: q-0, q-1")),
    Reply(PAUSED, "status", "tell", build.paused, STATUS, TOLD),
    Reply(PAUSED, "cancel", "end", build.paused, CANCEL, CANCELLED),
    Reply(STUCK, "continue", "retry", build.stuck_at_a_prompt, continued("q-0"), RETRIED),
    Reply(STUCK, "bare", "ask", build.stuck, BARE, _asks("nothing is pending: the session is stuck")),
    Reply(STUCK, "status", "retry", build.stuck, STATUS, RETRIED),
    Reply(STUCK, "cancel", "end", build.stuck, CANCEL, CANCELLED),
    Reply(
        FINISHED,
        "continue",
        "judge",
        build.completed,
        continued("q-9"),
        _unknown("nothing is pending: the session is finished"),
    ),
    Reply(FINISHED, "bare", "ask", build.completed, BARE, _asks("nothing is pending: the session is finished")),
    Reply(FINISHED, "status", "tell", build.completed, STATUS, TOLD),
    Reply(FINISHED, "cancel", "tell", build.completed, CANCEL, TOLD),
]


@dataclass(frozen=True)
class Standing:
    """How a session stands, and the words for it: our `status`, the original's `state` and `phase`."""

    row: str
    words: tuple[str, str, str]
    start: Start

    def check(self, history: History) -> None:
        told = history.session.final["status"] if history.session.final else history.session.phase
        assert told == self.row
        assert session.status_of(history.session) == self.words[0]
        assert session.summary(history.session, worker="none")["status"] == self.words[0]
        assert session.STATUSES[self.row] == self.words


STATUSES = [
    Standing("running", ("running", "running", "running"), build.running),
    Standing("paused", ("needs_response", "paused", "paused"), build.paused),
    Standing("stuck", ("error", "paused", "failed"), build.stuck),
    Standing("completed", ("completed", "terminal", "completed"), build.completed),
    Standing("error", ("error", "terminal", "failed"), build.failed),
    Standing("cancelled", ("cancelled", "terminal", "cancelled"), build.cancelled),
]

Row = Transition | Reply | Standing
TABLES: dict[str, list[Row]] = {"TRANSITIONS": [*TRANSITIONS], "REPLIES": [*REPLIES], "STATUSES": [*STATUSES]}
EVERY_ROW: list[tuple[str, Row]] = [(table, row) for table, rows in TABLES.items() for row in rows]


def name(value: object) -> str:
    """The test's name for a row."""
    match value:
        case Transition():
            return f"{value.phase}-{value.kind}-{value.after}"
        case Reply():
            return f"{value.phase}-{value.call}"
        case Standing():
            return value.row
    return str(value)
