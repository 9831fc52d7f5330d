"""Sockets of a keeper as buffers over non-blocking descriptors: connections of clients, and of engines.

Contract: `receive` and `flush` never block. Buffers are bounded: an unfinished line by `line_bytes`; output, because a
client gets one reply at a time and is dropped when it does not read the reply within `client_s`.
"""

import contextlib
import math
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Iterator

from algocline_mcp.errors import AlcError
from algocline_mcp.protocol.messages import LineBuffer, PoolRequest
from algocline_mcp.session.records import CPU_USED_UP, Record
from algocline_mcp.session.refusals import Refusal
from algocline_mcp.worker.database.calls import PendingCall
from algocline_mcp.worker.engine.process import NOT_CONFINED
from algocline_mcp.worker.keeper.replay import reply_to_ask
from algocline_mcp.worker.keeper.requests import RequestState

WALL_PER_CPU = 20  # a step may take so many times its processor time: an engine that sleeps uses next to none
_STDERR = 2
_SAMPLES = 3  # of processor time in `silent_s`
_RECEIVE_BYTES = 64 * 1024  # below the size that malloc maps afresh for each call


class Connection:
    def __init__(self, sock: socket.socket, line_bytes: int) -> None:
        sock.setblocking(False)
        self.socket = sock
        self.is_open = True
        self._lines = LineBuffer(line_bytes)
        self._out = bytearray()

    @property
    def has_output(self) -> bool:
        """Something is left to write."""
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
        """Buffers `line`, which ends with its LF, and writes as much as the socket takes at once."""
        self._out += line
        self.flush()

    def flush(self) -> None:
        """Writes as much of the buffer as the socket takes. A broken connection empties it and is no longer open."""
        try:
            while self._out:
                del self._out[: self.socket.send(self._out)]
        except BlockingIOError:
            pass
        except OSError:
            self._out.clear()
            self.is_open = False
            # An end that is only shut for reading is no event: with this, poll reports the end of the stream.
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.is_open = False
        self.socket.close()


class Client(Connection):
    """A connection of a server. It has at most one request under way, whose life is the table of `requests`."""

    def __init__(self, sock: socket.socket, line_bytes: int, *, deadline: float) -> None:
        super().__init__(sock, line_bytes)
        self.request: PoolRequest | None = None
        self.state = RequestState.HELD  # of `request`
        self.refused: tuple[Refusal, ...] = ()  # answers that were refused beside others that were taken
        self.error: AlcError | None = None  # why it is refused as a whole
        self.deadline = deadline  # monotonic: for sending a request, for reading a reply, or for answering the request

    @property
    def op(self) -> str:
        return self.request.op if self.request is not None else ""

    @property
    def is_waiting(self) -> bool:
        """Its request may be answered later than at once."""
        return self.request is not None and self.request.wait_s > 0

    @property
    def is_asking_to_leave(self) -> bool:
        """Its request asks the worker to hibernate."""
        return self.request is not None and self.request.op == "shutdown" and self.request.mode != "cancel"

    def accept(self, request: PoolRequest, now: float) -> None:
        self.request = request
        self.state = RequestState.HELD
        self.refused, self.error = (), None
        self.deadline = now + request.wait_s


class Engine(Connection):
    """A forked engine: its stream, its step, and the prompt at which it is paused."""

    def __init__(self, pid: int, sock: socket.socket, line_bytes: int, *, stream: str, silent_s: float = 0) -> None:
        """`silent_s`: see `is_silent`; 0: never."""
        super().__init__(sock, line_bytes)
        self.pid = pid
        self.stream = stream
        self.is_computing = True
        self.step_began = time.monotonic()
        self.ends_at = math.inf  # monotonic: the latest end of this step
        self.served_s = 0.0  # processor time of the keeper for messages of this step
        self._served_end_s = math.inf
        self._sample_s = silent_s / _SAMPLES if sys.platform == "linux" else 0
        self.sample_at = math.inf  # monotonic: when `is_silent` is to be asked next
        self._used_s = -1.0  # processor time at the last sample
        self._idle_samples = 0
        self._cpu_s = 0
        self._cpu_end_s: int | None = None  # processor time at which this step ends; None: to be read
        self.query_ids: list[str] = []  # of the prompt at which it is paused
        self.answers: dict[str, Record] = {}  # to these queries, by id
        self.is_waiting = False  # it is paused at a wait for any answer
        self.wakes_at = math.inf  # monotonic: when the timer of that wait fires
        self.is_woken = False  # a timer began this step
        self.undelivered: dict[str, Record] = {}  # by query id: answers for a wait that it has not got yet
        self.pending_call: PendingCall | None = None  # a call that is not answered yet
        self.clock: tuple[Record, int] | None = None  # the last reading and how often it was given, not yet recorded

    def send_start(self, start: bytes) -> None:
        """Sends what the engine runs, and its standard error: it may be older than the session and its log."""
        self._out += start
        try:
            del self._out[: socket.send_fds(self.socket, [self._out], [_STDERR])]
        except OSError:  # never a full socket: nothing was sent on it yet
            self._out.clear()
            self.is_open = False
        self.flush()

    @property
    def spent_s(self) -> float:
        """How long it has computed in this step."""
        return round(time.monotonic() - self.step_began, 3)

    def pause(self, query_ids: list[str], answers: dict[str, Record]) -> None:
        """It waits at a prompt, some of whose queries may be answered, or at a fork (no queries)."""
        self.is_computing = False
        self.query_ids, self.answers = query_ids, answers

    def wait(self, wake_s: float | None) -> None:
        """It waits for any answer, or until `wake_s` seconds from now have passed."""
        self.is_computing, self.is_waiting = False, True
        self.wakes_at = math.inf if wake_s is None else time.monotonic() + wake_s

    def is_deliverable(self, now: float) -> bool:
        """It waits, and an answer is there or its timer has fired."""
        return self.is_waiting and (bool(self.undelivered) or self.wakes_at <= now)

    def add_answer(self, item: Record) -> Record | None:
        """Returns the reply for the engine when this answer completes the prompt. An answer for a wait is kept."""
        if item["id"] not in self.query_ids:
            self.undelivered[item["id"]] = item
            return None
        self.answers[item["id"]] = item
        if len(self.answers) < len(self.query_ids):
            return None
        reply = reply_to_ask([self.answers[query_id] for query_id in self.query_ids])
        self.query_ids, self.answers = [], {}
        return reply

    def begin_step(self, cpu_s: int, alone_s: int | None = None) -> None:
        """Allows the coming step `cpu_s` of processor time from now; then the kernel ends the engine with SIGXCPU.
        `alone_s`: no call waits for the step, see `limit_cpu`."""
        self.is_computing, self.is_waiting, self.wakes_at = True, False, math.inf
        self.step_began = time.monotonic()
        self.ends_at = self.step_began + WALL_PER_CPU * (cpu_s + 1)
        self.served_s = 0.0
        self.sample_at, self._idle_samples = self.step_began + (self._sample_s or math.inf), 0
        self._cpu_s = cpu_s
        self._cpu_end_s = None
        self.limit_cpu(alone_s)

    def limit_cpu(self, alone_s: int | None) -> None:
        """Ends the step after `alone_s` of processor time from now if that is sooner; None: at its own end.

        The keeper's own time is limited alike: a flood of messages costs an engine a hundredth of what it costs the
        keeper."""
        self._served_end_s = 1 + (self._cpu_s if alone_s is None else min(self._cpu_s, self.served_s + alone_s))
        if sys.platform == "linux":
            with contextlib.suppress(OSError):  # the engine has just died: its socket will report it
                used_s = _cpu_used_s(self.pid)
                if self._cpu_end_s is None:
                    self._cpu_end_s = int(used_s) + self._cpu_s + 1
                soft_s = self._cpu_end_s if alone_s is None else min(self._cpu_end_s, int(used_s) + alone_s + 1)
                hard_s = resource.prlimit(self.pid, resource.RLIMIT_CPU)[1]
                if hard_s != resource.RLIM_INFINITY:
                    soft_s = min(soft_s, hard_s)
                # The hard limit stays: once lowered, only root could raise it for the next step.
                resource.prlimit(self.pid, resource.RLIMIT_CPU, (soft_s, hard_s))

    @property
    def is_served_out(self) -> bool:
        """The keeper has spent on this step's messages what the engine itself may use."""
        return self.served_s >= self._served_end_s

    def is_silent(self) -> bool:
        """Takes a sample. True: the engine has used no processor time at all in as many samples as `silent_s` holds. A
        machine that was frozen for an hour counts as one sample."""
        self.sample_at = time.monotonic() + self._sample_s
        with contextlib.suppress(OSError):  # the engine has just died: its socket will report it
            used_s = _cpu_used_s(self.pid)
            self._idle_samples = self._idle_samples + 1 if used_s == self._used_s else 0
            self._used_s = used_s
        return self._idle_samples >= _SAMPLES

    def kill(self) -> str:
        """Ends and reaps the engine; returns how it ended. Safe for an engine that is dead already."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)  # our own child, not yet reaped: the pid is still its own
        _, status = os.waitpid(self.pid, 0)
        self.close()
        return _describe_exit(os.waitstatus_to_exitcode(status))


def _cpu_used_s(pid: int) -> float:
    return time.clock_gettime((~pid << 3) | 2)  # clock_getcpuclockid(3), which Python lacks


def _describe_exit(code: int) -> str:
    if code == -signal.SIGXCPU:
        return CPU_USED_UP
    if code == NOT_CONFINED:
        return "the kernel refused to confine it (its log in log/ says why); ALC_SANDBOX=off runs it without"
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code} before it finished"
