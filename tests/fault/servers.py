"""A server of tests/peers that is asked many things at a time, and may be killed over them."""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from tests.fault.story import Violation, require

_LATE_S = 60.0  # beyond wait_s, on a machine that is busy with killing
_LINE_BYTES = 1 << 20


class ServerGone(Exception):
    """Nobody knows whether it took the call."""


@dataclass
class _Waiting:
    done: anyio.Event = field(default_factory=anyio.Event)
    said: dict[str, Any] | None = None


class Server:
    """tests/peers/server.py as a process; calls go side by side."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.is_alive = True  # until somebody ends it
        self._waiting: dict[int, _Waiting] = {}
        self._count = 0

    async def listen(self) -> None:
        """Until it ends."""
        assert self.process.stdout is not None
        stream = BufferedByteReceiveStream(self.process.stdout)
        async with self.process:
            with suppress(anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
                while True:
                    said = json.loads(await stream.receive_until(b"\n", _LINE_BYTES))
                    if (waiting := self._waiting.pop(said.pop("id", 0), None)) is not None:
                        waiting.said = said
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
            if waiting.said is None:
                raise ServerGone
            return waiting.said
        raise Violation(f"no reply to {order} within {order['wait_s'] + _LATE_S:g} s")
