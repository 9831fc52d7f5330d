"""Warms up a fork server: plays sessions before the first fork, moves the code together that a worker writes to, and
records which pages a worker writes.

Python specialises code while it runs, and creates method caches, interned names and lazy objects at first use: a forked
process that does so copies the pages. The sessions are complete, with this process as the keeper: a journal in memory,
an engine, a client in another process. Code that only an engine runs is warmed up with a second runtime: the runtime
that all sessions are forked from stays unused.

Contract: leaves no file, process, descriptor or signal handler. Creates the home's directory of journals, as the server
does, because a keeper flushes it. Where a session cannot be played, workers start less warm.
"""

import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module

from algocline_mcp.errors import AlcError
from algocline_mcp.languages import LANGUAGES, LUA
from algocline_mcp.protocol import messages
from algocline_mcp.session.records import RECORDED_LIMITS, Record
from algocline_mcp.storage import journal, journal_lines
from algocline_mcp.worker.engine import process
from algocline_mcp.worker.engine.preload import Preloaded
from algocline_mcp.worker.keeper import main as keeper
from algocline_mcp.worker.keeper.poll_loop import Keeper
from algocline_mcp.worker.lowlevel import code_pages, free_blocks, memory_pages, plain_fork

_SID = "p-0-0000000000000000"
_TIMEOUT_S = 1.0
# Sessions of a round in each language: Python 3.11 specialises a function at its eighth call, later ones at the second.
_PLAYS = 4 if sys.version_info < (3, 12) else 1
# A standby worker copies pages before it knows its language. With those of Python every paused session in Lua takes
# 0.9 MiB more; with those of Lua one in Python takes 0.1 MiB more.
_EXAMINED = LUA.name


def warm_up(preloaded: Preloaded) -> None:
    """Plays `warmup_runs` rounds of sessions. Never raises for a home or system that does not permit them."""
    limits = replace(preloaded.limits, linger_s=0.0, idle_s=_TIMEOUT_S)
    with contextlib.suppress(OSError, AlcError):
        os.makedirs(preloaded.home.sessions, mode=0o700, exist_ok=True)
        gc.freeze()  # an engine in Python begins with a collection: of 33,000 objects it took 20 to 40 ms
        own = replace(preloaded, limits=limits, node_socket="")
        for number in range(limits.warmup_runs):
            if number == 1:
                _gather_code(preloaded)
            for _ in range(_PLAYS):
                _play_round(own)
    gc.unfreeze()
    gc.collect()


def _play_round(preloaded: Preloaded) -> None:
    for language in preloaded.runtimes:
        _play_session(preloaded, language)
        _run_strategy(preloaded, language)
        gc.collect()  # a keeper is part of reference cycles, and its sockets stay open until it is collected


def _gather_code(preloaded: Preloaded) -> None:
    """Moves the code together that a worker writes to before its first prompt."""
    gc.unfreeze()  # the collector does not list what is frozen
    known, addresses = code_pages.loaded(), code_pages.shared_addresses()

    def compare(keeper_pid: int, engine_pid: int) -> None:
        """Appends, in this order: what keepers write to, and what engines of this language do."""
        chosen = list(iter(iter(addresses).__next__, 0))
        for pid in (keeper_pid, engine_pid):
            chosen += code_pages.written(pid, known).difference(chosen)
        for at, address in enumerate(chosen[: len(addresses) - 1]):
            addresses[at] = address

    for language in preloaded.runtimes:
        _examine_worker(preloaded, language, compare)
    free_blocks.fill()  # so that the copies lie one after the other
    code_pages.gather(known, addresses)
    gc.freeze()


def record_pages(preloaded: Preloaded) -> Preloaded:
    """Returns a copy of `preloaded` with the pages that a worker writes before its first prompt.

    Comes before `refuse_tracers`: the pages of another process are read.
    """
    recorded = replace(preloaded, keeper_pages=memory_pages.shared_ranges(), engine_pages=memory_pages.shared_ranges())

    def record(keeper_pid: int, engine_pid: int) -> None:
        memory_pages.record_written(keeper_pid, recorded.keeper_pages)
        memory_pages.record_written(engine_pid, recorded.engine_pages)

    _examine_worker(recorded, _EXAMINED, record)
    return recorded


def _examine_worker(preloaded: Preloaded, language: str, examine: Callable[[int, int], None]) -> None:
    """Another process starts a worker as it will be started later, and calls `examine` at its first pause, with the
    pids of keeper and engine. Not this process: workers share its memory, so it must not write meanwhile."""
    pid = os.fork()
    if pid == 0:
        try:
            _start_and_examine(replace(preloaded, node_socket=""), language, examine)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def _start_and_examine(preloaded: Preloaded, language: str, examine: Callable[[int, int], None]) -> None:
    with contextlib.suppress(OSError, AlcError), socket.socket(socket.AF_UNIX) as listener:
        listener.bind("")
        listener.listen()
        journal_fd = os.memfd_create("warmup", os.MFD_CLOEXEC)
        header = _header(preloaded, language)
        journal.Journal(journal_fd, preloaded.home.journal(_SID)).append(header)
        pid = plain_fork.fork()
        if pid == 0:
            keeper.keep(_SID, journal_fd, listener.fileno(), preloaded, keeper.spare_engine(preloaded))
            os._exit(0)
        try:
            _request(listener.getsockname(), "run", [])
            with open(f"/proc/{pid}/task/{pid}/children") as children:
                engine_pid = int(children.read())
            examine(pid, engine_pid)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _play_session(preloaded: Preloaded, language: str) -> None:
    """Plays one session with two prompts to its end. Raises AlcError where it does not come to its end: each further
    session would wait for its time-out too."""
    journal_fd = os.memfd_create("warmup", os.MFD_CLOEXEC)
    try:
        header = _header(preloaded, language)
        journal.Journal(journal_fd, preloaded.home.journal(_SID)).append(header)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("")  # in the abstract namespace, under a free name
            listener.listen()
            client = _fork_client(listener.getsockname())
            kept = Keeper(_SID, journal_fd, os.dup(listener.fileno()), preloaded, _spare(preloaded))
        try:
            kept.run()
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(client, signal.SIGKILL)
            os.waitpid(client, 0)
        if kept.is_asked_to_leave:
            signal.raise_signal(signal.SIGTERM)
        if not kept.is_archived:
            raise AlcError("no engine runs here")
    finally:
        os.close(journal_fd)


def _spare(preloaded: Preloaded) -> process.Spawned:
    return process.spawn_engine(preloaded.runtimes, preloaded.limits, preloaded.confinement)


def _header(preloaded: Preloaded, language: str) -> Record:
    return {
        "kind": "header",
        "format": journal_lines.FORMAT,
        "sid": _SID,
        "t": 0.0,
        "abi": preloaded.abis[language],
        "language": language,
        "code": LANGUAGES[language].warmup,
        "chunk": "warmup",
        "ctx": "{}",
        "lib_paths": [],
        "title": "warmup",
        "namespace": "",
        "budget": {},
        "seed": 1,
        "utc_offset_s": 0,
        "limits": {name: getattr(preloaded.limits, name) for name in RECORDED_LIMITS},
    }


def _fork_client(address: bytes) -> int:
    """Forks a client that talks to the keeper as a server does, and exits."""
    pid = os.fork()
    if pid == 0:
        try:
            _answer_session(address)
        finally:
            os._exit(0)
    return pid


def _answer_session(address: bytes) -> None:
    answers = [{"query_id": f"q-{number}", "response": "yes"} for number in range(2)]
    script: list[tuple[messages.Op, list[dict[str, str]]]] = [
        ("run", []),
        ("continue", answers[:1]),
        ("status", []),
        ("continue", answers[1:]),
    ]
    for op, responses in script:
        _request(address, op, responses)


def _request(address: bytes, op: messages.Op, answers: list[dict[str, str]]) -> None:
    """Sends one request and waits for its reply."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(_TIMEOUT_S)
        sock.connect(address)
        sock.sendall(messages.PoolRequest(op, 1, _SID, _TIMEOUT_S, answers).encode())
        sock.recv(1)


class _AnsweringChannel:
    """A channel without a keeper: it answers each prompt at once."""

    def ask(self, line: bytes) -> bytes:
        messages.decode(line)
        return messages.encode({"answers": [{"response": "yes"}]})[:-1]

    def send(self, line: bytes) -> None:
        messages.decode(line)


def _run_strategy(preloaded: Preloaded, language: str) -> None:
    """Runs the strategy on a runtime of its own, in this process."""
    limits = preloaded.limits
    module = import_module(LANGUAGES[language].runtime)
    runtime = module.prepare(
        heap_bytes=limits.heap_bytes, headroom_bytes=limits.headroom_bytes, line_bytes=limits.line_bytes
    )
    runtime.run(process.Start(LANGUAGES[language].warmup, "warmup", "{}", 1, 0.0), _AnsweringChannel())
