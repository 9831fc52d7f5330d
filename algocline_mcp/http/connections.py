"""Connections of the HTTP server: uvicorn's protocol with bounded waits, and how many there may be.

Contract. A client that sends or reads too slowly is disconnected, and nobody waits for it:

    the client has                           within
    sent a whole request, head and body      `read_s`, from the connection or from its first byte
    read what it was sent                    `write_s`, from the first byte that the kernel did not take
    begun its next request                   `idle_s` (uvicorn's keep-alive)

A request under way has no limit here: each call of a tool has its own. For one connection more than `connections` the
one that has been without a request longest is closed; where all serve one, the new one is closed. uvicorn alone waits
for ever for a first request, and for a client that does not read (measured with uvicorn 0.54).
"""

import asyncio
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from algocline_mcp.config.http import HttpLimits


class Connections:
    """All open connections, the one that has been without a request longest first."""

    def __init__(self, limits: HttpLimits) -> None:
        self.limits = limits
        self._open: dict[BoundedProtocol, None] = {}
        self._all_closed = asyncio.Event()
        self._all_closed.set()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, connection: "BoundedProtocol") -> None:
        """Makes room before it adds."""
        if len(self._open) >= self.limits.connections:
            victim = next((each for each in self._open if not each.is_serving), connection)
            victim.transport.abort()
        self._open[connection] = None
        self._all_closed.clear()

    def renew(self, connection: "BoundedProtocol") -> None:
        if connection in self._open:
            del self._open[connection]
            self._open[connection] = None

    def remove(self, connection: "BoundedProtocol") -> None:
        self._open.pop(connection, None)
        if not self._open:
            self._all_closed.set()

    async def shut_down(self, limit_s: float) -> bool:
        """Closes each connection as soon as its request has its reply. Returns whether all are closed in time."""
        for connection in list(self._open):
            connection.shutdown()
        try:
            await asyncio.wait_for(self._all_closed.wait(), limit_s)
        except TimeoutError:
            return False
        return True

    def abort(self) -> None:
        for connection in list(self._open):
            connection.transport.abort()


class BoundedProtocol(H11Protocol):
    def __init__(self, config: Config, state: ServerState, connections: Connections) -> None:
        super().__init__(config, state, {})
        self._connections = connections
        self._limits = connections.limits
        self._read_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    @property
    def is_serving(self) -> bool:
        """Whether a whole request has been read whose reply is not complete."""
        return self.cycle is not None and not self.cycle.response_complete and not self._is_reading

    @property
    def _is_reading(self) -> bool:
        return self.conn.their_state in (h11.IDLE, h11.SEND_BODY)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # `pause_writing` for whatever the kernel does not take
        self._start_read_timer()
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        self._start_read_timer()
        super().data_received(data)
        if not self._is_reading:
            self._stop_read_timer()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._connections.renew(self)
        if self._is_reading and (self.conn.their_state is h11.SEND_BODY or self.conn.trailing_data[0]):
            self._start_read_timer()  # the beginning of the next request came with the last one

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self._limits.write_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_write_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_read_timer()
        self._stop_write_timer()
        self._unset_keepalive_if_required()  # uvicorn forgets it where the client has reset the connection
        super().connection_lost(exc)
        self._connections.remove(self)

    def _start_read_timer(self) -> None:
        if self._read_timer is None:
            self._read_timer = self.loop.call_later(self._limits.read_s, self.transport.abort)

    def _stop_read_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None


def uvicorn_config(app: Any, limits: HttpLimits) -> Config:
    """What uvicorn's protocol needs to know. No log of accesses: lines without end, and addresses of users."""
    config = Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=limits.idle_s,  # type: ignore[arg-type]  # loop.call_later takes fractions too
        h11_max_incomplete_event_size=limits.header_bytes,
    )
    config.load()
    return config
