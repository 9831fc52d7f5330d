"""The two kinds of sockets that a keeper serves, as buffers over non-blocking descriptors: clients and engines.

Contract: `receive` and `flush` never block. Buffers are bounded: an unfinished line by `line_bytes`; what goes out,
because a peer gets one reply at a time and a client that does not take it within `client_s` is dropped.
"""

import contextlib
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Iterator

from algocline_mcp.protocol.messages import LineBuffer, PoolRequest
from algocline_mcp.session.decisions import Refusal
from algocline_mcp.session.records import Record
from algocline_mcp.worker.database.calls import PendingCall
from algocline_mcp.worker.keeper.replay import reply_to_ask

_STDERR = 2
_RECEIVE_BYTES = 64 * 1024  # below what malloc maps afresh for each call


class Peer:
    def __init__(self, sock: socket.socket, line_bytes: int) -> None:
        sock.setblocking(False)
        self.socket = sock
        self.is_open = True
        self._lines = LineBuffer(line_bytes)
        self._out = bytearray()

    @property
    def has_output(self) -> bool:
        return bool(self._out)

    def receive(self) -> Iterator[bytes]:
        """The lines that one read completes. At the end of the stream `is_open` turns false. Raises ProtocolError."""
        try:
            chunk = self.socket.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self.is_open = False
            return
        yield from self._lines.feed(chunk)

    def send(self, line: bytes) -> None:
        """Takes `line`, which ends with its LF, and writes what the peer takes at once."""
        self._out += line
        self.flush()

    def flush(self) -> None:
        try:
            while self._out:
                del self._out[: self.socket.send(self._out)]
        except BlockingIOError:
            pass
        except OSError:
            self._out.clear()
            self.is_open = False

    def close(self) -> None:
        self.is_open = False
        self.socket.close()


class Client(Peer):
    """A connection of a server. It has at most one request under way."""

    def __init__(self, sock: socket.socket, line_bytes: int, *, deadline: float) -> None:
        super().__init__(sock, line_bytes)
        self.request: PoolRequest | None = None
        self.deadline = deadline  # monotonic: by then it has sent a request, or taken its reply, or is answered
        self.is_decided = False  # not yet: a replay is under way, or the step is tried again
        self.was_retried = False
        self.has_seen_a_try = False  # it waited while an engine was on its way: the death of that one is its answer
        self.is_put_off = False  # nobody judged its answers: the session is stuck, and it waits for no second try
        self.is_accepted = False  # its answers were taken and let nothing run
        self.refused: tuple[Refusal, ...] = ()

    @property
    def op(self) -> str:
        return self.request.op if self.request is not None else ""

    @property
    def waits(self) -> bool:
        return self.request is not None and self.request.wait_s > 0

    def begin(self, request: PoolRequest, now: float) -> None:
        self.request = request
        self.deadline = now + request.wait_s
        self.is_decided = self.was_retried = self.has_seen_a_try = self.is_put_off = self.is_accepted = False
        self.refused = ()


class Engine(Peer):
    """One forked engine: its stream, whether it computes, the prompt it waits at."""

    def __init__(self, pid: int, sock: socket.socket, line_bytes: int, *, stream: str) -> None:
        super().__init__(sock, line_bytes)
        self.pid = pid
        self.stream = stream
        self.is_computing = True
        self.since = time.monotonic()  # it computes
        self.waits_for: list[str] = []
        self.taken: dict[str, Record] = {}
        self.pending_call: PendingCall | None = None  # a call that is not answered yet
        self.clock: tuple[Record, int] | None = None  # the last reading and how often it was given, not yet recorded

    def begin(self, start: bytes) -> None:
        """Hands it what it is to run, and its standard error: it may be older than the session and its log."""
        self._out += start
        try:
            del self._out[: socket.send_fds(self.socket, [self._out], [_STDERR])]
        except OSError:  # never a full socket: nothing was sent on it yet
            self._out.clear()
            self.is_open = False
        self.flush()

    @property
    def spent_s(self) -> float:
        """For how long it has computed."""
        return round(time.monotonic() - self.since, 3)

    def wait(self, query_ids: list[str], taken: dict[str, Record]) -> None:
        self.is_computing = False
        self.waits_for, self.taken = query_ids, taken

    def give(self, item: Record) -> Record | None:
        """Adds one answer. Returns the reply for the engine when the prompt has all of them."""
        self.taken[item["id"]] = item
        if len(self.taken) < len(self.waits_for):
            return None
        reply = reply_to_ask([self.taken[query_id] for query_id in self.waits_for])
        self.waits_for, self.taken = [], {}
        return reply

    def allow(self, cpu_s: int) -> None:
        """Gives the coming step that much processor time from now; then the kernel ends it with SIGXCPU."""
        self.is_computing = True
        self.since = time.monotonic()
        if sys.platform == "linux":
            with contextlib.suppress(OSError):  # it has just died: its socket will tell
                used_s = time.clock_gettime((~self.pid << 3) | 2)  # clock_getcpuclockid(3), which Python lacks
                soft_s = int(used_s) + cpu_s + 1
                hard_s = resource.prlimit(self.pid, resource.RLIMIT_CPU)[1]
                if hard_s != resource.RLIM_INFINITY:
                    soft_s = min(soft_s, hard_s)
                # The hard limit stays: once lowered, only root could raise it for the next step.
                resource.prlimit(self.pid, resource.RLIMIT_CPU, (soft_s, hard_s))

    def kill(self) -> str:
        """Ends and reaps it; returns how it ended. Safe to call for one that is dead already."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)  # our own child, not yet reaped: the pid is still its own
        _, status = os.waitpid(self.pid, 0)
        self.close()
        return _how(os.waitstatus_to_exitcode(status))


def _how(code: int) -> str:
    if code == -signal.SIGXCPU:
        return "used up the processor time of a step (ALC_STEP_CPU_S)"
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code} before it finished"
