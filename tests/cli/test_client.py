"""The client of `alc run`, against servers that misbehave: small programs in the place of the real one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from algocline_mcp.cli import client as client_module
from algocline_mcp.cli.client import ToolResult, started_client
from algocline_mcp.errors import Unreachable

LIMIT_S = 120.0
PEER = """
import json, os, sys, time
def say(**message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + chr(10)); sys.stdout.flush()
def take():
    return json.loads(sys.stdin.readline())
def result(text, **more):
    return {"content": [{"type": "text", "text": text}], **more}
open(os.path.join(os.path.dirname(__file__), "pid"), "w").write(str(os.getpid()))
say(id=take()["id"], result={})
take()
call = take()
"""


def _peer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str) -> None:
    """Makes `code` the server that a client starts."""
    program = tmp_path / "python"
    (tmp_path / "peer.py").write_text(PEER + code)
    program.write_text(f"#!/bin/sh\\nexec {sys.executable} {tmp_path / 'peer.py'}\\n".replace("\\n", "\n"))
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))


def _called(limit_s: float = LIMIT_S) -> tuple[ToolResult, list[tuple[float, str | None]]]:
    progress: list[tuple[float, str | None]] = []

    async def call() -> ToolResult:
        async with started_client(os.environ) as client:
            return await client.call(
                "alc_run", {"a": 1}, limit_s=limit_s, on_progress=lambda n, text: progress.append((n, text))
            )

    return anyio.run(call), progress


def test_a_reply_comes_after_progress_and_requests_of_the_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _peer(
        monkeypatch,
        tmp_path,
        """
token = call["params"]["_meta"]["progressToken"]
say(method="notifications/message", params={"data": "x"})
say(method="notifications/progress", params={"progressToken": token, "progress": 1, "message": "one"})
say(method="notifications/progress", params={"progressToken": "another", "progress": 2})
say(id="s-1", method="ping")
pong = take()
say(id="s-2", method="sampling/createMessage", params={})
refusal = take()
say(id=99, result=result("of another call"))
answers = [pong["result"], refusal["error"]["code"]]
say(id=call["id"], result=result("t", structuredContent={"answers": answers, "call": call["params"]["arguments"]}))
""",
    )

    result, progress = _called()
    assert result == ToolResult({"answers": [{}, -32601], "call": {"a": 1}}, "t")
    assert progress == [(1, "one")]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ('say(id=call["id"], error={"code": -32600, "message": "too long"})', "too long"),
        ('say(id=None, error={"code": -32600, "message": "too long"})', "too long"),
        ('say(id=call["id"], result=result("no such file", isError=True, structuredContent={}))', "no such file"),
        ('say(id=call["id"], result=result("text alone"))', "text alone"),
    ],
)
def test_a_call_that_failed_has_a_text_and_no_content(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str, text: str
) -> None:
    _peer(monkeypatch, tmp_path, code)

    assert _called()[0] == ToolResult(None, text)


@pytest.mark.parametrize(
    ("code", "limit_s", "sentence"),
    [
        ("", LIMIT_S, "it ended before it replied to tools/call"),
        ("time.sleep(600)", 0.2, "no reply to tools/call within 0.2 s"),
        ('print("Traceback", flush=True)', LIMIT_S, "it wrote what is not a message"),
        ("print([1], flush=True)", LIMIT_S, "it wrote what is not a message"),
        ('sys.stdout.write("x" * 200000); sys.stdout.flush(); take()', LIMIT_S, "it wrote what is not a message"),
    ],
    ids=["ends", "is silent", "is no JSON", "is no object", "is too long"],
)
def test_a_server_that_gives_no_reply_is_unreachable_and_is_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str, limit_s: float, sentence: str
) -> None:
    monkeypatch.setattr(client_module, "LEAVE_S", 0.2)
    monkeypatch.setattr(client_module, "LINE_BYTES", 100_000)
    _peer(monkeypatch, tmp_path, code)

    with pytest.raises(Unreachable) as raised:
        _called(limit_s)
    assert sentence in str(raised.value)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_the_commands_that_talk_to_a_server_do_not_import_the_sdk() -> None:
    code = "import json, sys, algocline_mcp.cli.run; print(json.dumps([*sys.modules]))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"mcp", "mcp_types", "pydantic"}.isdisjoint(json.loads(done.stdout))
