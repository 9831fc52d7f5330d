"""docs/tutorial.md, as a reader follows it: every command in order, in a home of its own, and what it shows."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from tests.docs import tutorial_model
from tests.peers.model_endpoint import ModelEndpoint
from tests.rig.stdio_home import ROOT, StdioHome

PAGE = (ROOT / "docs" / "tutorial.md").read_text()
MODEL = "openai:gpt-5-mini"
LIMIT_S = 400.0  # of all commands; they take 25 s
_BLOCK = re.compile(r"(?:<!-- (\w+): ([^>]*) -->\n)?```(\w+)\n(.*?)```\n", re.DOTALL)
_MARK = "== block {} =="


def _blocks() -> list[tuple[str, str, str, str]]:
    """(what the comment says, its value, language, text) of each block."""
    return [(match[1] or "", match[2] or "", match[3], match[4]) for match in _BLOCK.finditer(PAGE)]


def _script(url: str) -> tuple[str, list[str]]:
    """One shell script of all blocks, each behind a mark, and what each of them shows."""
    parts: list[str] = []
    shown: list[str] = []
    for comment, value, language, text in _blocks():
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
        parts.append(f"echo '{_MARK.format(len(shown))}'\n{text}")
        shown.append("")
    script = "\n".join(parts).replace(f"--model {MODEL}", f"--model {MODEL} --base-url {url}/v1")
    return f"{script}\necho '{_MARK.format(len(shown))}'\n", shown


def _python(code: str) -> str:
    return f'"$PYTHON" - <<"CODE"\n{code}\nCODE\n'


def _is_shown(shown: str, output: str) -> bool:
    """Whether the lines stand in the output one after the other; … stands for any text, alone for any lines."""
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == "…" else re.escape(line).replace("…", ".*") + r"\n"
        for line in shown.splitlines()
    )
    return re.search(f"(?m)^{pattern}", output) is not None


@pytest.mark.slow
def test_every_command_runs_and_shows_what_the_page_shows(stdio_home: StdioHome, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "alc"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m algocline_mcp "$@"\n')
    program.chmod(0o755)
    own = {"PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(tmp_path), "COLUMNS": "100"}
    environment = {**stdio_home.environment, **own, "PYTHON": sys.executable}

    with ModelEndpoint(tutorial_model.answer) as endpoint:
        script, shown = _script(endpoint.address)
        done = subprocess.run(
            ["sh", "-ec", script],
            cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout
    for number, text in enumerate(shown):
        _, _, output = done.stdout.partition(f"{_MARK.format(number)}\n")
        output, _, _ = output.partition(f"{_MARK.format(number + 1)}\n")
        assert _is_shown(text, output), f"the page shows:\n{text}\nbut it is:\n{output}"
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
    (install,) = [text for comment, value, _, text in _blocks() if (comment, value) == ("command", "install")]
    (extras,) = re.findall(r"'\.\[([\w,]+)\]'", install)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    assert len(install.splitlines()) == 1, ".ci/run reads one line"


@pytest.mark.parametrize(
    ("shown", "is_shown"),
    [
        ("one\n", True), ("two\nthree\n", True), ("one\n…\nfour 4 s\n", True), ("four … s\n", True), ("", True),
        ("one\nthree\n", False), ("wo\n", False), ("four\n", False), ("four\n…\none\n", False), ("fo(u)r 4 s\n", False),
    ],
)  # fmt: skip
def test_a_page_that_shows_something_else_fails(shown: str, is_shown: bool) -> None:
    assert _is_shown(shown, "one\ntwo\nthree\nfour 4 s\n") == is_shown
