"""Nodes as processes: `alc serve --database`, each with a home of its own and a proxy before the database.

Contract. `Cluster` starts and ends them; what a test did to a node (killed, frozen, cut off) is undone by `restore`.
`Node.ask` is one call of a tool by the official client over HTTP. It ends within the time that a call may take; where
the process has ended or is frozen it raises NodeSilent, and where a node that should answer does not, TimeoutError.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import anyio
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import Implementation

from algocline_mcp.cluster.connection import Database
from algocline_mcp.cluster.rows import SessionRows
from algocline_mcp.cluster.schema import migrate
from algocline_mcp.config.home import Home
from algocline_mcp.errors import StorageFailed
from algocline_mcp.http.tokens import new_token
from algocline_mcp.session.records import Record
from algocline_mcp.storage.files import make_directories
from tests.cluster.postgres import Postgres
from tests.cluster.proxy import Proxy
from tests.rig.http_server import connected
from tests.rig.processes import Process, open_pidfd, processes_of, read_process, until_blocking
from tests.rig.programs import ROOMY_VARIABLES

LEASE_S = 3.0
GRACE_S = 8.0
LATE_S = 60.0  # beyond wait_s and grace, for a machine that is busy
START_S = 120.0
_ROOT = Path(__file__).parents[2]
_MODE = "2026-07-28"  # stateless: a client needs no other node's memory


class NodeSilent(Exception):
    """The process of the node has ended or was frozen: it is unknown whether it took the call."""


@dataclass(frozen=True)
class Reply:
    """`result` of a success; otherwise `error`, the sentence, and its `code`."""

    result: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    code: str = ""


class Node:
    def __init__(self, number: int, root: Path, url: str, proxy: Proxy, settings: Mapping[str, str]) -> None:
        self.number = number
        self.home = Home(root)
        self.proxy = proxy
        self.is_frozen = False
        self.url = ""
        root.mkdir(parents=True, exist_ok=True)
        self._log = root.parent / f"{root.name}.log"
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("ALC_")}
        own = {"ALC_HOME": str(root), "ALC_DATABASE": url, "ALC_WARMUP_RUNS": "1", "PYTHONPATH": str(_ROOT)}
        self._environment = {**inherited, **ROOMY_VARIABLES, "ALC_GRACE_S": f"{GRACE_S:g}", **own, **settings}
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """`wait_until_ready` returns when it serves."""
        self.url = ""
        if self._process is not None:
            self._reap()
        with open(self._log, "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "algocline_mcp", "serve", "--http", ":0", "--database", "-"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment,
                text=True,
            )
        self.is_frozen = False

    def wait_until_ready(self) -> None:
        """Raises AssertionError with its log where it does not start."""
        process = self.process
        assert process.stdout is not None
        watchdog = threading.Timer(START_S, process.kill)
        watchdog.start()
        try:
            self.url = process.stdout.readline().strip()
        finally:
            watchdog.cancel()
        assert self.url, f"node {self.number} does not start: {self.log()[-2000:]}"

    @property
    def process(self) -> "subprocess.Popen[str]":
        assert self._process is not None
        return self._process

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    # ── faults ────────────────────────────────────────────────────────────────────────────────────────────

    def end(self, number: signal.Signals) -> int:
        """Sends the signal and waits for the end; returns the exit code."""
        self.process.send_signal(number)
        return self._reap()

    def _reap(self) -> int:
        code = self.process.wait(START_S)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code

    def freeze(self) -> None:
        """The server alone: its workers go on, and wait for it."""
        self.is_frozen = True
        self.process.send_signal(signal.SIGSTOP)
        until_blocking(lambda: read_process(self.process.pid).state in "Tt")

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.is_frozen = False

    def workers(self, sid: str = "") -> list[Process]:
        """Keepers and engines of a session, or of all."""
        return [process for process in processes_of(self.home.root) if process.sid and sid in ("", process.sid)]

    def has_no_process(self) -> bool:
        """Neither server nor fork server, keeper, engine."""
        return not processes_of(self.home.root)

    # ── calls ─────────────────────────────────────────────────────────────────────────────────────────────

    async def ask(
        self, tool: str, *, token: str = "", http_client: httpx2.AsyncClient | None = None, **arguments: Any
    ) -> Reply:
        """`http_client`: with the token among its headers, for many calls. Raises NodeSilent, TimeoutError."""
        process, replies = self.process, list[Any]()

        async def call() -> None:
            async with _client(self.url, token, http_client) as client:
                replies.append(await client.call_tool(tool, arguments))

        limit_s = arguments.get("wait_s", 0.0) + GRACE_S + LATE_S
        was_silent = self.is_frozen
        try:
            with anyio.fail_after(limit_s):
                await _unless_ended(process.pid, call)
        except TimeoutError:
            if not replies and not (was_silent or self.is_frozen):
                raise
        except Exception as exc:  # the client raises what the connection met, in groups; only its end may be met
            if not replies and process.poll() is None and not (was_silent or self.is_frozen):
                raise AssertionError(f"node {self.number} lives and {tool} failed: {_leaves(exc)}") from exc
        if not replies:
            raise NodeSilent
        return _reply_of(replies[0])


def _client(url: str, token: str, http_client: httpx2.AsyncClient | None) -> AbstractAsyncContextManager[Client]:
    if http_client is None:
        return connected(url, _MODE, token)
    transport = streamable_http_client(url, http_client=http_client)
    return Client(transport, mode=_MODE, client_info=Implementation(name="mcp", version="1"))


async def _unless_ended(pid: int, call: Any) -> None:
    """Cancels the call where the process ends: the client would wait for its reply."""
    with open_pidfd(pid) as pidfd:
        if pidfd is None:
            return
        async with anyio.create_task_group() as tasks:

            async def watch() -> None:
                assert pidfd is not None
                await anyio.wait_readable(pidfd)
                tasks.cancel_scope.cancel()

            tasks.start_soon(watch)
            await call()
            tasks.cancel_scope.cancel()


def _leaves(exc: BaseException) -> list[BaseException]:
    if isinstance(exc, BaseExceptionGroup):
        return [leaf for inner in exc.exceptions for leaf in _leaves(inner)]
    return [exc]


def _reply_of(reply: Any) -> Reply:
    text = reply.content[0].text
    if reply.is_error:
        sentence, _, code = text.rpartition(" [")
        return Reply(error=sentence, code=code.removesuffix("]"))
    return Reply(result=dict(reply.structured_content))


class Cluster:
    """`principals`: who has a token, the same at each node; without any, everybody is the user. `settings`: environment
    variables of all nodes. `rows` and `database` lead to the database without a proxy."""

    def __init__(
        self,
        postgres: Postgres,
        *,
        count: int = 3,
        lease_s: float = LEASE_S,
        principals: Sequence[str] = (),
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.postgres = postgres
        self.lease_s = lease_s
        self.directory = Path(os.path.realpath(tempfile.mkdtemp(prefix="alc")))
        self.database = Database(postgres.emptied())
        with self.database.connect() as connection:
            migrate(connection, self.database, begins=True)
        self._rows = SessionRows(self.database)
        chosen = {"ALC_NODE_LEASE_S": f"{lease_s:g}", **settings}
        self.nodes: list[Node] = []
        for number in range(count):
            proxy = Proxy(postgres.socket)
            url = f"postgresql://alc@127.0.0.1:{proxy.port}/postgres"
            self.nodes.append(Node(number, self.directory / f"n{number}", url, proxy, chosen))
        first, *others = [node.home for node in self.nodes]
        self.tokens = {name: new_token(first, name) for name in principals}
        for home in others if principals else ():
            make_directories(home.root, home.state)
            shutil.copytree(first.principals, home.principals)

    def start(self) -> None:
        """All at once."""
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.wait_until_ready()

    def restore(self) -> None:
        """Undoes what was done to nodes and proxies."""
        started = []
        for node in self.nodes:
            node.proxy.mend()
            if not node.is_running:
                node.start()
                started.append(node)
            elif node.is_frozen:
                node.thaw()
        for node in started:
            node.wait_until_ready()

    def close(self) -> None:
        """Kills the nodes. Raises AssertionError where a worker outlives its node."""
        try:
            for node in self.nodes:
                node.proxy.mend()
                if node.is_running:
                    node.end(signal.SIGKILL)
                elif node._process is not None:
                    node._reap()
            self._rows.close()
            for node in self.nodes:
                until_blocking(node.has_no_process, START_S)
        finally:
            for node in self.nodes:
                node.proxy.close()
            self._remove()

    def _remove(self) -> None:
        for node in self.nodes:
            for process in processes_of(node.home.root):
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def rows(self) -> SessionRows:
        """Also after a crash of the database, which a connection learns at its next statement."""
        with suppress(StorageFailed):
            self._rows.query("SELECT 1")
        return self._rows

    # ── what the database has ─────────────────────────────────────────────────────────────────────────────

    def records(self, sid: str) -> list[Record]:
        return list(self.rows.records(sid))

    def phase(self, sid: str) -> str:
        ((phase,),) = self.rows.query("SELECT phase FROM alc.sessions WHERE sid = %s", (sid,))
        return str(phase)

    def epochs(self, sid: str) -> list[int]:
        """Of the records, in their order."""
        rows = self.rows.query("SELECT epoch FROM alc.records WHERE sid = %s ORDER BY n", (sid,))
        return [int(str(epoch)) for (epoch,) in rows]

    def holder(self, sid: str) -> Node | None:
        """The node that the row names, whether or not its lease holds."""
        ((name,),) = self.rows.query("SELECT held_by FROM alc.sessions WHERE sid = %s", (sid,))
        pids = [node for node in self.nodes if str(name).split(":")[1:2] == [str(node.process.pid)]]
        return pids[0] if pids else None


@contextmanager
def cut_off(node: Node) -> Iterator[None]:
    node.proxy.cut()
    try:
        yield
    finally:
        node.proxy.mend()
