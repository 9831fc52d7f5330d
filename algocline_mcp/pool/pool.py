"""What one server knows: its home, its limits, and the workers it watches."""

import os
import signal
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVarTuple

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import AlcError, HomeUnusable, StorageFailed, Unreachable
from algocline_mcp.history import retention
from algocline_mcp.pool import process_identity, spawn
from algocline_mcp.pool.fork_server_client import ForkServerClient
from algocline_mcp.pool.registry import PoolSessionEntry, RegistryWriter
from algocline_mcp.pool.spawn import SpawnFailed, spawn_worker
from algocline_mcp.storage import home_setup
from algocline_mcp.storage.files import make_directories
from algocline_mcp.storage.sockets import bind, remove_stale_socket

_EXITS_KEPT = 256


Given = TypeVarTuple("Given")


@dataclass(slots=True)
class _Watch:
    sid: str
    ended: anyio.Event = field(default_factory=anyio.Event)


class Pool:
    """Enter it once per server. Raises HomeUnusable on entry where the home cannot hold sessions."""

    def __init__(
        self,
        home: Home,
        limits: Limits,
        *,
        environ: Mapping[str, str] = os.environ,
        fork_process: spawn.ForkServerProcess | None = None,
    ) -> None:
        self.home = home
        self.limits = limits
        self.environ = dict(environ) | limits.as_env()
        self.registry = RegistryWriter(home, limits)
        self.exits: dict[str, str] = {}  # sid -> how its last worker ended, for the next answer
        self.files = anyio.CapacityLimiter(2)  # threads that read journals
        self.fork_server = ForkServerClient(home, limits, self.environ, self._record_exit, fork_process)
        self.leaving: set[str] = set()  # sessions that are asked to hibernate to make room
        self.keep = retention.keep_of(environ)
        self._swept_at = float("-inf")
        self._under_retention: dict[str, anyio.Event] = {}  # sessions that are over and may have to be scrubbed
        self._watched: dict[int, _Watch] = {}  # by pid
        self._started: dict[int, str] = {}  # pid -> sid of workers whose exit code will be told to this server
        self._tasks: TaskGroup

    async def __aenter__(self) -> Self:
        is_forking = spawn.is_forking(self.environ)  # whatever raises comes before the tasks, which would not be ended
        home_setup.prepare(self.home)
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self.registry.run)
        self._tasks.start_soon(self._tidy)
        if is_forking:
            self._tasks.start_soon(self.fork_server.run)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.keep != "all":  # the last session of a server that leaves: else it would stay whole until the next one
            with anyio.move_on_after(self.limits.leave_s, shield=True):
                for is_done in list(self._under_retention.values()):
                    await is_done.wait()
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)

    async def _tidy(self) -> None:
        """What workers left that died while no server was there: entries, and names of sockets."""
        self.registry.prune()
        await anyio.to_thread.run_sync(home_setup.remove_leftovers, self.home, limiter=self.files)
        await self._sweep()

    async def _sweep(self) -> None:
        now = anyio.current_time()
        if now - self._swept_at >= self.limits.sweep_s:
            self._swept_at = now
            sweep = partial(retention.apply_retention, self.home, days=self.limits.retention_days, keep=self.keep)
            await anyio.to_thread.run_sync(sweep, limiter=self.files)

    def apply_retention_soon(self, sid: str) -> None:
        """`apply_retention` in the background: also when the call that ended the session is cancelled, or the server
        leaves."""
        self._under_retention[sid] = anyio.Event()
        self._tasks.start_soon(self.apply_retention, sid)

    async def apply_retention(self, sid: str) -> None:
        """After the end of a session: once its worker has left, what is not to be kept is scrubbed."""
        await self.wait_for_exit(sid, self.limits.leave_s)
        if self.keep != "all":
            with suppress(AlcError, OSError):  # tried again by the next server
                path = self.home.finished_journal(sid)
                await anyio.to_thread.run_sync(retention.scrub, path, self.keep, limiter=self.files)
        if (is_done := self._under_retention.pop(sid, None)) is not None:
            is_done.set()
        await self._sweep()

    async def launch(self, sid: str, journal_fd: int) -> int | None:
        """Binds and spawns for a session whose locked journal is given, by fork or by exec.

        Returns the worker's pid, or None where a fork came to nothing: the lock is free, the next way is exec. The
        descriptor is closed here in any case. Raises Unreachable, HomeUnusable.
        """
        try:
            make_directories(self.home.pool, self.home.log)  # a cleaner of old files may have taken them
            listener = bind(self.home, sid)
        except (OSError, StorageFailed) as exc:
            os.close(journal_fd)
            raise HomeUnusable(f"cannot bind {self.home.socket(sid)}: {exc}; set ALC_HOME elsewhere") from exc
        try:
            pid = await spawn_worker(
                self.home,
                sid,
                journal_fd=journal_fd,
                listener=listener,
                environ=self.environ,
                fork_server=self.fork_server,
            )
        except SpawnFailed:
            return None
        except OSError as exc:
            remove_stale_socket(self.home, self.home.socket(sid))  # the lock went: somebody may have bound anew
            cure = "free memory or processes, then ask again"
            if exc.filename is not None and Path(exc.filename) == (log := self.home.stderr(sid)):
                cure = f"{log} must be a file that you can write, or be gone: remove it, then ask again"
            sentence = f"cannot start a worker: {exc.strerror}; {cure}"
            raise Unreachable(sentence, code="no_process") from exc
        self.exits.pop(sid, None)
        self._started[pid] = sid
        self.register(sid, pid)
        return pid

    def register(self, sid: str, pid: int) -> None:
        """Begins to watch a worker and to write its entry, where that is not done yet. Nobody waits for it here."""
        known = self.registry.known.get(sid)
        if known is None or known.pid != pid:
            self.watch(sid, pid)
            if (entry := entry_of(self, sid, pid)) is not None:
                self.registry.add(entry)

    def watch(self, sid: str, pid: int) -> None:
        """From now on its end is noticed at once, whoever started it."""
        if pid not in self._watched and hasattr(os, "pidfd_open"):
            with suppress(ProcessLookupError):
                pidfd = os.pidfd_open(pid)
                self._watched[pid] = _Watch(sid)
                self._tasks.start_soon(self._watch, sid, pid, pidfd)

    async def _watch(self, sid: str, pid: int, pidfd: int) -> None:
        try:
            await anyio.wait_readable(pidfd)
            self._reap(pid, pidfd)
        finally:
            os.close(pidfd)
            self._watched.pop(pid).ended.set()
        remove_stale_socket(self.home, self.home.socket(sid))
        self.registry.remove(sid, pid)

    def _reap(self, pid: int, pidfd: int) -> None:
        try:
            how = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            return  # not ours to reap: the fork server tells, or another server knows
        if how is not None:
            self._record_exit(pid, how.si_status if how.si_code == os.CLD_EXITED else -how.si_status)

    def _record_exit(self, pid: int, code: int) -> None:
        if (sid := self._started.pop(pid, None)) is not None:
            self.exits[sid] = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
            if len(self.exits) > _EXITS_KEPT:
                del self.exits[next(iter(self.exits))]

    async def wait_for_exit(self, sid: str, limit_s: float) -> None:
        """Waits for the end of the session's workers that are watched to be known."""
        with anyio.move_on_after(limit_s):
            for watch in [watch for watch in self._watched.values() if watch.sid == sid]:
                await watch.ended.wait()

    def in_background(self, function: Callable[[*Given], Coroutine[Any, Any, object]], *args: *Given) -> None:
        """Goes on when the call that asked for it is cancelled."""
        self._tasks.start_soon(function, *args)


def entry_of(pool: Pool, sid: str, pid: int) -> PoolSessionEntry | None:
    """None where the worker has ended already."""
    try:
        return PoolSessionEntry.of(sid, pool.home.socket(sid), process_identity.identify(pid))
    except ProcessLookupError:
        return None
