"""The keeper's end of a node's socket: calls of alc.state, their replies, and nodes that are slow, wrong or gone."""

import json
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import StorageBroken
from algocline_mcp.session.records import Record
from algocline_mcp.worker.database import node_state
from algocline_mcp.worker.database.call_context import EffectMark
from algocline_mcp.worker.database.calls import PendingCall, pending_call
from algocline_mcp.worker.database.connection import MarkDiffers, digest
from algocline_mcp.worker.database.node_state import NodeState
from algocline_mcp.worker.engine.messages import Call

WAIT_S = 60
SESSION = {"sid": "p-1", "epoch": 7, "owner": "ann"}
INCR, GET = Call("state.incr", ("c", 1, 0)), Call("state.get", ("c",))


def mark(n: int, stream: str = "") -> EffectMark:
    return EffectMark("p-1", stream, n)


class FakeNode:
    """Accepts one connection after the other; the test reads what came and says what goes."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "node.sock"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.path))
        self._listener.listen(8)
        self._listener.settimeout(WAIT_S)
        self._connections: list[socket.socket] = []
        self.sent_at = 0.0  # of the last message

    def accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.settimeout(WAIT_S)
        self._connections.append(connection)
        self._lines = connection.makefile("rb")

    def next(self) -> Record:
        """The message, without the time at which it was sent."""
        message: Record = json.loads(self._lines.readline())
        self.sent_at = message.pop("sent_at")
        return message

    def say(self, *replies: Record | bytes) -> None:
        lines = [reply if isinstance(reply, bytes) else json.dumps(reply).encode() + b"\n" for reply in replies]
        self._connections[-1].sendall(b"".join(lines))

    def hang_up(self) -> None:
        self._lines.close()
        self._connections.pop().close()

    def close(self) -> None:
        if self._connections:
            self.hang_up()
        for connection in (*self._connections, self._listener):
            connection.close()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[FakeNode]:
    opened = FakeNode(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def state(node: FakeNode) -> Iterator[NodeState]:
    opened = NodeState(str(node.path), Limits().line_bytes, lambda: dict(SESSION))
    yield opened
    opened.close()


def pending(call: Call) -> PendingCall:
    return pending_call(call, Limits())


def result(state: NodeState, call: PendingCall, at: EffectMark | None) -> Any:
    """What the keeper gets, by as many turns as it takes."""
    for _ in range(int(WAIT_S / node_state.TURN_S)):
        if (outcome := state.attempt(call, "default", at)) is not None:
            return outcome
    raise TimeoutError


def asked(state: NodeState, node: FakeNode, call: Call = INCR, at: EffectMark | None = None) -> PendingCall:
    """A call that the node has and has not answered."""
    sent = pending(call)
    is_first = not state.is_open
    assert state.attempt(sent, "default", at) is None
    if is_first:
        node.accept()
    node.next()
    return sent


def test_a_change_goes_out_with_session_and_mark_and_gets_its_outcome(state: NodeState, node: FakeNode) -> None:
    sent = pending(INCR)
    before = time.monotonic()
    first = state.attempt(sent, "ns", mark(4, "1"))
    node.accept()
    message = node.next()
    node.say({"outcome": {"result": 2.0}})

    assert first is None
    assert before <= node.sent_at <= time.monotonic()
    assert message == SESSION | {
        "op": "effect", "namespace": "ns", "name": "state.incr", "args": ["c", 1, 0],
        "stream": "1", "n": 4, "digest": digest("ns", INCR),
    }  # fmt: skip
    assert result(state, sent, mark(4, "1")) == {"result": 2.0}


def test_a_reading_call_goes_out_without_a_mark(state: NodeState, node: FakeNode) -> None:
    sent = pending(GET)
    state.attempt(sent, "default", None)
    node.accept()
    message = node.next()
    node.say({"outcome": {"result": []}})

    assert "n" not in message
    assert result(state, sent, None) == {"result": []}


REPLIES: dict[str, tuple[Record | bytes, type[Exception] | Record]] = {
    "refused": ({"outcome": {"error": "no"}}, {"error": "no"}),
    "failed": ({"error": "the disk is full", "code": "storage_failed"}, {"error": "alc.state.incr: the disk is full"}),
    "differs": ({"differs": {"called": "state.set", "n": 1}}, MarkDiffers),
    "fenced": ({"error": "newer owner", "code": "fenced"}, StorageBroken),
    "in doubt": ({"error": "no database", "code": "database_unreachable"}, StorageBroken),
    "a newer code": ({"error": "?", "code": "something new"}, StorageBroken),
    "no reply": ({}, StorageBroken),
    "no JSON": (b"what\n", StorageBroken),
    "no object": (b"[]\n", StorageBroken),
}


@pytest.mark.parametrize(("reply", "expected"), REPLIES.values(), ids=REPLIES.keys())
def test_replies(state: NodeState, node: FakeNode, reply: Record | bytes, expected: type[Exception] | Record) -> None:
    sent = asked(state, node, at=mark(1))
    node.say(reply)

    if isinstance(expected, dict):
        assert result(state, sent, mark(1)) == expected
    else:
        with pytest.raises(expected):
            result(state, sent, mark(1))


def test_a_code_of_the_node_is_that_of_the_error(state: NodeState, node: FakeNode) -> None:
    sent = asked(state, node, at=mark(1))
    node.say({"error": "newer owner", "code": "fenced"})

    with pytest.raises(StorageBroken) as caught:
        result(state, sent, mark(1))

    assert caught.value.code == "fenced"


def test_a_keeper_without_a_node_ends(tmp_path: Path) -> None:
    state = NodeState(str(tmp_path / "none.sock"), 1000, lambda: dict(SESSION))

    with pytest.raises(StorageBroken, match=r"none\.sock cannot be reached"):
        state.attempt(pending(GET), "default", None)

    assert not state.is_open


def test_a_node_that_goes_ends_the_keeper(state: NodeState, node: FakeNode) -> None:
    sent = asked(state, node, at=mark(1))
    node.hang_up()

    with pytest.raises(StorageBroken, match=r"has gone|cannot be reached"):
        result(state, sent, mark(1))


def test_half_a_reply_is_no_reply(state: NodeState, node: FakeNode) -> None:
    sent = asked(state, node, at=mark(1))
    node.say(b'{"outcome":{"res')
    waiting = state.attempt(sent, "default", mark(1))
    node.say(b'ult":1}}\n')

    assert waiting is None
    assert result(state, sent, mark(1)) == {"result": 1}


def test_a_reply_to_nothing_ends_the_keeper(state: NodeState, node: FakeNode) -> None:
    sent = asked(state, node, at=mark(1))
    node.say({"outcome": {"result": 1}}, {"outcome": {"result": 2}})

    with pytest.raises(StorageBroken, match="replies to nothing"):
        result(state, sent, mark(1))


def test_a_silent_node_ends_the_keeper_after_the_limit(
    state: NodeState, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_state, "EFFECT_S", 0.1)
    sent = asked(state, node, at=mark(1))

    with pytest.raises(StorageBroken, match=r"has not replied for 0\.1 s"):
        result(state, sent, mark(1))


def test_replies_go_to_their_calls_however_many_are_under_way(state: NodeState, node: FakeNode) -> None:
    calls = {"a": asked(state, node, at=mark(1, "a")), "b": pending(INCR), "c": pending(GET)}
    waiting = [state.attempt(calls[stream], "default", mark(1, stream)) for stream in "bc"]

    def serve() -> None:
        for n in range(3):
            node.say({"outcome": {"result": n}})
            if n < 2:  # a call goes out when the one before has its reply
                sent.append(node.next()["stream"])

    sent: list[str] = []
    serving = threading.Thread(target=serve)
    serving.start()
    outcomes = [result(state, calls[stream], mark(1, stream)) for stream in "cab"]
    serving.join(WAIT_S)

    assert waiting == [None, None]
    assert sent == ["b", "c"]
    assert outcomes == [{"result": 2}, {"result": 0}, {"result": 1}]


def test_a_reply_makes_its_call_due_at_once(state: NodeState, node: FakeNode) -> None:
    first, second = asked(state, node, at=mark(1, "a")), pending(INCR)
    first.retry_at = math.inf
    node.say({"outcome": {"result": 1}})
    waiting = state.attempt(second, "default", mark(1, "b"))
    if first.retry_at == math.inf:  # the second waits for no reply but its own, and the first one's came late
        waiting = state.attempt(second, "default", mark(1, "b"))

    assert waiting is None
    assert first.retry_at < math.inf


def test_a_reply_whose_engine_has_died_goes_to_nobody_else(state: NodeState, node: FakeNode) -> None:
    asked(state, node, at=mark(1))
    again = pending(INCR)
    waiting = state.attempt(again, "default", mark(1))
    node.say({"outcome": {"result": "first"}})
    sent = state.attempt(again, "default", mark(1))
    node.next()
    node.say({"outcome": {"result": "again"}})

    assert (waiting, sent) == (None, None)
    assert result(state, again, mark(1)) == {"result": "again"}


def test_a_closed_connection_sends_its_calls_again(state: NodeState, node: FakeNode) -> None:
    sent = asked(state, node, at=mark(1))
    state.close()
    first = state.attempt(sent, "default", mark(1))
    node.accept()
    message = node.next()
    node.say({"outcome": {"result": 1}})

    assert first is None
    assert message["n"] == 1
    assert result(state, sent, mark(1)) == {"result": 1}


def test_long_messages_pass_both_ways(state: NodeState, node: FakeNode) -> None:
    text = "x" * (4 << 20)
    sent = pending(Call("state.set", ("k", text)))
    outcomes: list[Any] = []

    def serve() -> None:
        node.accept()
        node.say({"outcome": {"result": node.next()["args"][1]}})

    serving = threading.Thread(target=serve)
    serving.start()
    outcomes.append(result(state, sent, mark(1)))
    serving.join(WAIT_S)

    assert outcomes == [{"result": text}]


def test_a_line_over_the_limit_ends_the_keeper(node: FakeNode) -> None:
    state = NodeState(str(node.path), 1000, lambda: dict(SESSION))
    sent = asked(state, node, at=mark(1))
    node.say({"outcome": {"result": "x" * 2000}})

    with pytest.raises(StorageBroken, match="broke the protocol"):
        result(state, sent, mark(1))
    state.close()


def test_forgetting_asks_nothing(state: NodeState) -> None:
    is_unfinished: Callable[[str], bool] = lambda sid: True  # noqa: E731
    state.forget("p-1", is_unfinished)

    assert not state.is_open
