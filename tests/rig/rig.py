"""The rig of tests with real workers: a home of its own, its processes, its files, and calls of the pool.

Other modules have the parts that need no home: processes.py (processes and waits), programs.py (other programs). Tests
import them from here.
"""

import contextlib
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.pool.dispatch import Pool, PoolReply, Strategy, continue_via_pool, run_via_pool
from algocline_mcp.pool.node import environ_of_workers
from algocline_mcp.pool.spawn import is_forking
from algocline_mcp.session.events import Answer
from algocline_mcp.session.records import Record
from algocline_mcp.storage import journal
from algocline_mcp.storage.owners import home_with
from tests.rig.processes import (
    READABLE,
    SOON_S,
    Process,
    descriptors,
    ended,
    kill,
    open_pidfd,
    processes_of,
    stopped,
    until,
    wait_until_ended,
)
from tests.rig.programs import LIMIT_S, PEERS, ROOMY, Program, RawClient

if TYPE_CHECKING:
    from algocline_mcp.cluster.connection import Database

__all__ = [
    "ASK_ONCE",
    "ASK_TWICE",
    "ENDLESS",
    "KEEPER_DESCRIPTORS",
    "LIMIT_S",
    "ORDINARY",
    "PEERS",
    "ROOMY",
    "SOON_S",
    "WAIT_S",
    "Process",
    "Program",
    "RawClient",
    "Rig",
    "descriptors",
    "ended",
    "finish",
    "kill",
    "open_pidfd",
    "run",
    "say",
    "stopped",
    "until",
    "wait_until_ended",
]

WAIT_S = 60.0  # wait_s of a call that is expected to reach its next pause
_POLL_S = 0.1
# As root: the privileges of an ordinary user. No capability survives the exec.
ORDINARY = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"] if os.geteuid() == 0 else []

# 0, 1, 2, journal, listener, both ends of the pipe for signals, the engine's socket
KEEPER_DESCRIPTORS = 8

ASK_TWICE = 'local a = alc.llm("first") local b = alc.llm("second after " .. a) return a .. "+" .. b'
ASK_ONCE = 'return "got " .. alc.llm("question")'
ENDLESS = "while true do end"


class Rig:
    def __init__(self, database: "Database | None" = None) -> None:
        """`database`: its pools are those of nodes, one after the other."""
        self.database = database
        self.root = Path(os.path.realpath(tempfile.mkdtemp(prefix="alc")))
        self.home = Home(self.root / "h")
        self.expected_reports: set[str] = set()  # sids whose worker may write to stderr
        self.may_have_temporary_files = False  # set where a server is killed: the next server removes them

    @asynccontextmanager
    async def pool(self, *, environ: Mapping[str, str] | None = None, **limits: Any) -> AsyncIterator[Pool]:
        """The pool of one server. `limits`: by the names of Limits. `environ`: instead of os.environ."""
        with anyio.fail_after(LIMIT_S):
            chosen = dict(os.environ if environ is None else environ)
            if "pool_max" in limits:  # as in Limits.from_env: a cap that is chosen is never exceeded
                limits = {"pool_burst": limits["pool_max"]} | limits
            async with self._server(Limits(**ROOMY | limits), chosen) as pool:
                if is_forking(chosen):  # in a server it was started long before the first call
                    await until(lambda: pool.fork_server.pid is not None)
                yield pool

    @asynccontextmanager
    async def _server(self, limits: Limits, environ: Mapping[str, str]) -> AsyncIterator[Pool]:
        if self.database is None:
            async with Pool(self.home, limits, environ=environ) as pool:
                yield pool
            return
        from algocline_mcp.cluster.copies import claim
        from algocline_mcp.cluster.node import Node

        fd = claim(self.home)
        try:
            node = Node(self.database, self.home, limits)
            async with Pool(self.home, limits, environ=environ_of_workers(self.home, environ), node=node) as pool:
                try:
                    yield pool
                finally:
                    with anyio.CancelScope(shield=True):
                        await node.close(pool)
        finally:
            os.close(fd)

    def readable_pool(self, **limits: Any) -> AbstractAsyncContextManager[Pool]:
        """As `pool`; an ordinary user may see descriptors and environment of its workers, and trace them."""
        return self.pool(environ={**os.environ, **READABLE}, **limits)

    # ── processes ─────────────────────────────────────────────────────────────────────────────────────────

    def processes(self) -> list[Process]:
        """All processes of this home, also those of other servers."""
        return processes_of(self.home.root)

    def keepers(self, sid: str | None = None) -> list[int]:
        return [process.pid for process in self.processes() if process.is_keeper and sid in (None, process.sid)]

    def engines(self, sid: str | None = None) -> list[int]:
        return [process.pid for process in self.processes() if process.is_engine and sid in (None, process.sid)]

    def keeper(self, sid: str) -> int:
        (pid,) = self.keepers(sid)
        return pid

    def engine(self, sid: str) -> int:
        (pid,) = self.engines(sid)
        return pid

    def resident_bytes(self, pid: int) -> int:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def environment(self, pid: int) -> dict[str, str]:
        pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
        return dict(pair.split("=", 1) for pair in pairs if "=" in pair)

    def workers(self) -> list[Process]:
        return [process for process in self.processes() if process.is_keeper or process.is_engine]

    def workers_of(self, sid: str) -> list[Process]:
        return [process for process in self.workers() if process.sid == sid]

    # ── files ─────────────────────────────────────────────────────────────────────────────────────────────

    def journal(self, sid: str) -> Path:
        """The path of a session's journal, finished or not."""
        path = self.home.journal(sid)
        return path if path.exists() else self.home.finished_journal(sid)

    def records(self, sid: str, *kinds: str) -> list[Record]:
        """Of the journal; with a database, its rows."""
        return [record for record in self._records(sid) if not kinds or record["kind"] in kinds]

    def _records(self, sid: str) -> list[Record]:
        if self.database is not None:
            from algocline_mcp.cluster.rows import SessionRows

            with contextlib.closing(SessionRows(self.database)) as rows:
                return list(rows.records(sid))
        try:
            return journal.read(self.home.journal(sid))
        except FileNotFoundError:  # also if it was archived since: a finished session is read from its last place
            return journal.read(self.home.finished_journal(sid))

    def answers(self, sid: str) -> list[tuple[str, str]]:
        """`(query id, text)` of every recorded answer, in order, also of one that is recorded twice."""
        taken = [item for record in self.records(sid, "answer") for item in record["answers"]]
        return [(item["id"], item.get("response", item.get("refuse"))) for item in taken]

    def registry(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = json.loads(self.home.registry.read_bytes())["sessions"]
        return entries

    def registered(self) -> set[str]:
        return {entry["sid"] for entry in self.registry()}

    # ── the end of a test ─────────────────────────────────────────────────────────────────────────────────

    def end(self) -> list[str]:
        """Terminates the workers of unfinished sessions. Returns all else that is left behind."""
        deadline = time.monotonic() + SOON_S
        terminated: set[int] = set()
        seen: set[int] = set()
        while (left := self.processes()) and time.monotonic() < deadline:
            seen |= {process.pid for process in left}
            for process in left:  # each time: a worker that is just being started is not a keeper yet
                if process.is_keeper and process.pid not in terminated and self._is_unfinished(process.sid):
                    terminated.add(process.pid)
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process.pid, signal.SIGTERM)
            wait_until_ended(left[0].pid, _POLL_S)
        leaks = [f"process {process}" for process in left]
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        for pid in seen:
            wait_until_ended(pid, 0)  # and reaps it
        leaks += [f"file {path}" for path in self._strays()]
        for path in self.home.log.glob("*.err"):
            if path.stem not in self.expected_reports and (report := path.read_text(errors="replace")):
                leaks.append(f"report {report}")
        shutil.rmtree(self.root, ignore_errors=True)
        return leaks

    def _is_unfinished(self, sid: str) -> bool:
        return home_with(self.home, sid).journal(sid).exists()

    def _strays(self) -> Iterator[Path]:
        yield from self.home.pool.glob("*.sock")
        yield from self.home.pool.glob(".*") if not self.may_have_temporary_files else ()
        for path in self.home.sessions.glob("*"):
            is_draft = self.may_have_temporary_files and path.name.startswith(".draft-")
            if path.suffix != ".journal" and path.is_file() and not is_draft:
                yield path


# ── sessions ──────────────────────────────────────────────────────────────────────────────────────────────


async def run(pool: Pool, code: str, *, wait_s: float = WAIT_S, **fields: Any) -> PoolReply:
    return await run_via_pool(pool, Strategy(code, **fields), wait_s=wait_s)


async def say(pool: Pool, sid: str, query_id: str | None, text: str, *, wait_s: float = WAIT_S) -> PoolReply:
    return await continue_via_pool(pool, sid, [Answer(query_id, text)], wait_s=wait_s)


async def finish(pool: Pool, reply: PoolReply, text: str = "end") -> dict[str, Any]:
    """Answers every prompt with `text` until the session is over. Returns the result."""
    while reply.result["status"] == "needs_response":
        queries = reply.result.get("queries") or [reply.result]
        answers = [Answer(query["query_id"], text) for query in queries]
        reply = await continue_via_pool(pool, reply.session_id, answers, wait_s=WAIT_S)
    return reply.result
