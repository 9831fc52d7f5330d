"""Every row of the table of requests, reached by the real request runner, and the proof that each check can fail."""

import json
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from algocline_mcp.errors import AlcError, StorageFailed
from algocline_mcp.protocol.messages import Op, PoolRequest, WorkerIdentity
from algocline_mcp.session.decisions import Decision, Refusal
from algocline_mcp.session.events import HostEvent
from algocline_mcp.session.records import Record
from algocline_mcp.session.state import Phase
from algocline_mcp.worker.keeper import requests
from algocline_mcp.worker.keeper.connections import Client
from algocline_mcp.worker.keeper.request_runner import RequestRunner
from algocline_mcp.worker.keeper.requests import UNDECIDED, RequestEvent, RequestState, observe

SID = "p-1-0123456789abcdef"
LINE_BYTES = 1 << 16

(HELD, IN_REPLAY, RETRIED, DECIDING, DECIDING_FINALLY, DECIDED, PUT_OFF, REPORTED, ACCEPTED, NOT_TAKEN, REFUSED) = (
    RequestState
)
E = RequestEvent

TAKEN = Decision(records=({"kind": "answer"},))
ONLY_TOLD = Decision()
RETRY = Decision(is_retry=True)
BAD = Decision(error=Refusal(None, "no such query", "unknown_query"))
DISK_FULL = StorageFailed("the disk is full")


@dataclass
class ScriptedSession:
    """In the place of a SessionRunner: what it allows and decides is set by the step."""

    fatal: Record | None = None
    step_error: AlcError | None = None
    is_replaying: bool = False
    computing: int = 0
    outcome: Decision | StorageFailed = ONLY_TOLD
    phase: Phase = Phase.PAUSED
    needs_engine: bool = False
    retries: int = 0
    limits: Any = field(default_factory=lambda: SimpleNamespace(client_s=1.0))

    @property
    def session(self) -> Any:
        return SimpleNamespace(phase=self.phase, progress=None)

    def start_engines(self) -> None:
        self.retries += self.phase is Phase.STUCK

    def apply(self, event: HostEvent) -> Decision:
        if isinstance(self.outcome, StorageFailed):
            raise self.outcome
        return self.outcome

    def flush(self) -> None:
        """Nothing is recorded."""

    def feed_result(self, *, is_accepted: bool) -> Record:
        return {"accepted": is_accepted}


class WatchedClient(Client):
    """A client that keeps every state its request had."""

    def __setattr__(self, name: str, value: object) -> None:
        if name == "state":
            self.__dict__.setdefault("visited", []).append(value)
        super().__setattr__(name, value)

    @property
    def visited(self) -> list[RequestState]:
        visited: list[RequestState] = self.__dict__["visited"]
        return visited


Step = dict[str, Any]  # attributes of the session, before the request is processed once more
IS_TIME_UP = "is_time_up"


def at_rest(outcome: Decision | StorageFailed = ONLY_TOLD, **facts: Any) -> Step:
    return {"is_replaying": False, "computing": 0, "outcome": outcome} | facts


def computing(outcome: Decision | StorageFailed = ONLY_TOLD) -> Step:
    return at_rest(outcome, computing=1)


REPLAYING = at_rest(is_replaying=True, computing=1)
STEP_FAILING = at_rest(step_error=AlcError("no process"), computing=1)
STEP_FAILED = at_rest(step_error=AlcError("no process"))
FATAL = at_rest(fatal={"error_code": "diverged"})
STUCK_RETRY = at_rest(RETRY, phase=Phase.STUCK)
TIME_UP = computing() | {IS_TIME_UP: True}


class Scene:
    def __init__(self, near: socket.socket, far: socket.socket, op: Op, wait_s: float) -> None:
        self.session = ScriptedSession()
        identity = WorkerIdentity(1, "0", SID, 1, 1)
        watch = lambda client: None  # noqa: E731
        self.requests = RequestRunner(cast(Any, self.session), identity, linger_s=0.0, watch_output=watch)
        self.client = WatchedClient(near, LINE_BYTES, deadline=0.0)
        self.far = far
        mode = "cancel" if op == "shutdown" else "hibernate"
        line = PoolRequest(op, 7, SID, wait_s=wait_s, mode=mode).encode()
        self.requests.accept(self.client, line, is_busy=lambda: False)

    def play(self, step: Step) -> None:
        for name, value in step.items():
            setattr(self.session, name, value)
        if step.get(IS_TIME_UP):
            self.requests.end(self.client)
        else:
            self.requests.process(self.client)

    @property
    def reply(self) -> str | None:
        """None while the request waits."""
        if self.client.request is not None:
            return None
        response = json.loads(self.far.recv(LINE_BYTES))
        if not response["ok"]:
            return f"error: {response['error']}"
        if response["data"]["feed_result"]["accepted"]:
            return "accepted"
        return "not taken" if response["data"].get("not_taken") else "state"


@contextmanager
def scene(op: Op = "continue", wait_s: float = 5.0) -> Iterator[Scene]:
    near, far = socket.socketpair()
    with closing(near), closing(far):
        far.setblocking(False)
        yield Scene(near, far, op, wait_s)


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
def test_engine_is_needed_by_who_waits_for_computing_or_answers(op: str, wait_s: float, is_needed: bool) -> None:
    assert requests.is_engine_needed(op, is_waiting=wait_s > 0) is is_needed
