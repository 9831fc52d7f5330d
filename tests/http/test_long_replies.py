"""A long reply over HTTP does not hold the event loop, which serves all callers. Measured as in
tests/server/test_long_messages.py, in a whole server of this process behind a real socket."""

import asyncio
import http.client
import json
import socket
import sys
from collections.abc import Callable
from typing import Any

import anyio
import anyio.to_thread
import pytest
from uvicorn.server import ServerState

from algocline_mcp.config.http import HttpLimits, HttpSettings
from algocline_mcp.http.connections import BoundedProtocol, Connections, uvicorn_config
from algocline_mcp.http.service import Service
from algocline_mcp.pool.replies import PoolReply
from tests.rig.hosts import Tools
from tests.rig.http_server import JSON
from tests.rig.tool_replies import SID
from tests.server.test_long_messages import LIMIT_S, held_s
from tests.server.tool_call.test_long_results import HEAD, LONG, MAX_HELD_S

__all__ = ["held_s"]
pytestmark = pytest.mark.slow

LIMITS = HttpLimits(read_s=LIMIT_S, write_s=LIMIT_S, idle_s=LIMIT_S)
VERSIONS = ["2026-07-28", "2025-06-18"]
Ask = Callable[..., Any]
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "mcp", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def _ask(port: int, version: str, method: str, **params: Any) -> Any:
    """The result of one request, as JSON or as an event."""
    is_modern = version == "2026-07-28"
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params | ({"_meta": META} if is_modern else {})}
    names = {"mcp-name": str(params.get("name") or params.get("uri")), "mcp-method": method} if is_modern else {}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
    try:
        connection.request("POST", "/mcp", json.dumps(message), {**JSON, "mcp-protocol-version": version, **names})
        reply = connection.getresponse()
        text = reply.read().decode()
    finally:
        connection.close()
    assert reply.status == 200, text[:1000]
    if "event-stream" in str(reply.getheader("content-type")):
        text = next(line[5:] for line in text.splitlines() if line.startswith("data:") and '"result"' in line)
    return json.loads(text)["result"]


def _serve(held_s: list[float], version: str, play: Callable[[Ask], Any]) -> Any:
    """What `play` returns, on a thread. `held_s` begins when the server is open."""

    async def serve() -> Any:
        service, connections = Service(HttpSettings(), LIMITS), Connections(LIMITS)
        config, state = uvicorn_config(service.app, LIMITS), ServerState()
        with anyio.fail_after(LIMIT_S):
            async with service.running():
                acceptor = await asyncio.get_running_loop().create_server(
                    lambda: BoundedProtocol(config, state, connections), "127.0.0.1", 0, family=socket.AF_INET
                )
                port = acceptor.sockets[0].getsockname()[1]

                def ask(method: str, **params: Any) -> Any:
                    return _ask(port, version, method, **params)

                def converse() -> Any:
                    ask("tools/call", name="alc_status", arguments={})
                    held_s.clear()
                    return play(ask)

                said = await anyio.to_thread.run_sync(converse, abandon_on_cancel=True)
                acceptor.close()
                connections.abort()
                await connections.shut_down(LIMIT_S)
                return said

    return anyio.run(serve)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["one text", "objects", "nested"])
def test_a_long_result_and_a_long_resource_come_whole_and_hold_no_other_call(
    tools: Tools, monkeypatch: pytest.MonkeyPatch, held_s: list[float], version: str, kind: str
) -> None:
    value = LONG[kind]

    async def run_via_pool(*_: Any, **options: Any) -> PoolReply:
        return PoolReply(SID, {**HEAD, "result": value}, None)

    async def view_via_pool(*_: Any, **options: Any) -> dict[str, Any]:
        return {**HEAD, "view": "result", "result": value}

    dispatch = sys.modules["algocline_mcp.pool.dispatch"]
    monkeypatch.setattr(dispatch, "run_via_pool", run_via_pool)
    monkeypatch.setattr(dispatch, "view_via_pool", view_via_pool)
    monkeypatch.setenv("ALC_OUTPUT_BYTES", str(1 << 26))

    def play(ask: Ask) -> tuple[Any, Any]:
        called = ask("tools/call", name="alc_run", arguments={"code": "x"})
        return called, ask("resources/read", uri=f"alc://sessions/{SID}/result")

    called, read = _serve(held_s, version, play)

    assert max(held_s) < MAX_HELD_S
    assert called["structuredContent"] == {**HEAD, "result": value}
    assert json.loads(called["content"][0]["text"]) == called["structuredContent"]
    assert json.loads(read["contents"][0]["text"])["result"] == value
