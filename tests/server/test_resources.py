"""Resources and completion, through a real server."""

import json

import anyio
import pytest
from mcp import MCPError
from mcp_types import ResourceTemplateReference, TextResourceContents

from tests.rig.stdio_home import StdioHome, call_tool

LONG = "return #alc.llm(string.rep('sentence ', 3000) .. 'the end')"


@pytest.mark.slow
def test_a_truncated_prompt_can_be_read_whole_by_cursor_and_by_address(stdio_home: StdioHome) -> None:
    async def play() -> None:
        async with stdio_home.client("codex-mcp-client") as codex:
            reply = await codex.call_tool("alc_run", {"code": LONG})
            first = reply.structured_content
            assert isinstance(first, dict)
            assert [block.type for block in reply.content] == ["text", "resource_link"]
            sid, parts = first["session_id"], [first]
            while cursor := parts[-1].get("cursor"):
                parts.append(await call_tool(codex, "alc_status", session_id=sid, cursor=cursor))
            (whole,) = (await codex.read_resource(first["resource"])).contents
            prompt = "".join(part["prompt"] for part in parts)
            assert isinstance(whole, TextResourceContents)
            assert json.loads(whole.text)["prompts"][0]["prompt"] == prompt
            end = await call_tool(codex, "alc_continue", session_id=sid, response="seen")
            assert (prompt, end["result"]) == ("sentence " * 3000 + "the end", 4)
            assert all(len(json.dumps(part)) <= 10_000 for part in parts)

    anyio.run(play)


@pytest.mark.slow
def test_a_host_completes_the_id_of_a_session_and_reads_it(stdio_home: StdioHome) -> None:
    template = ResourceTemplateReference(type="ref/resource", uri="alc://sessions/{session_id}/{view}")
    help_template = ResourceTemplateReference(type="ref/resource", uri="alc://help/{topic}")

    async def play() -> None:
        async with stdio_home.client() as client:
            sids = [(await call_tool(client, "alc_run", code="return alc.llm('?')"))["session_id"] for _ in range(2)]

            async def completed(name: str, value: str) -> list[str]:
                reply = await client.complete(template, {"name": name, "value": value})
                return list(reply.completion.values)

            assert await completed("session_id", "p-") == sids[::-1]
            assert await completed("session_id", sids[0]) == sids[:1]
            assert await completed("session_id", "x") == []
            assert await completed("view", "h") == ["history"]
            assert await completed("other", "") == []
            listed = [item.uri_template for item in (await client.list_resource_templates()).resource_templates]
            assert (listed, (await client.list_resources()).resources) == ([template.uri, help_template.uri], [])
            (page,) = (await client.read_resource("alc://help/alc.llm_json")).contents
            assert isinstance(page, TextResourceContents)
            assert page.text.startswith("# Answers: ")
            topics = await client.complete(help_template, {"name": "topic", "value": "as"})
            assert topics.completion.values == ["asking", "asyncio"]
            for uri, cause in (
                (f"alc://sessions/{sids[0]}/secrets", "the views are summary, prompts"),
                ("alc://sessions/p-1/log", "not found. Unfinished here"),
                ("alc://help/cooking", "there is no help on 'cooking': the topics are strategies, asking"),
                ("alc://sessions/../etc/passwd", "Unknown resource"),
            ):
                with pytest.raises(MCPError, match=cause):
                    await client.read_resource(uri)
            for sid in sids:
                await call_tool(client, "alc_stop", session_id=sid, mode="delete")

    anyio.run(play)
