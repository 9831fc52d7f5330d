"""The poll loop of a keeper: sockets, deadlines and signals. One thread, one `select.poll`.

Contract: `turn` processes what is due, sleeps until a client, an engine, a signal or a deadline needs the keeper, and
reads once from every descriptor that is ready. The session is in `runner`, the life of requests in `requests`. The
loop raises StorageBroken where the disk's content is unknown; then the process must end. A worker whose node has gone
(see node_journal.py) leaves at once: its session lives in the database.

The wake-up pipe is needed because a signal that arrives between Python's last check and `poll` would otherwise be
noticed only at the next event.
"""

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

from algocline_mcp import __version__
from algocline_mcp.errors import ProtocolError, StorageFailed
from algocline_mcp.protocol import messages
from algocline_mcp.protocol.messages import PoolResponse, WorkerIdentity
from algocline_mcp.session.records import Record
from algocline_mcp.session.state import Phase
from algocline_mcp.storage.process_stat import start_time_of
from algocline_mcp.storage.sockets import live_workers, peer_uid
from algocline_mcp.worker.engine.preload import Preloaded
from algocline_mcp.worker.engine.process import Spawned
from algocline_mcp.worker.keeper.connections import Client, Connection, Engine
from algocline_mcp.worker.keeper.quiet import QuietPeriod, Stay
from algocline_mcp.worker.keeper.request_runner import RequestRunner
from algocline_mcp.worker.keeper.session_runner import RunnerCallbacks, SessionRunner
from algocline_mcp.worker.lowlevel.failpoints import fail_point

_BACKLOG = 64
_SIGNAL_BYTES = 64
_STDERR = 2


class Keeper:
    def __init__(
        self, sid: str, journal_fd: int, listener_fd: int, preloaded: Preloaded, spare: Spawned | None
    ) -> None:
        """`spare`: an engine that was spawned already and waits for its start."""
        self.sid = sid
        self.home = preloaded.home
        self.limits = preloaded.limits
        self.listener = socket.socket(fileno=listener_fd)
        self.listener.setblocking(False)
        self.listener.listen(_BACKLOG)  # once more: SO_PEERCRED and SO_PEERPIDFD shall name this process
        self._poll = select.poll()
        self._calls: dict[int, Callable[[int], object]] = {}  # by descriptor; called with the mask of its events
        self._watch(listener_fd, self._accept)
        self.clients: list[Client] = []  # a list, so that a simulated schedule is the same again from its seed
        self.is_asked_to_leave = False
        self.is_archived = False
        self._quiet = QuietPeriod(time.monotonic())
        self._leave_at: float | None = None  # monotonic; None while a client asks or an engine computes
        callbacks = RunnerCallbacks(watch=self._watch_engine, unwatch=self._unwatch, on_progress=self._push_progress)
        self.runner = SessionRunner(sid, journal_fd, preloaded, callbacks, spare)
        if (node := self.runner.node) is not None:
            self._watch(node.fileno(), lambda mask: node.receive())
        identity = WorkerIdentity(messages.PROTOCOL, __version__, sid, os.getpid(), start_time_of("self") or 0)
        self.requests = RequestRunner(
            self.runner, identity, linger_s=self.limits.linger_s, watch_output=self._watch_output
        )

    def run(self) -> None:
        """Returns when the session is over or the worker hibernates. Raises StorageBroken."""
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_read, False)
        os.set_blocking(wake_write, False)
        self._watch(wake_read, lambda mask: os.read(wake_read, _SIGNAL_BYTES))
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._on_sigterm)
        try:
            while self.turn():
                pass
        finally:
            signal.set_wakeup_fd(-1)
            os.close(wake_read)
            os.close(wake_write)

    def turn(self) -> bool:
        """One round: processes what is due, sleeps until an event, reads. False: the worker has left."""
        if not self._process_due():
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
        """Milliseconds to the next deadline. None: no deadline, as of a paused session without idle limit."""
        deadlines = [client.deadline for client in self.clients]
        if (due := self.runner.due) is not None:
            deadlines.append(due)
        if self._leave_at is not None:
            deadlines.append(self._leave_at)
        return max(0.0, min(deadlines) - time.monotonic()) * 1000 if deadlines else None

    @property
    def _is_over(self) -> bool:
        """Nothing is left to do but to report the end."""
        return self.runner.session.phase is Phase.FINISHED or self.runner.fatal is not None

    def _is_asked(self) -> bool:
        """A client needs the worker. At the end of a session only a request counts: a client that connects again and
        again without asking must not keep the worker alive."""
        if not self._is_over:
            return bool(self.clients)
        return any(client.request is not None or client.has_output for client in self.clients)

    def _process_due(self) -> bool:
        """After every event: advances requests, answers what is due. False: it is time to leave."""
        if self.runner.node is not None and self.runner.node.is_gone:
            return False
        now = time.monotonic()
        self.runner.process_due()
        if self.is_asked_to_leave:
            for client in [client for client in self.clients if client.request is not None]:
                self.requests.end(client)
            return False
        for client in list(self.clients):
            if client.request is not None:
                self.requests.process(client)
            if client.is_open and client.deadline <= now:
                self._on_deadline(client)
            if not client.is_open:
                self._forget(client)
        self.runner.engines.set_awaited(any(client.request is not None for client in self.clients))
        if self.runner.session.phase is Phase.FINISHED:
            self._archive()
        self.runner.close_database()
        self.runner.commit_pause()
        is_asked = self._is_asked()
        if self.runner.computing or is_asked:
            if is_asked or not self.runner.engines.is_driven_by_timers:  # else a loop of timers would stay for ever
                self._quiet.end(now)
            self._leave_at = None
            return True
        stay, self._leave_at = self._quiet.decide(now, self.limits, is_over=self._is_over)
        if stay is Stay.LOOK:
            self._quiet.has_looked = True
            return not self._made_room()
        return stay is Stay.WAIT

    def _made_room(self) -> bool:
        """Gives the name up at once if too many workers live: those that look next must not count this one. With the
        name kept until the engine had ended, 25 instead of 32 workers were left of a burst of 100."""
        is_beyond = len(live_workers(self.home)) > self.limits.pool_max
        if is_beyond:
            with contextlib.suppress(OSError):
                os.unlink(self.home.socket(self.sid))
        return is_beyond

    def _on_deadline(self, client: Client) -> None:
        """Answers a request with the state as it is; drops a client that sends or reads nothing."""
        if client.request is not None:
            self.requests.end(client)
        else:
            self._forget(client)

    # ── clients ───────────────────────────────────────────────────────────────────────────────────────────

    def _accept(self, mask: int) -> None:
        try:
            sock, _ = self.listener.accept()
        except OSError:
            return  # the client has gone again
        if peer_uid(sock) not in (os.geteuid(), None):
            sock.close()
            return
        if len(self.clients) >= self.limits.clients and not self._make_room():
            self._turn_away(sock)
            return
        deadline = time.monotonic() + self.limits.client_s
        client = Client(sock, self.limits.line_bytes, deadline=deadline)
        self.clients.append(client)
        self._watch(sock.fileno(), lambda mask: self._serve(client, mask))

    def _make_room(self) -> bool:
        """Drops the client that has been silent for longest: clients that never ask must not keep out one that does.

        False: every client has a request or a reply to read.
        """
        silent = [client for client in self.clients if client.request is None and not client.has_output]
        if silent:
            self._forget(min(silent, key=lambda client: client.deadline))
        return bool(silent)

    def _turn_away(self, sock: socket.socket) -> None:
        sentence = f"{len(self.clients)} calls wait on session {self.sid} already: wait until one ends, then ask again"
        with sock, contextlib.suppress(OSError):
            sock.setblocking(False)
            sock.send(PoolResponse(0, self.requests.identity, error=sentence, code="busy").encode())

    def _serve(self, client: Client, mask: int) -> None:
        if mask & select.POLLOUT:
            client.flush()
        try:
            for line in client.receive() if mask & ~select.POLLOUT else ():
                if client.request is not None:
                    raise ProtocolError("malformed request: one request at a time, the last one is not answered yet")
                self.requests.accept(client, line, is_busy=self._is_busy)
                if client.is_asking_to_leave:  # not `|=`: a SIGTERM between its read and its write would be lost
                    self.is_asked_to_leave = True
        except ProtocolError as exc:
            self.requests.refuse(client, client.request.id if client.request else 0, exc)
            self._forget(client)
        self._watch_output(client)
        if not client.is_open:
            self._forget(client)

    def _is_busy(self) -> bool:
        return any(client.request is not None for client in self.clients)

    def _push_progress(self, progress: Record) -> None:
        for client in self.clients:
            self.requests.push_progress(client, progress)

    def _forget(self, client: Client) -> None:
        if client in self.clients:
            self.clients.remove(client)
            self._unwatch(client)
            client.close()

    # ── descriptors ───────────────────────────────────────────────────────────────────────────────────────

    def _watch_engine(self, engine: Engine) -> None:
        """Also for an engine that is watched already. Part of a message to it may be left to write, also of its start:
        the socket takes 200 to 400 kB, and an engine waited for ever for the rest of a longer ctx."""
        if (fd := engine.socket.fileno()) not in self._calls:
            self._watch(fd, lambda mask: self._read(engine, mask))
        if engine.has_output:
            self._watch_output(engine)

    def _read(self, engine: Engine, mask: int) -> None:
        if mask & select.POLLOUT:
            engine.flush()
        if mask & ~select.POLLOUT or not engine.is_open:
            self.runner.read(engine)
        self._watch_output(engine)

    def _watch(self, fd: int, call: Callable[[int], object]) -> None:
        self._calls[fd] = call
        self._poll.register(fd, select.POLLIN)

    def _watch_output(self, connection: Connection) -> None:
        """Waits for room to write only while something is left to write."""
        fd = connection.socket.fileno()
        if fd in self._calls:
            self._poll.modify(fd, select.POLLIN | (select.POLLOUT if connection.has_output else 0))

    def _unwatch(self, connection: Connection) -> None:
        """Must precede the close of the descriptor: poll would report a closed one for ever."""
        if self._calls.pop(fd := connection.socket.fileno(), None) is not None:
            self._poll.unregister(fd)

    # ── leaving ───────────────────────────────────────────────────────────────────────────────────────────

    def _archive(self) -> None:
        if not self.is_archived:
            self.is_archived = True
            self.runner.flush()
            with contextlib.suppress(StorageFailed):  # a finished session is finished in whichever directory it lies
                self.runner.archive()

    def _leave(self) -> None:
        """In this order: send the replies, end the engines, unlink the socket, close the connections. The lock of the
        journal goes last, with the process."""
        deadline = time.monotonic() + self.limits.linger_s
        for client in self.clients:
            while client.has_output and client.is_open and (left_s := deadline - time.monotonic()) > 0:
                client.socket.settimeout(left_s)
                client.flush()
        fail_point("reply.sent")
        self.runner.stop()
        self.runner.close_database()
        useless = [self.home.socket(self.sid)]
        if _is_empty(_STDERR):
            useless.append(self.home.stderr(self.sid))
        for path in useless:
            with contextlib.suppress(OSError):
                os.unlink(path)
        for client in self.clients:
            client.close()  # a server that waits for this worker's place sees the end of the connection


def _is_empty(fd: int) -> bool:
    with contextlib.suppress(OSError):
        return os.fstat(fd).st_size == 0
    return False
