"""Deletes sessions, and scrubs the contents of finished ones (ALC_RETENTION_DAYS, ALC_KEEP).

Contract: an unfinished session is deleted only on request (`alc_stop(mode="delete")`, `alc purge --all`); retention
concerns finished sessions alone. A scrubbed journal still folds: it keeps title, times, counts and status, and with
`ALC_KEEP=result` the result and the code. Prompts, answers, logs and the results of effects are gone from the disk.
Scrubbing takes the journal's lock, and flushes the new file before it replaces the old one.
"""

import fcntl
import os
import shutil
import stat
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import MIB, Limits
from algocline_mcp.errors import AlcError, HomeUnusable, Refused, StorageFailed
from algocline_mcp.session.records import IllegalRecord, Record
from algocline_mcp.session.state import Session, evolve, fold
from algocline_mcp.storage import journal, journal_lines, owner_usage
from algocline_mcp.storage.files import replace_atomically, sync_directory
from algocline_mcp.storage.owners import parts_of
from algocline_mcp.storage.stored_records import StoredRecords

KEEPS = ("all", "result", "none")
_DAY_S = 86_400
_MARK = b'"kept":"'  # in the first record of a journal that was scrubbed
_HEAD_BYTES = 256  # the mark stands before the code


def keep_of(environ: Mapping[str, str]) -> str:
    """The value of `ALC_KEEP`, one of KEEPS. Raises HomeUnusable."""
    chosen = environ.get("ALC_KEEP", "") or "all"
    if chosen not in KEEPS:
        raise HomeUnusable(f"ALC_KEEP={chosen!r} is not one of {', '.join(KEEPS)}: correct it or unset it")
    return chosen


# ── deleting ──────────────────────────────────────────────────────────────────────────────────────────────


def delete_session(home: Home, sid: str) -> bool:
    """Deletes the journal, finished or not, and the files beside it. Whatever else has a session's name is removed too.

    False where there is no journal or another process holds its lock.
    """
    for path in (home.journal(sid), home.finished_journal(sid)):
        with suppress(FileNotFoundError):
            fd = journal.lock(path) if _is_lockable(path) else -1
            if fd is None:
                return False
            try:
                shutil.rmtree(path) if stat.S_ISDIR(os.lstat(path).st_mode) else os.unlink(path)
                sync_directory(path.parent)
            except OSError as exc:
                raise StorageFailed(f"cannot delete {path}: {exc.strerror}; remove it by hand") from exc
            finally:
                if fd >= 0:
                    os.close(fd)
            for beside in (home.stderr(sid), home.socket(sid), home.annotations(sid)):
                with suppress(OSError):
                    os.unlink(beside)
            if path == home.journal(sid):  # of a finished session, the worker has removed the marks
                _forget_marks(home.state_database, sid)
            return True
    return False


def _is_lockable(path: Path) -> bool:
    """Only a regular file that this user may write can have a worker. Raises FileNotFoundError."""
    return stat.S_ISREG(os.lstat(path).st_mode) and os.access(path, os.R_OK | os.W_OK)


def _forget_marks(database: Path, sid: str) -> None:
    """Removes the session's marks from the state database. A mark makes a change happen only once; no change follows.

    Where the database is in use, the marks stay until another session ends. The lock is that of all writers."""
    import sqlite3

    with suppress(OSError, sqlite3.Error), ExitStack() as stack:
        directory = os.open(database.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, directory)
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        connection = sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True, timeout=0)
        stack.callback(connection.close)
        with connection:
            connection.execute("DELETE FROM marks WHERE sid = ?", (sid,))


def expired(directory: Path, days: float, now_s: float) -> Iterator[str]:
    """Ids of the journals in a directory whose last change is more than `days` ago.

    Ids begin with the time at which the session was created, so a young journal is known by its name."""
    before_s = now_s - days * _DAY_S
    youngest = f"p-{max(0, int(before_s * 1e9)):x}"
    with suppress(OSError):
        for name in os.listdir(directory):
            if name.endswith(".journal") and name < youngest:
                with suppress(OSError):
                    if os.stat(directory / name).st_mtime < before_s:
                        yield name.partition(".")[0]


def apply_retention(home: Home, *, days: float, keep: str) -> None:
    """Deletes expired finished sessions of all owners and scrubs the others, as `keep` says.

    A server calls it at its start and after a run. A failure is not reported, because the next call tries again."""
    for part in parts_of(home):
        _apply_retention(part, days, keep)


def _apply_retention(home: Home, days: float, keep: str) -> None:
    if days:
        for sid in expired(home.finished, days, time.time()):
            with suppress(AlcError, OSError):
                delete_session(home, sid)
    if keep != "all":
        for path in home.finished.glob("p-*.journal"):
            with suppress(AlcError, OSError):
                if not _is_scrubbed(path):
                    scrub(path, keep)


# ── the sum of a home ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Usage:
    """Number of all journals of a home, and bytes of what is stored."""

    sessions: int = 0
    bytes: int = 0

    def refuse_over(self, limits: Limits, root: Path) -> None:
        """Raises Refused where the home has no room for another session."""
        if self.sessions >= limits.home_sessions or self.bytes >= limits.home_bytes:
            raise Refused(
                f"{root} holds {self.sessions} sessions of {self.bytes // MIB} MiB, at most {limits.home_sessions} of "
                f"{limits.home_bytes // MIB} MiB: delete old ones with alc purge, or raise ALC_HOME_SESSIONS or "
                "ALC_HOME_BYTES",
                code="home_full",
            )


def usage_of(home: Home, without: Collection[str] = ()) -> Usage:
    """Counts the journals, in the user's home those of all owners; for a principal also what its strategies keep. A
    server does it beside its check for retention, not for each session: 10,000 take 30 ms. `without`: ids of sessions
    that are not counted."""
    sessions, size = owner_usage.journals(parts_of(home), without)
    return Usage(sessions, size + (owner_usage.kept_bytes(home) if home.part else 0))


# ── scrubbing ─────────────────────────────────────────────────────────────────────────────────────────────


def _is_scrubbed(path: Path) -> bool:
    with open(path, "rb") as file:
        return _MARK in file.read(_HEAD_BYTES)


def scrub(path: Path, keep: str) -> bool:
    """Scrubs a finished journal. Raises AlcError, OSError.

    False where the session is not finished or another process holds its lock.
    """
    fd = journal.lock(path)
    if fd is None:
        return False
    try:
        records = StoredRecords(path)
        if records.damage is not None:
            raise records.damage
        if not records or records[-1]["kind"] not in ("final", "flushed") or fold(records).final is None:
            return False
        _replace(path, scrubbed(records, keep))
        return True
    finally:
        os.close(fd)


def scrubbed(records: Iterable[Record], keep: str) -> list[Record]:
    """The two records that remain of a finished session; the same where it was scrubbed already. Pure, and in bounded
    memory. Raises IllegalRecord."""
    session, first = Session(), Record()
    for record in records:
        first = first or record
        evolve(session, record)
    if session.final is None:
        raise IllegalRecord("the session has no end")
    if first.get("kept"):
        return [first, session.final]
    kept = {"kept": keep, "tally": asdict(session.usage), "child_stats": dict(session.child_stats)}
    header = {key: value for key, value in first.items() if key not in ("kind", "s", "carried")}
    gone = {"ctx": "{}", "parent": None} | ({} if keep == "result" else {"code": "", "title": ""})
    final = {key: value for key, value in session.final.items() if key != "s"}
    if keep == "result":
        kept["answered"] = dict(session.answered)  # digests: the last answer sent again still gets the result
    elif "result" in final:
        final["result"] = None
    elif "error" in final:
        final["error"] = "scrubbed (ALC_KEEP=none)"
    return [{"kind": "header", **kept, **header, **gone}, final]


def _replace(path: Path, records: Sequence[Record]) -> None:
    """Replaces the journal and keeps its time of change, because retention counts from the end of the session."""
    before = os.stat(path)
    content = journal_lines.encode_flushed(records)
    try:
        replace_atomically(path, content, is_durable=True, times_ns=(before.st_atime_ns, before.st_mtime_ns))
    except OSError as exc:
        raise StorageFailed(f"cannot rewrite {path}: {exc.strerror}; free or repair that disk") from exc
