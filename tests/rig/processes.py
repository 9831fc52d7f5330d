"""Processes of a home as /proc shows them, and waits for what they do.

No function lets a fixed time pass: a process is awaited through its pidfd; a file or a state, for which the system has
no event, is looked at again until a limit. The limits are for a machine that is busy with other work: only a test that
fails takes as long.
"""

import contextlib
import os
import re
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio

from algocline_mcp.storage.process_stat import read_process_stat

SOON_S = 30.0  # limit for what is expected to happen without a call
_POLL_S = 0.005
_CAP_SYS_PTRACE = 19


@dataclass(frozen=True)
class Process:
    pid: int
    parent: int
    process_session: int
    state: str
    title: str  # the command line, or what replaced it

    @property
    def is_keeper(self) -> bool:
        """Leads a process session of its own; its engines are in that process session too."""
        return bool(self.sid) and self.pid == self.process_session

    @property
    def is_engine(self) -> bool:
        return bool(self.sid) and self.pid != self.process_session

    @property
    def is_standing_by(self) -> bool:
        """A keeper that waits for a session, as its engine does."""
        return self.title == "alc pool-worker" and self.pid == self.process_session

    @property
    def is_fork_server(self) -> bool:
        return not self.sid and "fork-server" in self.title

    @property
    def sid(self) -> str:
        return next((word for word in self.title.split() if word.startswith("p-")), "")


def processes_of(root: Path) -> list[Process]:
    """All processes whose home is `root` or lies below it, without this one; of all servers, and of none.

    The environment says so, but where an ordinary user may not read it, as of every fork server, keeper and engine. The
    title of a fork server has its home, that of a worker has its session, of which the home has a file, and all others
    are children of one of these.
    """
    mark = b"ALC_HOME=%s" % os.fsencode(root)
    own, closed = {}, []
    for pid in (int(name) for name in os.listdir("/proc") if name.isdecimal() and int(name) != os.getpid()):
        with contextlib.suppress(OSError):
            try:
                variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            except PermissionError:
                closed.append(read_process(pid))
                continue
            if any(variable == mark or variable.startswith(mark + b"/") for variable in variables):
                own[pid] = read_process(pid)
    own |= {process.pid: process for process in closed if _names_home(process, root)}
    while more := {process.pid: process for process in closed if process.parent in own and process.pid not in own}:
        own |= more
    return list(own.values())


def _names_home(process: Process, root: Path) -> bool:
    if process.is_fork_server:
        return f"{process.title}/".startswith(f"alc fork-server {root}/")
    suffixes = ("journal", "sock")  # a test may remove the first while its worker lives
    return bool(process.sid) and any(any(root.rglob(f"{process.sid}.{suffix}")) for suffix in suffixes)


def read_process(pid: int) -> Process:
    stat = read_process_stat(pid)
    title = os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).replace("\0", " ").strip()
    return Process(pid, stat.parent, stat.process_session, stat.state, title)


@contextmanager
def open_pidfd(pid: int) -> Iterator[int | None]:
    """A pidfd, or None if the process is gone."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield pidfd
    finally:
        os.close(pidfd)


def wait_until_ended(pid: int, limit_s: float) -> bool:
    """Waits for the end of a process; False after `limit_s`. Reaps a child of this test that no pool watches."""
    with open_pidfd(pid) as pidfd:
        if pidfd is None:
            return True
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if not poll.poll(limit_s * 1000):
            return False
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    return True


async def ended(pid: int, limit_s: float = SOON_S) -> float:
    """Waits until the process has ended; returns after how many seconds. Raises TimeoutError."""
    began = time.perf_counter()
    with open_pidfd(pid) as pidfd, anyio.fail_after(limit_s):
        if pidfd is not None:
            await anyio.wait_readable(pidfd)
    return time.perf_counter() - began


async def kill(pid: int) -> None:
    """Sends SIGKILL and waits until the process is dead."""
    with open_pidfd(pid) as pidfd:
        if pidfd is not None:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            await anyio.wait_readable(pidfd)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Stops the process (SIGSTOP); at the end SIGCONT, if it still exists."""
    with open_pidfd(pid) as pidfd:
        assert pidfd is not None
        signal.pidfd_send_signal(pidfd, signal.SIGSTOP)
        until_blocking(lambda: read_process(pid).state in "Tt")
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGCONT)


def may_read_any_process() -> bool:
    """Whether /proc shows the descriptors, the environment and the memory of processes that are not dumpable, too."""
    if sys.platform != "linux":
        return False
    status = Path("/proc/self/status").read_text()
    capabilities = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(capabilities, 16) >> _CAP_SYS_PTRACE & 1)


# Settings under which everybody may see descriptors, environment and directory of workers.
READABLE = {} if may_read_any_process() else {"ALC_SANDBOX": "off"}


def descriptors(pid: int) -> list[str]:
    """The target of each descriptor, without inode numbers.

    Left out is the descriptor on itself that some builds of libffi hold open as soon as ctypes is imported.
    """
    links = []
    for fd in sorted(map(int, os.listdir(f"/proc/{pid}/fd"))):
        with contextlib.suppress(FileNotFoundError):  # in this process: the descriptor that listdir uses
            links.append(re.sub(r":\[.*", "", os.readlink(f"/proc/{pid}/fd/{fd}")))
    return [link for link in links if "/libffi.so" not in link]


async def until(is_so: Callable[[], object], limit_s: float = SOON_S) -> None:
    """Polls: for facts for which the system has no event."""
    with anyio.fail_after(limit_s):
        while not is_so():  # noqa: ASYNC110
            await anyio.sleep(_POLL_S)


def until_blocking(is_so: Callable[[], object], limit_s: float = SOON_S) -> None:
    deadline = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < deadline, "not so in time"
        time.sleep(_POLL_S)
