"""The process that a host starts. It owns stdin and stdout, starts the server when a request needs it, and outlives it.

Most windows of a host never call a tool, and some hosts never restart a server that died. So this process is small and
has nothing that could fail: it needs the standard library alone, checks lines, gives the replies that an earlier start
has stored, and passes whole lines on. The SDK is imported by the server, a child (server_process.py). What happens to
a line is decided in relay.py.

  input         lines are repaired or refused (transport/jsonrpc.py); the first refusal of each kind is on stderr too
  end of input  without any request: a sentence on stderr, then exit 0 at once. Else the process waits for the replies
                that are due, for at most LAST_REPLIES_S (where the server has not started yet, as with input from a
                pipe, IMPORT_S for its start and FIRST_REPLIES_S from then on), then LEAVE_S for its end, then exit 0
  output        whole lines. A host that reads slowly delays its replies only; one that is gone ends the process, exit 0
  idle          without a request for the idle time the server ends; the next request starts another one
  silence       a server that owes a reply and does not even answer a ping is killed, and the next one is started
"""

import json
import os
import select
import time
from collections.abc import Mapping
from math import inf
from typing import NoReturn

from algocline_mcp.front.host import LINE_MAX_BYTES, HostInput, HostOutput
from algocline_mcp.front.relay import Relay, State
from algocline_mcp.front.response_cache import CacheFile, ResponseCache
from algocline_mcp.front.server_process import ServerProcess
from algocline_mcp.front.silence import Silence, Step
from algocline_mcp.transport.descriptors import DroppingStderr, end_on_signals, leave, take_over_descriptors
from algocline_mcp.transport.jsonrpc import Problem, message_of, replies, report
from algocline_mcp.transport.lines import EDGE_BYTES, READY, edge_id

# Beyond this much that waits on its way, the front stops reading: the pipe fills up instead of its memory.
HELD_MAX_BYTES = 2 * LINE_MAX_BYTES
# Hosts wait about 2 s after they have closed our stdin, then send SIGTERM: the limits for the replies that are due and
# for the end of the server stay below.
LAST_REPLIES_S = 1.0
LEAVE_S = 0.5
# Limits where the input ends before the server has started: its start and the first call take no longer, also on a
# busy machine. A host that does not want to wait sends SIGTERM.
IMPORT_S = 60.0
FIRST_REPLIES_S = 10.0
SERVER_IDLE_S = 600.0  # as the idle time of a worker: it outlasts the turns of a conversation
SERVER_SILENT_S = 30.0  # its event loop is never held for a second; a busy machine may hold the whole process
_LIMIT_MAX_S = 1e6  # `poll` takes its milliseconds as a C int
_NOTHING_ASKED = (
    "alc: stdin ended before a line came, so nothing was served: a host starts alc and keeps its stdin open (in a "
    "container: docker run -i); alc --help shows the commands"
)
_NO_HOST = "alc serves MCP on stdin and waits for a host; `alc --help` shows the commands. Ctrl-D ends."


class Front:
    def __init__(
        self, host_input: HostInput, host_output: HostOutput, cache_file: CacheFile, idle_s: float, silence: Silence
    ) -> None:
        self._input = host_input
        self._output = host_output
        self._cache_file = cache_file
        self._cache = ResponseCache(cache_file.load())
        self._relay = Relay(self._cache, f"alc-{os.urandom(8).hex()}")
        self._server: ServerProcess | None = None
        self._is_server_behind = False  # the socket is full
        self._is_input_closed = False  # of the server
        self._silence = silence
        self._start_silence = Silence(IMPORT_S / 2)
        self._idle_s = idle_s
        self._idle_from_s = 0.0
        self._was_asked = False
        self._leave_at_s: float | None = None  # the host's input has ended
        self._reported: set[str] = set()  # reasons; there are about twenty
        self._poll = select.poll()
        self._polled: dict[int, int] = {}

    def run(self) -> NoReturn:
        while True:
            self._act()
            self._watch()
            for fd, _ in self._poll.poll(self._timeout_ms()):
                if fd == self._input.fd:
                    self._read_host()
                elif self._server is not None and fd == self._server.fd:
                    self._read_server()

    def _act(self) -> None:
        """What follows from the events so far."""
        relay = self._relay
        if self._idle_left_s <= 0:
            relay.retire()
        self._end_silence()
        while relay.is_server_wanted and self._server is None:  # the relay gives up after a few that cannot start
            self._start_server()
        if self._server is not None:
            if relay.is_server_done and not self._is_input_closed:
                self._close_server_input()
            self._is_server_behind = self._server.send(relay.to_server)
        if relay.has_learned:
            relay.has_learned = False
            self._cache_file.save(self._cache.answers)
        try:
            self._output.write(relay.to_host)
        except OSError:
            self._leave()
        if self._leave_at_s is not None and (
            not (relay.is_waiting or self._is_host_behind) or time.monotonic() >= self._leave_at_s
        ):
            self._leave()

    def _end_silence(self) -> None:
        """Ends a server that hangs, or that does not start."""
        now_s, is_heard = time.monotonic(), not self._is_host_behind
        step = self._silence.decide(now_s, is_owing=is_heard and self._relay.is_server_owing)
        start = self._start_silence.decide(now_s, is_owing=is_heard and self._relay.state is State.STARTING)
        if step is Step.ASK:
            self._relay.ping()
        elif step is Step.END:
            self._server_has_ended("it hung, and was killed: it answered no ping")
        elif start is Step.END:
            self._server_has_ended(f"it did not start within {IMPORT_S:g} s")

    @property
    def _is_host_behind(self) -> bool:
        return self._output.is_behind or bool(self._relay.to_host)

    @property
    def _idle_left_s(self) -> float:
        """Until the server has to retire; infinite where none is idle."""
        if self._relay.state is not State.READY or self._relay.is_waiting or not self._idle_s:
            return inf
        return self._idle_from_s + self._idle_s - time.monotonic()

    # ── waiting ───────────────────────────────────────────────────────────────────────────────────────────

    def _watch(self) -> None:
        """Registers what the next event may come from."""
        wanted: dict[int, int] = {}
        if self._leave_at_s is None and self._relay.held_bytes < HELD_MAX_BYTES:
            wanted[self._input.fd] = select.POLLIN
        if self._is_host_behind:
            wanted[self._output.fd] = select.POLLOUT
        if self._server is not None:
            # A host that does not read makes the server wait, not the memory grow.
            flags = 0 if self._is_host_behind else select.POLLIN
            flags |= select.POLLOUT if self._is_server_behind else 0
            if flags:
                wanted[self._server.fd] = flags
        if wanted != self._polled:
            for fd in self._polled.keys() - wanted.keys():
                self._poll.unregister(fd)
            for fd, flags in wanted.items():
                self._poll.register(fd, flags)
            self._polled = wanted

    def _timeout_ms(self) -> float | None:
        now_s = time.monotonic()
        leave_at_s = inf if self._leave_at_s is None else self._leave_at_s
        left_s = min(min(leave_at_s, self._silence.due_s, self._start_silence.due_s) - now_s, self._idle_left_s)
        return None if left_s == inf else max(0.0, left_s) * 1000

    # ── the host ──────────────────────────────────────────────────────────────────────────────────────────

    def _read_host(self) -> None:
        lines = self._input.read()
        if lines is None:
            self._host_has_ended()
            return
        for line, is_cut in lines:
            self._was_asked = True
            message = _too_long(line) if is_cut else message_of(line)
            if isinstance(message, Problem):
                self._refuse(line, message)
            else:
                self._relay.from_host(message)
                self._idle_from_s = time.monotonic()

    def _refuse(self, line: bytes, problem: Problem) -> None:
        if problem.reason not in self._reported:  # one line for each kind: a host's log is read by people
            self._reported.add(problem.reason)
            _warn(report(line, problem))
        self._relay.to_host.append(replies(problem))

    def _host_has_ended(self) -> None:
        if not self._was_asked:
            if not os.isatty(self._input.fd):
                _warn(_NOTHING_ASKED)
            leave()
        is_started = self._relay.state is State.READY
        self._leave_at_s = time.monotonic() + (LAST_REPLIES_S if is_started else IMPORT_S)

    def _leave(self) -> NoReturn:
        if self._server is not None:
            self._server.close_input()
            poll = select.poll()
            poll.register(self._server.fd, select.POLLIN)
            deadline_s = time.monotonic() + LEAVE_S
            while (left_s := deadline_s - time.monotonic()) > 0 and poll.poll(left_s * 1000):
                if self._server.receive() is None:
                    break
        leave()

    # ── the server ────────────────────────────────────────────────────────────────────────────────────────

    def _start_server(self) -> None:
        self._relay.server_has_started()
        try:
            self._server = ServerProcess()
        except OSError as exc:
            self._relay.server_has_ended(str(exc))
            return
        self._is_server_behind = self._is_input_closed = False

    def _close_server_input(self) -> None:
        assert self._server is not None
        self._is_input_closed = True
        self._relay.to_server.clear()
        self._server.close_input()

    def _read_server(self) -> None:
        assert self._server is not None
        lines = self._server.receive()
        if lines is None:
            self._server_has_ended()
            return
        self._silence.heard()
        self._start_silence.heard()
        for line in lines:
            self._relay.from_server(line)
        self._idle_from_s = time.monotonic()
        if self._leave_at_s is not None and READY in lines:  # it has started after the end of the input
            self._leave_at_s = time.monotonic() + FIRST_REPLIES_S

    def _server_has_ended(self, reason: str | None = None) -> None:
        """`reason`: of the front, where it ends the server; else its exit tells."""
        assert self._server is not None
        if self._polled.pop(self._server.fd, None) is not None:
            self._poll.unregister(self._server.fd)
        how, self._server = self._server.end(), None
        self._relay.server_has_ended(reason or how)


def serve(environ: Mapping[str, str] = os.environ) -> NoReturn:
    """Serves the host that has started this process, until it closes stdin."""
    end_on_signals()
    fd_in, fd_out = take_over_descriptors()
    if os.isatty(fd_in):
        _warn(_NO_HOST)
    idle_s = _limit_s(environ, "ALC_SERVER_IDLE_S", SERVER_IDLE_S)
    silent_s = _limit_s(environ, "ALC_SERVER_SILENT_S", SERVER_SILENT_S)
    Front(HostInput(fd_in), HostOutput(fd_out), CacheFile(environ), idle_s, Silence(silent_s)).run()


def _limit_s(environ: Mapping[str, str], name: str, usual_s: float) -> float:
    """A value that is none is reported by the server, as that of every other limit."""
    try:
        chosen_s = float(environ.get(name) or usual_s)
    except ValueError:
        return usual_s
    return min(chosen_s, _LIMIT_MAX_S) if chosen_s >= 0 else usual_s


def _too_long(line: bytes) -> Problem:
    number = edge_id(line[:EDGE_BYTES], line[-EDGE_BYTES:])
    reason = f"the request has more than {LINE_MAX_BYTES} bytes: send less, or name a file in code_file"
    return Problem(reason, ids=(None if number is None else json.loads(number.decode("utf-8", "replace")),))


def _warn(sentence: str) -> None:
    DroppingStderr().write(sentence.encode("ascii", "replace") + b"\n")
