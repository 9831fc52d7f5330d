"""Client of one MCP server over stdio, without the SDK.

Contract: several calls may be under way; one of them reads for all. `call` returns or raises within its time limit; it
raises Unreachable if the server has ended, is silent, or writes what is not a message. The server starts in a session
of its own, so Ctrl-C at the terminal ends the client alone; it shares stderr, and has ended when the context exits.

The reason: `alc run` took 2.2 s to start, and half of that was the import of the SDK, for two requests and a
notification. The server imports it too, and the tests of the server drive it with the official client.
"""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from algocline_mcp import __version__
from algocline_mcp.errors import Unreachable

START_S = 60.0  # for the first reply: a busy machine takes that long to import the SDK
LEAVE_S = 5.0  # a server without input ends in milliseconds; after this it is terminated, and after it again killed
LINE_BYTES = 1 << 26  # of one message; a result has at most 16 MiB, and JSON in a text doubles some characters
_PROTOCOL = "2025-11-25"
_NO_METHOD = {"code": -32601, "message": "Method not found"}

OnProgress = Callable[[float, str | None], None]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """`content`: the structured content; None where the call has failed, and `text` says why."""

    content: dict[str, Any] | None
    text: str


@asynccontextmanager
async def started_client(environ: Mapping[str, str]) -> "AsyncIterator[Client]":
    """A client of a new server in the working directory."""
    process = await anyio.open_process(
        [sys.executable, "-m", "algocline_mcp"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None,
        env=dict(environ),
        start_new_session=True,
    )
    try:
        client = Client(process)
        await client.initialize()
        yield client
    finally:
        with anyio.CancelScope(shield=True):
            await _end(process)


async def _end(process: Process) -> None:
    assert process.stdin is not None
    with suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
        await process.stdin.aclose()
    for signal_it in (process.terminate, process.kill):
        with anyio.move_on_after(LEAVE_S):
            await process.wait()
        if process.returncode is not None:
            break
        signal_it()
    await process.aclose()


class Client:
    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._input = process.stdin
        self._output = BufferedByteReceiveStream(process.stdout)
        self._count = 0
        self._pending: dict[int, OnProgress | None] = {}  # by the number of the request
        self._replies: dict[int, dict[str, Any]] = {}
        self._reading = anyio.Lock()
        self._writing = anyio.Lock()  # a long line is written in parts

    async def initialize(self) -> None:
        info = {"name": "alc", "version": __version__}
        params = {"protocolVersion": _PROTOCOL, "capabilities": {}, "clientInfo": info}
        message = await self._request("initialize", params, START_S, None)
        if "error" in message:
            raise Unreachable(f"the server cannot start: {message['error'].get('message')}")
        await self._send({"method": "notifications/initialized"})

    async def call(
        self, tool: str, arguments: Mapping[str, Any], *, limit_s: float, on_progress: OnProgress
    ) -> ToolResult:
        """The result of a tool, also of one that has failed."""
        message = await self._request("tools/call", {"name": tool, "arguments": arguments}, limit_s, on_progress)
        if "error" in message:
            return ToolResult(None, str(message["error"].get("message")))
        result = message.get("result", {})
        text = "\n".join(block.get("text", "") for block in result.get("content", ()))
        content = result.get("structuredContent")
        return ToolResult(None if result.get("isError") or not isinstance(content, dict) else content, text)

    async def _request(
        self, method: str, params: dict[str, Any], limit_s: float, on_progress: OnProgress | None
    ) -> dict[str, Any]:
        """The message that replies."""
        self._count += 1
        number = self._count
        self._pending[number] = on_progress
        if on_progress is not None:
            params = {**params, "_meta": {"progressToken": number}}
        try:
            with anyio.fail_after(limit_s):
                await self._send({"id": number, "method": method, "params": params})
                return await self._reply(number)
        except TimeoutError:
            raise Unreachable(f"no reply to {method} within {limit_s:g} s") from None
        except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.IncompleteRead) as exc:
            raise Unreachable(f"it ended before it replied to {method}") from exc
        except (ValueError, anyio.DelimiterNotFound) as exc:
            raise Unreachable(f"it wrote what is not a message of at most {LINE_BYTES} bytes") from exc
        finally:
            del self._pending[number]

    async def _reply(self, number: int) -> dict[str, Any]:
        while number not in self._replies:
            async with self._reading:
                if number not in self._replies:
                    await self._take(json.loads(await self._output.receive_until(b"\n", LINE_BYTES)))
        return self._replies.pop(number)

    async def _take(self, message: Any) -> None:
        if not isinstance(message, dict):
            raise ValueError("not an object")
        method, number = message.get("method"), message.get("id")
        params = message.get("params", {})
        if method is None:  # an error without id is that of the oldest request
            number = next(iter(self._pending)) if number is None else number
            if number in self._pending:
                self._replies[number] = message
        elif method == "notifications/progress":
            on_progress = self._pending.get(params.get("progressToken"))
            if on_progress is not None:
                on_progress(params.get("progress", 0), params.get("message"))
        elif number is not None:  # a request of the server: it must not wait for ever
            own = {"result": {}} if method == "ping" else {"error": _NO_METHOD}
            await self._send({"id": number, **own})

    async def _send(self, message: dict[str, Any]) -> None:
        line = json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n"
        async with self._writing:
            await self._input.send(line)
