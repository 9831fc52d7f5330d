"""The fork server, `alc fork-server --control FD --home PATH`: creates workers by fork. One per server.

A server starts it by exec. It imports all modules that a worker can need and prepares the languages, then forks a
keeper per request: this takes about a millisecond instead of a start of Python, and most memory stays shared. `standby`
workers exist in advance, each a keeper with its engine. A request is handed to one of them, and the next one is forked
while no request comes: so no request waits for the two forks and for the pages that they copy. Servers never share a
fork server, even in one home: a forked process has the limits, namespaces and privileges of its parent.

Contract:
- argv: `--control FD`, an inherited SOCK_SEQPACKET socket with one JSON object per message. `--home PATH`: the home,
  which its title shows; it takes ALC_HOME.
- Environment: that of its workers. It reads the ALC_* settings. After a fork, the worker reads ALC_FAILPOINT.
- Sends `{ready: pid, sandbox}` once, with the fields of config.sandbox.Sandbox. Takes `{id, sid, part?}` with three
  descriptors (locked journal, listener, stderr log) and answers `{id, pid}` or `{id, error}`. Closes its copies of the
  descriptors before it reads the next request. Sends `{exit: pid, status}` as soon as a child ends; a negative status
  is a signal.
- Reads no code, ctx or answer of a session: it only passes descriptors on. Creates the directories that a warm-up
  needs (see warmup.py), and no files.
- Signals: SIGINT and SIGHUP are ignored, SIGTERM ends it. Its workers outlive it; standby workers end with it.
- Exit codes: 0 at the end of the control socket, 2 for settings that cannot be used (one line on stderr). A child exits
  with the code of its keeper.
- One thread (checked before each fork), one epoll loop.
"""

import argparse
import contextlib
import gc
import os
import select
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from algocline_mcp.config.sandbox import refuse_tracers
from algocline_mcp.errors import HomeUnusable
from algocline_mcp.protocol import messages
from algocline_mcp.worker.engine.preload import Preloaded
from algocline_mcp.worker.engine.process import Spawned
from algocline_mcp.worker.fork_server.warmup import record_pages, warm_up
from algocline_mcp.worker.keeper import main as keeper
from algocline_mcp.worker.lowlevel import code_names, free_blocks, memory_pages, plain_fork
from algocline_mcp.worker.lowlevel.failpoints import arm
from algocline_mcp.worker.lowlevel.immortal import immortalize
from algocline_mcp.worker.lowlevel.memory_pages import NO_RANGES, Ranges
from algocline_mcp.worker.lowlevel.privileges import give_up_new_privileges
from algocline_mcp.worker.lowlevel.process_title import set_title

_MESSAGE_BYTES = 4096
_DESCRIPTORS = 3
_QUIET_MS = 15  # a first prompt takes 4 to 12: until then, two processors must not be busy with the next worker


@dataclass(frozen=True, slots=True)
class Handoff:
    """What a forked child keeps a session with."""

    sid: str
    part: str  # of the home to which the session belongs
    journal_fd: int
    listener_fd: int
    engine: Spawned | None  # None where no process was left for it


class ForkServer:
    """The loop that forks and reaps workers. It writes little memory: children share a page until it is written."""

    def __init__(self, control_fd: int, preloaded: Preloaded) -> None:
        self._preloaded = preloaded
        self._control = socket.socket(fileno=control_fd)
        self._poll = select.epoll()
        self._poll.register(control_fd, select.EPOLLIN)
        self._children: dict[int, int] = {}  # pidfd -> pid
        self._standby: dict[int, socket.socket] = {}  # pid of a standby worker -> the socket to it
        self._may_fork_standby = True

    def serve(self) -> Handoff | None:
        """Returns None at the end of the control socket, and in each child the session that it keeps."""
        self._send({"ready": os.getpid(), "sandbox": asdict(self._preloaded.confinement.sandbox)})
        while True:
            is_due = self._may_fork_standby and len(self._standby) < self._preloaded.limits.standby
            events = self._poll.poll(_QUIET_MS / 1000 if is_due else None)
            if is_due and not events and (handoff := self._fork_standby()) is not None:
                return handoff
            for fd, _ in events:
                if fd in self._children:
                    self._reap(fd)
                    continue
                try:
                    request, fds, _, _ = socket.recv_fds(self._control, _MESSAGE_BYTES, _DESCRIPTORS)
                except ConnectionResetError:  # the server ended and left a message of ours unread
                    return None
                if not request:
                    return None
                if (handoff := self._spawn(messages.decode(request), fds)) is not None:
                    return handoff

    def _spawn(self, request: dict[str, Any], fds: list[int]) -> Handoff | None:
        """Answers one request: a standby worker takes it, or a new child. Returns a Handoff in the new child only."""
        self._may_fork_standby = True
        try:
            if len(fds) != _DESCRIPTORS:
                raise OSError(0, f"{len(fds)} descriptors instead of {_DESCRIPTORS}")
            pid = self._hand_over(request, fds) or self._fork()
        except OSError as exc:  # EAGAIN, ENOMEM: reported; the fork server goes on
            self._close_all(fds)
            self._send({"id": request["id"], "error": exc.strerror})
            return None
        if pid == 0:
            return _handoff(request, fds, self._begin_worker(NO_RANGES))
        self._close_all(fds)
        self._send({"id": request["id"], "pid": pid})
        return None

    # ── standby workers ───────────────────────────────────────────────────────────────────────────────────

    def _fork_standby(self) -> Handoff | None:
        """Forks a standby worker. The child forks its engine and then blocks until it gets a session."""
        server_end, worker_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            pid = self._fork()
        except OSError:  # the next request tries again and reports the error
            server_end.close()
            worker_end.close()
            self._may_fork_standby = False
            return None
        if pid:
            worker_end.close()
            self._standby[pid] = server_end
            return None
        engine = self._begin_worker(self._preloaded.engine_pages)
        server_end.close()
        set_title("alc pool-worker")
        memory_pages.copy(self._preloaded.keeper_pages)
        request, fds, _, _ = socket.recv_fds(worker_end, _MESSAGE_BYTES, _DESCRIPTORS)
        worker_end.close()
        if not request:  # the fork server has ended; the engine dies with this process
            os._exit(0)
        return _handoff(messages.decode(request), fds, engine)

    def _hand_over(self, request: dict[str, Any], fds: list[int]) -> int | None:
        """Hands the request to the oldest standby worker and returns its pid; None where no standby worker is left.

        The oldest first: the newest may still be forking its engine.
        """
        while self._standby:
            pid = next(iter(self._standby))
            sock = self._standby.pop(pid)
            with sock, contextlib.suppress(OSError):  # this worker has died: try the next one
                socket.send_fds(sock, [messages.encode(request)], fds)
                return pid
        return None

    # ── children ──────────────────────────────────────────────────────────────────────────────────────────

    def _fork(self) -> int:
        if (threads := plain_fork.threads()) != 1:
            raise OSError(0, f"the fork server has {threads} threads")
        pid = plain_fork.fork()
        if pid:
            pidfd = os.pidfd_open(pid)
            self._children[pidfd] = pid
            self._poll.register(pidfd, select.EPOLLIN)
        return pid

    def _begin_worker(self, engine_pages: Ranges) -> Spawned | None:
        """In a child: starts a process session and spawns the engine, then closes all descriptors of the fork server.

        The engine as early as can be: what the keeper has written by then it copies once more, as it shares it again.
        """
        os.setsid()
        engine = keeper.spare_engine(self._preloaded, engine_pages)
        self._control.close()
        self._poll.close()
        self._close_all(list(self._children))
        self._children.clear()
        for sock in self._standby.values():
            sock.close()
        self._standby.clear()
        return engine

    def _reap(self, pidfd: int) -> None:
        pid = self._children.pop(pidfd)
        if (sock := self._standby.pop(pid, None)) is not None:
            sock.close()
            self._may_fork_standby = False  # it may die each time: the next one is forked after the next request
        self._poll.unregister(pidfd)  # closing is not enough: a child that has just been forked holds a copy
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        self._send({"exit": pid, "status": os.waitstatus_to_exitcode(status)})

    def _send(self, message: dict[str, object]) -> None:
        with contextlib.suppress(OSError):  # the server has ended: `serve` sees the end of the control socket next
            self._control.send(messages.encode(message))

    @staticmethod
    def _close_all(fds: Sequence[int]) -> None:
        for fd in fds:
            os.close(fd)


def _handoff(request: dict[str, Any], fds: list[int], engine: Spawned | None) -> Handoff:
    """In a child: takes the descriptors of a request; the third becomes its stderr."""
    journal_fd, listener_fd, log_fd = fds
    os.dup2(log_fd, 2)
    os.close(log_fd)
    return Handoff(str(request["sid"]), str(request.get("part", "")), journal_fd, listener_fd, engine)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="alc fork-server", description="Creates the workers of one server by fork.")
    parser.add_argument("--control", type=int, required=True, help="descriptor of the control socket")
    parser.add_argument("--home", default="", help="the home, for its title")
    args = parser.parse_args(argv)
    os.umask(0o077)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.set_inheritable(args.control, False)
    give_up_new_privileges()
    set_title(f"alc fork-server {args.home}".rstrip())
    try:
        preloaded = Preloaded.from_env(os.environ)
    except HomeUnusable as exc:
        print(f"alc fork-server: {exc}", file=sys.stderr)
        return 2
    code_names.shorten()
    warm_up(preloaded)
    immortalize()
    free_blocks.fill()
    gc.enable()  # see __main__
    gc.freeze()  # a collection would write to, and so copy, the memory that all children share
    preloaded = record_pages(preloaded)
    refuse_tracers(preloaded.confinement.sandbox.mode)
    handoff = ForkServer(args.control, preloaded).serve()
    if handoff is None:
        return 0
    arm(os.environ)
    return keeper.keep(handoff.sid, handoff.journal_fd, handoff.listener_fd, preloaded.of(handoff.part), handoff.engine)
