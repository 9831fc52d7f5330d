"""Lines to the host, with real pipes and sockets: whole, in order, and without blocking the event loop."""

import json
import os
import socket

import anyio
import anyio.to_thread
import pytest

from algocline_mcp.transport.output import Output, UnansweredRequests
from algocline_mcp.transport.response_cache import ResponseCache
from tests.rig.hosts import LIMIT_S, RawServer, code_of


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


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_the_writer_repairs_waits_for_a_slow_reader_and_notices_a_closed_one(kind: str) -> None:
    if kind == "pipe":
        theirs, ours = os.pipe()
    else:
        reading, writing = socket.socketpair()
        writing.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # full before the writer has had its turn
        theirs, ours = reading.detach(), writing.detach()
    gone: list[bool] = []
    output = Output(ours, UnansweredRequests(), ResponseCache(None), on_gone=lambda: gone.append(True))
    text = "\ud800" + "é" * 1_000_000 + "\n"

    async def play() -> bytes:
        received = b""
        async with anyio.create_task_group() as group:
            group.start_soon(output.write, text)
            await anyio.wait_all_tasks_blocked()  # the event loop goes on while the reader is slow
            while not received.endswith(b"\n"):
                received += await anyio.to_thread.run_sync(os.read, theirs, 1 << 20)
        assert not gone
        os.close(theirs)
        await output.write("after the end\n")
        return received

    received = anyio.run(play)
    output.close()
    assert received.decode() == text.replace("\ud800", "\ufffd")
    assert gone


@pytest.mark.slow
def test_a_host_that_reads_late_gets_long_replies_whole_and_in_order(shared: RawServer) -> None:
    shared.call(30, "alc_run", {"code": "x" * 400_000})
    shared.call(31, "alc_run", {"code": "y" * 400_000})

    replies = {reply["id"]: reply for reply in (shared.line(), shared.line())}
    assert code_of(replies[30]) == "x" * 400_000
    assert code_of(replies[31]) == "y" * 400_000


@pytest.mark.slow
def test_a_host_that_stopped_reading_ends_the_server_quietly(raw: RawServer) -> None:
    raw.initialize()
    assert raw.process.stdout is not None
    raw.process.stdout.close()
    raw.call(1, "alc_status", {})

    assert raw.process.wait(LIMIT_S) == 0
    assert raw.process.stderr is not None
    assert raw.process.stderr.read() == b""
