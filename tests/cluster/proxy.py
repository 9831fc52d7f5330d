"""A proxy between a node and its database, over TCP: connections are cut, delayed, reset.

It runs on a thread of its own, so that a test that waits holds nothing up. `cut` is a network that loses what is sent:
connections stay open, nothing arrives, and a new one gets no reply; `mend` delivers what was sent meanwhile, as TCP
does. `reset` ends each connection at once; the next one works.
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

_CHUNK_BYTES = 1 << 16
_SOON_S = 30.0
_RESET = struct.pack("ii", 1, 0)  # of SO_LINGER: close sends RST


class Proxy:
    """`target`: the Unix socket of PostgreSQL. On return it listens at `port` of 127.0.0.1."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._is_whole = asyncio.Event()
        self._is_whole.set()
        self._delay_s = 0.0
        self._writers: set[asyncio.StreamWriter] = set()
        self._connections: set[asyncio.Task[None]] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, sock=self._listener))
        self._loop.run_forever()
        server.close()
        for connection in self._connections:
            connection.cancel()
        self._loop.run_until_complete(asyncio.gather(*self._connections, return_exceptions=True))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        self._writers.add(writer)
        beyond: asyncio.StreamWriter | None = None
        try:
            await self._is_whole.wait()
            there, beyond = await asyncio.open_unix_connection(self._target)
            pumps = [
                asyncio.ensure_future(self._pump(reader, beyond)),
                asyncio.ensure_future(self._pump(there, writer)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            pass  # the database is down: the connection ends, as if it were refused
        finally:
            for end in filter(None, (writer, beyond)):
                end.transport.abort()
            self._writers.discard(writer)
            self._connections.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(_CHUNK_BYTES):
            if self._delay_s:
                await asyncio.sleep(self._delay_s)
            await self._is_whole.wait()
            writer.write(chunk)
            await writer.drain()

    def _do(self, change: Callable[[], object]) -> None:
        """On the loop's thread; returns when it is done."""
        done = threading.Event()

        def run() -> None:
            change()
            done.set()

        self._loop.call_soon_threadsafe(run)
        assert done.wait(_SOON_S), "the proxy does not answer"

    def cut(self) -> None:
        self._do(self._is_whole.clear)

    def mend(self) -> None:
        """Ends a cut and a delay."""
        self.delay(0.0)
        self._do(self._is_whole.set)

    def delay(self, seconds: float) -> None:
        """What is sent from now on arrives so much later, in each direction."""

        def change() -> None:
            self._delay_s = seconds

        self._do(change)

    def reset(self) -> None:
        def change() -> None:
            for writer in self._writers:
                with suppress(OSError):
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                writer.transport.abort()

        self._do(change)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_SOON_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
