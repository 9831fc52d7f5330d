"""Sessions of a host, with nothing faked: official client, server over stdio, workers, Lua."""

import json
import os
import re
import signal
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.rig.stdio_home import StdioHome, call_tool

WAIT_S = 60.0  # of a call that waits for code to come to its next pause


TWO_STEPS = """
local drafts = alc.llm_batch({{prompt = "A " .. ctx.task}, {prompt = "B " .. ctx.task}})
return alc.llm("best of " .. drafts[1] .. " and " .. drafts[2], {system = "judge", max_tokens = 7})
"""


@pytest.mark.slow
def test_a_session_pauses_outlives_its_server_and_completes_in_another(stdio_home: StdioHome) -> None:
    async def play() -> dict[str, Any]:
        async with stdio_home.client() as first:
            paused = await call_tool(first, "alc_run", code=TWO_STEPS, ctx={"task": "x"}, title="two steps")
            sid = paused["session_id"]
            assert [query["prompt"] for query in paused["queries"]] == ["A x", "B x"]
        async with stdio_home.client() as second:
            listing = await call_tool(second, "alc_status")
            assert [entry["session_id"] for entry in listing["sessions"]] == [sid]
            answers = {query["query_id"]: query["prompt"] + "!" for query in reversed(paused["queries"])}
            responses = [{"query_id": query_id, "response": text} for query_id, text in answers.items()]
            paused = await call_tool(second, "alc_continue", session_id=sid, responses=responses)
            assert (paused["prompt"], paused["system"], paused["max_tokens"]) == ("best of A x! and B x!", "judge", 7)
            return await call_tool(second, "alc_continue", session_id=sid, query_id=paused["query_id"], response="done")

    result = anyio.run(play)
    assert (result["status"], result["result"]) == ("completed", "done")


@pytest.mark.slow
def test_a_strategy_that_fails_is_a_result_and_not_a_failed_call(stdio_home: StdioHome) -> None:
    async def play() -> dict[str, Any]:
        async with stdio_home.client() as client:
            return await call_tool(client, "alc_run", code="error('on purpose')")

    result = anyio.run(play)
    assert result["status"] == "error"
    assert "on purpose" in result["error"]


@pytest.mark.slow
def test_a_cancelled_session_is_over(stdio_home: StdioHome) -> None:
    async def play() -> None:
        async with stdio_home.client() as client:
            paused = await call_tool(client, "alc_run", code="return alc.llm('?')")
            sid = paused["session_id"]
            await call_tool(client, "alc_stop", session_id=sid)
            assert (await call_tool(client, "alc_status", session_id=sid))["prompt"] == "?"
            assert (await call_tool(client, "alc_stop", session_id=sid, mode="cancel"))["status"] == "cancelled"
            assert (await call_tool(client, "alc_status", session_id=sid))["status"] == "cancelled"

    anyio.run(play)


@pytest.mark.slow
def test_cancelling_the_call_leaves_the_session_running(stdio_home: StdioHome) -> None:
    code = "local n = 0 for i = 1, 1e8 do n = n + i end return alc.llm('at last')"

    async def play() -> None:
        async with stdio_home.client() as client:
            async with anyio.create_task_group() as calls:
                calls.start_soon(partial(call_tool, client, "alc_run", code=code, title="long"))
                while not (await call_tool(client, "alc_status"))["sessions"]:  # noqa: ASYNC110
                    await anyio.sleep(0.01)
                calls.cancel_scope.cancel()
            (entry,) = (await call_tool(client, "alc_status"))["sessions"]
            state = await call_tool(client, "alc_status", session_id=entry["session_id"], wait_s=WAIT_S)
            assert state["prompt"] == "at last"
            await call_tool(client, "alc_stop", session_id=entry["session_id"], mode="cancel")

    anyio.run(play)


def _kill_servers() -> None:
    """The servers among this process's children; a worker's command line has more words."""
    for pid in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split():
        if Path(f"/proc/{pid}/cmdline").read_bytes().endswith(b"\0-m\0algocline_mcp\0"):
            os.kill(int(pid), signal.SIGKILL)


@pytest.mark.slow
def test_a_server_that_is_killed_while_code_computes_loses_nothing(stdio_home: StdioHome) -> None:
    code = "local n = 0 for i = 1, 3e7 do n = n + i end return alc.llm('counted')"

    async def start() -> str:
        async with stdio_home.client() as client:
            state = await call_tool(client, "alc_run", code=code, wait_s=0)
            _kill_servers()
            return str(state["session_id"])

    async def finish(sid: str) -> dict[str, Any]:
        async with stdio_home.client() as client:
            state = await call_tool(client, "alc_status", session_id=sid, wait_s=WAIT_S)
            assert state["prompt"] == "counted"
            return await call_tool(client, "alc_continue", session_id=sid, response="yes")

    assert anyio.run(finish, anyio.run(start))["result"] == "yes"


TEN = (
    "local t = {} for i = 1, 10 do t[i] = alc.llm('Question ' .. i .. ': what may go wrong, in one line?') end return t"
)


_FRAME_TOKENS = 20  # around one call and its result in a host


def _tokens(text: str) -> int:
    """Within 8 % of what two tokenizers of models (o200k and Claude's published one) count in such a chat."""
    return len(re.findall(r"[A-Za-z]+|\d{1,3}|[^\sA-Za-z\d]+", text))


@pytest.mark.slow
def test_ten_prompts_leave_few_tokens_in_the_chat_beyond_prompts_and_answers(stdio_home: StdioHome) -> None:
    beyond = 0

    async def play() -> dict[str, Any]:
        async with stdio_home.client() as client:

            async def call(tool: str, own: str, **arguments: Any) -> dict[str, Any]:
                """`own`: the argument that the user or the model has written."""
                nonlocal beyond
                state = await call_tool(client, tool, **arguments)
                texts = [tool, *(json.dumps(value, separators=(",", ":")) for value in (arguments, state))]
                content = [arguments[own], state.get("prompt", ""), json.dumps(state.get("result", ""))]
                beyond += sum(map(_tokens, texts)) - sum(map(_tokens, content)) + _FRAME_TOKENS
                return state

            state = await call("alc_run", "code", code=TEN)
            while state["status"] == "needs_response":
                ids = {"session_id": state["session_id"], "query_id": state["query_id"]}
                state = await call("alc_continue", "response", response="Nobody is there to roll it back.", **ids)
            return state

    assert len(anyio.run(play)["result"]) == 10
    assert 500 < beyond < 1500
