"""One connection to a worker: a request out, progress and one response in. Safe to drop at any moment.

Contract: `connect` raises OSError where nobody listens. `ask` raises Refused for a request over the limit of a line,
ProtocolError where the peer is not the worker that was meant or breaks the protocol, ConnectionError where it ends
before it has answered (then nobody knows whether it took the request: reach the session again and send the same),
TimeoutError at the deadline.
"""

import socket
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

import anyio

from algocline_mcp.errors import ProtocolError, Refused
from algocline_mcp.protocol import messages
from algocline_mcp.protocol.messages import LineBuffer, PoolRequest, PoolResponse

_RECEIVE_BYTES = 256 * 1024

OnRawProgress = Callable[[dict[str, Any]], Awaitable[None]]


class PoolClient:
    def __init__(self, sock: socket.socket, line_bytes: int) -> None:
        self._socket = sock
        self._line_bytes = line_bytes
        self._lines = LineBuffer(line_bytes)
        self._ready: deque[bytes] = deque()

    @classmethod
    def connect(cls, path: Path, *, line_bytes: int) -> Self:
        """At once or not at all. Raises FileNotFoundError, ConnectionRefusedError, BlockingIOError (backlog full)."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            sock.connect(str(path))
        except OSError:
            sock.close()
            raise
        return cls(sock, line_bytes)

    async def ask(
        self, request: PoolRequest, *, timeout_s: float, on_progress: OnRawProgress | None = None
    ) -> PoolResponse:
        line = request.encode()
        if len(line) > self._line_bytes:  # the worker would close over it, and look as if it had died
            sentence = (
                f"this call has {len(line)} bytes, at most {self._line_bytes} reach a worker: shorten the answers"
            )
            raise Refused(sentence, code="too_large")
        with anyio.fail_after(timeout_s):
            await self._send(line)
            while True:
                response = await self._receive(request)
                if not response.is_progress:
                    return response
                if on_progress is not None:
                    await on_progress(_progress(response))

    async def _send(self, line: bytes) -> None:
        rest = memoryview(line)
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
            except BlockingIOError:
                await anyio.wait_writable(self._socket)

    async def _receive(self, request: PoolRequest) -> PoolResponse:
        while not self._ready:
            try:
                chunk = self._socket.recv(_RECEIVE_BYTES)
            except BlockingIOError:
                await anyio.wait_readable(self._socket)
                continue
            if not chunk:
                raise ConnectionResetError("the worker ended before it answered")
            self._ready.extend(self._lines.feed(chunk))
        response = PoolResponse.decode(self._ready.popleft())
        self._check(request, response)
        return response

    @staticmethod
    def _check(request: PoolRequest, response: PoolResponse) -> None:
        speaker = response.speaker
        if speaker.protocol != messages.PROTOCOL:
            sentence = f"the worker speaks protocol {speaker.protocol}, not {messages.PROTOCOL}"
            raise ProtocolError(sentence, code="protocol")
        if speaker.sid != request.sid:
            raise ProtocolError(f"the worker holds session {speaker.sid}, not {request.sid}")

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _progress(response: PoolResponse) -> dict[str, Any]:
    progress = (response.data or {}).get("progress")
    if not isinstance(progress, dict) or not {"step", "total", "message"} <= progress.keys():
        raise ProtocolError("malformed response: progress without step, total and message")
    return progress
