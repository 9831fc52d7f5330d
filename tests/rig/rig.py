"""What the tests of the pool stand on: a home of their own, its processes seen through /proc, journals read as files.

Nothing here waits for a time to pass: a process is awaited through its pidfd, a file or a state by looking again
until a limit, where the system offers no event. The limits are for a machine that has much else to do: only a test
that fails takes as long.
"""

import contextlib
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import anyio

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.pool.dispatch import Pool, PoolReply, Strategy, continue_via_pool, run_via_pool
from algocline_mcp.pool.spawn import is_forking
from algocline_mcp.protocol.messages import LineBuffer, PoolRequest
from algocline_mcp.session.events import Answer
from algocline_mcp.session.records import Record
from algocline_mcp.storage import journal
from algocline_mcp.storage.process_stat import read_process_stat

LIMIT_S = 240.0  # no test takes as long; one that hangs fails after it
WAIT_S = 60.0  # of a call that is expected to come to its next pause
SOON_S = 30.0  # of what is expected to happen by itself
_LOOK_S = 0.005
_GLANCE_S = 0.1
PEERS = Path(__file__).parent.parent / "peers"
# As root, an ordinary user's lack of privileges: no capability survives the exec.
ORDINARY = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"] if os.geteuid() == 0 else []

# 0, 1, 2, journal, listener, both ends of the wake-up pipe, the engine's socket
KEEPER_DESCRIPTORS = 8

# What a slow machine must not run into where it is not what a test is about. One warm-up run takes a tenth of a second
# less for each fork server; being cold, its workers do nothing else.
ROOMY: dict[str, Any] = {
    "warmup_runs": 1,
    "grace_s": 30.0,
    "reach_s": 30.0,
    "fork_s": 20.0,
    "fork_start_s": 30.0,
    "registry_lock_s": 20.0,
    "leave_s": 10.0,
    "state_busy_s": 30.0,
}

ASK_TWICE = 'local a = alc.llm("first") local b = alc.llm("second after " .. a) return a .. "+" .. b'
ASK_ONCE = 'return "got " .. alc.llm("question")'
ENDLESS = "while true do end"


@dataclass(frozen=True)
class Process:
    pid: int
    parent: int
    process_session: int
    state: str
    title: str  # the command line, or what replaced it

    @property
    def is_keeper(self) -> bool:
        """It leads a process session of its own; its forks, the engines, are in that session too."""
        return bool(self.sid) and self.pid == self.process_session

    @property
    def is_engine(self) -> bool:
        return bool(self.sid) and self.pid != self.process_session

    @property
    def is_standing_by(self) -> bool:
        """A keeper that waits for its session; its engine stands by too."""
        return self.title == "alc pool-worker" and self.pid == self.process_session

    @property
    def is_fork_server(self) -> bool:
        return not self.sid and "fork-server" in self.title

    @property
    def sid(self) -> str:
        return next((each for each in self.title.split() if each.startswith("p-")), "")


class Rig:
    def __init__(self) -> None:
        self.root = Path(os.path.realpath(tempfile.mkdtemp(prefix="alc")))
        self.home = Home(self.root / "h")
        self.expected_reports: set[str] = set()  # sids whose worker may say something on stderr
        self.may_have_drafts = False  # a server was killed, perhaps between two calls: the next one tidies up later

    @asynccontextmanager
    async def pool(self, *, environ: Mapping[str, str] | None = None, **limits: Any) -> AsyncIterator[Pool]:
        """A server's half; `limits` by the names of Limits, `environ` instead of the test's own."""
        with anyio.fail_after(LIMIT_S):
            chosen = dict(os.environ if environ is None else environ)
            async with Pool(self.home, Limits(**ROOMY | limits), environ=chosen) as pool:
                if is_forking(chosen):  # as a server, which has long started it when the first call comes
                    await until(lambda: pool.fork_server.pid is not None)
                yield pool

    # ── processes ─────────────────────────────────────────────────────────────────────────────────────────

    def processes(self) -> list[Process]:
        """All of this home, whoever started them."""
        mark = b"ALC_HOME=%s\0" % os.fsencode(self.home.root)
        found = []
        for name in os.listdir("/proc"):
            if name.isdecimal() and int(name) != os.getpid():
                with contextlib.suppress(OSError):
                    if mark in Path(f"/proc/{name}/environ").read_bytes():
                        found.append(_process(int(name)))
        return found

    def keepers(self, sid: str | None = None) -> list[int]:
        return [each.pid for each in self.processes() if each.is_keeper and sid in (None, each.sid)]

    def engines(self, sid: str | None = None) -> list[int]:
        return [each.pid for each in self.processes() if each.is_engine and sid in (None, each.sid)]

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
        return [each for each in self.processes() if each.is_keeper or each.is_engine]

    def workers_of(self, sid: str) -> list[Process]:
        return [each for each in self.workers() if each.sid == sid]

    # ── files ─────────────────────────────────────────────────────────────────────────────────────────────

    def journal(self, sid: str) -> Path:
        """Where it lies now."""
        path = self.home.journal(sid)
        return path if path.exists() else self.home.finished_journal(sid)

    def records(self, sid: str, *kinds: str) -> list[Record]:
        try:
            found = journal.read(self.home.journal(sid))
        except FileNotFoundError:  # also where it was put away between two looks: a session that is over is
            found = journal.read(self.home.finished_journal(sid))
        return [each for each in found if not kinds or each["kind"] in kinds]

    def answers(self, sid: str) -> list[tuple[str, str]]:
        """Every answer that was ever recorded, in order, repeats included: (query id, text)."""
        taken = [item for record in self.records(sid, "answer") for item in record["answers"]]
        return [(item["id"], item.get("response", item.get("refuse"))) for item in taken]

    def registry(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = json.loads(self.home.registry.read_bytes())["sessions"]
        return entries

    def registered(self) -> set[str]:
        return {entry["sid"] for entry in self.registry()}

    # ── the end of a test ─────────────────────────────────────────────────────────────────────────────────

    def end(self) -> list[str]:
        """Tells workers of unfinished sessions to leave; whatever else is there had to go by itself."""
        deadline = time.monotonic() + SOON_S
        told: set[int] = set()
        seen: set[int] = set()
        while (left := self.processes()) and time.monotonic() < deadline:
            seen |= {each.pid for each in left}
            for each in left:  # again and again: one that is just being started cannot be told yet
                if each.is_keeper and each.pid not in told and self.home.journal(each.sid).exists():
                    told.add(each.pid)
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(each.pid, signal.SIGTERM)
            has_ended(left[0].pid, _GLANCE_S)
        leaks = [f"process {each}" for each in left]
        for each in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each.pid, signal.SIGKILL)
        for pid in seen:
            has_ended(pid, 0)  # and is reaped
        leaks += [f"file {path}" for path in self._strays()]
        for path in self.home.log.glob("*.err"):
            if path.stem not in self.expected_reports and (report := path.read_text(errors="replace")):
                leaks.append(f"report {report}")
        shutil.rmtree(self.root, ignore_errors=True)
        return leaks

    def _strays(self) -> Iterator[Path]:
        yield from self.home.pool.glob("*.sock")
        yield from self.home.pool.glob(".*") if not self.may_have_drafts else ()
        yield from (path for path in self.home.sessions.glob("*") if path.suffix != ".journal" and path.is_file())


def _process(pid: int) -> Process:
    stat = read_process_stat(pid)
    title = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    return Process(pid, stat.parent, stat.process_session, stat.state, title)


@contextmanager
def watched(pid: int) -> Iterator[int | None]:
    """A pidfd, or None where the process has gone already."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield pidfd
    finally:
        os.close(pidfd)


def has_ended(pid: int, limit_s: float) -> bool:
    """Waits for it, and reaps it where it is a child of this test that no pool watches any more."""
    with watched(pid) as pidfd:
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
    """Returns after how many seconds the process had ended. Raises TimeoutError."""
    began = time.perf_counter()
    with watched(pid) as pidfd, anyio.fail_after(limit_s):
        if pidfd is not None:
            await anyio.wait_readable(pidfd)
    return time.perf_counter() - began


async def kill(pid: int) -> None:
    """SIGKILL, and on return it is dead."""
    with watched(pid) as pidfd:
        if pidfd is not None:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            await anyio.wait_readable(pidfd)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """SIGSTOP; SIGCONT at the end, if it is still there."""
    with watched(pid) as pidfd:
        assert pidfd is not None
        signal.pidfd_send_signal(pidfd, signal.SIGSTOP)
        until_now(lambda: _process(pid).state in "Tt")
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGCONT)


def descriptors(pid: int) -> list[str]:
    """What each descriptor is, without numbers of inodes, and without the one that some builds of libffi hold open on
    themselves as soon as ctypes is imported."""
    links = []
    for fd in sorted(map(int, os.listdir(f"/proc/{pid}/fd"))):
        with contextlib.suppress(FileNotFoundError):  # of this process: the one that lists
            links.append(re.sub(r":\[.*", "", os.readlink(f"/proc/{pid}/fd/{fd}")))
    return [each for each in links if "/libffi.so" not in each]


async def until(is_so: Callable[[], object], limit_s: float = SOON_S) -> None:
    """Looks again and again: for what the system has no event for."""
    with anyio.fail_after(limit_s):
        while not is_so():  # noqa: ASYNC110
            await anyio.sleep(_LOOK_S)


def until_now(is_so: Callable[[], object], limit_s: float = SOON_S) -> None:
    deadline = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < deadline, "not so in time"
        time.sleep(_LOOK_S)


# ── sessions ──────────────────────────────────────────────────────────────────────────────────────────────


async def run(pool: Pool, code: str, *, wait_s: float = WAIT_S, **fields: Any) -> PoolReply:
    return await run_via_pool(pool, Strategy(code, **fields), wait_s=wait_s)


async def say(pool: Pool, sid: str, query_id: str | None, text: str, *, wait_s: float = WAIT_S) -> PoolReply:
    return await continue_via_pool(pool, sid, [Answer(query_id, text)], wait_s=wait_s)


async def finish(pool: Pool, reply: PoolReply, text: str = "end") -> dict[str, Any]:
    """Answers whatever is asked with `text` until the session is over; returns its result."""
    while reply.result["status"] == "needs_response":
        queries = reply.result.get("queries") or [reply.result]
        answers = [Answer(query["query_id"], text) for query in queries]
        reply = await continue_via_pool(pool, reply.session_id, answers, wait_s=WAIT_S)
    return reply.result


# ── other programs ────────────────────────────────────────────────────────────────────────────────────────


class RawClient:
    """A connection to a worker's socket that may say anything. Blocks, at most `limit_s`."""

    def __init__(self, path: Path, limit_s: float = SOON_S) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(limit_s)
        try:
            self.socket.connect(os.fspath(path))
        except OSError:
            self.socket.close()
            raise
        self._lines = LineBuffer(1 << 26)
        self._ready: list[bytes] = []

    def send(self, message: PoolRequest | bytes) -> None:
        self.socket.sendall(message if isinstance(message, bytes) else message.encode())

    def receive(self) -> dict[str, Any] | None:
        """The next line, or None where the worker has closed."""
        while not self._ready:
            try:
                chunk = self.socket.recv(1 << 16)
            except ConnectionResetError:
                return None
            if not chunk:
                return None
            self._ready += self._lines.feed(chunk)
        response: dict[str, Any] = json.loads(self._ready.pop(0))
        return response

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()


class Program:
    """A program of tests/peers as a process of its own; it says one JSON line when it is ready."""

    def __init__(self, rig: Rig, name: str, *arguments: object, prefix: list[str] | None = None, **env: str) -> None:
        self._rig = rig
        command = [*(prefix or []), sys.executable, str(PEERS / name), *map(str, arguments)]
        environ = {key: value for key, value in os.environ.items() if not key.startswith("ALC_")}
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**environ, **Limits(**ROOMY).as_env(), "ALC_HOME": str(rig.home.root), **env},
        )
        self.greeting = self.hear()
        self.pid: int = self.greeting["pid"]

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], LIMIT_S)[0]:
            raise TimeoutError(f"{self.process.args!r} says nothing")
        said: dict[str, Any] = json.loads(self.process.stdout.readline())
        return said

    def tell(self, **order: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        self.process.stdin.flush()

    def ask(self, call: str, **arguments: Any) -> dict[str, Any]:
        """One call of dispatch, for server.py: `{result, pool_save_error}`, or `{error, code}`."""
        self.tell(call=call, **arguments)
        return self.hear()

    def kill(self) -> None:
        self._rig.may_have_drafts = True
        self.process.kill()
        self.close()

    def close(self) -> None:
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        self.process.wait(LIMIT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
