"""Installs the simulated system in the real modules: for the time of one schedule they see nothing else."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import version
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import Any, ClassVar, cast

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.config.sandbox import Sandbox
from algocline_mcp.history import new_session
from algocline_mcp.languages import LUA
from algocline_mcp.pool import client, conversation, dispatch, offline, pool, reach, spawn, termination
from algocline_mcp.pool.pool import Pool
from algocline_mcp.storage import clock as wall_clock
from algocline_mcp.storage import files, journal, stored_records
from algocline_mcp.storage import sockets as socket_files
from algocline_mcp.worker.confinement.confinement import UNCONFINED, Confinement
from algocline_mcp.worker.engine.preload import Preloaded
from algocline_mcp.worker.keeper import (
    connections,
    effect_runner,
    effects,
    engines,
    poll_loop,
    request_runner,
    session_runner,
)
from tests.sim.loop import Loop
from tests.sim.machine import Machine
from tests.sim.sockets import Poll, Socket, Sockets
from tests.sim.system_calls import Clock, Descriptors, Locks


class DiskPath(PurePosixPath):
    """A path of the simulated disk."""

    system: ClassVar[Descriptors]

    def __truediv__(self, key: Any) -> "DiskPath":
        return _join(self, key)

    def unlink(self, missing_ok: bool = False) -> None:
        self.system.unlink(self)

    def read_bytes(self) -> bytes:
        raise FileNotFoundError(self)  # the registry is not there

    def glob(self, pattern: str) -> "list[DiskPath]":
        return [DiskPath(name) for name in self.system.disk.files if DiskPath(name).parent == self]


@lru_cache(4096)  # a tenth of the time of a schedule was this
def _join(path: DiskPath, key: str) -> DiskPath:
    return path.joinpath(key)


HOME = Home(cast(Any, DiskPath("/h")))
LIMITS = Limits(children=2)
ABIS = {LUA.name: LUA.abi(version)}
PRELOADED = Preloaded(HOME, LIMITS, {}, ABIS, UNCONFINED)


def _no_entry(pool: Pool, sid: str, pid: int) -> None:
    """As if every worker had ended before its entry could be made."""


class NoRegistry:
    """An empty registry: no promise may depend on it."""

    known: ClassVar[dict[str, Any]] = {}

    def add(self, entry: object) -> "NoRegistry":
        return self

    def remove(self, sid: str, pid: int) -> "NoRegistry":
        return self

    def take_unreported(self, sid: str) -> None: ...

    async def error(self, limit_s: float) -> None: ...


class SimulatedPool(Pool):
    """What one server knows. `launch`, `watch` and `wait_for_exit` are the real ones."""

    def __init__(self) -> None:
        self.home = HOME
        self.limits = LIMITS
        self.environ = {}
        self.registry = cast(Any, NoRegistry())
        self.exits = {}
        self.calls = Counter()
        self.files = cast(Any, None)
        self.fork_server = cast(Any, SimpleNamespace(is_usable=True, warning=None, sandbox=Sandbox("off")))
        self._watched = {}
        self._started = {}

    async def wait_for_status(self, sid: str, limit_s: float) -> None:
        """No fork server reports how a worker ended."""

    def require_home(self) -> None:
        """The simulated home exists."""

    async def refuse_if_full(self) -> None:
        """The simulated home has room."""

    def apply_retention_soon(self, sid: str) -> None:
        """Retention is not simulated."""


class Spawner:
    """Where processes begin, modules are read and keepers poll; the schedule implements it."""

    def spawn_engine(self, runtimes: object, limits: Limits, confinement: Confinement) -> tuple[int, Socket]:
        raise NotImplementedError

    async def spawn_worker(self, home: Home, sid: str, *, journal_fd: int, listener: Socket, **more: object) -> int:
        raise NotImplementedError

    def module(self, path: object, chunk: str, max_bytes: int) -> dict[str, Any] | None:
        raise NotImplementedError

    def poll(self) -> Poll:
        raise NotImplementedError


@contextlib.contextmanager
def installed(machine: Machine, loop: Loop, spawner: Spawner) -> Iterator[None]:
    system, sockets, clock = Descriptors(machine), Sockets(machine), Clock(machine)
    DiskPath.system = system
    select = SimpleNamespace(poll=spawner.poll, POLLIN=Poll.POLLIN, POLLOUT=Poll.POLLOUT)
    numbers = SimpleNamespace(token_hex=lambda size: f"{machine.rng.getrandbits(size * 8):0{size * 2}x}")
    numbers.randbits = machine.rng.getrandbits
    changes: list[tuple[Any, dict[str, Any]]] = [
        (journal, {"os": system, "fcntl": Locks(machine), "_flush_file": system.fdatasync}),
        (stored_records, {"os": system}),
        (poll_loop, {"os": system, "socket": sockets, "select": select, "time": clock}),
        (poll_loop, {"start_time_of": lambda pid: 0}),
        (request_runner, {"time": clock}),
        (session_runner, {"time": clock}),
        (engines, {"spawn_engine": spawner.spawn_engine}),
        (effect_runner, {"os": system}),
        (connections, {"os": system, "time": clock, "socket": sockets}),
        (effects, {"_read_source": spawner.module}),
        (pool, {"os": system, "anyio": loop, "spawn_worker": spawner.spawn_worker, "entry_of": _no_entry}),
        (pool, {"make_directories": lambda *paths: None}),
        (reach, {"os": system, "anyio": loop}),
        (dispatch, {"anyio": loop, "time": clock, "secrets": numbers}),
        (conversation, {"anyio": loop}),
        (new_session, {"time": clock, "secrets": numbers}),
        (termination, {"anyio": loop}),
        (client, {"socket": sockets, "anyio": loop}),
        (offline, {"os": system, "anyio": loop}),
        (wall_clock, {"time": clock}),
        (files, {"os": system}),
        (socket_files, {"os": system, "socket": sockets, "secrets": numbers}),
        (spawn, {"os": system, "socket": sockets}),
    ]
    before = [(module, {name: getattr(module, name) for name in values}) for module, values in changes]
    _set(changes)
    try:
        yield
    finally:
        _set(before)


def _set(changes: list[tuple[Any, dict[str, Any]]]) -> None:
    for module, values in changes:
        for name, value in values.items():
            setattr(module, name, value)
