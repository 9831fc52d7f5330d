"""The server's stdin and stdout: a stream socket to the front, which has checked and repaired what it sends.

Contract. `open_channel()` is called once, first of all, on the main thread, before the SDK is imported. From then on
descriptors 0 and 1 are a private duplicate; 0 reads /dev/null and 1 is stderr, so that a stray print never reaches the
host. SIGINT, SIGTERM and SIGHUP end the process at once with exit code 0, also while the SDK is being imported. Nothing
has to be saved: the sessions run in their workers. When the front has closed its end, or is gone, the iteration over
the lines ends, and LEAVE_S later the process. Asyncio is imported by what runs in the event loop only.
"""

import json
import select
import socket
import threading
from collections import deque
from typing import TYPE_CHECKING, NoReturn, Self

from algocline_mcp.transport.descriptors import drop_what_nobody_reads, end_on_signals, leave, take_over_descriptors
from algocline_mcp.transport.jsonrpc import INTERNAL_ERROR, Problem, replies
from algocline_mcp.transport.lines import OUTDATED, PROMPTS_CHANGED, READY, writable

if TYPE_CHECKING:
    import asyncio

LEAVE_S = 0.5
READ_BYTES = 64 * 1024  # a buffer of 128 KiB or more is mapped and unmapped for each read: 20 µs
# Beyond this many lines that the SDK has not taken, nothing is read: the front keeps the rest.
LINES_MAX = 256
LONG_CHARS = 256 * 1024  # a longer reply is encoded on a thread: 11 MB took 70 ms of the event loop


class Channel:
    """What the SDK's `stdio_server` needs of its stdin and of its stdout: iteration over lines, `write`, `flush`."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._parts: list[bytes] = []  # of the line that has no end yet; the front limits its length
        self._lines: deque[bytes] = deque()
        self._write_lock: asyncio.Lock | None = None
        self._has_ended = False
        self._is_watched = False  # by the event loop
        self._change: asyncio.Future[None] | None = None  # done when a line has come, or the end

    def announce(self) -> None:
        """Tells the front that the server reads."""
        self._connection.send(READY)  # the first bytes of an empty buffer

    def __aiter__(self) -> Self:
        import asyncio  # takes 50 ms, but the SDK has imported it by now

        self._loop = asyncio.get_running_loop()
        return self

    async def __anext__(self) -> str:
        if not self._lines and not self._has_ended:
            # One registration for many lines: one for each, as anyio.wait_readable makes it, takes 30 µs.
            if not self._is_watched:
                self._loop.add_reader(self._connection, self._read)
                self._is_watched = True
            self._change = self._loop.create_future()
            await self._change
        if not self._lines:
            raise StopAsyncIteration
        return self._lines.popleft().decode()

    def _read(self) -> None:
        try:
            chunk = self._connection.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if chunk:
            self._split(chunk)
        else:
            self._end()
        if self._is_watched and (self._has_ended or len(self._lines) > LINES_MAX):
            self._loop.remove_reader(self._connection)
            self._is_watched = False
        if self._change is not None and not self._change.done() and (self._lines or self._has_ended):
            self._change.set_result(None)

    def _split(self, chunk: bytes) -> None:
        first, *others = chunk.split(b"\n")
        self._parts.append(first)
        if others:
            self._lines.append(b"".join(self._parts))
            *lines, rest = others
            self._lines.extend(lines)
            self._parts = [rest]

    def _end(self) -> None:
        self._has_ended = True
        watchdog = threading.Timer(LEAVE_S, leave)  # also where a call hangs
        watchdog.daemon = True
        watchdog.start()

    async def write(self, text: str) -> None:
        """Waits for a slow reader without holding the event loop. Lines never mix."""
        import asyncio

        self._write_lock = self._write_lock or asyncio.Lock()
        async with self._write_lock:
            is_long = len(text) > LONG_CHARS
            rest = memoryview(await asyncio.to_thread(writable, text) if is_long else writable(text))
            while rest:
                try:
                    rest = rest[self._connection.send(rest) :]
                except BlockingIOError:
                    await self._wait_until_writable()
                except OSError:  # the front is gone: the end of the lines says so
                    return

    async def _wait_until_writable(self) -> None:
        import asyncio

        loop = asyncio.get_running_loop()
        is_writable = asyncio.Event()
        loop.add_writer(self._connection, is_writable.set)
        try:
            await is_writable.wait()
        finally:
            loop.remove_writer(self._connection)

    async def flush(self) -> None:
        """Does nothing: every `write` has written all of its line."""

    async def hand_back(self, number: int | str | None) -> None:
        """Says that the request was not carried out, because the program on disk is another one."""
        await self.write(f"{OUTDATED.decode()}{json.dumps({'id': number})}}}\n")

    async def announce_prompts(self) -> None:
        """Says that prompts/list may have another reply than before."""
        await self.write(PROMPTS_CHANGED.decode())

    def refuse_all(self, reason: str) -> NoReturn:
        """Answers what has arrived with error -32603 and `reason`; then exit code 1. The next request starts the
        program once more, so a repaired installation is used at once.

        For a server that cannot start: hosts show the reason of an error, and hide the stderr of a process that died.
        """
        self.announce()
        is_answered = False
        while not self._has_ended and select.select([self._connection], [], [], 0 if is_answered else None)[0]:
            self._read()
            while self._lines:
                message = json.loads(self._lines.popleft())
                if "method" in message and message.get("id") is not None:
                    self._connection.setblocking(True)
                    self._connection.sendall(replies(Problem(reason, INTERNAL_ERROR, (message["id"],))))
                    self._connection.setblocking(False)
                    is_answered = True
        leave(1)


def open_channel() -> Channel:
    """Installs the signal handlers and takes over descriptors 0 and 1."""
    end_on_signals()
    fd, _ = take_over_descriptors()
    drop_what_nobody_reads()
    return Channel(socket.socket(fileno=fd))
