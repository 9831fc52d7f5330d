"""The wire to the host: stdin and stdout, claimed before anything heavy is imported.

Contract. The standard library, `host.lines` and `host.output`; asyncio only once the SDK has imported it anyway.
`open_transport()` comes first of all, once, on the main thread:
  descriptors   0 and 1 become private duplicates; 0 then reads /dev/null and 1 is stderr, so that a stray print
                never reaches the host
  signals       SIGINT, SIGTERM and SIGHUP end the process at once, exit code 0, also as PID 1 and while the SDK
                is being imported. There is nothing to save: the sessions live in their workers
  input         a thread reads lines, replaces what the SDK would drop without a reply (half of a surrogate pair,
                invalid UTF-8), answers what the SDK cannot read at all and, from the cache, what it has answered in
                an earlier start; the rest, and that too, goes into one `LineQueue`
  end of input  nothing asked: exit 0 at once; else what was asked is answered if it takes no longer than
                LAST_REPLIES_S from when the SDK has read it, or FIRST_REPLIES_S where the input ended before the
                SDK was there, as that of a pipe does; then the SDK winds down, for LEAVE_S at most
  output        whole lines. A slow reader delays nothing but its replies; one that is gone ends the process, exit 0
"""

import fcntl
import io
import json
import os
import select
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from types import FrameType
from typing import NoReturn, Self

from algocline_mcp.transport.lines import EDGE_BYTES, readable, refusal, request_id, why_unreadable
from algocline_mcp.transport.output import Output, Unanswered, resolve
from algocline_mcp.transport.response_cache import ResponseCache, open_response_cache

# A call may carry 1 MiB of code with 2 MiB of ctx, or 4 MiB of answers; JSON escapes make up to six bytes of one.
HOST_LINE_MAX_BYTES = 32 * 1024 * 1024
# LineQueue that wait for the SDK; then the reader stops reading, and the host's pipe fills up instead of our memory.
QUEUE_MAX_LINES = 256
QUEUE_MAX_BYTES = 2 * HOST_LINE_MAX_BYTES
# Hosts wait about 2 s after they closed our stdin, then send SIGTERM: first for the replies that are due, then
# for the SDK to wind down.
LAST_REPLIES_S = 1.0
# Nobody has spoken with the SDK yet: its import and the first call take no longer than this, also on a busy machine. A
# host that has no patience sends its SIGTERM.
IMPORT_S = 60.0
FIRST_REPLIES_S = 10.0
LEAVE_S = 0.5
READ_BYTES = 256 * 1024


def leave(code: int = 0) -> NoReturn:
    """Ends the process without teardown: a thread may stand in `read`, and finalizers would wait for it."""
    os._exit(code)


class LineQueue:
    """The one queue between the reader thread and the SDK, and what `stdio_server` iterates over.

    `put` and `end` come from the thread and may block it while the queue is full. One task iterates.
    """

    def __init__(self) -> None:
        self._waiting: deque[str] = deque()
        self._waiting_chars = 0
        self._change = threading.Condition()
        self._has_ended = False
        self.is_read = False  # whether the SDK has begun to iterate
        self._wake: Callable[[], object] | None = None

    def take(self) -> str | None:
        """The next line, or None at the end; blocks. For where there is no SDK to iterate."""
        with self._change:
            self._change.wait_for(lambda: self._waiting or self._has_ended)
            return self._pop() if self._waiting else None

    def put(self, line: str) -> None:
        with self._change:
            self._change.wait_for(lambda: not self._is_full)
            self._waiting.append(line)
            self._waiting_chars += len(line)
            self._signal()

    def wait_until_taken(self, limit_s: float) -> None:
        with self._change:
            self._change.wait_for(lambda: not self._waiting, limit_s)

    def end(self) -> None:
        with self._change:
            self._has_ended = True
            self._signal()

    @property
    def _is_full(self) -> bool:
        return len(self._waiting) >= QUEUE_MAX_LINES or self._waiting_chars >= QUEUE_MAX_BYTES

    def _pop(self) -> str:
        line = self._waiting.popleft()
        self._waiting_chars -= len(line)
        self._change.notify_all()
        return line

    def _signal(self) -> None:
        self._change.notify_all()
        wake, self._wake = self._wake, None
        if wake is not None:
            wake()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        import asyncio  # 50 ms, which the SDK has paid for by now

        loop = asyncio.get_running_loop()
        self.is_read = True
        while True:
            with self._change:
                if self._waiting:
                    line = self._waiting.popleft()
                    self._waiting_chars -= len(line)
                    self._change.notify_all()
                    return line
                if self._has_ended:
                    raise StopAsyncIteration
                something = loop.create_future()
                self._wake = partial(loop.call_soon_threadsafe, resolve, something)
            await something


# ── input ─────────────────────────────────────────────────────────────────────────────────────────────────


class Reader:
    """Cuts what `fd` brings into lines, on a thread of its own."""

    def __init__(self, fd: int, lines: LineQueue, output: Output, unanswered: Unanswered, cache: ResponseCache) -> None:
        self._fd = fd
        self._memo = cache
        self._lines = lines
        self._output = output
        self._unanswered = unanswered
        self._line = bytearray()
        self._dropped = 0  # bytes of an over-long line that are gone from between its two ends
        self._was_asked = False

    def run(self) -> None:
        while chunk := self._read():
            *whole, rest = chunk.split(b"\n")
            for part in whole:
                self._extend(part)
                self._finish_line()
            self._extend(rest)
        self._finish_line()
        if not self._was_asked:
            leave()
        limit_s = LAST_REPLIES_S if self._lines.is_read else FIRST_REPLIES_S
        self._lines.wait_until_taken(IMPORT_S)
        self._unanswered.wait(limit_s)
        self._lines.end()
        threading.Event().wait(LEAVE_S)
        leave()  # a call or a reader that never ends keeps no process alive

    def _read(self) -> bytes:
        while True:
            try:
                return os.read(self._fd, READ_BYTES)
            except BlockingIOError:
                select.select([self._fd], [], [])
            except OSError:  # the terminal hung up, or nothing was ever open here
                return b""

    def _extend(self, part: bytes) -> None:
        self._line += part
        if len(self._line) + self._dropped > HOST_LINE_MAX_BYTES:
            too_many = len(self._line) - 2 * EDGE_BYTES
            if too_many > 0:
                del self._line[EDGE_BYTES : EDGE_BYTES + too_many]
                self._dropped += too_many

    def _finish_line(self) -> None:
        line, self._line = bytes(self._line), bytearray()
        dropped, self._dropped = self._dropped, 0
        if not line.strip():
            return
        self._was_asked = True
        reason = why_unreadable(line)
        if dropped:
            reason = f"the request has more than {HOST_LINE_MAX_BYTES} bytes: send less, or name a file in code_file"
        if reason is None:
            self._unanswered.add(line)
            if (early := self._memo.answer(line)) is not None:
                self._output.send(early)
            self._lines.put(readable(line))
        elif error := refusal(line[:EDGE_BYTES], line[-EDGE_BYTES:], reason):
            self._output.send(error)


# ── the whole ─────────────────────────────────────────────────────────────────────────────────────────────


class StdioTransport:
    """`lines` and `output` are the SDK's stdin and stdout."""

    def __init__(self, fd_in: int, fd_out: int, cache: ResponseCache) -> None:
        self.lines = LineQueue()
        self.cache = cache
        unanswered = Unanswered()
        self.output = Output(fd_out, unanswered, cache, on_gone=leave)
        self._reader = Reader(fd_in, self.lines, self.output, unanswered, cache)

    def start(self) -> None:
        threading.Thread(target=self._read, name="host-reader", daemon=True).start()

    def _read(self) -> None:
        try:
            self._reader.run()
        except BaseException:  # noqa: BLE001 - a server that hears nothing is worse than none: hosts start it again
            sys.excepthook(*sys.exc_info())
            leave(1)

    def refuse_all(self, reason: str) -> NoReturn:
        """Answers every request with -32603 and `reason`, until the host closes our stdin: for a server that cannot
        start. A host shows that; the stderr of a process that died it hides."""
        self.cache.close()
        error = json.dumps({"code": -32603, "message": reason}).encode()
        while (line := self.lines.take()) is not None:
            if (asked := request_id(line.encode())) is not None:
                self.output.send(b'{"jsonrpc":"2.0","id":%s,"error":%s}\n' % (asked, error))
        leave(1)


def open_transport(environ: Mapping[str, str] = os.environ) -> StdioTransport:
    """Installs the signals, claims descriptors 0 and 1, starts to read."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _on_signal)
    _fill_standard_descriptors()
    fd_in = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 3)
    fd_out = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 3)
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # `leave` flushes nothing
    if os.isatty(fd_in):
        sys.stderr.write("alc speaks MCP here and waits for a host; `alc --help` shows the commands. Ctrl-D ends.\n")
    wire = StdioTransport(fd_in, fd_out, open_response_cache(environ))
    wire.start()
    return wire


def _on_signal(number: int, frame: FrameType | None) -> None:
    leave()


def _fill_standard_descriptors() -> None:
    """A host that started us with one of 0, 1, 2 closed must not find a journal or a socket under that number."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
