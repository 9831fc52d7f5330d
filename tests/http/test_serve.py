"""`alc serve` as a process, with the official client over real HTTP."""

import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client

from tests.rig.hosts import server_environment
from tests.rig.http_server import JSON, LIMIT_S, HttpServer
from tests.rig.processes import until
from tests.rig.stdio_home import StdioHome, call_tool, wait_for_workers_to_leave

pytestmark = pytest.mark.anyio

ASK_TWICE = 'local a = alc.llm("first") return a .. "+" .. alc.llm("second after " .. a)'
ENDLESS = "while true do end"


@pytest.fixture(scope="module")
def home() -> Iterator[StdioHome]:
    with tempfile.TemporaryDirectory(prefix="alc-") as directory:
        home = StdioHome(Path(directory))
        yield home
        wait_for_workers_to_leave(home)


@pytest.fixture(scope="module")
def server(home: StdioHome) -> Iterator[HttpServer]:
    with HttpServer(home.environment) as server:
        yield server
        code, stderr = server.stop()
        assert (code, stderr.count("\n")) == (0, 1), stderr  # no traceback, no warning: the one note of its start


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_strategy_runs_and_goes_on_in_both_eras_of_the_protocol(server: HttpServer, mode: str) -> None:
    async with server.client(mode) as client:
        first = await call_tool(client, "alc_run", code=ASK_TWICE)
    async with server.client(mode) as other:
        second = await call_tool(other, "alc_continue", session_id=first["session_id"], response="A")
        ended = await call_tool(other, "alc_continue", session_id=first["session_id"], query_id="q-1", response="B")

    assert (first["prompt"], second["prompt"]) == ("first", "second after A")
    assert (ended["status"], ended["result"]) == ("completed", "A+B")


async def test_two_clients_ask_at_once_and_each_gets_its_own_reply(server: HttpServer) -> None:
    replies: dict[str, dict[str, Any]] = {}

    async def ask(client: Client, name: str) -> None:
        first = await call_tool(client, "alc_run", code=f'return "{name}" .. alc.llm("for {name}")')
        assert first["prompt"] == f"for {name}"
        replies[name] = await call_tool(client, "alc_continue", session_id=first["session_id"], response="!")

    async with server.client() as one, server.client("legacy") as two, anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(ask, one, f"one{number}")
            tasks.start_soon(ask, two, f"two{number}")

    assert {name: reply["result"] for name, reply in replies.items()} == {name: f"{name}!" for name in replies}
    assert len(replies) == 8


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_progress_of_a_strategy_comes_over_http(server: HttpServer, mode: str) -> None:
    is_told = anyio.Event()
    replies: list[Any] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        if message is not None and "reading" in message:
            is_told.set()

    async with server.client(mode) as client, server.client() as other, anyio.create_task_group() as tasks:

        async def run() -> None:
            arguments = {"code": "alc.progress(1, 3, 'reading') " + ENDLESS, "title": f"reads in {mode}"}
            replies.append(await client.call_tool("alc_run", arguments, progress_callback=note))

        tasks.start_soon(run)
        await is_told.wait()
        listed = await call_tool(other, "alc_status")
        (sid,) = [item["session_id"] for item in listed["sessions"] if item.get("title") == f"reads in {mode}"]
        await call_tool(other, "alc_stop", session_id=sid, mode="cancel")

    assert replies[0].structured_content["status"] == "cancelled"


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
async def test_call_that_its_client_abandons_ends_and_its_session_goes_on(server: HttpServer, mode: str) -> None:
    title = f"abandoned in {mode}"
    async with server.client() as watcher:

        async def sid() -> str | None:
            listed = await call_tool(watcher, "alc_status")
            return next((item["session_id"] for item in listed["sessions"] if item.get("title") == title), None)

        async with server.client(mode) as client:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:
                    arguments = {"code": ENDLESS, "title": title, "wait_s": 40}
                    tasks.start_soon(client.call_tool, "alc_run", arguments)
                    while (started := await sid()) is None:  # noqa: ASYNC110
                        await anyio.sleep(0.05)
                    scope.cancel()
            status = await call_tool(watcher, "alc_status", session_id=started)
            stopped = await call_tool(watcher, "alc_stop", session_id=started, mode="cancel")

    assert status["status"] == "running"
    assert stopped["status"] == "cancelled"


def test_what_is_not_a_call_is_refused_with_one_sentence(server: HttpServer) -> None:
    table = [  # path, body, headers -> status, a word of the reply
        ("/mcp", None, {}, 405, "POST alone"),
        ("/mcp", None, {"Host": "evil.example:80"}, 421, "ALC_HTTP_HOSTS"),
        ("/mcp", b"{}", {**JSON, "origin": "https://evil.example"}, 403, "ALC_HTTP_ORIGINS"),
        ("/mcp", b"{", JSON, 400, "the body is not JSON"),
        ("/mcp", b"[]", JSON, 400, "batches are not read"),
        ("/mcp/", b"{", JSON, 400, "the body is not JSON"),
        ("/mcp//", b"{", JSON, 404, ""),
        ("/elsewhere", None, {}, 404, ""),
        ("/healthz/", None, {}, 404, ""),
        ("/healthz", None, {"Host": "10.0.0.7:8080"}, 200, "ok"),
        ("/readyz", None, {}, 200, "ready"),
    ]
    for path, body, headers, status, word in table:
        named = {name.replace("-", "_"): value for name, value in headers.items()}

        got, _, text = server.ask(path, body, **named)

        assert (got, word in text) == (status, True), (path, headers, text)


def test_body_over_the_limit_is_refused_before_it_is_read(server: HttpServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT_S) as client:
        client.sendall(b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n")

        reply = client.makefile("rb").read()  # to its end: the server closes the connection

    assert reply.startswith(b"HTTP/1.1 413 ")
    assert b"ALC_HTTP_BODY_BYTES" in reply


async def test_acknowledged_answer_outlives_kill_9_of_the_server(stdio_home: StdioHome) -> None:
    with HttpServer(stdio_home.environment) as server:
        async with server.client() as client:
            first = await call_tool(client, "alc_run", code=ASK_TWICE)
            second = await call_tool(client, "alc_continue", session_id=first["session_id"], response="A")
            server.process.kill()
            server.process.wait(LIMIT_S)
    with HttpServer(stdio_home.environment) as server:
        async with server.client() as client:
            status = await call_tool(client, "alc_status", session_id=first["session_id"])
            ended = await call_tool(
                client, "alc_continue", session_id=first["session_id"], query_id="q-1", response="B"
            )
        server.stop()

    assert second["prompt"] == status["prompt"] == "second after A"
    assert ended["result"] == "A+B"


async def test_sigterm_ends_with_a_reply_for_each_call_and_workers_at_rest(stdio_home: StdioHome) -> None:
    environment = {**stdio_home.environment, "ALC_HTTP_DRAIN_S": "0.2", "ALC_POOL_IDLE_TIMEOUT": "600"}
    replies, is_under_way = [], anyio.Event()
    with HttpServer(environment) as server:
        async with server.client() as client, server.client() as other:
            paused = await call_tool(client, "alc_run", code=ASK_TWICE)
            computing = await call_tool(client, "alc_run", code=ENDLESS, wait_s=0)

            async def note(progress: float, total: float | None, message: str | None) -> None:
                is_under_way.set()

            async def wait() -> None:
                arguments = {"session_id": computing["session_id"], "wait_s": 40}
                replies.append(await other.call_tool("alc_status", arguments, progress_callback=note))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait)
                await is_under_way.wait()
                code, stderr = await anyio.to_thread.run_sync(server.stop)
    sockets = stdio_home.sockets()
    stdio_home.alc("stop", computing["session_id"], "--cancel")

    assert (code, stderr.count("\n")) == (0, 1), stderr
    assert replies[0].is_error
    assert "[stopping]" in str(replies[0].content)
    assert sockets == [f"{computing['session_id']}.sock"]
    assert paused["status"] == "needs_response"


async def test_readiness_goes_first_and_calls_are_served_meanwhile(stdio_home: StdioHome) -> None:
    with HttpServer({**stdio_home.environment, "ALC_HTTP_UNREADY_S": "600"}) as server:
        server.process.terminate()
        await until(lambda: server.ask("/readyz")[0] == 503, LIMIT_S)
        health = server.ask("/healthz")[0]
        async with server.client() as client:
            listed = await call_tool(client, "alc_status")
        server.process.terminate()  # the second ends it at once
        code = server.process.wait(LIMIT_S)

    assert (health, code) == (200, 0)
    assert listed["sessions"] == []


async def test_slow_and_idle_clients_of_a_real_server_harm_nobody(stdio_home: StdioHome) -> None:
    limits = {"ALC_HTTP_READ_S": "0.5", "ALC_HTTP_CONNECTIONS": "20"}
    with HttpServer({**stdio_home.environment, **limits}) as server, ExitStack() as peers:
        slow = [peers.enter_context(socket.create_connection(("127.0.0.1", server.port), LIMIT_S)) for _ in range(100)]
        for peer in slow[-10:]:
            peer.sendall(b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
        async with server.client() as client:
            listed = await call_tool(client, "alc_status")
        ends = [_end_of(peer) for peer in slow]
        code, stderr = server.stop()

    assert listed["sessions"] == []
    assert set(ends) == {b""}
    assert (code, stderr.count("\n")) == (0, 1), stderr


def _end_of(peer: socket.socket) -> bytes:
    """What comes until the server has closed the connection."""
    with suppress(ConnectionError):
        return peer.recv(1)
    return b""


def test_server_that_cannot_listen_says_so_in_one_sentence(tmp_path: Path, server: HttpServer) -> None:
    environment = server_environment(tmp_path / "home")
    table = [
        (f"127.0.0.1:{server.port}", {}, "another program listens there"),
        ("0.0.0.0:0", {}, "listen on 127.0.0.1:0"),
        ("[::]:0", {}, "would ask nobody for a token"),
        (":0", {"ALC_HTTP_HOSTS": "alc.example.com"}, "would ask nobody for a token"),
        (":0", {"ALC_HTTP_BODY_BYTES": "many"}, "ALC_HTTP_BODY_BYTES='many'"),
        ("8080", {}, "write HOST:PORT"),
    ]
    running = [
        (
            subprocess.Popen(
                [sys.executable, "-m", "algocline_mcp", "serve", "--http", address],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**environment, **settings},
                text=True,
            ),
            sentence,
        )
        for address, settings, sentence in table
    ]
    for process, sentence in running:
        stdout, stderr = process.communicate(timeout=LIMIT_S)

        assert (process.returncode in (1, 2), stdout) == (True, ""), stderr
        assert sentence in stderr
        assert "Traceback" not in stderr


def test_bare_json_reply_is_one_message(server: HttpServer) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}

    status, headers, text = server.ask("/mcp", json.dumps(message).encode(), **JSON)

    assert status == 200
    assert "server" not in headers
    assert "alc_run" in text
