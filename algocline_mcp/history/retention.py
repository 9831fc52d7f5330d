"""What is kept for how long, and how much of it: deleting, the retention of finished sessions, scrubbing.

Contract: an unfinished session is deleted only by somebody who says so (`alc_stop(mode="delete")`, `alc purge --all`);
retention looks at finished ones alone. A scrubbed journal still folds: it keeps title, times, counts, how it ended,
and with `ALC_KEEP=result` the result and code; prompts, answers, logs and what was read from the world are gone from
the disk. Whoever scrubs holds the journal's lock; the new file is flushed before it takes the old one's name.
"""

import fcntl
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path

from algocline_mcp.config.home import Home
from algocline_mcp.errors import AlcError, HomeUnusable, StorageFailed
from algocline_mcp.session.records import Record
from algocline_mcp.session.state import fold
from algocline_mcp.storage import journal, journal_lines
from algocline_mcp.storage.files import replace_atomically, sync_directory

KEEPS = ("all", "result", "none")
_DAY_S = 86_400
_MARK = b'"kept":"'  # in the first record of a journal that was scrubbed
_HEAD_BYTES = 256  # the mark stands before the code


def keep_of(environ: Mapping[str, str]) -> str:
    """What `ALC_KEEP` says. Raises HomeUnusable."""
    chosen = environ.get("ALC_KEEP", "") or "all"
    if chosen not in KEEPS:
        raise HomeUnusable(f"ALC_KEEP={chosen!r} is none of {', '.join(KEEPS)}: correct it or unset it")
    return chosen


# ── deleting ──────────────────────────────────────────────────────────────────────────────────────────────


def delete_session(home: Home, sid: str) -> bool:
    """Unlinks the journal wherever it lies. False where there is none, or somebody holds it."""
    for path in (home.journal(sid), home.finished_journal(sid)):
        with suppress(FileNotFoundError):
            fd = journal.lock(path)
            if fd is None:
                return False
            try:
                os.unlink(path)
                sync_directory(path.parent)
            finally:
                os.close(fd)
            for left in (home.stderr(sid), home.socket(sid), home.annotations(sid)):
                with suppress(OSError):
                    os.unlink(left)
            if path == home.journal(sid):  # the worker of a finished one has seen to it
                _forget_marks(home.state_database, sid)
            return True
    return False


def _forget_marks(database: Path, sid: str) -> None:
    """Takes the marks of its changes out of the state database: they would make each happen once, and none comes again.
    Where the database is in use they stay until another session ends. The lock is the one that keepers write under."""
    import sqlite3

    with suppress(OSError, sqlite3.Error), ExitStack() as held:
        directory = os.open(database.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        held.callback(os.close, directory)
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        connection = sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True, timeout=0)
        held.callback(connection.close)
        with connection:
            connection.execute("DELETE FROM marks WHERE sid = ?", (sid,))


def expired(directory: Path, days: float, now_s: float) -> Iterator[str]:
    """Ids of the journals in it that nothing was written to for so long. Ids begin with their time of birth, so a
    young one is known by its name."""
    before_s = now_s - days * _DAY_S
    youngest = f"p-{max(0, int(before_s * 1e9)):x}"
    with suppress(OSError):
        for name in os.listdir(directory):
            if name.endswith(".journal") and name < youngest:
                with suppress(OSError):
                    if os.stat(directory / name).st_mtime < before_s:
                        yield name.partition(".")[0]


def apply_retention(home: Home, *, days: float, keep: str) -> None:
    """What a server does at its start and after a run: a courtesy that fails silently and is tried again."""
    if days:
        for sid in expired(home.finished, days, time.time()):
            with suppress(AlcError, OSError):
                delete_session(home, sid)
    if keep != "all":
        for path in home.finished.glob("p-*.journal"):
            with suppress(AlcError, OSError):
                if not _is_scrubbed(path):
                    scrub(path, keep)


# ── scrubbing ─────────────────────────────────────────────────────────────────────────────────────────────


def _is_scrubbed(path: Path) -> bool:
    with open(path, "rb") as file:
        return _MARK in file.read(_HEAD_BYTES)


def scrub(path: Path, keep: str) -> bool:
    """Rewrites a finished journal. False where somebody holds it or it is not finished. Raises AlcError, OSError."""
    fd = journal.lock(path)
    if fd is None:
        return False
    try:
        records = journal.read(path)
        if not records or records[-1]["kind"] not in ("final", "flushed") or fold(records).final is None:
            return False
        _replace(path, scrubbed(records, keep))
        return True
    finally:
        os.close(fd)


def scrubbed(records: Sequence[Record], keep: str) -> list[Record]:
    """The two records that are left of a finished session. Pure."""
    session = fold(records)
    assert session.final is not None
    kept = {"kept": keep, "tally": asdict(session.usage), "child_stats": dict(session.child_stats)}
    header = {key: value for key, value in records[0].items() if key not in ("kind", "s", "carried")}
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
    """Keeps the old time of change: retention counts from the end of the session."""
    before = os.stat(path)
    content = journal_lines.encode_flushed(records)
    try:
        replace_atomically(path, content, is_durable=True, times_ns=(before.st_atime_ns, before.st_mtime_ns))
    except OSError as exc:
        raise StorageFailed(f"cannot rewrite {path}: {exc.strerror}; free or repair that disk") from exc
