"""Strategies in Python through the official client over stdio, as a host runs them."""

from pathlib import Path
from typing import Any

import pytest
from mcp import Client

from tests.rig.stdio_home import StdioHome, call_tool
from tests.worker.keeper.test_python_revival import NAMES, STRATEGIES, answer_to

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


async def play(client: Client, **source: Any) -> dict[str, Any]:
    """Answers every prompt until the session is over."""
    reply = await call_tool(client, "alc_run", ctx={"task": "ship on Friday"}, **source)
    while reply["status"] == "needs_response":
        queries = reply.get("queries") or [reply]
        responses = [{"query_id": query["query_id"]} | answer(query["prompt"]) for query in queries]
        reply = await call_tool(client, "alc_continue", session_id=reply["session_id"], responses=responses)
    return reply


def answer(prompt: str) -> dict[str, str]:
    return {"refuse": "not this one"} if prompt.startswith("REFUSE") else {"response": answer_to(prompt)}


async def test_each_strategy_runs_to_its_end_from_a_file_and_from_its_text(stdio_home: StdioHome) -> None:
    async with stdio_home.client() as client:
        ended = {name: await play(client, code=(STRATEGIES / f"{name}.py").read_text()) for name in NAMES}
        listed = await call_tool(client, "alc_status", finished=True)

    assert {name: reply["status"] for name, reply in ended.items()} == dict.fromkeys(NAMES, "completed"), ended
    assert ended["refusal"]["result"]["answer"]
    assert {session["language"] for session in listed["sessions"]} == {"python"}


async def test_error_names_the_line_of_the_users_file(stdio_home: StdioHome, tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    file.write_text("import alc\n\n\ndef run(ctx):\n    return 1 / len(ctx['votes'])\n")
    stdio_home.environment["ALC_CODE_PATH"] = str(tmp_path)
    async with stdio_home.client() as client:
        reply = await call_tool(client, "alc_run", code_file=str(file), project_root=str(tmp_path))

    assert reply["status"] == "error"
    assert reply["error"].startswith("wrong.py:5: KeyError: 'votes'"), reply
