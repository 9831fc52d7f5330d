"""Client of tests/peers/server.py: many calls at the same time; the server may be killed during them."""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from tests.fault.expected_session import Violation, require

_LATE_S = 60.0  # beyond wait_s: the soak loads the machine
_LINE_BYTES = 1 << 20


class ServerGone(Exception):
    """The server died; it is unknown whether it accepted the call."""


@dataclass
class _Waiting:
    done: anyio.Event = field(default_factory=anyio.Event)
    reply: dict[str, Any] | None = None


class Server:
    """A process of tests/peers/server.py."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.is_alive = True  # until the soak ends it
        self._waiting: dict[int, _Waiting] = {}
        self._count = 0

    async def listen(self) -> None:
        """Reads replies until the process ends."""
        assert self.process.stdout is not None
        stream = BufferedByteReceiveStream(self.process.stdout)
        async with self.process:
            with suppress(anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
                while True:
                    reply = json.loads(await stream.receive_until(b"\n", _LINE_BYTES))
                    if (waiting := self._waiting.pop(reply.pop("id", 0), None)) is not None:
                        waiting.reply = reply
                        waiting.done.set()
        for waiting in self._waiting.values():
            waiting.done.set()
        require(not self.is_alive, f"server {self.process.pid} ended by itself: {self.process.returncode}")

    async def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        self._count += 1
        waiting = self._waiting[self._count] = _Waiting()
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await self.process.stdin.send(json.dumps({"id": self._count, **order}).encode() + b"\n")
        if not self.is_alive:
            raise ServerGone
        with anyio.move_on_after(order["wait_s"] + _LATE_S):
            await waiting.done.wait()
            if waiting.reply is None:
                raise ServerGone
            return waiting.reply
        raise Violation(f"no reply to {order} within {order['wait_s'] + _LATE_S:g} s")
