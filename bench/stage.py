"""The ground of the measurements: temporary homes, pools and clients in them, and their processes as /proc shows them.

Contract: everything lies below one temporary directory per file system and goes with it. Whoever leaves `pool` or
`client` leaves no session behind; `Stage.close` ends by signal, and names, what lives on all the same.
"""

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import anyio
from machine import file_system
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from measure import Stopwatch, Timed

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.pool.dispatch import Pool, PoolReply, Strategy, continue_via_pool, run_via_pool, stop_via_pool
from algocline_mcp.pool.spawn import ForkServerProcess, is_forking
from algocline_mcp.session.events import Answer

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.rig.processes import processes_of

PROGRAMS = Path(__file__).parent / "programs"
WAIT_S = 60.0
TWO_QUESTIONS = 'local a = alc.llm("first") local b = alc.llm("second after " .. a) return a .. "+" .. b'
ENDLESS = 'local n = 0 while true do n = n + 1 alc.llm("question " .. n) end'

StartForkServer = Callable[[Home, Mapping[str, str]], ForkServerProcess]

_SHARED_MEMORY = Path("/dev/shm")
_AT_ONCE = 16
_LEAVE_S = 30.0
_LOOK_S = 0.02
_CAP = "4096"  # above every number of sessions here


class Stage:
    """`root` lies where TMPDIR says, `memory_root` on tmpfs where there is one to write to."""

    def __init__(self, *, is_quick: bool, baseline: str | None = None) -> None:
        """`baseline`: the Python of another version of the program, whose server is measured beside this one's."""
        self.is_quick = is_quick
        self.baseline = baseline
        self.root = Path(os.path.realpath(tempfile.mkdtemp(prefix="alcb")))
        self.memory_root: Path | None = None
        if file_system(_SHARED_MEMORY) == "tmpfs" and os.access(_SHARED_MEMORY, os.W_OK):
            self.memory_root = Path(tempfile.mkdtemp(prefix="alcb", dir=_SHARED_MEMORY))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ALC_")}
        self.environ = kept | {"ALC_POOL_MAX": _CAP}
        self._count = 0

    def choose(self, full: int, quick: int) -> int:
        return quick if self.is_quick else full

    def directory(self, root: Path | None = None) -> Path:
        """A new one, with a short name: the paths of sockets are limited."""
        self._count += 1
        path = (root or self.root) / str(self._count)
        path.mkdir(mode=0o700)
        return path

    def environ_of(self, home: Home, settings: Mapping[str, str]) -> dict[str, str]:
        environ = self.environ | {"ALC_HOME": os.fspath(home.root), **settings}
        return {name: value for name, value in environ.items() if value or name not in settings}

    # ── pools and clients ─────────────────────────────────────────────────────────────────────────────────

    @asynccontextmanager
    async def pool(
        self, *, root: Path | None = None, fork_server: StartForkServer | None = None, **settings: str
    ) -> AsyncIterator[Pool]:
        """A pool in a home of its own, warm: its fork server, if any, has made a worker before."""
        home = Home(self.directory(root))
        environ = self.environ_of(home, settings)
        process = fork_server(home, environ) if fork_server else None
        async with Pool(home, Limits.from_env(environ), environ=environ, fork_process=process) as pool:
            if is_forking(
                environ
            ):  # a busy machine takes longer than a run waits, and another one would take its place
                await pool.fork_server.started()
            await run_via_pool(pool, Strategy("return 1"), wait_s=WAIT_S)
            try:
                yield pool
            finally:
                with anyio.CancelScope(shield=True):
                    await cancel_all(pool)
        await all_gone(home.root)

    @asynccontextmanager
    async def client(self, home: Home, *, python: str = sys.executable, **settings: str) -> AsyncIterator[Client]:
        """The official client of a server over stdio, which has answered a call. An empty setting has its default."""
        environ = self.environ_of(home, settings)
        # In an empty directory: `-m` prefers a package of the current one.
        server = StdioServerParameters(command=python, args=["-m", "algocline_mcp"], env=environ, cwd=self.directory())
        try:
            async with Client(server) as client:
                await client.call_tool("alc_status", {})
                yield client
        finally:
            with anyio.CancelScope(shield=True):
                await self.end_sessions(home)

    async def end_sessions(self, home: Home) -> None:
        """Of a home without a server."""
        environ = self.environ_of(home, {"ALC_SPAWN": "exec"})  # it spawns nothing
        async with Pool(home, Limits.from_env(environ), environ=environ) as pool:
            await cancel_all(pool)
        await all_gone(home.root)

    # ── the end ───────────────────────────────────────────────────────────────────────────────────────────

    def close(self) -> list[str]:
        """Returns what had to be killed. Only processes of this stage's homes are touched."""
        left = []
        for root in filter(None, (self.root, self.memory_root)):
            for process in processes(root):
                left.append(f"{process.pid} {process.title}")
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
            shutil.rmtree(root, ignore_errors=True)
        return left

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for leak in self.close():
            print(f"left behind and killed: {leak}", file=sys.stderr)


def unfinished(home: Home) -> list[str]:
    return [path.stem for path in home.sessions.glob("p-*.journal")]


async def cancel_all(pool: Pool, sids: list[str] | None = None) -> None:
    """Some at once. `sids` None: all of the home."""
    limiter = anyio.CapacityLimiter(_AT_ONCE)

    async def cancel(sid: str) -> None:
        async with limiter:
            await stop_via_pool(pool, sid, "cancel")

    async with anyio.create_task_group() as tasks:
        for sid in unfinished(pool.home) if sids is None else sids:
            tasks.start_soon(cancel, sid)


async def run(pool: Pool, code: str, **ctx: Any) -> PoolReply:
    return checked(await run_via_pool(pool, Strategy(code, ctx=ctx), wait_s=WAIT_S))


async def answer(pool: Pool, reply: PoolReply, text: str = "A") -> PoolReply:
    """Answers the one prompt of `reply`."""
    given = Answer(reply.result["query_id"], text)
    return checked(await continue_via_pool(pool, reply.session_id, [given], wait_s=WAIT_S))


class Steps:
    """One session that is answered again and again."""

    def __init__(self, pool: Pool, reply: PoolReply) -> None:
        self.pool = pool
        self.reply = reply

    async def once(self) -> float:
        with Stopwatch() as watch:
            self.reply = await answer(self.pool, self.reply)
        return watch.ms


def checked(reply: PoolReply) -> PoolReply:
    """A figure for something that went wrong would be a lie."""
    if reply.result["status"] != "needs_response" or reply.pool_save_error is not None:
        raise RuntimeError(f"not paused as expected: {reply}")
    return reply


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """The structured result of a tool's call. Raises RuntimeError where it was refused."""
    reply = await client.call_tool(tool, arguments)
    if reply.is_error or not isinstance(reply.structured_content, dict):
        raise RuntimeError(f"{tool}: {reply.content}")
    return reply.structured_content


def bare_call(client: Client) -> Timed:
    """The cheapest call of a server."""

    async def once() -> float:
        with Stopwatch() as watch:
            await call(client, "alc_status")
        return watch.ms

    return once


# ── processes ─────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Process:
    """`group`: the process session it belongs to, which a worker leads."""

    pid: int
    group: int
    title: str

    @property
    def is_worker(self) -> bool:
        return "fork-server" not in self.title and any(word.startswith("p-") for word in self.title.split())


def processes(root: Path) -> list[Process]:
    """All processes whose ALC_HOME is `root` or a directory below it, without this one."""
    return [Process(process.pid, process.process_session, process.title) for process in processes_of(root)]


async def worker_gone(pool: Pool, sid: str) -> None:
    """As all_gone, for the processes of one session."""
    deadline = time.monotonic() + _LEAVE_S
    while any(sid in process.title for process in processes(pool.home.root)) and time.monotonic() < deadline:  # noqa: ASYNC110
        await anyio.sleep(_LOOK_S)


async def all_gone(root: Path) -> None:
    """Waits, at most `_LEAVE_S`, until no process of these homes is left."""
    deadline = time.monotonic() + _LEAVE_S
    while processes(root) and time.monotonic() < deadline:  # noqa: ASYNC110
        await anyio.sleep(_LOOK_S)
