"""Hosts for tests: a client in memory with the fake pool, raw pipes to a real server, and a server with every tool."""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest

from algocline_mcp.cli.demo import Server, end_workers
from algocline_mcp.config.home import Home
from tests.rig.programs import ROOMY_VARIABLES

HERE = Path(__file__).parent
FAKE = HERE / "fake"
LIMIT_S = 60.0  # a test that hangs fails after this; no test takes as long, even on a busy machine


def server_environment(home: Path, *, fake: bool = True, **settings: str) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(FAKE) if fake else "", str(HERE.parent.parent)]))
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("ALC_", "PYTHON"))}
    # These hosts take lines of any length: tests of truncation.py are elsewhere. No warm-up: it costs time.
    own = {"ALC_HOME": str(home), "ALC_OUTPUT_BYTES": str(1 << 26), "ALC_WARMUP_RUNS": "0"}
    return {**inherited, "PYTHONPATH": path, **ROOMY_VARIABLES, **own, **settings}


class RawServer:
    """`alc` over pipes, as bytes."""

    INITIALIZE = (
        b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},'
        b'"clientInfo":{"name":"test","version":"1"}}}\n{"jsonrpc":"2.0","method":"notifications/initialized"}\n'
    )

    def __init__(self, environment: dict[str, str], *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "algocline_mcp", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )

    def send(self, *lines: bytes) -> None:
        assert self.process.stdin is not None
        for line in lines:
            self.process.stdin.write(line)
        self.process.stdin.flush()

    def line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        watchdog = threading.Timer(LIMIT_S, self.process.kill)  # a mute server must not hang the suite
        watchdog.start()
        try:
            reply: dict[str, Any] = json.loads(self.process.stdout.readline())
        finally:
            watchdog.cancel()
        return reply

    def initialize(self) -> None:
        self.send(self.INITIALIZE)
        assert self.line()["id"] == 0

    def call(self, number: int, tool: str, arguments: dict[str, Any], **meta: Any) -> None:
        params = {"name": tool, "arguments": arguments, **({"_meta": meta} if meta else {})}
        self.send(
            json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}).encode() + b"\n"
        )

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(LIMIT_S)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()


def run_line(number: int, code: bytes) -> bytes:
    """A request that calls alc_run with `code`, which must be escaped for JSON."""
    return (
        b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"alc_run","arguments":{"code":"%s"}}}\n'
        % (number, code)
    )


def code_of(reply: dict[str, Any]) -> str:
    """The code that the fake pool was asked to run, which its result repeats."""
    text: str = reply["result"]["structuredContent"]["result"]["code"]
    return text


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Environment of a server with a home of its own and the fake pool."""
    return server_environment(tmp_path / "home")


@pytest.fixture
def raw(environment: dict[str, str]) -> Iterator[RawServer]:
    app = RawServer(environment)
    yield app
    app.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RawServer]:
    """One initialized server for all tests of a module; each test reads every reply that it causes."""
    app = RawServer(server_environment(tmp_path_factory.mktemp("shared") / "home"))
    app.initialize()
    yield app
    app.close()


def _fake_dispatch() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fake_dispatch_in_memory", FAKE / "fake_dispatch.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


class Tools:
    """The tools through the official client in memory, with the fake pool."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.client_name = "test"

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Any]:
        from mcp import Client
        from mcp_types import Implementation

        async with Client(self._app, client_info=Implementation(name=self.client_name, version="1")) as client:
            yield client

    def call(self, tool: str, **arguments: Any) -> Any:
        return self.calls((tool, arguments))[0]

    def calls(self, *calls: tuple[str, dict[str, Any]]) -> list[Any]:
        """All calls over one connection, so with one home."""

        async def play() -> list[Any]:
            with anyio.fail_after(LIMIT_S):
                async with self.client() as client:
                    return [await client.call_tool(tool, arguments) for tool, arguments in calls]

        return anyio.run(play)

    def listed(self) -> dict[str, dict[str, Any]]:
        async def play() -> Any:
            async with self.client() as client:
                return await client.list_tools()

        listing = anyio.run(play).model_dump(mode="json", by_alias=True, exclude_unset=True)
        return {tool["name"]: tool for tool in listing["tools"]}


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    from algocline_mcp import pool
    from algocline_mcp.pool import dispatch
    from algocline_mcp.server import app

    importlib.import_module("algocline_mcp.pool.branch")  # before the fake is in place, which it could import
    fake = _fake_dispatch()
    monkeypatch.setattr(pool, "dispatch", fake)
    monkeypatch.setitem(sys.modules, dispatch.__name__, fake)
    monkeypatch.setenv("ALC_HOME", str(tmp_path / "home"))
    return Tools(app.build())


@pytest.fixture(scope="module")
def host() -> Iterator[Server]:
    """A real server that lists every tool."""
    with tempfile.TemporaryDirectory(prefix="alc") as directory:
        home = Home(Path(os.path.realpath(directory)) / "h")
        with Server.start(home, ALC_TOOLS="full") as started:
            yield started
        end_workers(home)
