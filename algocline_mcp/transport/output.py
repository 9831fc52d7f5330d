"""Writer of whole lines to the host, and the requests that still wait for a reply.

Contract. `Output.send` is for any thread and blocks; `Output.write` is for the event loop and never blocks it. Lines
never mix. A host that reads slowly delays later lines only. When the host has closed its end, `on_gone` is called
(possibly more than once) and later lines are dropped. Needs the standard library alone; asyncio is imported by the
first `write` that has to wait, when the SDK has imported it anyway.
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

# The event loop writes at most this much of a line itself; a thread writes the rest.
WRITE_NOW_BYTES = 64 * 1024


class UnansweredRequests:
    """Ids of the requests that wait for a reply. For any thread."""

    def __init__(self) -> None:
        self._ids: Counter[bytes] = Counter()
        self._change = threading.Condition()

    def add(self, line: bytes) -> None:
        if (number := request_id(line)) is not None:
            with self._change:
                self._ids[number] += 1

    def remove(self, line: bytes) -> None:
        if (number := reply_id(line)) is not None:
            with self._change:
                self._ids -= Counter([number])
                self._change.notify_all()

    def wait_until_empty(self, limit_s: float) -> None:
        with self._change:
            self._change.wait_for(lambda: not self._ids, limit_s)


class Output:
    """Writes lines to `fd`. Also the stdout of the SDK, which needs `write` and `flush`."""

    def __init__(
        self, fd: int, unanswered: UnansweredRequests, cache: ResponseCache, *, on_gone: Callable[[], object]
    ) -> None:
        self._fd = fd
        self._cache = cache
        self._unanswered = unanswered
        self._on_gone = on_gone  # the host has closed its end
        self._line_lock = threading.Lock()  # held from the first byte of a line to its last
        mode = os.fstat(fd).st_mode
        # The descriptor may share its file description with a shell, so it is never made non-blocking. A socket takes
        # a flag per call; a pipe that polls as writable takes PIPE_BUF bytes without blocking.
        self._socket = socket.socket(fileno=os.dup(fd)) if stat.S_ISSOCK(mode) else None
        self._is_pipe = stat.S_ISFIFO(mode)
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    def send(self, line: bytes) -> None:
        """Blocks until the whole `line` is written."""
        with self._line_lock:
            self._write_all(line)
        self._unanswered.remove(line)

    async def write(self, text: str) -> None:
        """Drops a reply that the host already has from the cache."""
        encoded = writable(text)
        if self._cache.record_reply(encoded):
            return
        await self._write(memoryview(encoded))
        self._unanswered.remove(encoded)

    async def _write(self, line: memoryview) -> None:
        if self._line_lock.acquire(blocking=False):
            rest = self._write_now(line)
            if not rest:
                self._line_lock.release()
                return
            is_begun = True
        else:
            rest, is_begun = line, False
        import asyncio  # takes 50 ms, but the SDK has imported it by now

        loop = asyncio.get_running_loop()
        done = loop.create_future()
        threading.Thread(
            target=self._finish,
            args=(rest, is_begun, lambda: loop.call_soon_threadsafe(resolve, done)),
            daemon=True,
        ).start()
        await done

    async def flush(self) -> None:
        """Does nothing: every `write` has written all of its line."""

    def close(self) -> None:
        """Closes `fd` too. For tests: the end of the server process closes everything."""
        if self._socket is not None:
            self._socket.close()
        os.close(self._fd)

    def _finish(self, rest: memoryview, is_begun: bool, on_done: Callable[[], object]) -> None:
        if not is_begun:
            self._line_lock.acquire()
        try:
            self._write_all(rest)
        finally:
            self._line_lock.release()
        on_done()

    def _write_now(self, line: memoryview) -> memoryview:
        """Writes as much as is possible without blocking; returns the rest."""
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
            except BlockingIOError:  # another owner of the file description made it non-blocking
                self._poll.poll()
            except OSError:
                self._on_gone()
                return


def resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():  # the waiting task was cancelled while the thread was writing
        future.set_result(None)
