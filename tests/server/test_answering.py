"""ALC_ANSWER: the server has prompts answered itself, and the chat gets the result."""

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.pool.spawn import worker_environment
from tests.peers.model_endpoint import KEY, ModelEndpoint
from tests.rig.processes import processes_of
from tests.rig.stdio_home import StdioHome, call_tool

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

THIRTY = """
local function prompts(n) local t = {} for i = 1, n do t[i] = ("[429] long "):rep(20) .. n .. "/" .. i end return t end
local answers = alc.parallel(prompts(20), function(text) return text end)
for i = 1, 9 do answers[#answers + 1] = alc.llm("step " .. i) end
answers[#answers + 1] = alc.llm("last")
return #answers .. " " .. answers[30]
"""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[ModelEndpoint]:
    with ModelEndpoint() as endpoint:
        yield endpoint


@pytest.fixture
def answered(endpoint: ModelEndpoint, stdio_home: StdioHome) -> StdioHome:
    endpoint.requests.clear()
    endpoint.served.clear()
    endpoint._seen.clear()
    endpoint.release.clear()
    endpoint.is_refusing = False
    stdio_home.environment |= {
        "ALC_ANSWER": "openai:m",
        "ALC_ANSWER_JOBS": "8",
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": f"{endpoint.address}/v1",
    }
    return stdio_home


def _tokens(*values: Any) -> int:
    return sum(len(json.dumps(value)) for value in values) // 4


async def test_a_run_of_thirty_prompts_returns_its_result_and_costs_the_chat_under_a_thousand_tokens(
    answered: StdioHome, endpoint: ModelEndpoint
) -> None:
    async with answered.client() as client:
        result = await call_tool(client, "alc_run", code=THIRTY, wait_s=45)
        while result["status"] == "running":
            result = await call_tool(client, "alc_status", session_id=result["session_id"], wait_s=45)

    assert (result["status"], result["result"]) == ("completed", "30 <last>")
    assert result["stats"]["auto"]["prompt_tokens"] == {"tokens": 3000, "source": "provided"}
    assert _tokens({"code": THIRTY}, result) < 1000
    assert (len(endpoint.served), len(set(endpoint.served)), len(endpoint.requests)) == (30, 30, 50)


async def test_a_run_that_takes_longer_is_running_with_progress_and_the_next_call_waits_on(
    answered: StdioHome, endpoint: ModelEndpoint
) -> None:
    code = 'return table.concat(alc.parallel({"a", "[slow] b"}, function(text) return text end), " ")'
    async with answered.client() as client:
        running = await call_tool(client, "alc_run", code=code, wait_s=0.5)
        sid = running["session_id"]
        while running["progress"]["step"] < 1:
            running = await call_tool(client, "alc_status", session_id=sid, wait_s=0.2)
        endpoint.release.set()
        result = await call_tool(client, "alc_status", session_id=sid, wait_s=45)

    assert (running["status"], running["progress"]["total"]) == ("running", 2)
    assert (result["status"], result["result"]) == ("completed", "<a> <[slow] b>")
    assert len(endpoint.requests) == 2


async def test_after_the_end_of_the_server_the_next_one_has_the_rest_answered(
    answered: StdioHome, endpoint: ModelEndpoint
) -> None:
    code = 'return table.concat(alc.parallel({"a", "[slow] b", "c"}, function(text) return text end), " ")'
    async with answered.client() as client:
        running = await call_tool(client, "alc_run", code=code, wait_s=0)
        sid = running["session_id"]
        while running.get("progress", {}).get("step") != 2:
            running = await call_tool(client, "alc_status", session_id=sid, wait_s=0.1)
        pid = await anyio.to_thread.run_sync(_server_of, answered)
        os.kill(pid, signal.SIGKILL)
        endpoint.release.set()
        result = await call_tool(client, "alc_status", session_id=sid, wait_s=45)

    assert (result["status"], result["result"]) == ("completed", "<a> <[slow] b> <c>")
    asked = [request["messages"][-1]["content"] for request in endpoint.requests]
    assert sorted(asked) == ["[slow] b", "[slow] b", "a", "c"]


def _server_of(home: StdioHome) -> int:
    return next(process.pid for process in processes_of(home.root) if "mcp-server" in process.title)


async def test_a_prompt_that_gets_no_answer_goes_to_the_host_with_the_reason_and_without_the_key(
    answered: StdioHome, endpoint: ModelEndpoint
) -> None:
    endpoint.is_refusing = True
    async with answered.client() as client:
        shown = await call_tool(client, "alc_run", code='return alc.llm("a") .. alc.llm("b")', wait_s=45)
        endpoint.is_refusing = False
        answer = {"session_id": shown["session_id"], "query_id": "q-0", "response": "mine"}
        result = await call_tool(client, "alc_continue", **answer, wait_s=45)

    assert (shown["status"], shown["prompt"]) == ("needs_response", "a")
    assert "openai:m gave no answer to q-0: 401" in shown["warnings"][0]
    assert KEY not in json.dumps([shown, result])
    assert (result["status"], result["result"]) == ("completed", "mine<b>")


def test_who_answers_is_not_told_to_a_worker(stdio_home: StdioHome) -> None:
    environ = {"ALC_ANSWER": "exec:curl -H key", "OPENAI_API_KEY": KEY, "ALC_KEEP": "all"}

    passed_on = worker_environment(Home(stdio_home.root), environ)

    assert {"ALC_ANSWER", "OPENAI_API_KEY"}.isdisjoint(passed_on)
    assert passed_on["ALC_KEEP"] == "all"


async def test_a_value_that_says_nothing_is_reported_by_every_call(stdio_home: StdioHome) -> None:
    stdio_home.environment["ALC_ANSWER"] = "gpt-5"
    async with stdio_home.client() as client:
        reply = await client.call_tool("alc_status", {})

    assert reply.is_error
    assert "ALC_ANSWER does not say who answers" in reply.content[0].text  # type: ignore[union-attr]  # it is a text
