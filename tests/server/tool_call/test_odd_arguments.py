"""Texts that no file and no name has: one sentence for each, for every text argument of every tool."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from algocline_mcp.cli.demo import end_workers
from algocline_mcp.config.home import Home
from algocline_mcp.errors import Refused
from algocline_mcp.server.app import tools_of
from algocline_mcp.server.tool_call.cost import NAMES, within_cost
from algocline_mcp.server.tool_call.results import refusal
from tests.rig.hosts import RawServer, Tools, server_environment
from tests.rig.tool_replies import refusal_of

TOOLS = {tool.name: tool for tool in tools_of({"ALC_TOOLS": "full"})}
FIELDS = {name: tool.fn_metadata.arg_model.model_fields for name, tool in TOOLS.items()}
TEXTS = [(tool, name) for tool, fields in FIELDS.items() for name, field in fields.items() if field.annotation is str]
FREE = {"code", "task", "title", "response", "refuse", "content", "description", "action", "note", "verbose"}

# Arguments with which a tool comes to use the others; by default only the required ones are given.
WITH: dict[str, list[dict[str, Any]]] = {
    "alc_run": [{"code": "return 1"}, {"code_file": "s.lua"}, {"strategy": "cot"}, {}],
    "alc_status": [{"session_id": "p-1"}, {"session_id": "p-1", "view": "log"}, {}],
    "alc_continue": [{"session_id": "p-1", "response": "a"}],
    "alc_branch": [{"session_id": "p-1"}],
    "alc_catalog": [{"kind": kind} for kind in ("strategies", "packages", "cards", "state", "help")],
    "alc_package": [
        {"action": "install", "source": "/nothing"},
        {"action": "link", "source": "/nothing"},
        {"action": "remove", "name": "x"},
        {"action": "unlink", "name": "x"},
    ],
    "alc_pkg_test": [{"code": "return 1", "project_root": "/nothing"}, {"pkg": "cot"}, {"code_file": "s.lua"}],
    "alc_pkg_remove": [{"name": "x"}, {"name": "x", "scope": "project", "project_root": "/nothing"}],
    "alc_pkg_link": [{"path": "/nothing"}, {"path": "/nothing", "scope": "variant", "project_root": "/nothing"}],
    "alc_pkg_scaffold": [{"name": "X!"}],
}


@pytest.mark.parametrize(("tool", "name"), TEXTS)
@pytest.mark.parametrize("odd", ["a\0b", "~\0", "a\ud800b", "x" * 5000])
def test_a_text_that_no_name_has_is_refused_by_the_name_of_its_argument(tool: str, name: str, odd: str) -> None:
    if name in FREE:
        anyio.run(within_cost, TOOLS[tool], {name: odd})
        return

    assert name in NAMES
    for value in (odd, [odd]):
        with pytest.raises(Refused, match=f"^{name} (is|has) "):
            anyio.run(within_cost, TOOLS[tool], {name: value})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RawServer]:
    home = tmp_path_factory.mktemp("odd") / "home"
    app = RawServer({**server_environment(home, fake=False), "ALC_TOOLS": "full"})
    app.initialize()
    yield app
    app.close()
    end_workers(Home(home))


@pytest.mark.slow
@pytest.mark.parametrize("tool", FIELDS)
def test_no_text_is_an_error_of_the_server(server: RawServer, tool: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    odd = ["a\0b", "a\ud800b", "n" * 3000, f"{tmp_path}/{'n' * 300}", f"{tmp_path}/file/x", str(tmp_path), "a\nb"]
    required = {name: "x" for name, field in FIELDS[tool].items() if field.is_required()}

    for given in WITH.get(tool, [required]):
        for name in (name for of, name in TEXTS if of == tool):
            for text in odd:
                server.call(1, tool, {**given, name: text})
                result = server.line()["result"]
                if result.get("isError"):
                    (content,) = result["content"]
                    assert "[internal]" not in content["text"], (given, name, text)
                    assert "\n" not in content["text"]
                    assert len(content["text"]) < 2000


@pytest.mark.parametrize("path", ["file/inside", "n" * 300], ids=["below a file", "a long name"])
def test_a_path_that_cannot_be_used_is_named(
    tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.chdir(tmp_path)

    sentence = refusal_of(tools.call("alc_run", code_file=f"{path}.lua", project_root=str(tmp_path)))
    assert sentence.startswith(f"Failed to read {tmp_path}/{path}.lua: ")


def test_a_refusal_is_one_line_that_every_host_shows() -> None:
    (content,) = refusal("begin\n" + "n" * 9000 + "\u2028end", "refused", "alc_run").content

    assert content.type == "text"
    assert content.text.startswith("begin nnn")
    assert content.text.endswith("n end; next: correct this, then call alc_run again [refused]")
    assert len(content.text) < 2000
    assert len(content.text.splitlines()) == 1
