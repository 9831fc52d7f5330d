"""Replies with long parts, which are encoded beside the event loop. ASGI.

Contract. `LongReplies` stands around the SDK. A reply without a long part passes as it is, and costs one look at an
empty dict for each of its messages. Else the SDK has encoded marks (server/tool_call/long_parts.py), and a thread puts
the parts in their place: 30 MB held the event loop, so every other caller, for 0.5 s.
"""

import anyio
import anyio.to_thread
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from algocline_mcp.server.tool_call.long_parts import LongParts, holding

_ENCODERS = 2  # threads


class LongReplies:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._threads = anyio.CapacityLimiter(_ENCODERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with holding() as parts:
            await self._app(scope, receive, _Filled(parts, send, self._threads))


class _Filled:
    """The `send` of one request."""

    def __init__(self, parts: LongParts, send: Send, threads: anyio.CapacityLimiter) -> None:
        self._parts = parts
        self._send = send
        self._threads = threads
        self._start: Message | None = None  # held back until the length of the body is known

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and self._parts:
            self._start = message
            return
        if message["type"] == "http.response.body" and self._parts:
            fill = self._parts.fill
            body = await anyio.to_thread.run_sync(fill, message.get("body", b""), limiter=self._threads)
            message = {**message, "body": body}
        if self._start is not None:
            start, self._start = self._start, None
            await self._send(_with_length(start, message))
        await self._send(message)


def _with_length(start: Message, message: Message) -> Message:
    """The SDK has declared the length of a body that comes whole, with marks in it."""
    headers = [(name, value) for name, value in start.get("headers", ()) if name.lower() != b"content-length"]
    if len(headers) < len(start.get("headers", ())):
        headers.append((b"content-length", b"%d" % len(message.get("body", b""))))
    return {**start, "headers": headers}
