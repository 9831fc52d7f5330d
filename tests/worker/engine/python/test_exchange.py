"""Exchange with the keeper: what one call of a strategy becomes in messages."""

import json
from typing import Any

import pytest

from algocline_mcp.session.waits import WAKE_S
from algocline_mcp.worker.engine.python.exceptions import Error
from algocline_mcp.worker.engine.python.exchange import Exchange


class Clock:
    """A keeper whose time passes by the timers of waits alone."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.timers: list[float] = []
        self.messages: list[dict[str, Any]] = []
        self.is_refusing = False

    def ask(self, line: bytes) -> bytes:
        message: dict[str, Any] = json.loads(line)
        self.messages.append(message)
        if message["op"] == "ask":
            return b'{"answers":[{"response":"a"}]}'
        if self.is_refusing:
            return b'{"error":"budget_exceeded"}'
        if message["op"] == "call":
            return json.dumps({"result": self.now_s}).encode()
        self.timers.append(message["wake_s"])
        self.now_s += message["wake_s"]
        return b'{"answered":[],"woke":true}'

    def send(self, line: bytes) -> None:
        raise AssertionError(line)


def test_a_sleep_longer_than_the_longest_timer_takes_several() -> None:
    clock = Clock()

    Exchange(clock, 1 << 20).sleep(2 * WAKE_S + 5)

    assert clock.timers == [WAKE_S, WAKE_S, 5]


def test_what_nobody_waits_for_is_withdrawn_before_any_pause_and_only_once() -> None:
    clock = Clock()
    exchange = Exchange(clock, 1 << 20)
    numbers = [3]
    exchange.abandoned = lambda: [numbers.pop(0) for _ in numbers[:]]

    exchange.ask([{"prompt": "p"}])
    exchange.ask([{"prompt": "p"}])
    numbers += [4, 5]
    exchange.ask_any([], 9)
    exchange.ask_any([], 9)

    assert [(message["op"], message.get("withdrawn")) for message in clock.messages] == [
        *(("wait", [3]), ("ask", None), ("ask", None), ("wait", [4, 5]), ("wait", None)),
    ]


def test_a_withdrawal_that_was_refused_with_its_message_is_sent_again() -> None:
    clock = Clock()
    exchange = Exchange(clock, 1 << 20)
    numbers = [[3]]
    exchange.abandoned = lambda: numbers.pop() if numbers else []
    clock.is_refusing = True

    with pytest.raises(Error):
        exchange.ask_any([{"prompt": "p"}], None)
    clock.is_refusing = False
    exchange.ask_any([], 9)

    assert [message["withdrawn"] for message in clock.messages] == [[3], [3]]
