"""The rows of the session's three tables, stated once more by hand, each with a history that reaches it."""

from dataclasses import dataclass

from algocline_mcp.session import results
from algocline_mcp.session.decisions import Decision, Reply, decide
from algocline_mcp.session.events import (
    Asked,
    Called,
    Cancel,
    Continue,
    Delivered,
    Died,
    Ended,
    EngineEvent,
    Forked,
    HostEvent,
    Logged,
    Status,
)
from algocline_mcp.session.records import Record
from algocline_mcp.session.refusals import Refusal
from algocline_mcp.session.results import status_of, summary
from algocline_mcp.session.state import Phase, evolve
from tests.session import histories
from tests.session.histories import MARK, History, Start, header, query, said

NEW, RUNNING, PAUSED, FINISHED, STUCK = Phase
KINDS = (
    "header",
    "module",
    "effect",
    "note",
    "prompt",
    "delivery",
    "fork",
    "end",
    "answer",
    "misfit",
    "flushed",
    "crash",
    "final",
)

MODULE = Called("", "module", ("m",), {"result": {"source": "", "chunk": "m.lua"}})
EFFECT = Called("", "time", (), {"result": 1.5})
NOTE = Logged("", {"level": "info", "message": "m"})
PROMPT = Asked("", (query("p"),), 2000.0)
CHILD_PROMPT = Asked("0", (query("p"),), 2000.0)
LAST_PROMPT = Asked("1", (query("p"),), 2000.0)
FORK = Forked("", ("a", "b"), {}, "skip", 2000.0)
DELIVERY = Delivered("", 2000.0)
CHILD_END = Ended("1", {"result": 1}, 2000.0)
CRASH = Died("", "ended by SIGSEGV", 2000.0)
END = Ended("", {"result": 1}, 2000.0)
CANCEL = Cancel(2000.0)


def continued(*query_ids: str) -> Continue:
    return Continue(tuple(said(query_id, "a") for query_id in query_ids), 2000.0)


def misfit(query_id: str) -> Record:
    return {"kind": "misfit", "query_ids": [query_id], "t": 2000.0}


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
    Transition(RUNNING, "prompt", PAUSED, histories.running, Asked("", (query("p"),), 2000.0, is_wait=True)),
    Transition(RUNNING, "prompt", RUNNING, histories.running, Asked("", (), 2000.0, is_wait=True, wake_s=5)),
    Transition(RUNNING, "delivery", RUNNING, histories.waiting_with_an_answer, DELIVERY),
    Transition(RUNNING, "delivery", RUNNING, histories.asleep, DELIVERY),
    Transition(RUNNING, "fork", RUNNING, histories.running, FORK),
    Transition(RUNNING, "end", RUNNING, histories.forked, CHILD_END),
    Transition(RUNNING, "end", PAUSED, histories.running_beside_a_prompt, CHILD_END),
    Transition(RUNNING, "answer", RUNNING, histories.running_beside_a_prompt, continued("f-0-0")),
    Transition(RUNNING, "misfit", RUNNING, histories.running_beside_a_prompt, misfit("f-0-0")),
    Transition(RUNNING, "crash", RUNNING, histories.running, CRASH),
    Transition(RUNNING, "crash", STUCK, histories.struck_twice, CRASH),
    Transition(RUNNING, "final", FINISHED, histories.running, END),
    Transition(RUNNING, "flushed", RUNNING, histories.running, MARK),
    Transition(PAUSED, "answer", RUNNING, histories.paused, continued("q-0")),
    Transition(PAUSED, "answer", PAUSED, histories.paused_at_two, continued("q-1")),
    Transition(PAUSED, "answer", RUNNING, histories.paused_at_two, continued("q-1", "q-0")),
    Transition(PAUSED, "answer", RUNNING, histories.waiting, continued("q-1")),
    Transition(PAUSED, "misfit", PAUSED, histories.paused, misfit("q-0")),
    Transition(PAUSED, "delivery", RUNNING, histories.waiting, DELIVERY),
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
    Transition(STUCK, "delivery", RUNNING, histories.stuck_at_a_wait, DELIVERY),
    Transition(STUCK, "fork", RUNNING, histories.stuck, FORK),
    Transition(STUCK, "end", RUNNING, lambda: histories.forked().die(3, stream="1"), CHILD_END),
    Transition(STUCK, "end", PAUSED, histories.stuck_child, CHILD_END),
    Transition(STUCK, "crash", STUCK, histories.stuck, CRASH),
    Transition(STUCK, "final", FINISHED, histories.stuck, CANCEL),
    Transition(STUCK, "flushed", STUCK, histories.stuck, MARK),
    Transition(FINISHED, "flushed", FINISHED, histories.completed, MARK),
]


@dataclass(frozen=True)
class Answered:
    """A call in a phase, and the whole decision that it gets."""

    phase: Phase
    call: str
    reply: Reply
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


def _rejects(what_waits: str) -> Decision:
    sentence = f"Either 'response' or 'responses' must be provided; {what_waits}"
    return Decision(error=Refusal(None, sentence, "no_answer"))


def _unknown(what_waits: str) -> Decision:
    refusal = Refusal("q-9", f"unknown query_id: q-9; {what_waits}", "unknown_query")
    return Decision(refused=(refusal,), error=refusal)


NONE_PENDING = "nothing is pending: the session is {}"
BARE, STATUS = Continue((), 2000.0), Status()
REPORTED, RETRIED = Decision(), Decision(is_retry=True)
CANCELLED = Decision(records=({"kind": "final", "status": "cancelled", "t": 2000.0},))

REPLIES = [
    Answered(RUNNING, "continue", Reply.ACCEPT, histories.running_beside_a_prompt, continued("f-0-0"), _takes("f-0-0")),
    Answered(
        RUNNING,
        "bare",
        Reply.REJECT_EMPTY,
        histories.running,
        BARE,
        _rejects(NONE_PENDING.format("running")),
    ),
    Answered(RUNNING, "status", Reply.REPORT, histories.running, STATUS, REPORTED),
    Answered(RUNNING, "cancel", Reply.CANCEL, histories.running, CANCEL, CANCELLED),
    Answered(PAUSED, "continue", Reply.ACCEPT, histories.paused, continued("q-0"), _takes("q-0")),
    Answered(PAUSED, "bare", Reply.REJECT_EMPTY, histories.paused_at_two, BARE, _rejects("pending: q-0, q-1")),
    Answered(PAUSED, "status", Reply.REPORT, histories.paused, STATUS, REPORTED),
    Answered(PAUSED, "cancel", Reply.CANCEL, histories.paused, CANCEL, CANCELLED),
    Answered(STUCK, "continue", Reply.RETRY, histories.stuck_at_a_prompt, continued("q-0"), RETRIED),
    Answered(STUCK, "bare", Reply.REJECT_EMPTY, histories.stuck, BARE, _rejects(NONE_PENDING.format("stuck"))),
    Answered(STUCK, "status", Reply.RETRY, histories.stuck, STATUS, RETRIED),
    Answered(STUCK, "cancel", Reply.CANCEL, histories.stuck, CANCEL, CANCELLED),
    Answered(
        FINISHED,
        "continue",
        Reply.ACCEPT,
        histories.completed,
        continued("q-9"),
        _unknown("nothing is pending: the session is finished"),
    ),
    Answered(
        FINISHED,
        "bare",
        Reply.REJECT_EMPTY,
        histories.completed,
        BARE,
        _rejects(NONE_PENDING.format("finished")),
    ),
    Answered(FINISHED, "status", Reply.REPORT, histories.completed, STATUS, REPORTED),
    Answered(FINISHED, "cancel", Reply.REPORT, histories.completed, CANCEL, REPORTED),
]


@dataclass(frozen=True)
class Standing:
    """How a session stands, and the words for it: our `status`, upstream's `state` and `phase`."""

    row: str
    words: tuple[str, str, str]
    start: Start

    def check(self, history: History) -> None:
        name = history.session.final["status"] if history.session.final else history.session.phase
        assert name == self.row
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

Row = Transition | Answered | Standing
TABLES: dict[str, list[Row]] = {"TRANSITIONS": [*TRANSITIONS], "REPLIES": [*REPLIES], "STATUSES": [*STATUSES]}
EVERY_ROW: list[tuple[str, Row]] = [(table, row) for table, rows in TABLES.items() for row in rows]


def name(value: object) -> str:
    """The test's name for a row."""
    match value:
        case Transition():
            return f"{value.phase}-{value.kind}-{value.after}"
        case Answered():
            return f"{value.phase}-{value.call}"
        case Standing():
            return value.row
    return str(value)
