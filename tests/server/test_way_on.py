"""Every refused call tells the model how to go on: its text names a tool that exists, with arguments that the tool has.
One table provokes refusals through each tool of the real server, another goes through every code of the program."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import algocline_mcp
from algocline_mcp.cli.demo import end_workers
from algocline_mcp.config.home import Home
from algocline_mcp.server.app import tools_of
from algocline_mcp.server.tool_call.results import refusal
from tests.rig.hosts import RawServer, server_environment

AUTHOR = tools_of({"ALC_TOOLS": "author"})
ARGUMENTS = {tool.name: set(tool.parameters["properties"]) for tool in AUTHOR}
ASKS = 'return alc.llm_batch({{prompt="a"}, {prompt="b"}})'

# tool, arguments, code. SID is a session that waits for two answers, DONE one that has completed.
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("alc_run", {}, "refused"),
    ("alc_run", {"code": "return 1", "strategy": "cot"}, "refused"),
    ("alc_run", {"code": "return 1", "ctx": [1]}, "bad_argument"),
    ("alc_run", {"code": "return 1", "ctx": "{"}, "bad_argument"),
    ("alc_run", {"code": "return 1", "wait_s": "soon"}, "bad_argument"),
    ("alc_run", {"code": "return 1", "tittle": "x"}, "bad_argument"),
    ("alc_run", {"code": "--" + "x" * 2_000_000}, "too_large"),
    ("alc_run", {"code": "return 1", "ctx": {"x": "x" * 3_000_000}}, "too_large"),
    ("alc_run", {"code_file": "/nothing.lua"}, "refused"),
    ("alc_run", {"code_file": "x\0"}, "bad_argument"),
    ("alc_run", {"code": "return 1", "project_root": "/nothing"}, "refused"),
    ("alc_run", {"strategy": "nothing"}, "unknown_strategy"),
    ("alc_continue", {"session_id": "SID"}, "refused"),
    ("alc_continue", {"response": "a"}, "bad_argument"),
    ("alc_continue", {"session_id": "", "response": "a"}, "refused"),
    ("alc_continue", {"session_id": "p-1", "response": "a"}, "not_found"),
    ("alc_continue", {"session_id": "SID", "response": "a"}, "query_id_missing"),
    ("alc_continue", {"session_id": "SID", "response": "a", "query_id": "q-9"}, "unknown_query"),
    ("alc_continue", {"session_id": "SID", "response": "a", "refuse": "b"}, "refused"),
    ("alc_continue", {"session_id": "SID", "responses": []}, "refused"),
    ("alc_continue", {"session_id": "SID", "responses": "["}, "bad_argument"),
    ("alc_continue", {"session_id": "SID", "responses": [3]}, "refused"),
    ("alc_continue", {"session_id": "SID", "responses": [{"query_id": "q-0"}]}, "refused"),
    ("alc_continue", {"session_id": "SID", "query_id": "q-0", "response": "x" * 5_000_000}, "too_large"),
    ("alc_continue", {"session_id": "SID", "query_id": "q-0", "response": "a", "usage": [1]}, "bad_argument"),
    ("alc_continue", {"session_id": "DONE", "response": "a"}, "not_waiting"),
    ("alc_status", {"session_id": "a/b"}, "refused"),
    ("alc_status", {"session_id": "p-1"}, "not_found"),
    ("alc_status", {"session_id": "p-1", "view": "log"}, "not_found"),
    ("alc_status", {"session_id": "SID", "view": "all"}, "bad_argument"),
    ("alc_status", {"view": "log"}, "refused"),
    ("alc_status", {"limit": 0}, "bad_argument"),
    ("alc_status", {"cursor": "nothing"}, "refused"),
    ("alc_status", {"session_id": "SID", "finished": True}, "refused"),
    ("alc_stop", {}, "bad_argument"),
    ("alc_stop", {"session_id": "p-1"}, "not_found"),
    ("alc_stop", {"session_id": "SID", "mode": "kill"}, "bad_argument"),
    ("alc_branch", {"session_id": "p-1"}, "not_found"),
    ("alc_branch", {"session_id": "SID", "at": "q-9"}, "refused"),
    ("alc_branch", {"session_id": "SID", "response": "a"}, "refused"),
    ("alc_branch", {"session_id": "SID", "n": 0}, "bad_argument"),
    ("alc_branch", {"session_id": "SID", "n": 1000}, "refused"),
    ("alc_branch", {"session_id": "SID", "code": "a", "code_file": "b.lua"}, "refused"),
    ("alc_catalog", {"kind": "nothing"}, "bad_argument"),
    ("alc_catalog", {"name": "nothing"}, "unknown_strategy"),
    ("alc_catalog", {"kind": "packages", "name": "nothing"}, "not_found"),
    ("alc_catalog", {"kind": "cards", "name": "nothing"}, "not_found"),
    ("alc_catalog", {"kind": "state", "name": "nothing/key"}, "not_found"),
    ("alc_package", {}, "bad_argument"),
    ("alc_package", {"action": "nothing"}, "bad_argument"),
    ("alc_package", {"action": "install"}, "refused"),
    ("alc_package", {"action": "install", "source": "/nothing"}, "bad_source"),
    ("alc_package", {"action": "link", "source": "https://x.invalid/y"}, "bad_source"),
    ("alc_package", {"action": "remove", "name": "nothing"}, "not_installed"),
    ("alc_package", {"action": "unlink", "name": "nothing"}, "not_installed"),
    ("alc_nothing", {}, "unknown_tool"),
]


def ways_on(text: str) -> list[str]:
    """The tools that a refusal names, each with arguments that it has."""
    named = re.findall(r"\b(alc_[a-z_]+)(?:\(([^)]*)\))?", text)
    for tool, arguments in named:
        assert tool in ARGUMENTS or tool == "alc_nothing", text
        for argument in re.findall(r"(\w+)=", arguments):
            assert argument in ARGUMENTS[tool], text
    return [tool for tool, _ in named if tool in ARGUMENTS]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RawServer, dict[str, str]]]:
    home = tmp_path_factory.mktemp("way_on") / "home"
    app = RawServer({**server_environment(home, fake=False), "ALC_TOOLS": "author"})
    app.initialize()
    ids = {}
    for name, code in (("SID", ASKS), ("DONE", "return 1")):
        app.call(1, "alc_run", {"code": code})
        ids[name] = app.line()["result"]["structuredContent"]["session_id"]
    yield app, ids
    app.close()
    end_workers(Home(home))


@pytest.mark.parametrize(("tool", "arguments", "code"), REFUSED)
def test_a_refused_call_names_the_tool_that_goes_on(
    server: tuple[RawServer, dict[str, str]], tool: str, arguments: dict[str, Any], code: str
) -> None:
    app, ids = server
    sid = ids.get(arguments.get("session_id", ""))

    app.call(1, tool, arguments | ({"session_id": sid} if sid else {}))

    result = app.line()["result"]
    assert result.get("isError"), result
    text = result["content"][0]["text"]
    assert text.endswith(f" [{code}]"), text
    assert ways_on(text), text


def _codes() -> set[str]:
    """The codes of every error in the program: the texts after `code=`, and the `code` of each class."""
    codes = set()
    for path in Path(algocline_mcp.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "code" and isinstance(node.value, ast.Constant):
                codes.add(node.value.value)
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                codes |= {node.value.value for target in node.targets if getattr(target, "id", "") == "code"}
    return {code for code in codes if isinstance(code, str) and re.fullmatch("[a-z_]+", code)}


@pytest.mark.parametrize("tool", ARGUMENTS)
def test_every_code_has_a_way_on_for_every_tool(tool: str) -> None:
    codes = _codes()
    assert {"home_unusable", "storage_full", "timeout", "corrupt", "too_large"} <= codes

    for code in codes:
        (content,) = refusal("this is how it is", code, tool).content
        assert content.type == "text"
        assert "; next: " in content.text
        assert ways_on(content.text), content.text
