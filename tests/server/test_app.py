"""The server as a whole: its instructions, internal errors, its start and its end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any

import anyio
import pytest

from algocline_mcp import __version__
from algocline_mcp.server.app import instructions_of
from tests.rig.hosts import Tools
from tests.rig.processes import processes_of
from tests.rig.stdio_home import LIMIT_S, StdioHome, wait_for_workers_to_leave
from tests.rig.tool_replies import refusal_of

QUICK_S = 20.0  # takes 50 ms on an idle machine; a server that waits for its call would take 45 s


def test_the_instructions_fit_and_teach_in_order(tools: Tools) -> None:
    async def play() -> Any:
        async with tools.client() as client:
            return client.instructions, client.server_info.version

    instructions, version = anyio.run(play)
    assert instructions == instructions_of({})
    assert version == __version__
    assert len(instructions.encode()) <= 2048
    first = instructions.splitlines()[0]
    assert len(first) <= 240, "some hosts show their model no more than this before it looks for tools"
    assert [word in first for word in ("Use algocline for", "alc_status()", "alc_run")] == [True] * 3
    order = [
        "alc_run", "EVERY pending prompt", "query_id", "running:", "completed:", "error:",
        "never answer from a loop or a script", "Exactly in the form", "`system`", "on its own", "grounded",
        "underspecified", "refuse", "OUTLIVE", "If the tools are gone, the session is safe",
    ]  # fmt: skip
    positions = [instructions.index(word) for word in order]
    assert positions == sorted(positions)
    assert instructions.rindex("alc_status()") > positions[-1]


def test_an_internal_error_is_reported_without_its_details(tools: Tools, capfd: pytest.CaptureFixture[str]) -> None:
    text = refusal_of(tools.call("alc_run", code='{"do": "break"}'))

    assert "alc_run failed by an internal error of this server (KeyError" in text
    assert "secret" not in text
    assert "secret" in capfd.readouterr().err


@pytest.mark.slow
def test_a_server_without_requests_removes_leftovers_of_its_home(stdio_home: StdioHome) -> None:
    stale = stdio_home.root / "state" / "pool" / "p-1-0123456789abcdef.sock"
    stale.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(stale))

    async def play() -> None:
        async with stdio_home.client():
            while stale.exists():  # noqa: ASYNC110
                await anyio.sleep(0.01)

    anyio.run(play)


def _processes(stdio_home: StdioHome) -> dict[str, int]:
    """Command line -> pid of the processes of this home."""
    return {process.title: process.pid for process in processes_of(stdio_home.root)}


@pytest.mark.slow
def test_a_leaving_server_ends_at_once_and_live_workers_stay(stdio_home: StdioHome) -> None:
    params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    call = {"name": "alc_run", "arguments": {"code": "return alc.llm('?')"}}
    lines: list[dict[str, Any]] = [
        {"id": 0, "method": "initialize", "params": params},
        {"method": "notifications/initialized"},
        {"id": 1, "method": "tools/call", "params": call},
    ]
    asked = "".join(json.dumps({"jsonrpc": "2.0", **line}) + "\n" for line in lines).encode()
    command, pipe = [sys.executable, "-m", "algocline_mcp"], subprocess.PIPE
    for number in (signal.SIGINT, signal.SIGTERM, None):
        with subprocess.Popen(command, env=stdio_home.environment, stdin=pipe, stdout=pipe) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            server.stdin.write(asked)
            server.stdin.flush()
            _, paused = [json.loads(server.stdout.readline()) for _ in range(2)]
            sid = paused["result"]["structuredContent"]["session_id"]
            began_s = time.monotonic()
            server.stdin.close() if number is None else server.send_signal(number)
            assert server.wait(LIMIT_S) == 0
            assert time.monotonic() - began_s < QUICK_S, number

        deadline_s = time.monotonic() + LIMIT_S
        while set(left := _processes(stdio_home)) != {f"alc engine {sid}", f"alc pool-worker {sid}"}:
            assert time.monotonic() < deadline_s, left  # the fork server learns of it by its closed socket
        os.kill(left[f"alc pool-worker {sid}"], signal.SIGTERM)
        wait_for_workers_to_leave(stdio_home)
