"""Strategies as prompts of MCP, through the official client and a real server."""

import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import MCPError
from mcp_types import PromptReference, TextContent

from algocline_mcp.config.home import Home
from tests.rig.stdio_home import StdioHome, call_tool

LUA = "--- cot: thinks\nreturn {meta = {description = 'Thinks'}, run = function(ctx) return ctx.task end}"


@pytest.mark.slow
def test_each_strategy_is_a_prompt_that_makes_the_model_run_it(stdio_home: StdioHome) -> None:
    packages = Home(stdio_home.root).packages
    (packages / "cot").mkdir(parents=True)
    (packages / "cot" / "init.lua").write_text(LUA)

    async def play() -> None:
        async with stdio_home.client() as client:
            prompts = {prompt.name: prompt for prompt in (await client.list_prompts()).prompts}

            async def text_of(name: str, **arguments: str) -> str:
                (message,) = (await client.get_prompt(name, arguments)).messages
                assert isinstance(message.content, TextContent)
                return message.content.text

            assert {"cot", "each", "review", "vote"} <= prompts.keys()
            assert "alc_rounds" not in prompts, "a library cannot be run"
            assert prompts["cot"].description == "Thinks"
            assert [argument.name for argument in prompts["cot"].arguments or []] == ["task", "opts"]
            task, n, choices = prompts["vote"].arguments or []
            assert (task.name, task.required, n.name, n.required) == ("task", True, "n", False)
            assert n.description == "how many votes (default: 5)"
            assert choices.required is False

            text = await text_of("vote", task="3 + 4?", n="3", choices='["7", "8"]')
            call = {"strategy": "vote", "task": "3 + 4?", "opts": {"n": 3, "choices": ["7", "8"]}}
            assert json.loads(text[text.index("{\n") : text.index("\n}") + 2]) == call
            assert "missing" not in text
            asked = await call_tool(client, "alc_run", **call)
            assert [len(asked["queries"]), "3 + 4?" in asked["queries"][0]["prompt"]] == [3, True]
            await call_tool(client, "alc_stop", session_id=asked["session_id"], mode="delete")

            assert "- file: the text to review" in await text_of("review")
            assert '"opts": {\n  "depth": 2' in await text_of("cot", task="why?", opts='{"depth": 2}')
            with pytest.raises(MCPError, match=r"Strategy 'vot' is not installed\. Nearest: vote"):
                await client.get_prompt("vot", {})
            reference = PromptReference(type="ref/prompt", name="vote")
            completed = await client.complete(reference, {"name": "n", "value": ""})
            assert completed.completion.values == ["5"]

    anyio.run(play)


@pytest.mark.slow
def test_a_package_that_was_installed_between_two_starts_is_listed(stdio_home: StdioHome) -> None:
    async def names() -> set[str]:
        async with stdio_home.client() as client:
            return {prompt.name for prompt in (await client.list_prompts()).prompts}

    before = anyio.run(names)
    package = Home(stdio_home.root).packages / "cot"
    package.mkdir(parents=True)
    (package / "init.lua").write_text(LUA)

    assert anyio.run(names) - before == {"cot"}


@pytest.mark.slow
def test_strategies_of_the_project_are_listed_and_the_host_gets_to_know_of_others(
    stdio_home: StdioHome, tmp_path: Path
) -> None:
    project, shared, own = tmp_path / "project", tmp_path / "shared", tmp_path / "own"
    for package in (shared / "near", own):
        package.mkdir(parents=True)
        (package / "init.lua").write_text(LUA)
    project.mkdir()
    stdio_home.environment |= {"ALC_PACKAGES_PATH": str(shared), "CLAUDE_PROJECT_DIR": str(project)}
    notified: list[str] = []
    has_changed = anyio.Event()

    async def on_message(message: Any) -> None:
        nonlocal has_changed
        notified.append(message.method)
        has_changed.set()

    async def play() -> None:
        nonlocal has_changed
        async with stdio_home.client(mode="legacy", message_handler=on_message) as client:
            capabilities = client.server_capabilities
            assert capabilities is not None
            assert capabilities.prompts is not None
            assert capabilities.prompts.list_changed

            async def names() -> set[str]:
                return {prompt.name for prompt in (await client.list_prompts()).prompts} & {"near", "next", "own"}

            assert await names() == {"near"}
            await call_tool(client, "alc_catalog")
            (project / "alc.toml").write_text(f'[packages]\nown = {{path = "{own}"}}\n')
            assert await names() == {"near"}, "nothing polls: the next call looks"
            await call_tool(client, "alc_catalog")
            await has_changed.wait()
            assert await names() == {"near", "own"}
            text = (await client.get_prompt("own", {"task": "why?"})).messages[0].content
            assert '"strategy": "own"' in getattr(text, "text", "")
            completed = await client.complete(
                PromptReference(type="ref/prompt", name="own"), {"name": "t", "value": ""}
            )
            assert completed.completion.values == []

            has_changed = anyio.Event()
            (shared / "near").rename(shared / "next")
            asked = await call_tool(client, "alc_run", strategy="own", task="4")
            assert asked["result"] == "4"
            await has_changed.wait()
            assert await names() == {"next", "own"}

            has_changed = anyio.Event()
            (project / "alc.toml").write_text("packages = 1")
            assert "error" in str(await client.call_tool("alc_catalog", {})).lower()
            await has_changed.wait()
            assert await names() == {"next"}, "a project that cannot be read hides no other strategy"
            with pytest.raises(MCPError, match=r"alc\.toml: packages is not a table|packages is not a table"):
                await client.get_prompt("next", {})

    anyio.run(play)

    assert notified == ["notifications/prompts/list_changed"] * 3
