"""Makes workers by fork: `alc fork-server --control FD`. One per server, started by exec, never shared by a home.

It imports all that a worker can need and makes the languages ready, then forks a keeper per request: about a
millisecond instead of a start of Python, and most memory shared. It handles descriptors only and never sees a
session's code, ctx or answers. One thread (asserted before each fork), one selector loop.

Contract: on the control socket (SOCK_SEQPACKET, one JSON object per message) it says `{ready}` once, takes `{id, sid}`
with three descriptors (locked journal, listener, stderr log) and answers `{id, pid}` or `{id, error}`; when a child
ends it says `{exit: pid, status}` at once. A request's descriptors are closed before the next one is read. End of
file on the control socket: exit 0; the workers live on. SIGINT and SIGHUP are ignored, SIGTERM ends it.
"""

import argparse
import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from algocline_mcp.errors import HomeUnusable
from algocline_mcp.languages import LANGUAGES
from algocline_mcp.limits import Limits
from algocline_mcp.worker import keeper
from algocline_mcp.worker.custody import ready_runtime
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
    def __init__(self, control_fd: int) -> None:
        self._control = socket.socket(fileno=control_fd)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._control, selectors.EVENT_READ)
        self._children: dict[int, int] = {}  # pidfd -> pid

    def serve(self) -> Born | None:
        """Returns None at the end of the control socket, and in each child what that child shall keep."""
        self._say({"ready": os.getpid()})
        while True:
            for key, _ in self._selector.select():
                if key.fd in self._children:
                    self._bury(key.fd)
                    continue
                try:
                    request, fds, _, _ = socket.recv_fds(self._control, _MESSAGE_BYTES, _DESCRIPTORS)
                except ConnectionResetError:  # the server ended with something of ours unread
                    return None
                if not request:
                    return None
                if (born := self._bear(json.loads(request), fds)) is not None:
                    return born

    def _bear(self, request: dict[str, object], fds: list[int]) -> Born | None:
        try:
            if len(fds) != _DESCRIPTORS:
                raise OSError(0, f"{len(fds)} descriptors instead of {_DESCRIPTORS}")
            if (threads := len(os.listdir("/proc/self/task"))) != 1:
                raise OSError(0, f"the fork server has {threads} threads")
            pid = os.fork()
        except OSError as exc:  # EAGAIN, ENOMEM: said, not died of
            self._close(fds)
            self._say({"id": request["id"], "error": exc.strerror})
            return None
        if pid == 0:
            return self._become(str(request["sid"]), *fds)
        self._close(fds)
        pidfd = os.pidfd_open(pid)
        self._children[pidfd] = pid
        self._selector.register(pidfd, selectors.EVENT_READ)
        self._say({"id": request["id"], "pid": pid})
        return None

    def _become(self, sid: str, journal_fd: int, listener_fd: int, log_fd: int) -> Born:
        """In the child: a process session of its own, and nothing of the fork server's stays open."""
        os.setsid()
        os.dup2(log_fd, 2)
        self._control.close()
        self._selector.close()
        self._close([log_fd, *self._children])
        self._children.clear()
        return Born(sid, journal_fd, listener_fd)

    def _bury(self, pidfd: int) -> None:
        pid = self._children.pop(pidfd)
        self._selector.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        self._say({"exit": pid, "status": os.waitstatus_to_exitcode(status)})

    def _say(self, message: dict[str, object]) -> None:
        with contextlib.suppress(OSError):  # the server has gone: the end of the control socket comes next
            self._control.send(json.dumps(message).encode())

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
        limits = Limits.from_env(os.environ)
        for language in LANGUAGES.values():
            ready_runtime(language, limits)
    except HomeUnusable as exc:
        print(f"alc fork-server: {exc}", file=sys.stderr)
        return 2
    gc.collect()
    gc.freeze()  # the collector shall not touch, and so not copy, what all children share
    born = ForkServer(args.control).serve()
    return 0 if born is None else keeper.keep(born.sid, born.journal_fd, born.listener_fd)
