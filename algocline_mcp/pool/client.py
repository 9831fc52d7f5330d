"""Client of one worker: sends a request, receives progress and one response. Safe to drop at any moment.

Contract: `connect` raises OSError if no process listens. `ask` raises Refused for a request longer than a line may be,
ProtocolError if the other side is not the worker of this session or breaks the protocol, TimeoutError at the deadline,
and ConnectionError if the worker ended before it answered. After a ConnectionError it is unknown whether the request
was accepted: reach the session again and send the same request, which is safe.
"""

import os
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import anyio
import anyio.to_thread

from algocline_mcp.errors import ProtocolError, Refused
from algocline_mcp.protocol import messages
from algocline_mcp.protocol.messages import LineBuffer, PoolRequest, PoolResponse
from algocline_mcp.storage.socket_paths import short_path
from algocline_mcp.storage.sockets import peer_uid

_LONG_BYTES = 256 * 1024  # 5 ms; a longer response is decoded beside the event loop: 11 MB took 36 to 450 ms
_RECEIVE_BYTES = 64 * 1024  # a buffer of 128 KiB or more is mapped and unmapped for each read: 20 µs

OnRawProgress = Callable[[dict[str, Any]], Awaitable[None]]


class PoolClient:
    def __init__(self, sock: socket.socket, line_bytes: int) -> None:
        self._socket = sock
        self._line_bytes = line_bytes
        self._lines = LineBuffer(line_bytes)
        self._ready: deque[bytes] = deque()

    @classmethod
    def connect(cls, path: Path, *, line_bytes: int) -> Self:
        """Does not wait. Raises FileNotFoundError, ConnectionRefusedError, BlockingIOError (backlog full), and
        PermissionError where another user listens."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            with short_path(path) as address:
                sock.connect(address)
            if peer_uid(sock) not in (os.geteuid(), None):
                raise PermissionError(f"{path} is the socket of another user")
        except OSError:
            sock.close()
            raise
        return cls(sock, line_bytes)

    async def ask(
        self, request: PoolRequest, *, timeout_s: float, on_progress: OnRawProgress | None = None
    ) -> PoolResponse:
        line = request.encode()
        if len(line) > self._line_bytes:  # the worker would close the connection, as if it had died
            sentence = (
                f"this call has {len(line)} bytes, a worker accepts at most {self._line_bytes}: shorten the answers"
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

    async def wait_closed(self, timeout_s: float) -> None:
        """Returns when the worker has closed the connection, at the latest after `timeout_s`."""
        with anyio.move_on_after(timeout_s), suppress(ConnectionError):
            while True:
                try:
                    if not self._socket.recv(_RECEIVE_BYTES):
                        return
                except BlockingIOError:
                    await anyio.wait_readable(self._socket)

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
        line = self._ready.popleft()
        if len(line) <= _LONG_BYTES:
            response = PoolResponse.decode(line)
        else:
            decode = partial(PoolResponse.decode, line, yields=True)
            response = await anyio.to_thread.run_sync(decode, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))
        self._check(request, response)
        return response

    @staticmethod
    def _check(request: PoolRequest, response: PoolResponse) -> None:
        worker = response.worker
        if worker.protocol != messages.PROTOCOL:
            sentence = f"the worker uses protocol {worker.protocol}, not {messages.PROTOCOL}"
            raise ProtocolError(sentence, code="protocol")
        if worker.sid != request.sid:
            raise ProtocolError(f"the worker holds session {worker.sid}, not {request.sid}")

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _progress(response: PoolResponse) -> dict[str, Any]:
    """`{step, total, message, elapsed_s}`. `elapsed_s`: for how long the session computes; None: not known."""
    data = response.data or {}
    progress, elapsed_s = data.get("progress"), data.get("elapsed_s")
    if not isinstance(progress, dict) or not {"step", "total", "message"} <= progress.keys():
        raise ProtocolError("malformed response: progress without step, total and message")
    return progress | {"elapsed_s": elapsed_s if isinstance(elapsed_s, int | float) else None}
