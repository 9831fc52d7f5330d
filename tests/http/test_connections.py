"""Clients that send or read too slowly, or do nothing: real connections to uvicorn's protocol in this process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import anyio
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from uvicorn.server import ServerState

from algocline_mcp.config.http import HttpLimits
from algocline_mcp.http.connections import BoundedProtocol, Connections, uvicorn_config

pytestmark = pytest.mark.anyio

LIMIT_S = 60.0
ROOMY = HttpLimits(read_s=LIMIT_S, write_s=LIMIT_S, idle_s=LIMIT_S)
SOON_S = 0.2
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
HALVES = {
    "nothing": b"",
    "half a request line": b"GET / HT",
    "half of the headers": b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ",
    "half a body": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12345",
    "half a chunk": b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12",
    "half of a second request": GET + b"GET / HT",
    "half of a second body": GET + b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12345",
}


class World:
    """One server. A request to /hold is answered when `release` is set, one to /flood with more than a kernel takes."""

    def __init__(self, limits: HttpLimits) -> None:
        self.connections = Connections(limits)
        self.release = asyncio.Event()
        self.held = asyncio.Event()
        self.port = 0
        self._peers: list[Peer] = []

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        if request.url.path == "/hold":
            self.held.set()
            await self.release.wait()
        content = b"x" * (32 << 20) if request.url.path == "/flood" else await request.body()
        response: Response = PlainTextResponse(content or b"hello")
        await response(scope, receive, send)

    async def connect(self, request: bytes = b"") -> "Peer":
        peer = Peer(*await asyncio.open_connection("127.0.0.1", self.port))
        peer.writer.write(request)
        self._peers.append(peer)
        return peer

    async def close(self) -> None:
        self.release.set()
        self.connections.abort()
        for peer in self._peers:
            peer.writer.transport.abort()
        for peer in self._peers:
            with suppress(ConnectionError):
                await peer.writer.wait_closed()
        assert await self.connections.shut_down(LIMIT_S)


class Peer:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def reply(self) -> bytes:
        """A reply of /, whose body is `hello`."""
        return await self.reader.readuntil(b"hello")

    async def all(self) -> bytes:
        """Everything up to the end of the connection."""
        content = b""
        with suppress(ConnectionError):
            while chunk := await self.reader.read(1 << 16):
                content += chunk
        return content


@asynccontextmanager
async def serving(**limits: Any) -> AsyncIterator[World]:
    world = World(replace(ROOMY, **limits))
    config, state = uvicorn_config(world.app, world.connections.limits), ServerState()
    loop = asyncio.get_running_loop()
    acceptor = await loop.create_server(lambda: BoundedProtocol(config, state, world.connections), "127.0.0.1", 0)
    world.port = acceptor.sockets[0].getsockname()[1]
    try:
        with anyio.fail_after(LIMIT_S):
            yield world
    finally:
        acceptor.close()
        await world.close()


@pytest.mark.parametrize("sent", HALVES.values(), ids=HALVES)
async def test_client_that_sends_half_a_request_is_disconnected(sent: bytes) -> None:
    async with serving(read_s=SOON_S) as world:
        peer = await world.connect(sent)

        content = await peer.all()

        assert (b"hello" in content) == sent.startswith(GET)


async def test_byte_now_and_then_does_not_prolong_a_request() -> None:
    async with serving(read_s=SOON_S) as world:
        peer = await world.connect(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ")
        ended = asyncio.ensure_future(peer.all())
        while not ended.done():
            with suppress(ConnectionError):
                peer.writer.write(b"a")
                await peer.writer.drain()
            await asyncio.wait([ended], timeout=SOON_S / 20)

        assert ended.result() == b""


async def test_client_that_does_not_read_is_disconnected_and_others_are_served_meanwhile() -> None:
    async with serving(write_s=SOON_S) as world:
        mute = await world.connect(b"GET /flood HTTP/1.1\r\nHost: localhost\r\n\r\n")
        mute.writer.transport.pause_reading()  # type: ignore[attr-defined]  # typeshed has a base class
        other = await world.connect(GET)

        reply = await other.reply()
        other.writer.close()
        is_closed = await world.connections.shut_down(LIMIT_S)

        assert reply.startswith(b"HTTP/1.1 200 ")
        assert is_closed


async def test_connection_without_a_next_request_is_closed() -> None:
    async with serving(idle_s=SOON_S) as world:
        peer = await world.connect(GET)

        content = await peer.all()

        assert content.startswith(b"HTTP/1.1 200 ")


async def test_request_under_way_is_waited_for_longer_than_any_limit_of_its_client() -> None:
    async with serving(read_s=SOON_S, write_s=SOON_S, idle_s=SOON_S) as world:
        peer = await world.connect(GET.replace(b"/ ", b"/hold "))
        await world.held.wait()
        await asyncio.sleep(2 * SOON_S)
        world.release.set()

        reply = await peer.reply()

        assert reply.startswith(b"HTTP/1.1 200 ")


async def test_thousand_idle_connections_leave_room_for_one_that_asks() -> None:
    async with serving(connections=20) as world:
        served = await world.connect(GET)
        await served.reply()
        idle = [await world.connect() for _ in range(1000)]
        peer = await world.connect(GET)

        reply = await peer.reply()

        assert reply.startswith(b"HTTP/1.1 200 ")
        assert len(world.connections) == 20
        assert await served.all() == await idle[0].all() == b""


async def test_connection_beyond_those_that_all_serve_is_closed_and_they_go_on() -> None:
    async with serving(connections=1) as world:
        first = await world.connect(GET.replace(b"/ ", b"/hold "))
        await world.held.wait()
        second = await world.connect(GET)

        assert await second.all() == b""
        world.release.set()
        assert (await first.reply()).startswith(b"HTTP/1.1 200 ")


async def test_headers_over_their_limit_are_refused() -> None:
    async with serving(header_bytes=1000) as world:
        peer = await world.connect(b"GET / HTTP/1.1\r\nX-A: " + b"a" * 2000)

        content = await peer.all()

        assert content.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\r\n" * 100, b"\0" * 5000])
async def test_garbage_ends_its_own_connection_only(garbage: bytes) -> None:
    async with serving(read_s=SOON_S) as world:
        peer = await world.connect(garbage)
        other = await world.connect(GET)

        assert (await peer.all())[:13] in (b"", b"HTTP/1.1 400 ")
        assert (await other.reply()).startswith(b"HTTP/1.1 200 ")


async def test_shut_down_waits_for_replies_and_closes_the_idle_at_once() -> None:
    async with serving() as world:
        idle, half = await world.connect(GET), await world.connect(b"GET / HT")
        busy = await world.connect(GET.replace(b"/ ", b"/hold "))
        await idle.reply()
        await world.held.wait()
        was_early = await world.connections.shut_down(0)
        ended = (await idle.all(), await half.all())
        world.release.set()

        content = await busy.all()

        assert (was_early, ended) == (False, (b"", b""))
        assert b"hello" in content
        assert await world.connections.shut_down(LIMIT_S)
