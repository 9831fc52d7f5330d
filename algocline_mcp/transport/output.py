"""Whole lines to the host: from any thread, and from the event loop without ever blocking it.

Contract. The standard library, and asyncio only once the SDK has imported it anyway. A slow reader delays
the lines behind its own; that it is gone is told to `on_gone`, once or more often, and nothing is written any more.
"""

import os
import select
import socket
import stat
import threading
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from algocline_mcp.transport.lines import reply_id, request_id, writable
from algocline_mcp.transport.response_cache import ResponseCache

if TYPE_CHECKING:
    import asyncio

# One turn of the event loop writes at most this much by itself; a thread writes the rest.
WRITE_NOW_BYTES = 64 * 1024


class Unanswered:
    """The requests that wait for their reply; any thread."""

    def __init__(self) -> None:
        self._ids: Counter[bytes] = Counter()
        self._change = threading.Condition()

    def add(self, line: bytes) -> None:
        if (asked := request_id(line)) is not None:
            with self._change:
                self._ids[asked] += 1

    def remove(self, line: bytes) -> None:
        if (answered := reply_id(line)) is not None:
            with self._change:
                self._ids -= Counter([answered])
                self._change.notify_all()

    def wait(self, limit_s: float) -> None:
        with self._change:
            self._change.wait_for(lambda: not self._ids, limit_s)


class Output:
    """Writes whole lines to `fd`, from any thread and, as the SDK's stdout, from the event loop."""

    def __init__(self, fd: int, unanswered: Unanswered, cache: ResponseCache, *, on_gone: Callable[[], object]) -> None:
        self._fd = fd
        self._memo = cache
        self._unanswered = unanswered
        self._on_gone = on_gone  # the reader of the wire has closed it
        self._line = threading.Lock()  # held from a line's first byte to its last
        mode = os.fstat(fd).st_mode
        # The shared file description may belong to a shell too, so it is never made non-blocking. A socket takes
        # a flag per call; a pipe that polls writable takes PIPE_BUF bytes without blocking.
        self._socket = socket.socket(fileno=os.dup(fd)) if stat.S_ISSOCK(mode) else None
        self._is_pipe = stat.S_ISFIFO(mode)
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    def send(self, line: bytes) -> None:
        """Blocks until all of `line` is written."""
        with self._line:
            self._write_all(line)
        self._unanswered.remove(line)

    async def write(self, text: str) -> None:
        encoded = writable(text)
        if self._memo.is_repeated(encoded):
            return
        await self._write(memoryview(encoded))
        self._unanswered.remove(encoded)

    async def _write(self, line: memoryview) -> None:
        if self._line.acquire(blocking=False):
            rest = self._write_now(line)
            if not rest:
                self._line.release()
                return
            is_begun = True
        else:
            rest, is_begun = line, False
        import asyncio  # 50 ms, which the SDK has paid for by now

        loop = asyncio.get_running_loop()
        done = loop.create_future()
        threading.Thread(
            target=self._finish,
            args=(rest, is_begun, lambda: loop.call_soon_threadsafe(resolve, done)),
            daemon=True,
        ).start()
        await done

    async def flush(self) -> None:
        """Nothing is ever kept back."""

    def close(self) -> None:
        """`fd` is closed too. The server never comes here: its end closes everything."""
        if self._socket is not None:
            self._socket.close()
        os.close(self._fd)

    def _finish(self, rest: memoryview, is_begun: bool, tell: Callable[[], object]) -> None:
        if not is_begun:
            self._line.acquire()
        try:
            self._write_all(rest)
        finally:
            self._line.release()
        tell()

    def _write_now(self, line: memoryview) -> memoryview:
        """Writes as much as goes without blocking; returns the rest."""
        allowed = WRITE_NOW_BYTES
        try:
            while line and allowed > 0:
                if self._socket is not None:
                    written = self._socket.send(line[:allowed], socket.MSG_DONTWAIT)
                elif self._is_pipe and self._poll.poll(0):
                    written = os.write(self._fd, line[: select.PIPE_BUF])
                else:
                    return line
                line = line[written:]
                allowed -= written
        except BlockingIOError:
            return line
        except OSError:
            self._on_gone()
            return line[:0]
        return line

    def _write_all(self, line: bytes | memoryview) -> None:
        rest = memoryview(line)
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:  # another owner of the description made it non-blocking
                self._poll.poll()
            except OSError:
                self._on_gone()
                return


def resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():  # whoever waited was cancelled while a thread called
        future.set_result(None)
