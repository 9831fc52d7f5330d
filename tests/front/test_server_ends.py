"""Servers that end behind the front, with real processes: the host keeps its connection and gets every reply."""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.rig.hosts import LIMIT_S, RawServer, code_of, run_line
from tests.rig.stdio_home import StdioHome, call_tool

pytestmark = pytest.mark.slow
PID = rb"{\"do\": \"pid\"}"


def servers(front: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{front}/task/{front}/children").read_text().split()]


def is_front(pid: int) -> bool:
    return "algocline_mcp" in Path(f"/proc/{pid}/cmdline").read_text().split("\0")


def end(front: RawServer) -> None:
    """Kills the server and waits until the front has noticed: another one may be there then."""
    (pid,) = servers(front.process.pid)
    os.kill(pid, signal.SIGKILL)
    wait_until_gone(front, pid)


def wait_until_gone(front: RawServer, pid: int) -> None:
    deadline_s = time.monotonic() + LIMIT_S
    while pid in servers(front.process.pid):
        assert time.monotonic() < deadline_s
        threading.Event().wait(0.005)


def pid_of(reply: dict[str, Any]) -> int:
    pid: int = reply["result"]["structuredContent"]["result"]["pid"]
    return pid


@pytest.fixture
def warm(raw: RawServer, environment: dict[str, str]) -> Iterator[RawServer]:
    """A front whose cache knows the first questions of its host; no server runs."""
    raw.initialize()
    raw.close()
    front = RawServer(environment)
    front.initialize()
    yield front
    front.close()


def test_a_window_that_calls_no_tool_has_no_server(warm: RawServer) -> None:
    assert servers(warm.process.pid) == []

    warm.send(run_line(1, PID))
    assert pid_of(warm.line()) in servers(warm.process.pid)


def test_after_the_death_of_the_server_the_next_call_is_served_by_another_one(warm: RawServer) -> None:
    warm.send(run_line(1, PID))
    first = pid_of(warm.line())
    end(warm)
    warm.send(run_line(2, PID))

    second = pid_of(warm.line())
    assert second != first
    assert servers(warm.process.pid) == [second]


def test_calls_under_way_are_sent_again_or_refused_with_a_way_on(warm: RawServer) -> None:
    warm.call(1, "alc_run", {"code": '{"do": "progress"}'}, progressToken="t")
    assert warm.line()["method"] == "notifications/progress"
    warm.call(2, "alc_status", {"session_id": "p-1-1", "wait_s": 0})
    end(warm)

    replies = {reply["id"]: reply["result"] for reply in (warm.line(), warm.line()) if "id" in reply}
    text = replies[1]["content"][0]["text"]
    assert "killed by signal 9" in text
    assert "alc_status()" in text
    assert "killed" not in replies[2]["content"][0]["text"]


def test_a_server_without_a_request_ends_and_the_next_call_starts_another_one(environment: dict[str, str]) -> None:
    front = RawServer(environment | {"ALC_SERVER_IDLE_S": "0.1"})
    try:
        front.initialize()
        front.send(run_line(1, PID))
        first = pid_of(front.line())
        wait_until_gone(front, first)
        front.send(run_line(2, b"still served"))

        assert code_of(front.line()) == "still served"
    finally:
        front.close()


def test_a_call_that_needs_the_replaced_program_is_carried_out_by_the_next_server(warm: RawServer) -> None:
    warm.send(run_line(1, PID))
    first = pid_of(warm.line())
    warm.send(run_line(0, rb"{\"do\": \"outdated\"}"))

    assert pid_of(warm.line()) != first


def test_a_server_whose_front_is_killed_ends(warm: RawServer) -> None:
    warm.send(run_line(1, PID))
    server = pid_of(warm.line())
    pidfd = os.pidfd_open(server)
    warm.call(2, "alc_run", {"code": '{"do": "hang"}'})
    warm.process.kill()

    try:
        assert select.select([pidfd], [], [], LIMIT_S)[0]
    finally:
        os.close(pidfd)


def test_a_server_that_hangs_is_replaced_and_reads_are_sent_again(environment: dict[str, str]) -> None:
    front = RawServer(environment | {"ALC_SERVER_SILENT_S": "0.5"})
    try:
        front.initialize()
        front.send(run_line(1, PID))
        first = pid_of(front.line())
        os.kill(first, signal.SIGSTOP)
        front.call(2, "alc_run", {"code": '{"do": "pid"}'})
        front.call(3, "alc_status", {"session_id": "p-1-1", "wait_s": 0})
        replies = {reply["id"]: reply["result"]["content"][0]["text"] for reply in (front.line(), front.line())}
        left = servers(front.process.pid)
    finally:
        front.close()

    assert "it hung, and was killed" in replies[2]
    assert "alc_status()" in replies[2]
    assert "hung" not in replies[3]
    assert first not in left


def test_a_call_that_takes_longer_than_the_limit_is_waited_for(environment: dict[str, str]) -> None:
    front = RawServer(environment | {"ALC_SERVER_SILENT_S": "0.5"})
    try:
        front.initialize()
        front.send(run_line(1, PID))
        server = pid_of(front.line())
        front.call(2, "alc_run", {"code": '{"do": "hang"}'})
        threading.Event().wait(3.0)  # six times the limit: nothing happens, so there is no event
        front.send(run_line(3, PID))

        assert pid_of(front.line()) == server
    finally:
        front.close()


def test_a_session_goes_on_through_the_death_of_every_server(stdio_home: StdioHome) -> None:
    code = 'local all = {} for i = 1, 4 do all[i] = alc.llm("ask " .. i) end return table.concat(all, " ")'

    async def play() -> dict[str, Any]:
        async with stdio_home.client() as client:
            result = await call_tool(client, "alc_run", code=code)
            (front,) = [pid for pid in servers(os.getpid()) if is_front(pid)]
            for number in range(4):
                for pid in servers(front):
                    os.kill(pid, signal.SIGKILL)
                result = await call_tool(
                    client,
                    "alc_continue",
                    session_id=result["session_id"],
                    query_id=result["query_id"],
                    response=f"a{number}",
                )
            return result

    assert anyio.run(play)["result"] == "a0 a1 a2 a3"


def test_a_broken_installation_is_tried_again_by_each_call(environment: dict[str, str], tmp_path: Path) -> None:
    broken = tmp_path / "broken" / "mcp"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('mcp is broken')")
    path = os.pathsep.join([str(broken.parent), environment["PYTHONPATH"]])
    front = RawServer(environment | {"PYTHONPATH": path})
    try:
        front.send(front.INITIALIZE)
        assert "mcp is broken" in front.line()["error"]["message"]
        for pid in servers(front.process.pid):  # it refuses whatever comes before its end
            wait_until_gone(front, pid)
        shutil.rmtree(broken)
        front.send(json.dumps({"jsonrpc": "2.0", "id": 5, "method": "tools/list"}).encode() + b"\n")

        assert front.line()["result"]["tools"]
    finally:
        front.close()


def test_a_server_that_no_process_can_be_started_for_is_given_up_and_said(environment: dict[str, str]) -> None:
    program = "import sys; sys.executable = '/nowhere'; from algocline_mcp.front.main import serve; serve()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=RawServer.INITIALIZE,
        env=environment,
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )

    assert "cannot start" in json.loads(done.stdout)["error"]["message"]
    assert done.returncode == 0


@pytest.mark.parametrize("idle", ["inf", "1e300", "nan", "-1", "soon", "0"])
def test_an_odd_idle_time_ends_no_front(environment: dict[str, str], idle: str) -> None:
    front = RawServer(environment | {"ALC_SERVER_IDLE_S": idle})
    try:
        front.initialize()
        front.send(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')

        assert front.line()["id"] == 1
    finally:
        front.close()
