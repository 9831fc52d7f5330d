"""What becomes of each line: one reply for each request, whatever servers end and whenever they do."""

import json
import random
from collections import Counter
from typing import Any

import pytest

from algocline_mcp.front.relay import DELIVERIES_MAX, STARTS_MAX, Relay, State
from algocline_mcp.front.resend import is_repeatable
from algocline_mcp.front.response_cache import ResponseCache
from algocline_mcp.transport.jsonrpc import Message, message_of
from algocline_mcp.transport.lines import OUTDATED, PROMPTS_CHANGED, READY

KILLED = "killed by signal 9"
INITIALIZE = {"method": "initialize", "params": {"protocolVersion": "2025-06-18"}}
INITIALIZED = {"method": "notifications/initialized"}
LIST = {"method": "tools/list"}


def call(tool: str = "alc_status", **arguments: Any) -> dict[str, Any]:
    return {"method": "tools/call", "params": {"name": tool, "arguments": arguments}}


def message(number: int | str | None = None, /, **fields: Any) -> Message:
    line = {"jsonrpc": "2.0", **({} if number is None else {"id": number}), **fields}
    read = message_of(json.dumps(line).encode())
    assert isinstance(read, Message)
    return read


def reply(number: int | str, result: Any = "r") -> bytes:
    return f'{{"jsonrpc":"2.0","id":{json.dumps(number)},"result":{json.dumps(result)}}}\n'.encode()


class Front:
    """A relay with what its shell would do."""

    def __init__(self, answers: dict[str, bytes] | None = None, *, is_ready: bool = True) -> None:
        self.cache = ResponseCache(answers)
        self.relay = Relay(self.cache, "own")
        self._starts_ready = is_ready

    def host(self, number: int | str | None = None, /, **fields: Any) -> None:
        self.relay.from_host(message(number, **fields))
        if self._starts_ready and self.relay.is_server_wanted:
            self.start()

    def start(self) -> None:
        assert self.relay.is_server_wanted
        self.relay.server_has_started()
        self.relay.from_server(READY)

    def sent(self) -> list[dict[str, Any]]:
        """The lines to the server since the last call."""
        lines = [json.loads(line) for line in self.relay.to_server]
        self.relay.to_server.clear()
        return lines

    def shown(self) -> list[dict[str, Any]]:
        """The lines to the host since the last call."""
        lines = [json.loads(line) for line in self.relay.to_host]
        self.relay.to_host.clear()
        return lines


def test_a_request_starts_a_server_and_waits_until_it_reads() -> None:
    front = Front(is_ready=False)
    front.host(1, **call())
    assert front.relay.is_server_wanted

    front.relay.server_has_started()
    assert front.sent() == []
    front.relay.from_server(READY)
    assert [line["id"] for line in front.sent()] == [1]
    front.relay.from_server(reply(1))
    assert front.shown() == [{"jsonrpc": "2.0", "id": 1, "result": "r"}]
    assert not front.relay.is_waiting


def test_a_known_question_is_answered_without_a_server() -> None:
    question = ResponseCache().question(INITIALIZE)
    assert question is not None
    front = Front({question: b',"result":{"a":1}}'})
    front.host("é", **INITIALIZE)

    assert front.shown() == [{"jsonrpc": "2.0", "id": "é", "result": {"a": 1}}]
    assert front.relay.state is State.ABSENT


def test_a_known_question_is_compared_once_with_the_reply_of_each_server() -> None:
    question = ResponseCache().question(INITIALIZE)
    assert question is not None
    front = Front({question: b',"result":"old"}'})
    front.host(1, **INITIALIZE)
    front.host(**INITIALIZED)
    front.host(2, **call())
    asked, initialized, called = front.sent()
    assert (asked["method"], initialized["method"], called["id"]) == ("initialize", INITIALIZED["method"], 2)

    front.shown()
    front.relay.from_server(reply(asked["id"], "new"))
    assert front.shown() == []
    assert front.relay.has_learned
    assert front.cache.answers[question] == b',"result":"new"}'


def test_the_reply_to_a_ping_of_the_front_is_not_shown() -> None:
    front = Front()
    front.host(1, **call())
    front.sent()
    front.relay.ping()
    (ping,) = front.sent()
    front.relay.from_server(reply(ping["id"], {}))

    assert ping["method"] == "ping"
    assert front.shown() == []
    assert front.relay.is_server_owing


def test_an_unknown_question_is_asked_once_for_all_who_wait() -> None:
    front = Front()
    front.host(1, **INITIALIZE)
    front.host(2, **LIST)
    front.host(3, **LIST)
    initialize, listed = front.sent()
    front.relay.from_server(reply(listed["id"], ["tools"]))

    assert [(line["id"], line["result"]) for line in front.shown()] == [(2, ["tools"]), (3, ["tools"])]
    front.host(4, **LIST)
    assert (front.shown()[0]["result"], front.sent()) == (["tools"], [])
    front.relay.from_server(b'{"jsonrpc":"2.0","id":"%s","error":{"code":-1}}\n' % initialize["id"].encode())
    assert front.shown() == [{"jsonrpc": "2.0", "id": 1, "error": {"code": -1}}]


def test_a_new_server_hears_the_handshake_first_and_the_host_sees_nothing() -> None:
    front = Front()
    front.host(1, **INITIALIZE)
    front.host(**INITIALIZED)
    front.host(2, **call())
    front.relay.from_server(reply(front.sent()[0]["id"]))
    front.shown()

    front.relay.server_has_ended(KILLED)
    front.start()
    handshake, initialized, again = front.sent()
    assert (handshake["method"], initialized["method"], again["id"]) == ("initialize", INITIALIZED["method"], 2)
    front.relay.from_server(reply(handshake["id"]))
    front.relay.from_server(reply(2))
    assert [line["id"] for line in front.shown()] == [2]


@pytest.mark.parametrize(
    ("tool", "advice"),
    [
        ("alc_run", "look at alc_status() before you call alc_run again"),
        ("alc_continue", "alc_status(session_id) shows the pending prompts"),
        ("alc_stop", "alc_status() lists the sessions"),
    ],
)
def test_what_may_have_taken_effect_is_refused_and_says_where_to_look(tool: str, advice: str) -> None:
    front = Front()
    front.host(1, **call(tool, session_id="s"))
    front.relay.server_has_ended(KILLED)

    (line,) = front.shown()
    text = line["result"]["content"][0]["text"]
    assert line["result"]["isError"]
    assert KILLED in text
    assert advice in text
    assert text.endswith("[server_ended]")
    assert not front.relay.is_server_wanted


def test_what_no_server_has_read_is_sent_to_the_next_one() -> None:
    front = Front(is_ready=False)
    front.host(1, **call("alc_run"))
    front.relay.server_has_started()
    front.relay.server_has_ended(KILLED)

    front.start()
    assert [line["id"] for line in front.sent()] == [1]


def test_a_request_that_ends_every_server_is_refused() -> None:
    front = Front()
    front.host(1, **call())
    for _ in range(DELIVERIES_MAX - 1):
        front.relay.server_has_ended(KILLED)
        front.start()
    front.relay.server_has_ended(KILLED)

    assert f"{DELIVERIES_MAX} servers ended" in front.shown()[0]["result"]["content"][0]["text"]
    assert not front.relay.is_server_wanted


def test_servers_that_cannot_start_are_given_up_and_tried_again_by_the_next_request() -> None:
    front = Front(is_ready=False)
    front.host(1, **call("alc_run"))
    for _ in range(STARTS_MAX):
        front.relay.server_has_started()
        front.relay.server_has_ended("exit code 1")

    assert "cannot start (exit code 1)" in front.shown()[0]["error"]["message"]
    assert not front.relay.is_server_wanted
    front.host(2, **call())
    front.start()
    assert [line["id"] for line in front.sent()] == [2]


def test_an_outdated_server_owes_its_other_replies_and_the_next_one_carries_the_call_out() -> None:
    front = Front()
    front.host(1, **call("alc_run"))
    front.host(2, **call("alc_stop"))
    front.sent()
    front.relay.from_server(OUTDATED + b'{"id":1}}\n')
    front.host(3, **call("alc_run"))
    was_done = front.relay.is_server_done
    assert front.sent() == []

    front.relay.from_server(reply(1, "cancelled at the end"))
    front.relay.from_server(reply(2))
    assert (was_done, front.relay.is_server_done) == (False, True)
    front.relay.server_has_ended("exit code 0")
    front.start()
    assert [line["id"] for line in front.sent()] == [1, 3]
    assert [line["id"] for line in front.shown()] == [2]


def test_an_idle_server_ends_and_the_next_request_starts_another_one() -> None:
    front = Front()
    front.host(1, **call())
    front.relay.from_server(reply(1))
    front.relay.retire()
    is_done = front.relay.is_server_done

    assert is_done
    front.host(2, **call("alc_run"))
    front.relay.server_has_ended("exit code 0")
    front.shown()
    front.sent()
    front.start()
    assert [line["id"] for line in front.sent()] == [2]


def test_a_cancelled_request_is_neither_answered_nor_sent_again() -> None:
    front = Front()
    front.host(1, **call())
    front.sent()
    front.host(method="notifications/cancelled", params={"requestId": 1})
    assert [line["method"] for line in front.sent()] == ["notifications/cancelled"]

    front.relay.from_server(reply(1))
    front.relay.server_has_ended(KILLED)
    assert front.shown() == []
    assert not front.relay.is_server_wanted


def test_an_id_in_use_is_refused() -> None:
    front = Front()
    front.host(1, **call())
    front.host(1, **call())
    front.relay.from_server(reply(1))

    refused, answered = front.shown()
    assert "each its own id" in refused["error"]["message"]
    assert answered["result"] == "r"


def test_requests_and_notifications_of_the_server_pass() -> None:
    front = Front()
    front.host(1, **call())
    front.sent()
    front.relay.from_server(b'{"jsonrpc":"2.0","id":1,"method":"roots/list"}\n')
    front.relay.from_server(b'{"jsonrpc":"2.0","method":"notifications/progress","params":{}}\n')
    front.relay.from_host(message(1, result={}))

    assert [line["method"] for line in front.shown()] == ["roots/list", "notifications/progress"]
    assert front.sent() == [{"jsonrpc": "2.0", "id": 1, "result": {}}]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"response": "a", "query_id": "q-0"}, True),
        ({"responses": [{"query_id": "q-0", "response": "a"}]}, True),
        ({"responses": '[{"query_id":"q-0"}]'}, True),
        ({"response": "a"}, False),
        ({"response": "a", "query_id": " null ", "responses": []}, False),
        ({}, False),
    ],
)
def test_an_answer_is_sent_again_only_if_it_names_its_prompt(arguments: dict[str, Any], expected: bool) -> None:
    assert is_repeatable(call("alc_continue", session_id="s", **arguments)) is expected


@pytest.mark.parametrize("params", [{}, {"name": 5}, {"name": "alc_run"}, {"name": "alc_continue", "arguments": [1]}])
def test_what_is_not_known_to_be_safe_is_not_sent_again(params: dict[str, Any]) -> None:
    assert not is_repeatable({"method": "tools/call", "params": params})


ODD: list[Any] = [None, True, 5, 1.5, "", "x", [], [1], {}, {"a": {"b": []}}]


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_no_field_of_a_message_ends_the_front(odd: Any) -> None:
    front = Front()
    for number, fields in enumerate(
        [
            {"method": "tools/call", "params": {"name": odd, "arguments": odd, "_meta": odd}},
            {"method": "tools/call", "params": {"name": "alc_continue", "arguments": {"query_id": odd}}},
            {"method": "tools/list", "params": {"_meta": odd, "cursor": odd}},
            {"method": "initialize", "params": {"protocolVersion": odd, "capabilities": odd, "_meta": odd}},
        ]
    ):
        front.host(number, **fields)
    front.host(method="notifications/cancelled", params={"requestId": odd})
    front.host(method="notifications/cancelled")
    front.relay.server_has_ended(KILLED)

    assert front.relay.state is State.ABSENT


# ── schedules ─────────────────────────────────────────────────────────────────────────────────────────────

SCHEDULES = 10_000


class Schedule:
    """A random order of requests, replies, ends of servers at any instant, and cancellations."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.front = Front(is_ready=False)
        self.relay = self.front.relay
        self.numbers: list[int] = []
        self.cancelled: set[int] = set()
        self.unsafe: set[int] = set()
        self.replies: Counter[int] = Counter()
        self.executions: Counter[int] = Counter()  # of requests that are not safe to repeat
        self.at_server: list[dict[str, Any]] = []  # read, not replied to

    def play(self) -> None:
        self.relay.from_host(message(0, **INITIALIZE))
        self.numbers.append(0)
        for _ in range(self.random.randrange(5, 40)):
            self.random.choice([self.ask, self.ask, self.step, self.step, self.step, self.end, self.cancel])()
            self.look()
        while self.relay.is_waiting or self.relay.to_server:
            self.step()
            self.look()

    def ask(self) -> None:
        number = len(self.numbers)
        self.numbers.append(number)
        fields = self.random.choice([LIST, call(), call("alc_run"), call("alc_continue", query_id="q", response="a")])
        if fields == call("alc_run"):
            self.unsafe.add(number)
        self.relay.from_host(message(number, **fields))

    def cancel(self) -> None:
        number = self.random.choice(self.numbers)
        if not self.replies[number]:
            self.cancelled.add(number)
        self.relay.from_host(message(method="notifications/cancelled", params={"requestId": number}))

    def step(self) -> None:
        """One thing that a server does."""
        if self.relay.is_server_wanted:
            self.relay.server_has_started()
        elif self.relay.state is State.STARTING:
            self.relay.from_server(READY)
        elif self.relay.is_server_done:
            self.end()
        elif self.relay.to_server:
            self._read(json.loads(self.relay.to_server.popleft()))
        elif self.at_server:
            self._reply(self.at_server.pop(self.random.randrange(len(self.at_server))))

    def _read(self, line: dict[str, Any]) -> None:
        if "id" in line:
            self.at_server.append(line)
            if line["id"] in self.unsafe:
                self.executions[line["id"]] += 1

    def _reply(self, line: dict[str, Any]) -> None:
        if self.random.random() < 0.1 and line["id"] not in self.executions and line["method"] == "tools/call":
            self.relay.from_server(OUTDATED + b'{"id":%d}}\n' % line["id"])
        else:
            self.relay.from_server(reply(line["id"]))

    def end(self) -> None:
        if self.relay.state is not State.ABSENT:
            self.at_server.clear()
            self.relay.server_has_ended(KILLED)

    def look(self) -> None:
        for line in self.front.shown():
            self.replies[line["id"]] += 1


@pytest.mark.parametrize("start", range(0, SCHEDULES, 1000))
def test_each_request_gets_one_reply_and_takes_effect_once_at_most(start: int) -> None:
    for seed in range(start, start + 1000):
        schedule = Schedule(seed)
        schedule.play()

        unanswered = {number for number in schedule.numbers if schedule.replies[number] != 1}
        assert unanswered <= schedule.cancelled, seed
        assert set(schedule.replies.values()) <= {0, 1}, seed
        assert set(schedule.executions.values()) <= {1}, seed


PROMPTS = {"method": "prompts/list"}


def listed(front: Front, prompts: list[str]) -> None:
    """The server replies to the front's own question for the prompts, which is the last line that it got."""
    front.relay.from_server(reply(front.sent()[-1]["id"], prompts))


def front_with_prompts(*handshake: dict[str, Any]) -> Front:
    front = Front()
    for number, fields in enumerate(handshake):
        front.host(number, **fields)
    front.host(7, **PROMPTS)
    listed(front, ["vote"])
    front.shown()
    return front


CHANGED = json.loads(PROMPTS_CHANGED)


def test_prompts_that_a_server_says_have_changed_are_asked_again_and_the_host_gets_to_know() -> None:
    front = front_with_prompts(INITIALIZE)
    front.relay.from_server(PROMPTS_CHANGED)
    assert front.shown() == []
    listed(front, ["vote", "own"])

    assert front.shown() == [CHANGED]
    front.host(8, **PROMPTS)
    assert [line["result"] for line in front.shown()] == [["vote", "own"]]
    front.relay.from_server(PROMPTS_CHANGED)
    listed(front, ["vote", "own"])
    assert front.shown() == [], "they are the same as before"


def test_a_reply_of_before_the_change_is_not_the_answer() -> None:
    front = Front()
    front.host(1, **INITIALIZE)
    front.host(2, **PROMPTS)
    old = front.sent()[-1]["id"]
    front.relay.from_server(PROMPTS_CHANGED)
    front.relay.from_server(reply(old, ["vote"]))
    assert front.shown() == []
    listed(front, ["vote", "own"])

    assert [line["result"] for line in front.shown()] == [["vote", "own"]]


def test_other_prompts_of_the_next_server_are_a_change_too() -> None:
    front = front_with_prompts(INITIALIZE)
    front.relay.server_has_ended(KILLED)
    front.host(8, **call())
    question = next(line["id"] for line in front.sent() if line["method"] == "prompts/list")
    front.relay.from_server(reply(question, ["own"]))

    assert front.shown() == [CHANGED]


def test_a_host_that_has_not_initialized_gets_no_notification_and_the_next_list_is_right() -> None:
    stateless = {"params": {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}}
    front = Front()
    front.host(7, **PROMPTS, **stateless)
    listed(front, ["vote"])
    front.shown()
    front.relay.from_server(PROMPTS_CHANGED)
    listed(front, ["own"])
    assert front.shown() == []
    front.host(8, **PROMPTS, **stateless)

    assert [line["result"] for line in front.shown()] == [["own"]]
