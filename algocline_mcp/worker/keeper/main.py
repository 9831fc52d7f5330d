"""The trusted process of a session: `alc pool-worker SID --journal FD --listener FD`.

It inherits the locked journal and the listening socket, and nothing else. It begins at once: it prepares the language
that the header names, spawns an engine, recovers the journal, replays it into the engine and goes on from there. One
thread, one poll loop.
Environment: ALC_* and HOME, as in limits. Files: it creates none; it renames a finished journal into finished/, unlinks
its socket and, where empty, its stderr log. SIGTERM: hibernate. Exit codes: 0 it left in order, 1 the disk does not
hold what was written (the next worker recovers from what the disk has), 2 bad arguments or settings, 3 the server is of
another version of this program, 4 it had no memory left.

Memory: at most `keeper_bytes` beyond what it had at its start. A MemoryError, wherever it arises, ends the process: the
journal holds everything that was acknowledged, and what is left in memory may be half done.

Descriptors: 0, 1, 2, journal, listener, both ends of the wake-up pipe, one per engine; for a moment clients, and while
a strategy that uses alc.state computes, the state database (state.db, -wal, -shm).
"""

import argparse
import contextlib
import os
import resource
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from algocline_mcp import __version__
from algocline_mcp.config.sandbox import refuse_tracers
from algocline_mcp.errors import AlcError, HomeUnusable, StorageBroken
from algocline_mcp.protocol import messages
from algocline_mcp.storage.journal import Journal
from algocline_mcp.worker.engine.preload import Preloaded
from algocline_mcp.worker.engine.process import Spawned, spawn_engine
from algocline_mcp.worker.keeper.poll_loop import Keeper
from algocline_mcp.worker.lowlevel.code_names import shorten
from algocline_mcp.worker.lowlevel.failpoints import arm, fail_point
from algocline_mcp.worker.lowlevel.memory_pages import NO_RANGES, Ranges
from algocline_mcp.worker.lowlevel.privileges import give_up_new_privileges
from algocline_mcp.worker.lowlevel.process_title import set_title
from algocline_mcp.worker.lowlevel.resource_limits import address_space_bytes, lower

_NO_MEMORY = b"alc pool-worker: it had no memory left (ALC_KEEPER_BYTES, or the machine); the session is safe\n"


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="alc pool-worker", description="The worker of one session.")
    parser.add_argument("sid")
    parser.add_argument("--journal", type=int, required=True, help="descriptor of the locked journal")
    parser.add_argument("--listener", type=int, required=True, help="descriptor of the listening socket")
    parser.add_argument("--program", default=__version__, help="the version of the server that starts this worker")
    parser.add_argument("--part", default="", help="the part of the home to which the session belongs")
    args = parser.parse_args(argv)
    os.umask(0o077)
    if args.program != __version__:
        print(f"alc pool-worker: this is {__version__}, the server is {args.program}: restart it", file=sys.stderr)
        return messages.WRONG_PROGRAM
    give_up_new_privileges()
    for fd in (args.journal, args.listener):
        os.set_inheritable(fd, False)
    try:
        preloaded = Preloaded.from_env(os.environ, _languages(args.journal)).of(args.part)
    except HomeUnusable as exc:
        print(f"alc pool-worker: {exc}", file=sys.stderr)
        return 2
    shorten()
    arm(os.environ)
    refuse_tracers(preloaded.confinement.sandbox.mode)
    return keep(args.sid, args.journal, args.listener, preloaded, spare_engine(preloaded))


def _languages(journal_fd: int) -> list[str]:
    """The language of the session; none where its header cannot be read, which the session runner reports."""
    with contextlib.suppress(AlcError):
        return [str(Journal(journal_fd, Path()).record_at(0).get("language"))]
    return []


def spare_engine(preloaded: Preloaded, ahead: Ranges = NO_RANGES) -> Spawned | None:
    """Spawns the engine before anything else: each page that the keeper writes before that is one more page of the
    engine's own. This takes 500 KiB off a paused session, and Lua is ready when the journal has been read.

    None where the system has no process to spare: the keeper tries again, and reports, when the journal needs an
    engine. `ahead`: memory pages that the engine copies at once.
    """
    with contextlib.suppress(OSError):
        return spawn_engine(preloaded.runtimes, preloaded.limits, preloaded.confinement, ahead)
    return None


def keep(sid: str, journal_fd: int, listener_fd: int, preloaded: Preloaded, spare: Spawned | None) -> NoReturn:
    """Runs the session until its worker leaves; then ends the process with the exit code.

    By `os._exit`: the journal is flushed, the socket unlinked, the database closed. The teardown of an interpreter
    would write to, and so copy, every page that a forked worker shares: 7 of the 10 ms of processor time of a session.
    """
    status, socket_name = 1, os.fspath(preloaded.home.socket(sid))  # made here: there may be no memory left for it
    try:
        _limit_memory(preloaded.limits.keeper_bytes)
        status = _keep(sid, journal_fd, listener_fd, preloaded, spare)
    finally:
        try:
            if status:  # else it is unlinked. The name is this process's own as long as it has the lock of the journal
                os.unlink(socket_name)
        finally:
            os._exit(status)


def _limit_memory(keeper_bytes: int) -> None:
    """Limits what the process may take beyond what it has now; its engines set a limit of their own. 40 us."""
    if keeper_bytes and (base_bytes := address_space_bytes()):
        lower(resource.RLIMIT_AS, base_bytes + keeper_bytes)


def _keep(sid: str, journal_fd: int, listener_fd: int, preloaded: Preloaded, spare: Spawned | None) -> int:
    try:
        keeper = Keeper(sid, journal_fd, listener_fd, preloaded, spare)
        set_title(f"alc pool-worker {sid}")  # 0.3 ms, spent while the engine computes
        keeper.run()
    except StorageBroken as exc:
        print(f"alc pool-worker: {exc}", file=sys.stderr, flush=True)
        return 1
    except MemoryError:  # the frames of the traceback still hold their values: nothing is allocated here
        os.write(2, _NO_MEMORY)
        return messages.NO_MEMORY
    except BaseException:  # noqa: BLE001 - the top of a process: its log says what happened
        traceback.print_exc()
        sys.stderr.flush()
        return 1
    fail_point("worker.left")
    return 0
