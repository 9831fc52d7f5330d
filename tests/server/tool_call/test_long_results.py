"""A long result is cut and written beside the event loop, which serves every session of a host. Measured in processor
time of the loop's own thread, which other processes do not change."""

import json
import socket
import threading
import time
from typing import Any

import anyio
import pytest

from algocline_mcp.history.chunking import is_long, minified
from algocline_mcp.server.tool_call import pool_call
from algocline_mcp.server.tool_call.pool_call import host_result
from algocline_mcp.transport.channel import Channel

MAX_HELD_S = 0.05
HEAD = {"status": "completed", "session_id": "p-1"}
# Each about 7 MB of JSON, which took 90 to 380 ms.
LONG: dict[str, Any] = {
    "one text": "a\u00e9 \n" * 1_400_000,
    "texts": ["x" * 700] * 10_000,
    "numbers": list(range(900_000)),
    "objects": [{"k": number} for number in range(400_000)],
    "one object": {f"key {number}": number for number in range(350_000)},
    "nested": {"a": [{"b": [list(range(1000))] * 900}, "x" * 3_000_000]},
}


@pytest.mark.slow
@pytest.mark.parametrize("max_bytes", [100_000, 64 * 1024 * 1024], ids=["cut", "whole"])
@pytest.mark.parametrize("value", LONG.values(), ids=LONG)
def test_a_long_result_does_not_hold_the_event_loop(
    monkeypatch: pytest.MonkeyPatch, value: Any, max_bytes: int
) -> None:
    monkeypatch.setattr(pool_call, "max_result_bytes", lambda context: max_bytes)

    async def held_s() -> float:
        began_s = time.thread_time()
        reply = await host_result(None, {**HEAD, "result": value})  # type: ignore[arg-type]  # no host
        held = time.thread_time() - began_s
        assert reply.structured_content is not None
        assert reply.structured_content.get("truncated", False) is (max_bytes == 100_000)
        return held

    assert anyio.run(held_s) < MAX_HELD_S


def test_a_long_reply_is_encoded_beside_the_event_loop() -> None:
    ours, theirs = socket.socketpair()
    line = json.dumps({"a": "é\u2028" * 3_000_000}, ensure_ascii=False) + "\n"
    received = bytearray()

    def read() -> None:
        while not received.endswith(b"\n"):
            received.extend(theirs.recv(1 << 20))

    reader = threading.Thread(target=read)
    reader.start()

    async def used_s() -> float:
        channel = Channel(ours)
        began_s = time.thread_time()
        await channel.write(line)
        return time.thread_time() - began_s

    with ours, theirs:
        held_s = anyio.run(used_s)
        reader.join()

    assert json.loads(received) == json.loads(line)
    assert held_s < MAX_HELD_S


@pytest.mark.parametrize(
    "value",
    [*LONG.values(), {"a": [1, (2, 3)], "b": None}, [], {}, ["é"] * 300_000, 'a\U0001f600"\ud800' * 600_000],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_written_the_same_in_parts(value: Any) -> None:
    assert minified(value) == json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@pytest.mark.parametrize("value", LONG.values(), ids=LONG)
def test_a_long_value_is_known_without_reading_all_of_it(value: Any) -> None:
    began_s = time.thread_time()
    assert is_long(value)
    assert time.thread_time() - began_s < MAX_HELD_S


@pytest.mark.parametrize("value", ["x" * 1000, list(range(1000)), {"a": {"b": ["c"] * 1000}}, 1, None, ()])
def test_a_short_value_is_written_on_the_event_loop(value: Any) -> None:
    assert not is_long(value)
