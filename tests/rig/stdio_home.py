"""A home whose server is real: the official client over stdio, `alc` at the terminal, workers, Lua."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp_types import Implementation

from tests.rig.programs import ROOMY_VARIABLES

LIMIT_S = 120.0  # a test that hangs fails after this; no test takes as long, even on a busy machine
ROOT = Path(__file__).parents[2]


class StdioHome:
    def __init__(self, root: Path) -> None:
        self.root = root
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("ALC_")}
        own = {"ALC_HOME": str(root), "ALC_POOL_IDLE_TIMEOUT": "10", "ALC_WARMUP_RUNS": "1"}
        self.environment = {**inherited, "PYTHONPATH": str(ROOT), **ROOMY_VARIABLES, **own}

    @asynccontextmanager
    async def client(self, name: str = "mcp", *, prefix: Iterable[str] = (), **options: Any) -> AsyncIterator[Client]:
        """A client with a server of its own. `name`: the name of the client, which the server gets.

        `prefix`: a command that runs the server. `options`: of the client."""
        words = [*prefix, sys.executable, "-m", "algocline_mcp"]
        server = StdioServerParameters(command=words[0], args=words[1:], env=self.environment)
        with anyio.fail_after(LIMIT_S):
            async with Client(server, client_info=Implementation(name=name, version="1"), **options) as client:
                yield client

    def alc(self, *arguments: str, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "algocline_mcp", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=LIMIT_S,
            check=False,
        )

    def sockets(self) -> list[str]:
        return [path.name for path in (self.root / "state" / "pool").glob("*.sock")]


@pytest.fixture
def stdio_home() -> Iterator[StdioHome]:
    """Fails a test that leaves a worker behind."""
    with tempfile.TemporaryDirectory(prefix="alc-") as directory:
        home = StdioHome(Path(directory))
        yield home
        wait_for_workers_to_leave(home)


def wait_for_workers_to_leave(home: StdioHome) -> None:
    deadline_s = time.monotonic() + LIMIT_S
    while home.sockets():
        assert time.monotonic() < deadline_s, "a worker was left behind"
        threading.Event().wait(0.01)


async def call_tool(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    reply = await client.call_tool(tool, arguments)
    text = reply.content[0].text  # type: ignore[union-attr]
    assert not reply.is_error, text
    result = reply.structured_content
    assert isinstance(result, dict)
    assert text.endswith("see structuredContent") or json.loads(text) == result
    return result
