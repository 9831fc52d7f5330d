"""What each row of the session's three tables shall say, stated once more and by hand, with a history for each."""

from dataclasses import dataclass

from algocline_mcp.session import results
from algocline_mcp.session.decisions import Decision, Refusal, decide
from algocline_mcp.session.events import (
    Asked,
    Called,
    Cancel,
    Continue,
    Died,
    Ended,
    EngineEvent,
    Forked,
    HostEvent,
    Noted,
    Status,
)
from algocline_mcp.session.records import Record
from algocline_mcp.session.results import status_of, summary
from algocline_mcp.session.state import Phase, evolve
from tests.session import histories
from tests.session.histories import MARK, History, Start, header, query, said

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
    Transition(NEW, "header", RUNNING, histories.new, header()),
    Transition(RUNNING, "module", RUNNING, histories.running, MODULE),
    Transition(RUNNING, "effect", RUNNING, histories.running, EFFECT),
    Transition(RUNNING, "note", RUNNING, histories.running, NOTE),
    Transition(RUNNING, "prompt", PAUSED, histories.running, PROMPT),
    Transition(RUNNING, "prompt", RUNNING, histories.forked, CHILD_PROMPT),
    Transition(RUNNING, "prompt", PAUSED, histories.running_beside_a_prompt, LAST_PROMPT),
    Transition(RUNNING, "fork", RUNNING, histories.running, FORK),
    Transition(RUNNING, "end", RUNNING, histories.forked, CHILD_END),
    Transition(RUNNING, "end", PAUSED, histories.running_beside_a_prompt, CHILD_END),
    Transition(RUNNING, "answer", RUNNING, histories.running_beside_a_prompt, continued("f-0-0")),
    Transition(RUNNING, "crash", RUNNING, histories.running, CRASH),
    Transition(RUNNING, "crash", STUCK, histories.struck_twice, CRASH),
    Transition(RUNNING, "final", FINISHED, histories.running, END),
    Transition(RUNNING, "flushed", RUNNING, histories.running, MARK),
    Transition(PAUSED, "answer", RUNNING, histories.paused, continued("q-0")),
    Transition(PAUSED, "answer", PAUSED, histories.paused_at_two, continued("q-1")),
    Transition(PAUSED, "answer", RUNNING, histories.paused_at_two, continued("q-1", "q-0")),
    Transition(PAUSED, "crash", PAUSED, histories.paused, CRASH),
    Transition(PAUSED, "crash", STUCK, histories.paused_struck_twice, CRASH),
    Transition(PAUSED, "final", FINISHED, histories.paused, CANCEL),
    Transition(PAUSED, "flushed", PAUSED, histories.paused, MARK),
    Transition(STUCK, "module", RUNNING, histories.stuck, MODULE),
    Transition(STUCK, "effect", RUNNING, histories.stuck, EFFECT),
    Transition(STUCK, "note", RUNNING, histories.stuck, NOTE),
    Transition(STUCK, "note", PAUSED, histories.stuck_at_a_prompt, NOTE),
    Transition(STUCK, "prompt", PAUSED, histories.stuck, PROMPT),
    Transition(STUCK, "prompt", RUNNING, lambda: histories.forked().die(3, stream="1"), CHILD_PROMPT),
    Transition(STUCK, "fork", RUNNING, histories.stuck, FORK),
    Transition(STUCK, "end", RUNNING, lambda: histories.forked().die(3, stream="1"), CHILD_END),
    Transition(STUCK, "end", PAUSED, histories.stuck_child, CHILD_END),
    Transition(STUCK, "crash", STUCK, histories.stuck, CRASH),
    Transition(STUCK, "final", FINISHED, histories.stuck, CANCEL),
    Transition(STUCK, "flushed", STUCK, histories.stuck, MARK),
    Transition(FINISHED, "flushed", FINISHED, histories.completed, MARK),
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
    Reply(RUNNING, "continue", "judge", histories.running_beside_a_prompt, continued("f-0-0"), _takes("f-0-0")),
    Reply(RUNNING, "bare", "ask", histories.running, BARE, _asks("nothing is pending: the session is running")),
    Reply(RUNNING, "status", "tell", histories.running, STATUS, TOLD),
    Reply(RUNNING, "cancel", "end", histories.running, CANCEL, CANCELLED),
    Reply(PAUSED, "continue", "judge", histories.paused, continued("q-0"), _takes("q-0")),
    Reply(PAUSED, "bare", "ask", histories.paused_at_two, BARE, _asks("pending: q-0, q-1")),
    Reply(PAUSED, "status", "tell", histories.paused, STATUS, TOLD),
    Reply(PAUSED, "cancel", "end", histories.paused, CANCEL, CANCELLED),
    Reply(STUCK, "continue", "retry", histories.stuck_at_a_prompt, continued("q-0"), RETRIED),
    Reply(STUCK, "bare", "ask", histories.stuck, BARE, _asks("nothing is pending: the session is stuck")),
    Reply(STUCK, "status", "retry", histories.stuck, STATUS, RETRIED),
    Reply(STUCK, "cancel", "end", histories.stuck, CANCEL, CANCELLED),
    Reply(
        FINISHED,
        "continue",
        "judge",
        histories.completed,
        continued("q-9"),
        _unknown("nothing is pending: the session is finished"),
    ),
    Reply(FINISHED, "bare", "ask", histories.completed, BARE, _asks("nothing is pending: the session is finished")),
    Reply(FINISHED, "status", "tell", histories.completed, STATUS, TOLD),
    Reply(FINISHED, "cancel", "tell", histories.completed, CANCEL, TOLD),
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
        assert status_of(history.session) == self.words[0]
        assert summary(history.session, worker="none")["status"] == self.words[0]
        assert results.STATUSES[self.row] == self.words


STATUSES = [
    Standing("running", ("running", "running", "running"), histories.running),
    Standing("paused", ("needs_response", "paused", "paused"), histories.paused),
    Standing("stuck", ("error", "paused", "failed"), histories.stuck),
    Standing("completed", ("completed", "terminal", "completed"), histories.completed),
    Standing("error", ("error", "terminal", "failed"), histories.failed),
    Standing("cancelled", ("cancelled", "terminal", "cancelled"), histories.cancelled),
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
