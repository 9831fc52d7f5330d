"""Plays sessions through before the first fork, so that no worker has to warm up in memory of its own.

Python specialises code while it runs and makes method caches, interned names and lazy objects at first use: a forked
process that does it copies the pages. The sessions are whole ones, with this process as the keeper: a journal in
memory, an engine, a client in another process. What only an engine runs is rehearsed on a runtime of its own: the
one that all sessions are forked from stays pristine.

Contract: leaves no file, process, descriptor or signal handler. It makes the home's directory of journals, as the
server does, because a keeper flushes it. Where a session cannot be played the workers are warm for less.
"""

import contextlib
import gc
import os
import signal
import socket
from dataclasses import replace
from importlib import import_module

from algocline_mcp.errors import AlcError
from algocline_mcp.languages import LANGUAGES
from algocline_mcp.protocol import messages
from algocline_mcp.session.records import RECORDED_LIMITS, Record
from algocline_mcp.storage import journal, journal_lines
from algocline_mcp.worker.engine import process
from algocline_mcp.worker.engine.preload import Preloaded
from algocline_mcp.worker.keeper import main as keeper
from algocline_mcp.worker.keeper.poll_loop import Keeper
from algocline_mcp.worker.lowlevel import memory_pages

_SID = "p-0-0000000000000000"
_PATIENCE_S = 1.0


def warm_up(preloaded: Preloaded) -> None:
    limits = replace(preloaded.limits, linger_s=0.0, idle_s=_PATIENCE_S)
    with contextlib.suppress(OSError, AlcError):
        os.makedirs(preloaded.home.sessions, mode=0o700, exist_ok=True)
        for _ in range(limits.warmup_runs):
            for language in preloaded.runtimes:
                _play(replace(preloaded, limits=limits), language)
                _run(preloaded, language)
    gc.collect()  # a keeper lies in cycles, and its sockets stay open as long as it does


def scout(preloaded: Preloaded) -> Preloaded:
    """The same, and which pages a worker will write: one is started as it will be, and looked at when it pauses.

    Another process does that, so that this one, which all workers share their memory with, writes none meanwhile.
    """
    seen = replace(preloaded, keeper_pages=memory_pages.room(), engine_pages=memory_pages.room())
    pid = os.fork()
    if pid == 0:
        try:
            _look(seen)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    return seen


def _look(seen: Preloaded) -> None:
    with contextlib.suppress(OSError, AlcError), socket.socket(socket.AF_UNIX) as listener:
        listener.bind("")
        listener.listen()
        journal_fd = os.memfd_create("rehearsal", os.MFD_CLOEXEC)
        header = _header(seen, next(iter(seen.runtimes)))
        journal.Journal(journal_fd, seen.home.journal(_SID)).append(header)
        pid = os.fork()
        if pid == 0:
            keeper.keep(_SID, journal_fd, listener.fileno(), seen, keeper.spare_engine(seen))
            os._exit(0)
        try:
            _ask(listener.getsockname(), "run", [])
            with open(f"/proc/{pid}/task/{pid}/children") as children:
                engine_pid = int(children.read())
            memory_pages.note_written(pid, seen.keeper_pages)
            memory_pages.note_written(engine_pid, seen.engine_pages)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _play(preloaded: Preloaded, language: str) -> None:
    """One session, asked twice and answered."""
    journal_fd = os.memfd_create("rehearsal", os.MFD_CLOEXEC)
    try:
        header = _header(preloaded, language)
        journal.Journal(journal_fd, preloaded.home.journal(_SID)).append(header)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("")  # in the abstract name space, under a free name
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
    finally:
        os.close(journal_fd)


def _spare(preloaded: Preloaded) -> process.Spawned:
    return process.spawn_engine(preloaded.runtimes, preloaded.limits)


def _header(preloaded: Preloaded, language: str) -> Record:
    return {
        "kind": "header",
        "format": journal_lines.FORMAT,
        "sid": _SID,
        "t": 0.0,
        "abi": preloaded.abis[language],
        "language": language,
        "code": LANGUAGES[language].warmup,
        "chunk": "rehearsal",
        "ctx": "{}",
        "lib_paths": [],
        "title": "rehearsal",
        "namespace": "",
        "budget": {},
        "seed": 1,
        "utc_offset_s": 0,
        "limits": {name: getattr(preloaded.limits, name) for name in RECORDED_LIMITS},
    }


def _fork_client(address: bytes) -> int:
    """A process that plays the server's part and ends."""
    pid = os.fork()
    if pid == 0:
        try:
            _converse(address)
        finally:
            os._exit(0)
    return pid


def _converse(address: bytes) -> None:
    answers = [{"query_id": f"q-{number}", "response": "yes"} for number in range(2)]
    script: list[tuple[messages.Op, list[dict[str, str]]]] = [
        ("run", []),
        ("continue", answers[:1]),
        ("status", []),
        ("continue", answers[1:]),
    ]
    for op, given in script:
        _ask(address, op, given)


def _ask(address: bytes, op: messages.Op, given: list[dict[str, str]]) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(_PATIENCE_S)
        sock.connect(address)
        sock.sendall(messages.PoolRequest(op, 1, _SID, _PATIENCE_S, given).encode())
        sock.recv(1)


class _Prompter:
    """The other end of a channel, in this process: it answers whatever is asked."""

    def ask(self, line: bytes) -> bytes:
        messages.decode(line)
        return messages.encode({"answers": [{"response": "yes"}]})[:-1]

    def send(self, line: bytes) -> None:
        messages.decode(line)


def _run(preloaded: Preloaded, language: str) -> None:
    limits = preloaded.limits
    module = import_module(LANGUAGES[language].runtime)
    runtime = module.prepare(
        heap_bytes=limits.heap_bytes, headroom_bytes=limits.headroom_bytes, line_bytes=limits.line_bytes
    )
    runtime.run(process.Start(LANGUAGES[language].warmup, "rehearsal", "{}", 1, 0.0), _Prompter())
