"""No message holds the event loop of the server, which serves all sessions of a host. Measured in processor time of the
loop's own thread, callback by callback, in a whole server over a socket."""

import asyncio.events
import importlib
import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from algocline_mcp.pool.client import PoolClient
from algocline_mcp.pool.replies import PoolReply
from algocline_mcp.protocol.messages import PROTOCOL, PoolRequest, PoolResponse, WorkerIdentity
from algocline_mcp.server import app
from algocline_mcp.server.compat import logs
from algocline_mcp.transport.channel import Channel
from tests.rig.hosts import Tools
from tests.rig.tool_replies import SID
from tests.server.tool_call.test_long_results import HEAD, LONG, MAX_HELD_S

importlib.import_module("algocline_mcp.server.compat.sessions")  # before the fake pool is in place

LIMIT_S = 120.0
Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def held_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The processor time of each callback of the event loop."""
    times: list[float] = []
    run = asyncio.events.Handle._run

    def timed(handle: asyncio.events.Handle) -> None:
        began_s = time.thread_time()
        run(handle)
        times.append(time.thread_time() - began_s)

    monkeypatch.setattr(asyncio.events.Handle, "_run", timed)
    return times


def _serve(held_s: list[float], play: Callable[[Ask], Any], client: str) -> Any:
    """What `play` returns, on a thread, with a function that asks a server in this process. `held_s` begins when the
    server is open."""
    ours, theirs = socket.socketpair()
    lines = theirs.makefile("rb")

    def ask(method: str, **params: Any) -> dict[str, Any]:
        theirs.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n")
        while True:
            message = json.loads(lines.readline())
            if message.get("id") == 1:
                return dict(message["result"])

    def converse() -> Any:
        lines.readline()  # the line with which the server announces that it reads
        info = {"name": client, "version": "1"}
        ask("initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo=info)
        theirs.sendall(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
        ask("tools/call", name="alc_status", arguments={})
        held_s.clear()
        return play(ask)

    async def serve() -> Any:
        with anyio.fail_after(LIMIT_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(app._serve, app.build(), Channel(ours))
                said = await anyio.to_thread.run_sync(converse, abandon_on_cancel=True)
                tasks.cancel_scope.cancel()
                return said

    with ours, theirs, lines:
        return anyio.run(serve)


def _called(ask: Ask, tool: str, **arguments: Any) -> tuple[Any, str]:
    result = ask("tools/call", name=tool, arguments=arguments)
    return result["structuredContent"], result["content"][0]["text"]


@pytest.mark.slow
@pytest.mark.parametrize("value", LONG.values(), ids=LONG)
def test_a_long_result_is_written_whole_and_holds_no_other_call(
    tools: Tools, monkeypatch: pytest.MonkeyPatch, held_s: list[float], value: Any
) -> None:
    async def run_via_pool(*_: Any, **options: Any) -> PoolReply:
        return PoolReply(SID, {**HEAD, "result": value}, None)

    monkeypatch.setattr(sys.modules["algocline_mcp.pool.dispatch"], "run_via_pool", run_via_pool)

    structured, text = _serve(held_s, lambda ask: _called(ask, "alc_run", code="x"), "mcp")

    assert max(held_s) < MAX_HELD_S
    assert structured == {**HEAD, "result": value}
    assert json.loads(text) == structured


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["objects", "one text"])
def test_a_long_view_resource_or_result_of_an_upstream_tool_holds_no_other_call(
    tools: Tools, monkeypatch: pytest.MonkeyPatch, held_s: list[float], kind: str
) -> None:
    value = LONG[kind]

    async def view_via_pool(*_: Any, **options: Any) -> dict[str, Any]:
        return {**HEAD, "view": "result", "result": value}

    monkeypatch.setenv("ALC_TOOLS", "full")
    monkeypatch.setattr(sys.modules["algocline_mcp.pool.dispatch"], "view_via_pool", view_via_pool)
    monkeypatch.setattr(logs, "statistics", lambda *_, **options: {"sessions": value})

    def play(ask: Ask) -> list[Any]:
        resource = ask("resources/read", uri=f"alc://sessions/{SID}/result")["contents"][0]["text"]
        view, _ = _called(ask, "alc_status", session_id=SID, view="result")
        statistics, _ = _called(ask, "alc_stats")
        return [json.loads(resource)["result"], view["result"], statistics["sessions"]]

    values = _serve(held_s, play, "mcp")

    assert max(held_s) < MAX_HELD_S
    assert all(each == value for each in values)


@pytest.mark.slow
def test_one_line_stays_the_text_of_a_long_result_for_a_host_that_shows_both(
    tools: Tools, monkeypatch: pytest.MonkeyPatch, held_s: list[float]
) -> None:
    monkeypatch.setenv("ALC_OUTPUT_BYTES", str(1 << 26))

    async def run_via_pool(*_: Any, **options: Any) -> PoolReply:
        return PoolReply(SID, {**HEAD, "result": LONG["texts"]}, None)

    monkeypatch.setattr(sys.modules["algocline_mcp.pool.dispatch"], "run_via_pool", run_via_pool)

    structured, text = _serve(held_s, lambda ask: _called(ask, "alc_run", code="x"), "codex-mcp-client")

    assert text == f"completed {HEAD['session_id']}: see structuredContent"
    assert structured["result"] == LONG["texts"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["objects", "numbers", "one text"])
def test_a_long_reply_of_a_worker_is_decoded_beside_the_event_loop(
    held_s: list[float], tmp_path: Path, kind: str
) -> None:
    worker = WorkerIdentity(PROTOCOL, "1", SID, 1, 1)
    data = {"kind": "feed", "session_id": SID, "feed_result": {"Finished": LONG[kind]}}
    line = PoolResponse(1, worker, data=data).encode()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()

    def reply() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(line)

    async def ask() -> PoolResponse:
        with PoolClient.connect(tmp_path / "s", line_bytes=1 << 25) as client:
            return await client.ask(PoolRequest("status", 1, SID), timeout_s=LIMIT_S)

    replying = threading.Thread(target=reply)
    replying.start()
    with listener:
        response = anyio.run(ask)
        replying.join()

    assert max(held_s) < MAX_HELD_S
    assert response.data == data
