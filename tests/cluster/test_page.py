"""docs/cluster.md, as a reader follows it: its commands in order, on a PostgreSQL of the tests, and what they show."""

import os
import shutil
import socket
import sys
from pathlib import Path

import pytest

from algocline_mcp.cluster.connection import Database
from tests.cluster.postgres import programs
from tests.docs.page_commands import blocks_of, is_shown, outputs_of
from tests.rig.stdio_home import ROOT, StdioHome

PAGE = (ROOT / "docs" / "cluster.md").read_text()
URL = "postgresql://alc@db.example/alc"  # of the page
LIMIT_S = 300.0  # of all commands; they take 5 s


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="the page asks with curl")
def test_every_command_runs_and_shows_what_the_page_shows(
    stdio_home: StdioHome, empty: Database, tmp_path: Path
) -> None:
    program = tmp_path / "bin" / "alc"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m algocline_mcp "$@"\n')
    program.chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    here = {"8080": str(port), "/var/lib/alc": str(stdio_home.root)}
    commands, shown = list[str](), list[str]()
    for comment, _, language, text in blocks_of(PAGE):
        if comment in ("command", "picture"):
            continue
        if language == "text":
            shown[-1] += text.replace(URL, empty.label)
        elif language == "sh":
            for name, actual in here.items():
                text = text.replace(name, actual)
            commands.append(text.replace(URL, empty._url))
            shown.append("")
    path = f"{program.parent}:{programs()}:{os.environ['PATH']}"

    outputs = outputs_of(commands, tmp_path, {**stdio_home.environment, "PATH": path}, LIMIT_S)

    assert len(commands) > 3
    for text, output in zip(shown, outputs, strict=True):
        assert is_shown(text, output), f"the page shows:\n{text}\nbut it is:\n{output}"
