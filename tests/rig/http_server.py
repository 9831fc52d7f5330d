"""`alc serve` as a process, and what a test asks it without a client of MCP."""

import http.client
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self

import anyio
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp_types import Implementation

LIMIT_S = 120.0  # nothing takes as long, on a busy machine neither; what hangs fails after it
JSON = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


class HttpServer:
    def __init__(self, environment: Mapping[str, str], *arguments: str, address: str = ":0") -> None:
        """Returns when the server listens. Raises AssertionError with its stderr where it does not."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "algocline_mcp", "serve", "--http", address, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            text=True,
        )
        self.url = self._line()
        self.port = int(self.url.rpartition(":")[2].partition("/")[0])

    def _line(self) -> str:
        assert self.process.stdout is not None
        watchdog = threading.Timer(LIMIT_S, self.process.kill)
        watchdog.start()
        try:
            line = self.process.stdout.readline().strip()
        finally:
            watchdog.cancel()
        assert line, self.process.communicate()[1]
        return line

    @asynccontextmanager
    async def client(self, mode: Any = "auto", *, token: str = "") -> AsyncIterator[Client]:
        with anyio.fail_after(LIMIT_S):
            async with connected(self.url, mode, token) as client:
                yield client

    def ask(
        self, path: str, body: bytes | None = None, *, method: str = "", **headers: str
    ) -> tuple[int, dict[str, str], str]:
        """Status, headers and text of one request. An underscore in a name of `headers` is a hyphen."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method or ("GET" if body is None else "POST"), path, body, named)
            reply = connection.getresponse()
            return reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read().decode()
        finally:
            connection.close()

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Exit code and stderr."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        stderr = self.process.communicate(timeout=LIMIT_S)[1]
        return self.process.returncode, stderr

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop(signal.SIGKILL)


@asynccontextmanager
async def connected(url: str, mode: Any = "auto", token: str = "") -> AsyncIterator[Client]:
    """The official client, with a bearer token."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with create_mcp_http_client(headers=headers) as http_client:
        transport = streamable_http_client(url, http_client=http_client)
        async with Client(transport, mode=mode, client_info=Implementation(name="mcp", version="1")) as client:
            yield client
