"""The trusted process of a session: `alc pool-worker SID --journal FD --listener FD`.

It inherits the locked journal and the listening socket, and nothing else. It begins at once: recovers the journal,
forks an engine, brings it to where the journal ends and goes on. One thread, one poll loop: it sleeps until a
client, an engine, a signal or a deadline needs it. Environment: ALC_* and HOME, as in limits. Created: nothing; it
renames a finished journal into finished/, unlinks its socket and, where empty, its stderr log. SIGTERM: hibernate.
Exit codes: 0 it left in order, 1 the disk does not hold what it is given (whoever comes next recovers from what the
disk has), 2 bad arguments or settings, 3 the server is of another version of this program.

Descriptors: 0, 1, 2, journal, listener, the wake-up pipe, one per engine; for a moment clients, and while a strategy
that uses alc.state computes, the state database (state.db, -wal, -shm). The pipe is needed because a signal between
Python's last look and poll would else be noticed only at the next event.
"""

import argparse
import contextlib
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from algocline_mcp import __version__
from algocline_mcp.errors import AlcError, HomeUnusable, ProtocolError, StorageBroken, StorageFailed
from algocline_mcp.protocol import messages
from algocline_mcp.protocol.messages import PoolRequest, PoolResponse, Speaker
from algocline_mcp.session.events import Answer, Cancel, Continue, HostEvent, Status
from algocline_mcp.session.records import Record
from algocline_mcp.session.state import Phase
from algocline_mcp.storage.clock import now_s
from algocline_mcp.storage.process_stat import start_time_of
from algocline_mcp.worker.engine.preload import Preloaded
from algocline_mcp.worker.engine.process import Spawned, spawn_engine
from algocline_mcp.worker.keeper.connections import Client, Engine, Peer
from algocline_mcp.worker.keeper.session_runner import RunnerCallbacks, SessionRunner
from algocline_mcp.worker.lowlevel.failpoints import arm, fail_point
from algocline_mcp.worker.lowlevel.memory_pages import NO_RANGES, Ranges
from algocline_mcp.worker.lowlevel.process_title import set_title

_BACKLOG = 64
_SIGNAL_BYTES = 64


class _Leave(Exception):
    """Ends the loop."""


class Keeper:
    """The shell: sockets, deadlines, signals. What it keeps is in `runner`."""

    def __init__(
        self, sid: str, journal_fd: int, listener_fd: int, preloaded: Preloaded, spare: Spawned | None
    ) -> None:
        self.sid = sid
        self.home = preloaded.home
        self.limits = preloaded.limits
        self.listener = socket.socket(fileno=listener_fd)
        self.listener.setblocking(False)
        self.listener.listen(_BACKLOG)  # once more: SO_PEERCRED and SO_PEERPIDFD shall name this process
        self._poll = select.poll()
        self._calls: dict[int, Callable[[int], object]] = {}  # descriptor -> what to do when it is ready
        self._watch(listener_fd, self._accept)
        self.speaker = Speaker(messages.PROTOCOL, __version__, sid, os.getpid(), start_time_of("self") or 0)
        self.clients: set[Client] = set()
        self.is_asked_to_leave = False
        self.is_retired = False
        self.quiet_since = time.monotonic()  # nobody asks and nothing computes
        shell = RunnerCallbacks(watch=self._watch_engine, unwatch=self._unwatch, progress=self._push_progress)
        self.runner = SessionRunner(sid, journal_fd, preloaded, shell, spare)

    def run(self) -> None:
        """Until the session is over or hibernates. Raises StorageBroken."""
        wake, ring = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(ring, False)
        self._watch(wake, lambda mask: os.read(wake, _SIGNAL_BYTES))
        signal.set_wakeup_fd(ring, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._on_sigterm)
        try:
            while self.turn():
                pass
        finally:
            signal.set_wakeup_fd(-1)
            os.close(wake)
            os.close(ring)

    def turn(self) -> bool:
        """One round: settles what is due, sleeps until something happens, hears it. False: it has left."""
        try:
            self._settle()
        except _Leave:
            self._leave()
            return False
        for fd, mask in self._poll.poll(self._timeout_ms()):
            if fd in self._calls:  # an earlier event of this round may have closed it
                self._calls[fd](mask)
        return True

    def _on_sigterm(self, number: int, frame: Any) -> None:
        self.is_asked_to_leave = True

    # ── deadlines ─────────────────────────────────────────────────────────────────────────────────────────

    def _timeout_ms(self) -> float | None:
        """Milliseconds to the next deadline. None for a paused session without idle limit: only a question wakes it."""
        deadlines = [client.deadline for client in self.clients]
        if (due := self.runner.due) is not None:
            deadlines.append(due)
        if (quiet_s := self._quiet_limit_s()) is not None and not self._is_asked():
            deadlines.append(self.quiet_since + quiet_s)
        return max(0.0, min(deadlines) - time.monotonic()) * 1000 if deadlines else None

    @property
    def _is_over(self) -> bool:
        """Nothing is left to do but to tell it."""
        return self.runner.session.phase is Phase.FINISHED or self.runner.fatal is not None

    def _quiet_limit_s(self) -> float | None:
        """How long this worker stays when nobody asks; None: as long as it likes."""
        if self.runner.computing:
            return None
        return self.limits.linger_s if self._is_over else self.limits.idle_s or None

    def _is_asked(self) -> bool:
        """At its end only a request counts: one who connects again and again must not keep it alive."""
        return any(not self._is_over or client.request is not None or client.has_output for client in self.clients)

    def _settle(self) -> None:
        """After whatever happened: decides what was held, answers what is due, leaves when it is time."""
        now = time.monotonic()
        self.runner.retry()
        if self.is_asked_to_leave:
            for client in [client for client in self.clients if client.request is not None]:
                self._reply_with_state(client)
            raise _Leave
        for client in list(self.clients):
            if client.request is not None:
                self._process(client)
            if client.is_open and client.deadline <= now:
                self._on_deadline(client)
            if not client.is_open:
                self._forget(client)
        if self.runner.session.phase is Phase.FINISHED:
            self._retire()
        self.runner.rest()
        quiet_s = self._quiet_limit_s()
        if quiet_s is None or self._is_asked():
            self.quiet_since = now
        elif now >= self.quiet_since + quiet_s:
            raise _Leave

    def _on_deadline(self, client: Client) -> None:
        """Its time is over: a request is answered with the state as it is, a mute or slow client is dropped."""
        if client.request is not None:
            self._reply_with_state(client)
        else:
            self._forget(client)

    # ── clients ───────────────────────────────────────────────────────────────────────────────────────────

    def _accept(self, mask: int) -> None:
        try:
            sock, _ = self.listener.accept()
        except OSError:
            return  # it has gone again
        if _peer_uid(sock) not in (os.geteuid(), None):
            sock.close()
            return
        if len(self.clients) >= self.limits.clients and not self._make_room():
            self._turn_away(sock)
            return
        deadline = time.monotonic() + self.limits.client_s
        client = Client(sock, self.limits.line_bytes, deadline=deadline)
        self.clients.add(client)
        self._watch(sock.fileno(), lambda mask: self._serve(client, mask))

    def _make_room(self) -> bool:
        """Drops whoever has said nothing for longest: clients that never ask must not keep out one that does."""
        mute = [client for client in self.clients if client.request is None and not client.has_output]
        if mute:
            self._forget(min(mute, key=lambda client: client.deadline))
        return bool(mute)

    def _turn_away(self, sock: socket.socket) -> None:
        sentence = f"{len(self.clients)} calls wait on session {self.sid} already: let them end, then ask again"
        with sock, contextlib.suppress(OSError):
            sock.setblocking(False)
            sock.send(PoolResponse(0, self.speaker, error=sentence, code="busy").encode())

    def _serve(self, client: Client, mask: int) -> None:
        if mask & select.POLLOUT:
            client.flush()
        try:
            for line in client.receive() if mask & ~select.POLLOUT else ():
                if client.request is not None:
                    raise ProtocolError("malformed request: one at a time, the last one is not answered yet")
                self._take(client, line)
        except ProtocolError as exc:
            self._refuse(client, client.request.id if client.request else 0, exc)
            self._forget(client)
        self._watch_output(client)
        if not client.is_open:
            self._forget(client)

    def _take(self, client: Client, line: bytes) -> None:
        """Accepts one request, or refuses it and keeps the connection."""
        try:
            request = PoolRequest.decode(line)
        except ProtocolError as exc:
            self._refuse(client, 0, exc)
            return
        if request.protocol != messages.PROTOCOL:
            sentence = f"this worker speaks protocol {messages.PROTOCOL}, not {request.protocol}"
            self._refuse(client, request.id, AlcError(sentence, code="protocol"))
        elif request.sid != self.sid:
            sentence = f"this worker holds session {self.sid}, not {request.sid}"
            self._refuse(client, request.id, AlcError(sentence, code="wrong_session"))
        elif request.mode == "make_room" and any(other.request is not None for other in self.clients):
            sentence = f"session {self.sid} is asked something just now: let another one make room"
            self._refuse(client, request.id, AlcError(sentence, code="busy"))
        else:
            client.begin(request, time.monotonic())
            self.runner.step_error = None  # asking again tries again
            self.is_asked_to_leave |= request.op == "shutdown" and request.mode != "cancel"
            if client.waits and self.runner.computing and (latest := self.runner.session.progress) is not None:
                self._send_progress(client, latest)  # a strategy may have told it before anybody listened

    def _process(self, client: Client) -> None:
        """Brings one request further: decides it once the replay is over, answers it once nothing computes."""
        if not client.is_decided and self._is_ripe(client):
            self._decide(client)
        if client.request is not None and client.is_decided and not self.runner.computing:
            self._reply_with_state(client)

    def _is_ripe(self, client: Client) -> bool:
        """A request is decided where the engine stands at the journal's end; a second try must have ended first."""
        runner = self.runner
        if runner.fatal is not None and (client.op != "shutdown" or runner.session.phase is Phase.NEW):
            client.is_decided = True  # there is nothing to decide, only to tell
        if client.is_decided or client.op == "shutdown":
            return not client.is_decided
        if client.op == "continue" or client.waits:
            if runner.session.phase is not Phase.STUCK and runner.step_error is None:
                runner.begin()
            if runner.step_error is not None:  # while others compute it may still pass
                client.is_decided = client.is_put_off = not runner.computing
                return False
        client.has_seen_a_try |= runner.is_replaying
        return not runner.is_replaying and not (client.was_retried and runner.computing)

    def _decide(self, client: Client) -> None:
        assert client.request is not None
        try:
            decision = self.runner.decide(_event(client.request))
        except StorageBroken:
            raise
        except StorageFailed as exc:
            self._refuse(client, client.request.id, exc)
            return
        if decision.is_retry and client.waits and not client.was_retried and not client.has_seen_a_try:
            client.was_retried = True
            self.runner.begin()
            return
        if decision.error is not None:
            error = AlcError(decision.error.reason, code=decision.error.code)
            self._refuse(client, client.request.id, error)
            return
        client.is_decided = True
        client.is_put_off = decision.is_retry
        client.refused = decision.refused
        client.is_accepted = client.op == "continue" and bool(decision.records) and not self.runner.computing

    def _reply_with_state(self, client: Client) -> None:
        """Answers with the current state, or with the step_error that stopped the step."""
        assert client.request is not None
        if self.runner.step_error is not None and self.runner.needs_engine:
            self._refuse(client, client.request.id, self.runner.step_error)
            return
        try:
            self.runner.flush()
        except StorageBroken:
            raise
        except StorageFailed as exc:
            self._refuse(client, client.request.id, exc)
            return
        fail_point("reply.flushed")
        feed_result = self.runner.feed(is_accepted=client.is_accepted)
        data: Record = {"kind": "feed", "session_id": self.sid, "feed_result": feed_result}
        if client.refused:
            data["refused"] = [{"query_id": each.query_id, "reason": each.reason} for each in client.refused]
        is_judged = client.is_decided and not client.is_put_off
        if client.op == "continue" and not is_judged and "Stuck" not in feed_result:
            data["not_taken"] = True
        self._respond(client, PoolResponse(client.request.id, self.speaker, data=data))

    def _refuse(self, client: Client, request_id: int, error: AlcError) -> None:
        response = PoolResponse(request_id, self.speaker, error=str(error), code=error.code)
        self._respond(client, response)

    def _respond(self, client: Client, response: PoolResponse) -> None:
        client.request = None
        client.send(response.encode())
        is_over = self.runner.session.phase is Phase.FINISHED and not client.has_output
        client.deadline = time.monotonic() + (self.limits.linger_s if is_over else self.limits.client_s)
        self._watch_output(client)

    def _push_progress(self, progress: Record) -> None:
        for client in self.clients:
            if client.request is not None and not client.has_output:  # a slow reader gets the next one
                self._send_progress(client, progress)

    def _send_progress(self, client: Client, progress: Record) -> None:
        assert client.request is not None
        data = {"kind": "progress", "session_id": self.sid, "progress": progress}
        client.send(PoolResponse(client.request.id, self.speaker, data=data).encode())
        self._watch_output(client)

    def _forget(self, client: Client) -> None:
        if client in self.clients:
            self.clients.discard(client)
            self._unwatch(client)
            client.close()

    # ── engines ───────────────────────────────────────────────────────────────────────────────────────────

    def _watch_engine(self, engine: Engine) -> None:
        """Again for one that is watched already: what it has to be told may not have gone at once."""
        if (fd := engine.socket.fileno()) in self._calls:
            self._watch_output(engine)
        else:
            self._watch(fd, lambda mask: self._read(engine, mask))

    def _read(self, engine: Engine, mask: int) -> None:
        if mask & select.POLLOUT:
            engine.flush()
        if mask & ~select.POLLOUT or not engine.is_open:
            self.runner.hear(engine)
        self._watch_output(engine)

    def _watch(self, fd: int, call: Callable[[int], object]) -> None:
        self._calls[fd] = call
        self._poll.register(fd, select.POLLIN)

    def _watch_output(self, peer: Peer) -> None:
        """Asks for room to write only while something is left to write."""
        fd = peer.socket.fileno()
        if fd in self._calls:
            self._poll.modify(fd, select.POLLIN | (select.POLLOUT if peer.has_output else 0))

    def _unwatch(self, peer: Peer) -> None:
        """Before its descriptor is closed: poll would report a closed one for ever."""
        if self._calls.pop(fd := peer.socket.fileno(), None) is not None:
            self._poll.unregister(fd)

    # ── leaving ───────────────────────────────────────────────────────────────────────────────────────────

    def _retire(self) -> None:
        if not self.is_retired:
            self.is_retired = True
            self.runner.flush()
            with contextlib.suppress(StorageFailed):  # a finished session is finished wherever it lies
                self.runner.retire()

    def _leave(self) -> None:
        """In this order: answers out, engines gone, socket name gone; the lock goes last, with the process."""
        deadline = time.monotonic() + self.limits.linger_s
        for client in self.clients:
            while client.has_output and client.is_open and (left_s := deadline - time.monotonic()) > 0:
                client.socket.settimeout(left_s)
                client.flush()
        self.runner.stop()
        self.runner.rest()
        for path, is_useless in (
            (self.home.socket(self.sid), True),
            (self.home.stderr(self.sid), _is_empty(2)),
        ):
            if is_useless:
                with contextlib.suppress(OSError):
                    os.unlink(path)


def _event(request: PoolRequest) -> HostEvent:
    if request.op == "continue":
        answers = tuple(_answer(raw) for raw in request.answers)
        return Continue(answers, now_s())
    if request.op == "shutdown":
        return Cancel(now_s())
    return Status()


def _answer(raw: Mapping[str, Any]) -> Answer:
    return Answer(
        query_id=raw.get("query_id"),
        response=raw.get("response"),
        refuse=raw.get("refuse"),
        usage=raw.get("usage"),
        by=raw.get("by"),
    )


def _peer_uid(sock: socket.socket) -> int | None:
    """The user at the other end; None where the system does not tell (the directory is 0700 in any case)."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(uid)


def _is_empty(fd: int) -> bool:
    with contextlib.suppress(OSError):
        return os.fstat(fd).st_size == 0
    return False


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="alc pool-worker", description="The worker of one session.")
    parser.add_argument("sid")
    parser.add_argument("--journal", type=int, required=True, help="descriptor of the locked journal")
    parser.add_argument("--listener", type=int, required=True, help="descriptor of the listening socket")
    parser.add_argument("--program", default=__version__, help="the version of the server that starts it")
    args = parser.parse_args(argv)
    os.umask(0o077)
    if args.program != __version__:
        print(f"alc pool-worker: this is {__version__}, the server is {args.program}: restart it", file=sys.stderr)
        return messages.WRONG_PROGRAM
    for fd in (args.journal, args.listener):
        os.set_inheritable(fd, False)
    try:
        preloaded = Preloaded.from_env(os.environ)
    except HomeUnusable as exc:
        print(f"alc pool-worker: {exc}", file=sys.stderr)
        return 2
    arm(os.environ)
    return keep(args.sid, args.journal, args.listener, preloaded, spare_engine(preloaded))


def spare_engine(preloaded: Preloaded, ahead: Ranges = NO_RANGES) -> Spawned | None:
    """The first thing that a worker makes: each page that the keeper writes before it forks is one more page of the
    engine's own. It takes 500 KiB off a paused session, and Lua is up by the time the journal has been read."""
    with contextlib.suppress(OSError):  # tried again, and told, when the journal turns out to need an engine
        return spawn_engine(preloaded.runtimes, preloaded.limits, ahead)
    return None


def keep(sid: str, journal_fd: int, listener_fd: int, preloaded: Preloaded, spare: Spawned | None) -> int:
    """Keeps the session until it leaves; returns the exit code."""
    try:
        kept = Keeper(sid, journal_fd, listener_fd, preloaded, spare)
        set_title(f"alc pool-worker {sid}")  # 0.3 ms, spent while the engine computes
        kept.run()
    except StorageBroken as exc:
        print(f"alc pool-worker: {exc}", file=sys.stderr)
        return 1
    return 0
