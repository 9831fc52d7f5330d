"""State of one server: its home, its limits, and the live workers that it watches. Holds no session.

Contract: every worker that this server spawns or meets is watched through a pidfd, whether or not it is its child. When
it ends, the pool removes its registry entry and, if it can take the journal's lock, its socket name. Without pidfds
(macOS) the next launch or start of a server does that.
"""

import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVarTuple

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.config.sandbox import check_settings
from algocline_mcp.errors import AlcError, HomeUnusable, Refused, StorageFailed, Unreachable
from algocline_mcp.history import retention
from algocline_mcp.history.database_reader import StateFile, StateReader
from algocline_mcp.pool import process_identity, spawn
from algocline_mcp.pool.admission_plan import Burst
from algocline_mcp.pool.exits import Signal, Watch
from algocline_mcp.pool.fork_server_client import ForkServerClient
from algocline_mcp.pool.registry import PoolSessionEntry, RegistryWriter
from algocline_mcp.pool.spawn import SpawnFailed, spawn_worker
from algocline_mcp.session.owner import USER
from algocline_mcp.storage import home_setup
from algocline_mcp.storage.files import make_directories
from algocline_mcp.storage.sockets import bind, remove_stale_socket

if TYPE_CHECKING:
    from algocline_mcp.pool.node import Node

_EXITS_KEPT = 256


Arguments = TypeVarTuple("Arguments")


class Pool:
    """Entered once per server. Raises HomeUnusable on entry for a setting, and if the home cannot hold sessions.
    `node`: where several servers share a database, see node.py.

    A server that stays up passes `is_home_required=False`: what can be read is shown, and each call that begins a
    session probes the home again."""

    node: "Node | None" = None

    def __init__(
        self,
        home: Home,
        limits: Limits,
        *,
        environ: Mapping[str, str] = os.environ,
        fork_process: spawn.ForkServerProcess | None = None,
        is_home_required: bool = True,
        node: "Node | None" = None,
    ) -> None:
        self.home = home
        self.limits = limits
        self.environ = dict(environ) | limits.as_env()
        self.registry = RegistryWriter(home, limits)
        self.exits: dict[str, str] = {}  # worker key -> exit of the last such worker, for error messages
        self.files = anyio.CapacityLimiter(2)  # threads that read journals
        self.fork_server = ForkServerClient(
            home, limits, environ=self.environ, on_exit=self._record_exit, process=fork_process
        )
        self.leaving: set[str] = set()  # keys of workers that are being asked to hibernate, see admission
        self.calls: Counter[str] = Counter()  # calls of this server that are under way, by worker key
        self.burst = Burst()
        self.keep = retention.keep_of(environ)
        self._is_home_required = is_home_required
        self._is_home_usable = False
        self.usage = retention.Usage()  # of the home, as it was at the last check for retention
        self._expired_removed_at = float("-inf")
        self._under_retention: dict[str, anyio.Event] = {}  # by worker key, until it is applied
        self._watched: dict[int, Watch] = {}  # by pid
        self._any_exit = Signal()  # at the exit of a watched worker
        self._any_status = Signal()  # when the exit status of a worker is known
        self._started: dict[int, str] = {}  # pid -> key of workers whose exit code this server will receive
        self._tasks: TaskGroup
        self.node = node
        self.owner = USER
        self.owned: dict[str, Pool] = {}  # the pools of principals, see owned.py

    def __repr__(self) -> str:
        workers = {watch.key: pid for pid, watch in self._watched.items()}
        return (
            f"Pool(home={os.fspath(self.home.root)!r}, workers={workers}, "
            f"registry_writes_pending={self.registry.pending}, archiving={sorted(self._under_retention)})"
        )

    async def __aenter__(self) -> Self:
        check_settings(self.environ)
        is_forking = spawn.is_forking(self.environ)  # what may raise comes first: no task has to be cancelled then
        try:
            self.require_home()
        except HomeUnusable:
            if self._is_home_required:
                raise
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self.registry.run)
        if self.node is not None:
            await self._tasks.start(self.node.run, self)
        self._tasks.start_soon(self._remove_leftovers)
        if is_forking:
            self._tasks.start_soon(self.fork_server.run)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.keep != "all":  # else what ended last would be scrubbed only by the next server
            with anyio.move_on_after(self.limits.leave_s, shield=True):
                for applied in list(self._under_retention.values()):
                    await applied.wait()
        self._tasks.cancel_scope.cancel()
        await self._tasks.__aexit__(None, None, None)

    def require_home(self) -> None:
        """Makes the directories that have gone, and probes a home again that did not work. Raises HomeUnusable."""
        if not (self._is_home_usable and home_setup.is_complete(self.home)):
            self._is_home_usable = False
            home_setup.prepare(self.home, self.owner)
            self._is_home_usable = True

    def home_warning(self) -> str | None:
        """Why no session can begin here: a home that is not there lists no session and is not empty."""
        try:
            self.require_home()
        except HomeUnusable as exc:
            return str(exc)
        return None

    async def _remove_leftovers(self) -> None:
        """Removes registry entries and socket names of workers that died while no server watched them."""
        self.registry.prune()
        await anyio.to_thread.run_sync(home_setup.remove_leftovers, self.home, limiter=self.files)
        await self._remove_expired()

    async def _remove_expired(self) -> None:
        """Removes finished sessions over their retention, and counts the others, at most once per `sweep_s`."""
        now = anyio.current_time()
        if now - self._expired_removed_at >= self.limits.sweep_s:
            self._expired_removed_at = now
            sweep = partial(retention.apply_retention, self.home, days=self.limits.retention_days, keep=self.keep)
            await anyio.to_thread.run_sync(sweep, limiter=self.files)
            self.usage = await anyio.to_thread.run_sync(retention.usage_of, self.home, limiter=self.files)
            if self.node is not None:
                with suppress(StorageFailed):  # the next check tries again
                    await self.node.apply_retention(self, self.limits.retention_days)

    @asynccontextmanager
    async def room_for(self, sid: str) -> AsyncIterator[None]:
        """Entered with room for one more session, whose journal is made within. Raises Refused."""
        await self.refuse_if_full()
        yield

    @property
    def state(self) -> StateReader:
        """Reads what the strategies of this owner have stored."""
        return StateFile(self.home.state_database) if self.node is None else self.node.state_reader(self.owner)

    async def refuse_if_full(self) -> None:
        """Raises Refused where the home holds too much. Only then is it counted again: it may have been purged."""
        try:
            self.usage.refuse_over(self.limits, self.home.root)
        except Refused:
            self.usage = await anyio.to_thread.run_sync(retention.usage_of, self.home, limiter=self.files)
            self.usage.refuse_over(self.limits, self.home.root)

    async def refuse_over_prompts(self) -> None:
        """Raises Refused where a principal may have no more prompts today. For the user there is no such limit."""

    def apply_retention_soon(self, sid: str) -> None:
        """Applies retention in the background: the call that ended the session may be cancelled meanwhile."""
        self._under_retention[self.home.worker_key(sid)] = anyio.Event()
        self._tasks.start_soon(self.apply_retention, sid)

    async def apply_retention(self, sid: str) -> None:
        """Waits until the worker of a finished session has exited, then scrubs what ALC_KEEP does not keep."""
        await self.wait_for_exit(sid, self.limits.leave_s)
        if self.keep != "all":
            with suppress(AlcError, OSError):  # the next server tries again
                path = self.home.finished_journal(sid)
                await anyio.to_thread.run_sync(retention.scrub, path, self.keep, limiter=self.files)
            if self.node is not None:
                with suppress(AlcError):
                    await self.node.scrub(self, sid)
        if (applied := self._under_retention.pop(self.home.worker_key(sid), None)) is not None:
            applied.set()
        await self._remove_expired()

    async def launch(self, sid: str, journal_fd: int) -> int | None:
        """Binds the session's socket and spawns its worker, by fork or by exec. `journal_fd`: the locked journal.

        Returns the worker's pid, or None if the fork failed: the lock is free then, and the next launch uses exec.
        Closes the descriptor in any case. Raises Unreachable (`no_process`), HomeUnusable.
        """
        if self.node is not None:
            self.node.launching(self, sid)
        try:
            make_directories(self.home.pool, self.home.log)  # a program that deletes old files may have removed them
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
            remove_stale_socket(self.home, sid)  # under the lock: another launcher may have bound the name since
            cure = "free memory or processes, then ask again"
            if exc.filename is not None and Path(exc.filename) == (log := self.home.stderr(sid)):
                cure = f"{log} must be a file that you can write, or be absent: remove it, then ask again"
            sentence = f"cannot start a worker: {exc.strerror}; {cure}"
            raise Unreachable(sentence, code="no_process") from exc
        key = self.home.worker_key(sid)
        self.exits.pop(key, None)
        self._started[pid] = key
        self.register(sid, pid)
        return pid

    def register(self, sid: str, pid: int) -> None:
        """Watches a worker and queues the write of its registry entry, unless both were done. Does not wait."""
        known = self.registry.known.get(self.home.worker_key(sid))
        if known is None or known.pid != pid:
            self.watch(sid, pid)
            if (entry := entry_of(self, sid, pid)) is not None:
                self.registry.add(entry)

    def watch(self, sid: str, pid: int) -> None:
        """From now on the exit of this process is noticed at once, also if it is not a child of this server."""
        if pid not in self._watched and hasattr(os, "pidfd_open"):
            with suppress(ProcessLookupError):
                pidfd = os.pidfd_open(pid)
                self._watched[pid] = Watch(self.home.worker_key(sid))
                self._tasks.start_soon(self._watch, sid, pid, pidfd)

    async def _watch(self, sid: str, pid: int, pidfd: int) -> None:
        try:
            await anyio.wait_readable(pidfd)
            self._reap(pid, pidfd)
        finally:
            os.close(pidfd)
            self._watched.pop(pid).exited.set()
        remove_stale_socket(self.home, sid)
        self.registry.remove(self.home.worker_key(sid), pid)
        self._any_exit.announce()
        if self.node is not None:
            self.node.give_back_soon(self, sid)

    def _reap(self, pid: int, pidfd: int) -> None:
        try:
            status = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            return  # not our child: its fork server reports the exit, to this server or to another one
        if status is not None:
            self._record_exit(pid, status.si_status if status.si_code == os.CLD_EXITED else -status.si_status)

    def _record_exit(self, pid: int, code: int) -> None:
        if (key := self._started.pop(pid, None)) is not None:
            self.exits[key] = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
            if len(self.exits) > _EXITS_KEPT:
                del self.exits[next(iter(self.exits))]
        self._any_status.announce()

    def _watches_of(self, sid: str) -> list[Watch]:
        key = self.home.worker_key(sid)
        return [watch for watch in self._watched.values() if watch.key == key]

    def has_worker(self, sid: str) -> bool:
        """Whether a worker of the session lives here, or one has just been killed."""
        return bool(self._watches_of(sid)) or os.path.lexists(self.home.socket(sid))

    async def wait_for_exit(self, sid: str, limit_s: float) -> None:
        """Returns when all watched workers of the session have exited, at the latest after `limit_s`."""
        with anyio.move_on_after(limit_s):
            for watch in self._watches_of(sid):
                await watch.exited.wait()

    async def wait_for_status(self, sid: str, limit_s: float) -> None:
        """Returns when the exit status of the session's last worker is in `exits`, at the latest after `limit_s`: its
        fork server reports it a moment after the exit is noticed, on a busy machine after the next worker is started.
        """
        with anyio.move_on_after(limit_s):
            while self.home.worker_key(sid) in self._started.values():
                await self._any_status.wait()

    async def back_off(self, sid: str, limit_s: float) -> None:
        """Pauses for `limit_s`, or until a watched worker of the session exits, which frees its lock."""
        if self._watches_of(sid):
            await self.wait_for_exit(sid, limit_s)
        else:
            await anyio.sleep(limit_s)

    async def wait_for_any_exit(self, limit_s: float) -> None:
        """Returns when any watched worker exits, at the latest after `limit_s`."""
        with anyio.move_on_after(limit_s):
            await self._any_exit.wait()

    @contextmanager
    def calling(self, sid: str) -> Iterator[None]:
        """While a call to this session is under way, no launch of this server evicts its worker."""
        key = self.home.worker_key(sid)
        self.calls[key] += 1
        try:
            yield
        finally:
            self.calls[key] -= 1
            if not self.calls[key]:
                del self.calls[key]

    def in_background(self, function: Callable[[*Arguments], Coroutine[Any, Any, object]], *args: *Arguments) -> None:
        """Runs the function in a task of the pool: it goes on if the call that started it is cancelled."""
        self._tasks.start_soon(function, *args)


def entry_of(pool: Pool, sid: str, pid: int) -> PoolSessionEntry | None:
    """The registry entry of a worker; None if the process is gone."""
    try:
        return PoolSessionEntry.of(sid, pool.home.socket(sid), process_identity.identify(pid))
    except ProcessLookupError:
        return None
