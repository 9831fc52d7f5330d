"""Makes workers by fork: `alc fork-server --control FD`. One per server, started by exec, never shared by a home.

It imports all that a worker can need and makes the languages ready, then forks a keeper per request: about a
millisecond instead of a start of Python, and most memory shared. It handles descriptors only and never sees a
session's code, ctx or answers. One thread (asserted before each fork), one epoll loop.

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

from algocline_mcp import wire
from algocline_mcp.errors import HomeUnusable
from algocline_mcp.worker import keeper
from algocline_mcp.worker.immortal import immortalize
from algocline_mcp.worker.provisions import Provisions
from algocline_mcp.worker.rehearsal import rehearse
from algocline_mcp.worker.titles import set_title

_MESSAGE_BYTES = 4096
_DESCRIPTORS = 3


@dataclass(frozen=True, slots=True)
class Born:
    """What a forked child shall keep."""

    sid: str
    journal_fd: int
    listener_fd: int


class ForkServer:
    """Does next to nothing between two forks: each page it writes is a page that its children no longer share."""

    def __init__(self, control_fd: int) -> None:
        self._control = socket.socket(fileno=control_fd)
        self._poll = select.epoll()
        self._poll.register(control_fd, select.EPOLLIN)
        self._children: dict[int, int] = {}  # pidfd -> pid

    def serve(self) -> Born | None:
        """Returns None at the end of the control socket, and in each child what that child shall keep."""
        self._say({"ready": os.getpid()})
        while True:
            for fd, _ in self._poll.poll():
                if fd in self._children:
                    self._bury(fd)
                    continue
                try:
                    request, fds, _, _ = socket.recv_fds(self._control, _MESSAGE_BYTES, _DESCRIPTORS)
                except ConnectionResetError:  # the server ended with something of ours unread
                    return None
                if not request:
                    return None
                if (born := self._bear(wire.decode(request), fds)) is not None:
                    return born

    def _bear(self, request: dict[str, Any], fds: list[int]) -> Born | None:
        try:
            if len(fds) != _DESCRIPTORS:
                raise OSError(0, f"{len(fds)} descriptors instead of {_DESCRIPTORS}")
            if (threads := os.stat("/proc/self/task").st_nlink - 2) != 1:
                raise OSError(0, f"the fork server has {threads} threads")
            pid = os.fork()
        except OSError as exc:  # EAGAIN, ENOMEM: said, not died of
            self._close(fds)
            self._say({"id": request["id"], "error": exc.strerror})
            return None
        if pid == 0:
            return self._become(str(request["sid"]), *fds)
        self._close(fds)
        self._say({"id": request["id"], "pid": pid})
        pidfd = os.pidfd_open(pid)
        self._children[pidfd] = pid
        self._poll.register(pidfd, select.EPOLLIN)
        return None

    def _become(self, sid: str, journal_fd: int, listener_fd: int, log_fd: int) -> Born:
        """In the child: a process session of its own, and nothing of the fork server's stays open."""
        os.setsid()
        os.dup2(log_fd, 2)
        self._control.close()
        self._poll.close()
        self._close([log_fd, *self._children])
        self._children.clear()
        return Born(sid, journal_fd, listener_fd)

    def _bury(self, pidfd: int) -> None:
        pid = self._children.pop(pidfd)
        self._poll.unregister(pidfd)  # not by closing alone: a child that is just being born holds it too
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        self._say({"exit": pid, "status": os.waitstatus_to_exitcode(status)})

    def _say(self, message: dict[str, object]) -> None:
        with contextlib.suppress(OSError):  # the server has gone: the end of the control socket comes next
            self._control.send(wire.encode(message))

    @staticmethod
    def _close(fds: Sequence[int]) -> None:
        for fd in fds:
            os.close(fd)


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
        provisions = Provisions.from_env(os.environ)
    except HomeUnusable as exc:
        print(f"alc fork-server: {exc}", file=sys.stderr)
        return 2
    rehearse(provisions)
    immortalize()
    gc.freeze()  # the collector shall not touch, and so not copy, what all children share
    born = ForkServer(args.control).serve()
    return 0 if born is None else keeper.keep(born.sid, born.journal_fd, born.listener_fd, provisions)
