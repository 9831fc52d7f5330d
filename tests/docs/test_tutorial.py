"""docs/tutorial.md, as a reader follows it: every command in order, in a home of its own, and what it shows."""

import json
import os
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from tests.docs import tutorial_model
from tests.docs.page_commands import blocks_of, is_shown, outputs_of
from tests.peers.model_endpoint import ModelEndpoint
from tests.rig.stdio_home import ROOT, StdioHome

PAGE = (ROOT / "docs" / "tutorial.md").read_text()
MODEL = "openai:gpt-5-mini"
LIMIT_S = 400.0  # of all commands; they take 25 s


def _commands(url: str) -> tuple[list[str], list[str]]:
    """The commands of the blocks, and what each of them shows."""
    commands: list[str] = []
    shown: list[str] = []
    for comment, value, language, text in blocks_of(PAGE):
        if language == "text":
            shown[-1] += text
            continue
        if (comment, value) == ("command", "install"):  # needs the network: .ci/run runs it
            continue
        if language == "diff":
            old, new = (line[1:] for line in text.splitlines())
            text = _python(f"text = open({value!r}).read(); assert text.count({old!r}) == 1\n"
                           f"open({value!r}, 'w').write(text.replace({old!r}, {new!r}))")  # fmt: skip
        elif comment == "append":
            text = f"cat >> {value} <<'APPENDED'\n{text}APPENDED\n"
        commands.append(text.replace(f"--model {MODEL}", f"--model {MODEL} --base-url {url}/v1"))
        shown.append("")
    return commands, shown


def _python(code: str) -> str:
    return f'"$PYTHON" - <<"CODE"\n{code}\nCODE\n'


@pytest.mark.slow
def test_every_command_runs_and_shows_what_the_page_shows(stdio_home: StdioHome, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "alc"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m algocline_mcp "$@"\n')
    program.chmod(0o755)
    own = {"PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(tmp_path), "COLUMNS": "100"}
    environment = {**stdio_home.environment, **own, "PYTHON": sys.executable}

    with ModelEndpoint(tutorial_model.answer) as endpoint:
        commands, shown = _commands(endpoint.address)
        outputs = outputs_of(commands, tmp_path, environment, LIMIT_S)
    for text, output in zip(shown, outputs, strict=True):
        assert is_shown(text, output), f"the page shows:\n{text}\nbut it is:\n{output}"
    assert "gpt-5-mini" in (tmp_path / "first-hour" / "run.html").read_text()
    entry = json.loads((tmp_path / "first-hour" / ".mcp.json").read_text())["mcpServers"]["alc"]
    anyio.run(_assert_the_host_has_the_command, entry, environment)


async def _assert_the_host_has_the_command(entry: dict[str, Any], environment: dict[str, str]) -> None:
    server = StdioServerParameters(command=entry["command"], args=entry.get("args", []), env=environment)
    with anyio.fail_after(120):
        async with Client(server) as client:
            prompts = {prompt.name: prompt for prompt in (await client.list_prompts()).prompts}

    assert [argument.name for argument in prompts["my_review"].arguments or [] if argument.required] == ["file"]


def test_what_the_page_installs_is_there() -> None:
    (install,) = [text for comment, value, _, text in blocks_of(PAGE) if (comment, value) == ("command", "install")]
    (extras,) = re.findall(r"'\.\[([\w,]+)\]'", install)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    assert len(install.splitlines()) == 1, ".ci/run reads one line"


@pytest.mark.parametrize(
    ("shown", "is_there"),
    [
        ("one\n", True), ("two\nthree\n", True), ("one\n…\nfour 4 s\n", True), ("four … s\n", True), ("", True),
        ("one\nthree\n", False), ("wo\n", False), ("four\n", False), ("four\n…\none\n", False), ("fo(u)r 4 s\n", False),
    ],
)  # fmt: skip
def test_a_page_that_shows_something_else_fails(shown: str, is_there: bool) -> None:
    assert is_shown(shown, "one\ntwo\nthree\nfour 4 s\n") == is_there
