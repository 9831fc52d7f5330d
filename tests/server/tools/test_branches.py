"""alc_branch, through a real server."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.rig.stdio_home import StdioHome


@pytest.mark.slow
def test_a_host_branches_a_session_with_a_file_of_its_project(stdio_home: StdioHome, tmp_path: Path) -> None:
    (tmp_path / "fixed.lua").write_text('return alc.llm("one") .. require("words").last')
    (tmp_path / "words.lua").write_text('return {last = "!"}')

    async def play() -> list[Any]:
        async with stdio_home.client() as client:
            code, project = 'return alc.llm("one") .. alc.llm("two")', str(tmp_path)
            started = await client.call_tool("alc_run", {"code": code, "project_root": project})
            assert started.structured_content is not None
            sid = started.structured_content["session_id"]
            await client.call_tool("alc_continue", {"session_id": sid, "response": "A"})
            arguments = {"session_id": sid, "code_file": "fixed.lua"}
            replies = [await client.call_tool("alc_branch", arguments | more) for more in ({}, {"code": "return 1"})]
            await client.call_tool("alc_stop", {"session_id": sid})
            return [reply.structured_content or reply.content for reply in replies]

    branch, refused = anyio.run(play)

    assert (branch["status"], branch["result"]) == ("completed", "A!")
    assert "Provide either `code` or `code_file`, not both." in refused[0].text


@pytest.mark.slow
def test_corrected_code_is_run_as_what_it_is(stdio_home: StdioHome, tmp_path: Path) -> None:
    """A package of a session of plain code, plain code of a session of a package, and a corrected package."""
    module = 'local M = {} function M.run(ctx) return alc.llm("one") .. "%s" end return M'
    (tmp_path / "pk").mkdir()
    (tmp_path / "pk" / "init.lua").write_text(module % "!")

    async def play() -> list[Any]:
        async with stdio_home.client() as client:

            async def call(tool: str, **arguments: Any) -> dict[str, Any]:
                return (await client.call_tool(tool, arguments)).structured_content or {}

            async def answered(**source: str) -> str:
                sid = (await call("alc_run", project_root=str(tmp_path), **source))["session_id"]
                await call("alc_continue", session_id=sid, response="A")
                return str(sid)

            plain, package = await answered(code='return alc.llm("one")'), await answered(code_file="pk/init.lua")
            return [
                (await call("alc_branch", session_id=plain, code_file="pk/init.lua")).get("result"),
                (await call("alc_branch", session_id=package, code='return alc.llm("one") .. "?"')).get("result"),
                (await call("alc_branch", session_id=package, code=module % "+")).get("result"),
            ]

    assert anyio.run(play) == ["A!", "A?", "A+"]


@pytest.mark.slow
def test_a_host_branches_a_session_and_views_the_branch(stdio_home: StdioHome) -> None:
    async def play() -> tuple[str, list[dict[str, Any]]]:
        async with stdio_home.client() as client:

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
