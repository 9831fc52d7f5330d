"""Transport between the host and the SDK: takes over stdin and stdout before any large import.

Contract. Needs the standard library and this folder alone; asyncio is used only after the SDK has imported it.
`open_transport()` is called once, first of all, on the main thread. From then on:
  descriptors   0 and 1 are duplicated to private numbers; then 0 reads /dev/null and 1 is stderr, so that a stray
                print never reaches the host
  signals       SIGINT, SIGTERM and SIGHUP end the process at once with exit code 0, also as PID 1 and while the SDK
                is being imported. Nothing has to be saved: the sessions run in their workers
  input         the thread host-reader splits stdin into lines. It repairs what the SDK would drop without a reply
                (a byte order mark, halves of surrogate pairs, invalid UTF-8), refuses what is not a JSON-RPC message
                or costs too much (jsonrpc.py), and answers from the ResponseCache what the SDK answered in an earlier
                start. Every line that is not refused goes into the LineQueue, which the SDK reads as its stdin. The
                first refusal of each kind is on stderr too
  end of input  without any request: a sentence on stderr, then exit 0 at once. Else the process waits for the replies
                that are due, for at most LAST_REPLIES_S after the SDK has read the last request (FIRST_REPLIES_S where
                the input ended before the SDK was imported, as the input from a pipe does), then LEAVE_S for the SDK
                to end, then exit 0
  output        whole lines. A host that reads slowly delays its replies only; a host that is gone ends the process
                with exit code 0
"""

import codecs
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
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import NoReturn, Self

from algocline_mcp.transport.jsonrpc import Problem, message_of, replies, report
from algocline_mcp.transport.lines import EDGE_BYTES, edge_id, request_id
from algocline_mcp.transport.output import Output, UnansweredRequests, resolve
from algocline_mcp.transport.response_cache import ResponseCache, open_response_cache

# A call may have 1 MiB of code with 2 MiB of ctx, or 4 MiB of answers; a JSON escape makes up to six bytes of one.
HOST_LINE_MAX_BYTES = 32 * 1024 * 1024
# Limits of the LineQueue. At the limit the reader stops reading: the pipe of the host fills up instead of our memory.
QUEUE_MAX_LINES = 256
QUEUE_MAX_BYTES = 2 * HOST_LINE_MAX_BYTES
# Hosts wait about 2 s after they have closed our stdin, then send SIGTERM: the two limits for the replies that are due
# and for the end of the SDK stay below.
LAST_REPLIES_S = 1.0
# Limits where the input ends before the SDK is imported: the import and the first call take no longer, also on a busy
# machine. A host that does not want to wait sends SIGTERM.
IMPORT_S = 60.0
FIRST_REPLIES_S = 10.0
LEAVE_S = 0.5
READ_BYTES = 256 * 1024
_NOTHING_ASKED = (
    "alc: stdin ended before a line came, so nothing was served: a host starts alc and keeps its stdin open (in a "
    "container: docker run -i); alc --help shows the commands"
)


def leave(code: int = 0) -> NoReturn:
    """Ends the process without teardown: finalizers would wait for the thread that is blocked in `read`."""
    os._exit(code)


class LineQueue:
    """Queue of lines between the reader thread and the SDK, whose `stdio_server` iterates over it as its stdin.

    The reader thread calls `put`, which blocks while the queue is full, and `end`. One task iterates.
    """

    def __init__(self) -> None:
        self._waiting: deque[str] = deque()
        self._waiting_chars = 0
        self._change = threading.Condition()
        self._has_ended = False
        self.is_read = False  # the SDK has begun to iterate
        self._on_change: Callable[[], object] | None = None

    def take(self) -> str | None:
        """The next line, or None at the end. Blocks; used where there is no SDK that iterates."""
        with self._change:
            self._change.wait_for(lambda: self._waiting or self._has_ended)
            return self._pop() if self._waiting else None

    def put(self, line: str) -> None:
        with self._change:
            self._change.wait_for(lambda: not self._is_full)
            self._waiting.append(line)
            self._waiting_chars += len(line)
            self._notify()

    def wait_until_taken(self, limit_s: float) -> None:
        with self._change:
            self._change.wait_for(lambda: not self._waiting, limit_s)

    def end(self) -> None:
        with self._change:
            self._has_ended = True
            self._notify()

    @property
    def _is_full(self) -> bool:
        return len(self._waiting) >= QUEUE_MAX_LINES or self._waiting_chars >= QUEUE_MAX_BYTES

    def _pop(self) -> str:
        line = self._waiting.popleft()
        self._waiting_chars -= len(line)
        self._change.notify_all()
        return line

    def _notify(self) -> None:
        self._change.notify_all()
        on_change, self._on_change = self._on_change, None
        if on_change is not None:
            on_change()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        import asyncio  # takes 50 ms, but the SDK has imported it by now

        loop = asyncio.get_running_loop()
        self.is_read = True
        while True:
            with self._change:
                if self._waiting:
                    return self._pop()
                if self._has_ended:
                    raise StopAsyncIteration
                change = loop.create_future()
                self._on_change = partial(loop.call_soon_threadsafe, resolve, change)
            await change


# ── input ─────────────────────────────────────────────────────────────────────────────────────────────────


class Reader:
    """Reads lines from `fd` until its end, then ends the process. Runs on a thread of its own."""

    def __init__(
        self, fd: int, lines: LineQueue, output: Output, unanswered: UnansweredRequests, cache: ResponseCache
    ) -> None:
        self._fd = fd
        self._cache = cache
        self._lines = lines
        self._output = output
        self._unanswered = unanswered
        self._line = bytearray()
        self._dropped = 0  # bytes that were dropped between the two ends of an over-long line
        self._was_asked = False
        self._reported: set[str] = set()  # reasons; there are about twenty

    def run(self) -> None:
        while chunk := self._read():
            *whole, rest = chunk.split(b"\n")
            for part in whole:
                self._extend(part)
                self._finish_line()
            self._extend(rest)
        self._finish_line()
        if not self._was_asked:
            if not os.isatty(self._fd):
                _warn(_NOTHING_ASKED)
            leave()
        limit_s = LAST_REPLIES_S if self._lines.is_read else FIRST_REPLIES_S
        self._lines.wait_until_taken(IMPORT_S)
        self._unanswered.wait_until_empty(limit_s)
        self._lines.end()
        threading.Event().wait(LEAVE_S)
        leave()  # also where a call hangs or the host reads nothing

    def _read(self) -> bytes:
        while True:
            try:
                return os.read(self._fd, READ_BYTES)
            except BlockingIOError:
                select.select([self._fd], [], [])
            except OSError:  # the terminal hung up, or the descriptor was never open
                return b""

    def _extend(self, part: bytes) -> None:
        self._line += part
        if len(self._line) + self._dropped > HOST_LINE_MAX_BYTES:
            too_many = len(self._line) - 2 * EDGE_BYTES
            if too_many > 0:
                del self._line[EDGE_BYTES : EDGE_BYTES + too_many]
                self._dropped += too_many

    def _finish_line(self) -> None:
        line, self._line = bytes(self._line).removeprefix(codecs.BOM_UTF8), bytearray()
        dropped, self._dropped = self._dropped, 0
        if not line or line.isspace():
            return
        self._was_asked = True
        message = _too_long(line) if dropped else message_of(line)
        if isinstance(message, Problem):
            self._refuse(line, message)
            return
        self._unanswered.add(line)
        if (early := self._cache.answer(line)) is not None:
            self._output.send(early)
        self._lines.put(message)

    def _refuse(self, line: bytes, problem: Problem) -> None:
        if problem.reason not in self._reported:  # one line for each kind: a host's log is read by people
            self._reported.add(problem.reason)
            _warn(report(line, problem))
        self._output.send(replies(problem))


def _too_long(line: bytes) -> Problem:
    number = edge_id(line[:EDGE_BYTES], line[-EDGE_BYTES:])
    reason = f"the request has more than {HOST_LINE_MAX_BYTES} bytes: send less, or name a file in code_file"
    return Problem(reason, ids=(None if number is None else json.loads(number.decode("utf-8", "replace")),))


def _warn(sentence: str) -> None:
    with suppress(OSError):  # a host may have closed our stderr
        os.write(2, sentence.encode("ascii", "replace") + b"\n")


# ── the whole ─────────────────────────────────────────────────────────────────────────────────────────────


class StdioTransport:
    """`lines` and `output` are the stdin and stdout of the SDK; `cache` is closed when the SDK begins to read."""

    def __init__(self, fd_in: int, fd_out: int, cache: ResponseCache) -> None:
        self.lines = LineQueue()
        self.cache = cache
        unanswered = UnansweredRequests()
        self.output = Output(fd_out, unanswered, cache, on_gone=leave)
        self._reader = Reader(fd_in, self.lines, self.output, unanswered, cache)

    def start(self) -> None:
        threading.Thread(target=self._read, name="host-reader", daemon=True).start()

    def _read(self) -> None:
        try:
            self._reader.run()
        except BaseException:  # noqa: BLE001 - hosts restart a server that ended, not one that does not read
            sys.excepthook(*sys.exc_info())
            leave(1)

    def refuse_all(self, reason: str) -> NoReturn:
        """Answers every request with error -32603 and `reason` until the host closes stdin; then exit code 1.

        For a server that cannot start: hosts show the reason of an error, and hide the stderr of a process that died.
        """
        self.cache.close()
        error = json.dumps({"code": -32603, "message": reason}).encode()
        while (line := self.lines.take()) is not None:
            if (number := request_id(line.encode())) is not None:
                self.output.send(b'{"jsonrpc":"2.0","id":%s,"error":%s}\n' % (number, error))
        leave(1)


def open_transport(environ: Mapping[str, str] = os.environ) -> StdioTransport:
    """Installs the signal handlers, takes over descriptors 0 and 1, and starts the reader thread."""
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
        sys.stderr.write(
            "alc serves MCP on stdin and waits for a host; `alc --help` shows the commands. Ctrl-D ends.\n"
        )
    transport = StdioTransport(fd_in, fd_out, open_response_cache(environ))
    transport.start()
    return transport


def _on_signal(number: int, frame: FrameType | None) -> None:
    leave()


def _fill_standard_descriptors() -> None:
    """Opens /dev/null as 0, 1 and 2 where the host closed them: no journal or socket may get such a number."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
