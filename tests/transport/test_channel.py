"""The server's stdin and stdout over a real socket: whole lines, in order, and without blocking the event loop."""

import json
import socket
from collections.abc import Iterator

import anyio
import anyio.to_thread
import pytest

from algocline_mcp.transport.channel import LINES_MAX, Channel
from tests.rig.hosts import LIMIT_S, RawServer


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # full before the writer has had its turn
    theirs.settimeout(LIMIT_S)
    yield Channel(ours), theirs
    ours.close()
    theirs.close()


def test_lines_arrive_whole_and_in_order_whatever_the_pieces(ends: tuple[Channel, socket.socket]) -> None:
    channel, front = ends
    sent = [f"{number} é" + "x" * (number % 7) for number in range(3 * LINES_MAX)]
    content = "".join(f"{line}\n" for line in sent).encode()

    async def play() -> list[str]:
        received = []
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.to_thread.run_sync, _send_in_pieces, front, content)
            async for line in channel:
                received.append(line)
                if len(received) == len(sent):
                    break
        return received

    assert anyio.run(play) == sent


def _send_in_pieces(front: socket.socket, content: bytes) -> None:
    for start in range(0, len(content), 1001):
        front.sendall(content[start : start + 1001])


def test_a_slow_reader_makes_the_writers_wait_and_not_the_event_loop(ends: tuple[Channel, socket.socket]) -> None:
    channel, front = ends
    texts = ["\ud800" + "é" * 1_000_000 + "\n", "y" * 1_000_000 + "\n"]

    async def play() -> bytes:
        received = b""
        async with anyio.create_task_group() as group:
            for text in texts:
                group.start_soon(channel.write, text)
            await anyio.wait_all_tasks_blocked()  # the event loop goes on while nobody reads
            while received.count(b"\n") < 2:
                received += await anyio.to_thread.run_sync(front.recv, 1 << 20)
        front.close()
        await channel.write("after the end\n")
        return received

    assert anyio.run(play).decode() == "".join(texts).replace("\ud800", "\ufffd")


def test_half_a_surrogate_pair_in_a_result_reaches_the_host_replaced(shared: RawServer) -> None:
    shared.call(20, "alc_run", {"code": '{"do": "spoil"}'})

    result = shared.line()["result"]
    assert result["structuredContent"]["result"] == {"half": "\ufffdx", "nan": None}
    assert json.loads(result["content"][0]["text"]) == result["structuredContent"]


@pytest.mark.slow
def test_stray_output_goes_to_stderr_and_stdin_is_empty(raw: RawServer) -> None:
    raw.initialize()
    raw.call(21, "alc_run", {"code": '{"do": "print"}'})

    assert raw.line()["result"]["structuredContent"]["result"] == {"stdin": ""}
    _, err = raw.process.communicate(timeout=LIMIT_S)
    assert {"stray words", "more of them", "and of a child"} <= set(err.decode().splitlines())


@pytest.mark.slow
def test_a_stderr_that_nobody_reads_stops_no_call(raw: RawServer) -> None:
    """Each internal error writes a traceback of several kB; the pipe holds 64."""
    raw.initialize()
    for number in range(1, 61):
        raw.call(number, "alc_run", {"code": '{"do": "break"}'})
        assert raw.line()["id"] == number

    _, err = raw.process.communicate(timeout=LIMIT_S)
    assert err.count(b"Traceback") > 5
