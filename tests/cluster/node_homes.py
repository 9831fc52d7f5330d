"""Homes of two nodes on one database, and one call of a tool at a node."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from algocline_mcp.cluster.connection import Database
from tests.rig.http_server import HttpServer
from tests.rig.stdio_home import StdioHome, call_tool, wait_for_workers_to_leave

ASK_TWICE = 'local a = alc.llm("first") return a .. "+" .. alc.llm("second after " .. a)'


class NodeHome(StdioHome):
    def __init__(self, root: Path, database: Database, **settings: str) -> None:
        super().__init__(root)
        self.environment |= {"ALC_DATABASE": database._url, "ALC_POOL_IDLE_TIMEOUT": "600", **settings}

    def serve(self) -> HttpServer:
        return HttpServer(self.environment, "--database", "-")


@pytest.fixture
def homes(database: Database) -> Iterator[tuple[NodeHome, NodeHome]]:
    """Fails a test that leaves a worker behind."""
    with tempfile.TemporaryDirectory(prefix="alc-") as one, tempfile.TemporaryDirectory(prefix="alc-") as two:
        homes = NodeHome(Path(one), database), NodeHome(Path(two), database)
        yield homes
        for home in homes:
            wait_for_workers_to_leave(home)


async def call(server: HttpServer, tool: str, *, token: str = "", **arguments: Any) -> dict[str, Any]:
    async with server.client(token=token) as client:
        return await call_tool(client, tool, **arguments)


async def refusal(server: HttpServer, tool: str, *, token: str = "", **arguments: Any) -> str:
    async with server.client(token=token) as client:
        reply = await client.call_tool(tool, arguments)
        assert reply.is_error, reply
        return str(reply.content[0].text)  # type: ignore[union-attr]  # tools reply with text
