"""Every row of the table of requests, reached by the real request runner, and the proof that each check can fail."""

from dataclasses import dataclass
from typing import Any

import pytest

from algocline_mcp.errors import AlcError, StorageFailed
from algocline_mcp.protocol.messages import Op
from algocline_mcp.session.decisions import Decision
from algocline_mcp.session.refusals import Refusal
from algocline_mcp.session.state import Phase
from algocline_mcp.worker.keeper import requests
from algocline_mcp.worker.keeper.requests import UNDECIDED, RequestEvent, RequestState, observe
from tests.worker.keeper.scripted_session import IS_TIME_UP, NO_RECORDS, Step, scene

(HELD, IN_REPLAY, RETRIED, DECIDING, DECIDING_FINALLY, DECIDED, PUT_OFF, REPORTED, ACCEPTED, NOT_TAKEN, REFUSED) = (
    RequestState
)
E = RequestEvent

TAKEN = Decision(records=({"kind": "answer"},))
RETRY = Decision(is_retry=True)
BAD = Decision(error=Refusal(None, "no such query", "unknown_query"))
DISK_FULL = StorageFailed("the disk is full")


def at_rest(outcome: Decision | StorageFailed = NO_RECORDS, **facts: Any) -> Step:
    return {"is_replaying": False, "is_asleep": False, "computing": 0, "outcome": outcome} | facts


def computing(outcome: Decision | StorageFailed = NO_RECORDS) -> Step:
    return at_rest(outcome, computing=1)


REPLAYING = at_rest(is_replaying=True, computing=1)
STEP_FAILING = at_rest(step_error=AlcError("no process"), computing=1)
STEP_FAILED = at_rest(step_error=AlcError("no process"))
FATAL = at_rest(fatal={"error_code": "diverged"})
STUCK_RETRY = at_rest(RETRY, phase=Phase.STUCK)
TIME_UP = computing() | {IS_TIME_UP: True}


@dataclass(frozen=True)
class Row:
    """A row of the table. `steps` reach it, `then` are the states after further rows at once, `reply` is sent."""

    state: RequestState
    event: RequestEvent
    after: RequestState
    steps: tuple[Step, ...]
    then: tuple[RequestState, ...] = ()
    reply: str | None = None
    op: Op = "continue"
    wait_s: float = 5.0

    @property
    def key(self) -> tuple[RequestState, RequestEvent]:
        return self.state, self.event

    def check(self) -> None:
        with scene(self.op, self.wait_s) as played:
            for step in self.steps:
                played.play(step)

            path = [self.state, self.after, *self.then]
            assert played.client.visited[-len(path) :] == path
            assert played.reply == self.reply


ROWS = [
    Row(HELD, E.CANCEL, DECIDING, (REPLAYING,), (DECIDED, DECIDED), op="shutdown", wait_s=0.0),
    Row(HELD, E.FATAL, REPORTED, (FATAL,), reply="state"),
    Row(HELD, E.STEP_FAILED, NOT_TAKEN, (STEP_FAILED,), reply="not taken"),
    Row(HELD, E.STEP_FAILING, HELD, (STEP_FAILING,)),
    Row(HELD, E.REPLAYING, IN_REPLAY, (REPLAYING,)),
    Row(HELD, E.COMPUTING, DECIDING, (computing(TAKEN),), (DECIDED, DECIDED)),
    Row(HELD, E.AT_REST, DECIDING, (STUCK_RETRY,), (RETRIED,)),
    Row(HELD, E.TIME_UP, NOT_TAKEN, (TIME_UP,), reply="not taken"),
    Row(IN_REPLAY, E.FATAL, REPORTED, (REPLAYING, FATAL), reply="state"),
    Row(IN_REPLAY, E.STEP_FAILED, NOT_TAKEN, (REPLAYING, STEP_FAILED), reply="not taken"),
    Row(IN_REPLAY, E.STEP_FAILING, IN_REPLAY, (REPLAYING, STEP_FAILING)),
    Row(IN_REPLAY, E.REPLAYING, IN_REPLAY, (REPLAYING, REPLAYING)),
    Row(IN_REPLAY, E.COMPUTING, DECIDING_FINALLY, (REPLAYING, computing(RETRY)), (PUT_OFF, PUT_OFF)),
    Row(IN_REPLAY, E.AT_REST, DECIDING_FINALLY, (REPLAYING, STUCK_RETRY), (PUT_OFF, NOT_TAKEN), "not taken"),
    Row(IN_REPLAY, E.TIME_UP, NOT_TAKEN, (REPLAYING, TIME_UP), reply="not taken"),
    Row(RETRIED, E.FATAL, REPORTED, (STUCK_RETRY, FATAL), reply="state"),
    Row(RETRIED, E.STEP_FAILED, NOT_TAKEN, (STUCK_RETRY, STEP_FAILED), reply="not taken"),
    Row(RETRIED, E.STEP_FAILING, RETRIED, (STUCK_RETRY, STEP_FAILING)),
    Row(RETRIED, E.REPLAYING, RETRIED, (STUCK_RETRY, REPLAYING)),
    Row(RETRIED, E.COMPUTING, RETRIED, (STUCK_RETRY, REPLAYING, computing())),
    Row(RETRIED, E.AT_REST, DECIDING_FINALLY, (STUCK_RETRY, STUCK_RETRY), (PUT_OFF, NOT_TAKEN), "not taken"),
    Row(RETRIED, E.TIME_UP, NOT_TAKEN, (STUCK_RETRY, TIME_UP), reply="not taken"),
    Row(DECIDING, E.DECIDE, DECIDED, (at_rest(),), (REPORTED,), "state"),
    Row(DECIDING, E.ACCEPT, ACCEPTED, (at_rest(TAKEN),), reply="accepted"),
    Row(DECIDING, E.REFUSE, REFUSED, (at_rest(BAD),), reply="error: no such query"),
    Row(DECIDING, E.RETRY, RETRIED, (STUCK_RETRY,)),
    Row(DECIDING, E.PUT_OFF, PUT_OFF, (STUCK_RETRY,), (NOT_TAKEN,), "not taken", wait_s=0.0),
    Row(DECIDING_FINALLY, E.DECIDE, DECIDED, (REPLAYING, at_rest()), (REPORTED,), "state"),
    Row(DECIDING_FINALLY, E.ACCEPT, ACCEPTED, (REPLAYING, at_rest(TAKEN)), reply="accepted"),
    Row(DECIDING_FINALLY, E.REFUSE, REFUSED, (REPLAYING, at_rest(DISK_FULL)), reply="error: the disk is full"),
    Row(DECIDING_FINALLY, E.RETRY, PUT_OFF, (REPLAYING, STUCK_RETRY), (NOT_TAKEN,), "not taken"),
    Row(DECIDING_FINALLY, E.PUT_OFF, PUT_OFF, (REPLAYING, computing(RETRY)), (PUT_OFF,), wait_s=0.0),
    Row(DECIDED, E.COMPUTING, DECIDED, (computing(TAKEN), computing())),
    Row(DECIDED, E.AT_REST, REPORTED, (computing(TAKEN), at_rest()), reply="state"),
    Row(DECIDED, E.TIME_UP, REPORTED, (computing(TAKEN), TIME_UP), reply="state"),
    Row(PUT_OFF, E.COMPUTING, PUT_OFF, (computing(RETRY), computing()), wait_s=0.0),
    Row(PUT_OFF, E.AT_REST, NOT_TAKEN, (computing(RETRY), at_rest()), reply="not taken", wait_s=0.0),
    Row(PUT_OFF, E.TIME_UP, NOT_TAKEN, (computing(RETRY), TIME_UP), reply="not taken", wait_s=0.0),
]
every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.state.name}-{row.event.name}")


def test_second_try_without_a_process_is_an_error_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with scene() as played:

        def start_engines() -> None:
            played.session.step_error = AlcError("no process for an engine")

        monkeypatch.setattr(played.session, "start_engines", start_engines)
        played.session.needs_engine = True
        played.play(STUCK_RETRY)

        assert played.client.visited[-2:] == [RETRIED, NOT_TAKEN]
        assert played.reply == "error: no process for an engine"


@every_row
def test_row_means_what_is_stated(row: Row) -> None:
    row.check()


def test_no_row_is_unstated() -> None:
    assert {row.key: row.after for row in ROWS} == requests.TRANSITIONS
    assert len(ROWS) == len(requests.TRANSITIONS)


@every_row
def test_check_of_a_removed_row_fails(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(requests.TRANSITIONS, row.key)

    with pytest.raises(KeyError):
        row.check()


@every_row
def test_check_of_a_changed_row_fails(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    for other in set(RequestState) - {row.after}:
        with monkeypatch.context() as patch:
            patch.setitem(requests.TRANSITIONS, row.key, other)

            with pytest.raises((AssertionError, KeyError, RecursionError)):
                row.check()


def test_only_states_that_name_a_reply_are_the_last() -> None:
    assert set(RequestState) - {state for state, _ in requests.TRANSITIONS} == {
        REPORTED,
        ACCEPTED,
        NOT_TAKEN,
        REFUSED,
    }


def test_every_request_that_waits_is_answered_when_its_time_is_up() -> None:
    waiting = {*UNDECIDED, DECIDED, PUT_OFF}

    assert {state for state, event in requests.TRANSITIONS if event is E.TIME_UP} == waiting


def test_stuck_step_is_tried_again_once_for_each_request_that_waits() -> None:
    with scene() as played:
        for step in (STUCK_RETRY, REPLAYING, computing(), STUCK_RETRY):
            played.play(step)

        assert played.session.retries == 1
        assert played.client.state is NOT_TAKEN


ALLOWS = {
    "is_cancel": False,
    "is_unreadable": False,
    "is_fatal": False,
    "is_step_failed": False,
    "is_replaying": False,
    "is_computing": False,
}
OBSERVATIONS = [
    ((), E.AT_REST),
    (("is_computing",), E.COMPUTING),
    (("is_replaying", "is_computing"), E.REPLAYING),
    (("is_step_failed",), E.STEP_FAILED),
    (("is_step_failed", "is_computing"), E.STEP_FAILING),
    (("is_step_failed", "is_replaying", "is_computing"), E.STEP_FAILING),
    (("is_fatal",), E.FATAL),
    (("is_fatal", "is_step_failed"), E.FATAL),
    (("is_fatal", "is_unreadable"), E.FATAL),
    (("is_cancel",), E.CANCEL),
    (("is_cancel", "is_replaying", "is_computing"), E.CANCEL),
    (("is_cancel", "is_fatal"), E.CANCEL),
    (("is_cancel", "is_fatal", "is_unreadable"), E.FATAL),
]


def _name(value: tuple[str, ...] | RequestEvent) -> str:
    return value.name if isinstance(value, RequestEvent) else "+".join(value) or "nothing"


@pytest.mark.parametrize(("facts", "event"), OBSERVATIONS, ids=_name)
def test_what_a_session_allows_is_one_event(facts: tuple[str, ...], event: RequestEvent) -> None:
    assert observe(**ALLOWS | dict.fromkeys(facts, True)) is event


ENGINES = [("continue", 5.0, True), ("continue", 0.0, True), ("run", 5.0, True), ("run", 0.0, False)]
ENGINES += [("status", 5.0, True), ("status", 0.0, False), ("shutdown", 5.0, False)]


@pytest.mark.parametrize(("op", "wait_s", "is_needed"), ENGINES)
def test_engine_is_needed_by_a_request_that_waits_or_answers(op: str, wait_s: float, is_needed: bool) -> None:
    assert requests.is_engine_needed(op, is_waiting=wait_s > 0) is is_needed
