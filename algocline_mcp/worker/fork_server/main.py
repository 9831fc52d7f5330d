"""Makes workers by fork: `alc fork-server --control FD`. One per server, started by exec, never shared by a home.

It imports all that a worker can need and makes the languages ready, then forks a keeper per request: about a
millisecond instead of a start of Python, and most memory shared. `standby` workers stand by, each a keeper with its
engine: what comes with a request is passed on to one, and the next is forked when nobody asks, so that the two forks
and the pages they copy are nobody's wait. It handles descriptors only and never sees a session's code, ctx or
answers. One thread (asserted before each fork), one epoll loop.

Contract: on the control socket (SOCK_SEQPACKET, one JSON object per message) it says `{ready}` once, takes `{id, sid}`
with three descriptors (locked journal, listener, stderr log) and answers `{id, pid}` or `{id, error}`; when a child
ends it says `{exit: pid, status}` at once. A request's descriptors are closed before the next one is read. End of
file on the control socket: exit 0; the workers live on. SIGINT and SIGHUP are ignored, SIGTERM ends it.
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
from dataclasses import dataclass
from typing import Any

from algocline_mcp.errors import HomeUnusable
from algocline_mcp.protocol import messages
from algocline_mcp.worker.engine.preload import Preloaded
from algocline_mcp.worker.engine.process import Spawned
from algocline_mcp.worker.fork_server.warmup import scout, warm_up
from algocline_mcp.worker.keeper import main as keeper
from algocline_mcp.worker.lowlevel import memory_pages
from algocline_mcp.worker.lowlevel.failpoints import arm
from algocline_mcp.worker.lowlevel.immortal import immortalize
from algocline_mcp.worker.lowlevel.process_title import set_title

_MESSAGE_BYTES = 4096
_DESCRIPTORS = 3
_QUIET_MS = 15  # a first prompt takes 4 to 12: two processors shall not be busy with the next worker meanwhile


@dataclass(frozen=True, slots=True)
class Handoff:
    """What a forked child shall keep."""

    sid: str
    journal_fd: int
    listener_fd: int
    engine: Spawned | None  # one that was forked already


class ForkServer:
    """Does next to nothing between two forks: each page it writes is a page that its children no longer share."""

    def __init__(self, control_fd: int, preloaded: Preloaded) -> None:
        self._preloaded = preloaded
        self._control = socket.socket(fileno=control_fd)
        self._poll = select.epoll()
        self._poll.register(control_fd, select.EPOLLIN)
        self._children: dict[int, int] = {}  # pidfd -> pid
        self._standby: dict[int, socket.socket] = {}  # pid of a worker that stands by -> the way to it
        self._may_prepare = True

    def serve(self) -> Handoff | None:
        """Returns None at the end of the control socket, and in each child what that child shall keep."""
        self._say({"ready": os.getpid()})
        while True:
            is_due = self._may_prepare and len(self._standby) < self._preloaded.limits.standby
            events = self._poll.poll(_QUIET_MS / 1000 if is_due else None)
            if is_due and not events and (born := self._prepare()) is not None:
                return born
            for fd, _ in events:
                if fd in self._children:
                    self._reap(fd)
                    continue
                try:
                    request, fds, _, _ = socket.recv_fds(self._control, _MESSAGE_BYTES, _DESCRIPTORS)
                except ConnectionResetError:  # the server ended with something of ours unread
                    return None
                if not request:
                    return None
                if (born := self._bear(messages.decode(request), fds)) is not None:
                    return born

    def _bear(self, request: dict[str, Any], fds: list[int]) -> Handoff | None:
        self._may_prepare = True
        try:
            if len(fds) != _DESCRIPTORS:
                raise OSError(0, f"{len(fds)} descriptors instead of {_DESCRIPTORS}")
            pid = self._hand_over(request, fds) or self._fork()
        except OSError as exc:  # EAGAIN, ENOMEM: said, not died of
            self._close(fds)
            self._say({"id": request["id"], "error": exc.strerror})
            return None
        if pid == 0:
            self._leave_home()
            return _born(request, fds, None)
        self._close(fds)
        self._say({"id": request["id"], "pid": pid})
        return None

    # ── workers that stand by ─────────────────────────────────────────────────────────────────────────────

    def _prepare(self) -> Handoff | None:
        """Forks one. In the child: waits for a session, with an engine that waits for its start."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            pid = self._fork()
        except OSError:  # the next one who asks learns why, if it is still so then
            ours.close()
            theirs.close()
            self._may_prepare = False
            return None
        if pid:
            theirs.close()
            self._standby[pid] = ours
            return None
        ours.close()
        self._leave_home()
        set_title("alc pool-worker")
        engine = keeper.spare_engine(self._preloaded, self._preloaded.engine_pages)
        memory_pages.copy(self._preloaded.keeper_pages)
        request, fds, _, _ = socket.recv_fds(theirs, _MESSAGE_BYTES, _DESCRIPTORS)
        theirs.close()
        if not request:  # the fork server has ended; the engine dies with this process
            os._exit(0)
        return _born(messages.decode(request), fds, engine)

    def _hand_over(self, request: dict[str, Any], fds: list[int]) -> int | None:
        """Returns the pid of the one that stood by and now has it all; None where there was none. The first that came
        is the first to go: the last one may still be forking its engine."""
        while self._standby:
            pid = next(iter(self._standby))
            sock = self._standby.pop(pid)
            with sock, contextlib.suppress(OSError):  # it has died: the next one
                socket.send_fds(sock, [messages.encode(request)], fds)
                return pid
        return None

    # ── children ──────────────────────────────────────────────────────────────────────────────────────────

    def _fork(self) -> int:
        if (threads := os.stat("/proc/self/task").st_nlink - 2) != 1:
            raise OSError(0, f"the fork server has {threads} threads")
        pid = os.fork()
        if pid:
            pidfd = os.pidfd_open(pid)
            self._children[pidfd] = pid
            self._poll.register(pidfd, select.EPOLLIN)
        return pid

    def _leave_home(self) -> None:
        """In a child: a process session of its own, and nothing of the fork server's stays open."""
        os.setsid()
        self._control.close()
        self._poll.close()
        self._close(list(self._children))
        self._children.clear()
        for sock in self._standby.values():
            sock.close()
        self._standby.clear()

    def _reap(self, pidfd: int) -> None:
        pid = self._children.pop(pidfd)
        if (sock := self._standby.pop(pid, None)) is not None:
            sock.close()
            self._may_prepare = False  # what cannot live is not forked again and again, only after the next request
        self._poll.unregister(pidfd)  # not by closing alone: a child that is just being born holds it too
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        self._say({"exit": pid, "status": os.waitstatus_to_exitcode(status)})

    def _say(self, message: dict[str, object]) -> None:
        with contextlib.suppress(OSError):  # the server has gone: the end of the control socket comes next
            self._control.send(messages.encode(message))

    @staticmethod
    def _close(fds: Sequence[int]) -> None:
        for fd in fds:
            os.close(fd)


def _born(request: dict[str, Any], fds: list[int], engine: Spawned | None) -> Handoff:
    journal_fd, listener_fd, log_fd = fds
    os.dup2(log_fd, 2)
    os.close(log_fd)
    return Handoff(str(request["sid"]), journal_fd, listener_fd, engine)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="alc fork-server", description="Makes the workers of one server.")
    parser.add_argument("--control", type=int, required=True, help="descriptor of the control socket")
    args = parser.parse_args(argv)
    os.umask(0o077)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.set_inheritable(args.control, False)
    set_title("alc fork-server")
    try:
        preloaded = Preloaded.from_env(os.environ)
    except HomeUnusable as exc:
        print(f"alc fork-server: {exc}", file=sys.stderr)
        return 2
    warm_up(preloaded)
    immortalize()
    gc.freeze()  # the collector shall not touch, and so not copy, what all children share
    preloaded = scout(preloaded)
    born = ForkServer(args.control, preloaded).serve()
    if born is None:
        return 0
    arm(os.environ)
    engine = born.engine or keeper.spare_engine(preloaded)
    return keeper.keep(born.sid, born.journal_fd, born.listener_fd, preloaded, engine)
