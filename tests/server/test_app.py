"""The whole way with nothing faked: official client, server over stdio, workers, Lua."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, MCPError
from mcp.client.stdio import StdioServerParameters
from mcp_types import Implementation, ResourceTemplateReference, TextResourceContents

LIMIT_S = 120.0  # nothing here takes as long, on a busy machine neither; a test that hangs fails after it
WAIT_S = 60.0  # of a call that waits for code to come to its next pause
ROOT = Path(__file__).parents[2]
QUICK_S = 5.0  # of what takes 50 ms on an idle machine
TWO_STEPS = """
local drafts = alc.llm_batch({{prompt = "A " .. ctx.task}, {prompt = "B " .. ctx.task}})
return alc.llm("best of " .. drafts[1] .. " and " .. drafts[2], {system = "judge", max_tokens = 7})
"""


class Home:
    def __init__(self, root: Path) -> None:
        self.root = root
        kept = {key: value for key, value in os.environ.items() if not key.startswith("ALC_")}
        own = {"ALC_HOME": str(root), "ALC_POOL_IDLE_TIMEOUT": "10", "ALC_WARMUP_RUNS": "1"}
        self.environment = {**kept, "PYTHONPATH": str(ROOT), **own}

    @asynccontextmanager
    async def client(self, name: str = "mcp") -> AsyncIterator[Client]:
        """A server of its own, whose host has this name."""
        server = StdioServerParameters(command=sys.executable, args=["-m", "algocline_mcp"], env=self.environment)
        with anyio.fail_after(LIMIT_S):
            async with Client(server, client_info=Implementation(name=name, version="1")) as client:
                yield client

    def alc(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "algocline_mcp", *arguments],
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=LIMIT_S,
            check=False,
        )

    def sockets(self) -> list[str]:
        return [path.name for path in (self.root / "state" / "pool").glob("*.sock")]


@pytest.fixture
def home() -> Iterator[Home]:
    """Fails the test that leaves a worker behind. A short path, because a socket's may have 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="alc-") as directory:
        home = Home(Path(directory))
        yield home
        _wait_for_workers_to_leave(home)


def _wait_for_workers_to_leave(home: Home) -> None:
    deadline_s = time.monotonic() + LIMIT_S
    while home.sockets():
        assert time.monotonic() < deadline_s, "a worker was left behind"
        threading.Event().wait(0.01)


async def _call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    reply = await client.call_tool(tool, arguments)
    text = reply.content[0].text  # type: ignore[union-attr]
    assert not reply.is_error, text
    result = reply.structured_content
    assert isinstance(result, dict)
    assert json.loads(text) == result
    return result


def test_a_server_that_nobody_asks_tidies_its_home_all_the_same(home: Home) -> None:
    stale = home.root / "state" / "pool" / "p-1-0123456789abcdef.sock"
    stale.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(stale))

    async def play() -> None:
        async with home.client():
            while stale.exists():  # noqa: ASYNC110
                await anyio.sleep(0.01)

    anyio.run(play)


def test_a_session_pauses_outlives_its_server_and_completes_in_another(home: Home) -> None:
    async def play() -> dict[str, Any]:
        async with home.client() as first:
            paused = await _call(first, "alc_run", code=TWO_STEPS, ctx={"task": "x"}, title="two steps")
            sid = paused["session_id"]
            assert [query["prompt"] for query in paused["queries"]] == ["A x", "B x"]
        async with home.client() as second:
            listing = await _call(second, "alc_status")
            assert [entry["session_id"] for entry in listing["sessions"]] == [sid]
            answers = {query["query_id"]: query["prompt"] + "!" for query in reversed(paused["queries"])}
            responses = [{"query_id": query_id, "response": text} for query_id, text in answers.items()]
            paused = await _call(second, "alc_continue", session_id=sid, responses=responses)
            assert (paused["prompt"], paused["system"], paused["max_tokens"]) == ("best of A x! and B x!", "judge", 7)
            return await _call(second, "alc_continue", session_id=sid, query_id=paused["query_id"], response="done")

    result = anyio.run(play)
    assert (result["status"], result["result"]) == ("completed", "done")


def test_a_strategy_that_fails_is_a_result_and_no_failed_call(home: Home) -> None:
    async def play() -> dict[str, Any]:
        async with home.client() as client:
            return await _call(client, "alc_run", code="error('on purpose')")

    result = anyio.run(play)
    assert result["status"] == "error"
    assert "on purpose" in result["error"]


def test_a_stopped_session_is_over(home: Home) -> None:
    async def play() -> None:
        async with home.client() as client:
            paused = await _call(client, "alc_run", code="return alc.llm('?')")
            sid = paused["session_id"]
            await _call(client, "alc_stop", session_id=sid)
            assert (await _call(client, "alc_status", session_id=sid))["prompt"] == "?"
            assert (await _call(client, "alc_stop", session_id=sid, mode="cancel"))["status"] == "cancelled"
            assert (await _call(client, "alc_status", session_id=sid))["status"] == "cancelled"

    anyio.run(play)


def test_cancelling_the_call_leaves_the_session_running(home: Home) -> None:
    code = "local n = 0 for i = 1, 1e8 do n = n + i end return alc.llm('at last')"

    async def play() -> None:
        async with home.client() as client:
            async with anyio.create_task_group() as calls:
                calls.start_soon(partial(_call, client, "alc_run", code=code, title="long"))
                while not (await _call(client, "alc_status"))["sessions"]:  # noqa: ASYNC110
                    await anyio.sleep(0.01)
                calls.cancel_scope.cancel()
            (entry,) = (await _call(client, "alc_status"))["sessions"]
            state = await _call(client, "alc_status", session_id=entry["session_id"], wait_s=WAIT_S)
            assert state["prompt"] == "at last"
            await _call(client, "alc_stop", session_id=entry["session_id"], mode="cancel")

    anyio.run(play)


def test_the_terminal_plays_a_whole_strategy_with_a_command(home: Home, tmp_path: Path) -> None:
    (tmp_path / "two.lua").write_text(TWO_STEPS)

    done = home.alc("run", str(tmp_path / "two.lua"), "task=tea", "--exec", 'printf "<%s>" "$(cat)"')
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == "<best of <A tea> and <B tea>>"


def test_the_terminal_keeps_of_a_session_that_is_over_what_alc_keep_says(home: Home, tmp_path: Path) -> None:
    """At once: there may be no next server that makes up for it."""
    (tmp_path / "one.lua").write_text('return #alc.llm("the " .. "question")')
    home.environment["ALC_KEEP"] = "result"

    done = home.alc("run", str(tmp_path / "one.lua"), "--exec", "echo the answer")
    assert (done.returncode, done.stdout) == (0, "10\n"), done.stderr
    (journal,) = (home.root / "state" / "sessions" / "finished").glob("p-*.journal")
    left = journal.read_bytes()
    assert b"the question" not in left
    assert b"the answer" not in left
    assert b'"result":10' in left


def test_the_terminal_goes_on_where_answers_ran_out(home: Home, tmp_path: Path) -> None:
    (tmp_path / "two.lua").write_text(TWO_STEPS)
    (tmp_path / "some.json").write_text('["one"]')
    (tmp_path / "rest.json").write_text('{"q-1": "two", "q-2": "three"}')

    began = home.alc("run", str(tmp_path / "two.lua"), "task=tea", "--answers", str(tmp_path / "some.json"))
    assert began.returncode == 1
    sid = began.stderr.partition("alc continue ")[2].split()[0]
    ended = home.alc("continue", sid, "--answers", str(tmp_path / "rest.json"))
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == "three"


def _kill_servers() -> None:
    """The servers among this process's children; a worker's command line has more words."""
    for pid in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split():
        if Path(f"/proc/{pid}/cmdline").read_bytes().endswith(b"\0-m\0algocline_mcp\0"):
            os.kill(int(pid), signal.SIGKILL)


def test_a_server_that_is_killed_while_code_computes_loses_nothing(home: Home) -> None:
    code = "local n = 0 for i = 1, 3e7 do n = n + i end return alc.llm('counted')"

    async def start() -> str:
        async with home.client() as client:
            state = await _call(client, "alc_run", code=code, wait_s=0)
            _kill_servers()
            return str(state["session_id"])

    async def finish(sid: str) -> dict[str, Any]:
        async with home.client() as client:
            state = await _call(client, "alc_status", session_id=sid, wait_s=WAIT_S)
            assert state["prompt"] == "counted"
            return await _call(client, "alc_continue", session_id=sid, response="yes")

    assert anyio.run(finish, anyio.run(start))["result"] == "yes"


def test_a_host_branches_a_session_with_a_file_of_its_project(home: Home, tmp_path: Path) -> None:
    (tmp_path / "fixed.lua").write_text('return alc.llm("one") .. require("words").last')
    (tmp_path / "words.lua").write_text('return {last = "!"}')

    async def play() -> list[Any]:
        async with home.client() as client:
            code, project = 'return alc.llm("one") .. alc.llm("two")', str(tmp_path)
            started = await client.call_tool("alc_run", {"code": code, "project_root": project})
            assert started.structured_content is not None
            sid = started.structured_content["session_id"]
            await client.call_tool("alc_continue", {"session_id": sid, "response": "A"})
            arguments = {"session_id": sid, "code_file": "fixed.lua"}
            told = [await client.call_tool("alc_branch", arguments | more) for more in ({}, {"code": "return 1"})]
            await client.call_tool("alc_stop", {"session_id": sid})
            return [each.structured_content or each.content for each in told]

    branch, refused = anyio.run(play)

    assert (branch["status"], branch["result"]) == ("completed", "A!")
    assert "Provide either `code` or `code_file`, not both." in refused[0].text


def _processes(home: Home) -> dict[str, int]:
    """Of all that belong to this home: command line -> pid."""
    found = {}
    for directory in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"ALC_HOME={home.root}\0".encode() in (directory / "environ").read_bytes():
                words = (directory / "cmdline").read_bytes().decode().replace("\0", " ")
                found[words.strip()] = int(directory.name)
    return found


def test_a_server_that_leaves_is_gone_at_once_and_leaves_live_workers_alone(home: Home) -> None:
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
        with subprocess.Popen(command, env=home.environment, stdin=pipe, stdout=pipe) as server:
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
        while set(left := _processes(home)) != {f"alc engine {sid}", f"alc pool-worker {sid}"}:
            assert time.monotonic() < deadline_s, left  # the fork server learns of it by its closed socket
        os.kill(left[f"alc pool-worker {sid}"], signal.SIGTERM)
        _wait_for_workers_to_leave(home)


TEN = (
    "local t = {} for i = 1, 10 do t[i] = alc.llm('Question ' .. i .. ': what may go wrong, in one line?') end return t"
)
_FRAME_TOKENS = 20  # that a host puts around one call and its result


def _tokens(text: str) -> int:
    """Within 8 % of what two tokenizers of models (o200k and Claude's published one) count in such a chat."""
    return len(re.findall(r"[A-Za-z]+|\d{1,3}|[^\sA-Za-z\d]+", text))


def test_ten_prompts_leave_few_tokens_in_the_chat_beyond_prompts_and_answers(home: Home) -> None:
    beyond = 0

    async def play() -> dict[str, Any]:
        async with home.client() as client:

            async def call(tool: str, own: str, **arguments: Any) -> dict[str, Any]:
                """`own`: the argument that is the user's or the model's."""
                nonlocal beyond
                state = await _call(client, tool, **arguments)
                told = [tool, *(json.dumps(each, separators=(",", ":")) for each in (arguments, state))]
                content = [arguments[own], state.get("prompt", ""), json.dumps(state.get("result", ""))]
                beyond += sum(map(_tokens, told)) - sum(map(_tokens, content)) + _FRAME_TOKENS
                return state

            state = await call("alc_run", "code", code=TEN)
            while state["status"] == "needs_response":
                ids = {"session_id": state["session_id"], "query_id": state["query_id"]}
                state = await call("alc_continue", "response", response="Nobody is there to roll it back.", **ids)
            return state

    assert len(anyio.run(play)["result"]) == 10
    assert 500 < beyond < 1500


LONG = "return #alc.llm(string.rep('sentence ', 3000) .. 'the end')"


def test_a_long_prompt_reaches_a_host_that_shows_little_and_its_whole_can_be_read(home: Home) -> None:
    async def play() -> None:
        async with home.client("codex-mcp-client") as codex:
            reply = await codex.call_tool("alc_run", {"code": LONG})
            first = reply.structured_content
            assert isinstance(first, dict)
            assert [block.type for block in reply.content] == ["text", "resource_link"]
            sid, parts = first["session_id"], [first]
            while cursor := parts[-1].get("cursor"):
                parts.append(await _call(codex, "alc_status", session_id=sid, cursor=cursor))
            (whole,) = (await codex.read_resource(first["resource"])).contents
            prompt = "".join(part["prompt"] for part in parts)
            assert isinstance(whole, TextResourceContents)
            assert json.loads(whole.text)["prompts"][0]["prompt"] == prompt
            end = await _call(codex, "alc_continue", session_id=sid, response="seen")
            assert (prompt, end["result"]) == ("sentence " * 3000 + "the end", 4)
            assert all(len(json.dumps(part)) <= 10_000 for part in parts)

    anyio.run(play)


def test_a_host_completes_the_id_of_a_session_and_reads_it(home: Home) -> None:
    template = ResourceTemplateReference(type="ref/resource", uri="alc://sessions/{session_id}/{view}")

    async def play() -> None:
        async with home.client() as client:
            sids = [(await _call(client, "alc_run", code="return alc.llm('?')"))["session_id"] for _ in range(2)]

            async def completed(name: str, value: str) -> list[str]:
                reply = await client.complete(template, {"name": name, "value": value})
                return list(reply.completion.values)

            assert await completed("session_id", "p-") == sids[::-1]
            assert await completed("session_id", sids[0]) == sids[:1]
            assert await completed("session_id", "x") == []
            assert await completed("view", "h") == ["history"]
            assert await completed("other", "") == []
            (listed,) = (await client.list_resource_templates()).resource_templates
            assert (listed.uri_template, (await client.list_resources()).resources) == (template.uri, [])
            for uri, cause in (
                (f"alc://sessions/{sids[0]}/secrets", "the views are summary, prompts"),
                ("alc://sessions/p-1/log", "not found. Unfinished here"),
                ("alc://sessions/../etc/passwd", "Unknown resource"),
            ):
                with pytest.raises(MCPError, match=cause):
                    await client.read_resource(uri)
            for sid in sids:
                await _call(client, "alc_stop", session_id=sid, mode="delete")

    anyio.run(play)


def test_a_host_branches_a_session_and_looks_at_it(home: Home) -> None:
    async def play() -> tuple[str, list[dict[str, Any]]]:
        async with home.client() as client:

            async def call(tool: str, **arguments: Any) -> dict[str, Any]:
                reply = await client.call_tool(tool, arguments)
                assert not reply.is_error, reply.content
                assert isinstance(reply.structured_content, dict)
                return reply.structured_content

            sid = (await call("alc_run", code='return alc.llm("one") .. alc.llm("two")'))["session_id"]
            await call("alc_continue", session_id=sid, response="A")
            would = await call("alc_branch", session_id=sid, code='return alc.llm("one") .. alc.llm("2")', dry_run=True)
            branch = (await call("alc_branch", session_id=sid, at="q-0", response="B"))["session_id"]
            end = await call("alc_continue", session_id=branch, response="!", query_id="q-1")
            history = await call("alc_status", session_id=branch, view="history")
            gone = await call("alc_stop", session_id=sid, mode="delete")
            return sid, [would, end, history, gone]

    sid, (would, end, history, gone) = anyio.run(play)
    assert [ask["prompt"] for ask in would["asks"]] == ["2"]
    assert end["result"] == "B!"
    assert [turn["response"] for turn in history["history"]] == ["B", "!"]
    assert gone == {"status": "deleted", "session_id": sid}
