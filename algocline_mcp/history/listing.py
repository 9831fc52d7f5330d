"""List of unfinished sessions, one page at a time, and of the newest finished ones.

The cost. A page costs as much as its entries, whatever else is on the disk, and an entry costs the same whatever its
journal holds: the marks of a long journal hold the entry. Ids begin with the time at which the session was created, so
the newest sessions have the largest file names, and one listing of the directory finds them. Names and entries are kept
until their directory or journal changes (listing_cache); which sessions have a worker is looked up each time. No
database is opened, no worker is asked or started, no lock is taken. Counts are counts of file names.

The order. Newest first, with one exception: on the first page, sessions of the caller's project come before the
others, as far as they are among the NEWEST. To find them, the first record of at most NEWEST journals is read, and
remembered, because a first record never changes.

The cursor. `ID` is the id below which the next page begins. `ID:OLDEST` names in addition the oldest of the project's
sessions that the first page showed out of order: later pages go by age and leave out the project's sessions that are
not older than OLDEST, so every session comes exactly once. A session that starts or ends between two pages shifts none
of the others, because a cursor is an id and not a number.

What does not fit. A session that has just finished keeps its file name until its worker has archived it: a page that
meets it leaves it out of its entries and counts, and is filled with the next ones. A journal that cannot be read is an
entry with `status: error`.
"""

import os
import stat
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import MIB, Limits
from algocline_mcp.errors import AlcError, Refused
from algocline_mcp.history import listing_cache
from algocline_mcp.history.listing_cache import journal_count, journal_names
from algocline_mcp.history.redaction import folded
from algocline_mcp.session.records import problem_of
from algocline_mcp.session.results import preview, summary
from algocline_mcp.session.state import Phase
from algocline_mcp.storage import journal, journal_parts
from algocline_mcp.storage.sockets import live_sessions

NEWEST = 100  # among so many of the newest unfinished sessions, the project's own come first
_NAMED = 3  # unfinished sessions that an error message names
_REMEMBERED = 1000  # projects
_PAGE_ROOM_BYTES = 64 * MIB  # of journals that one page reads whole: half a second
_UNKNOWN = "this journal is long: alc_status with this session_id reads it"
EMPTY: dict[str, Any] = {"active_sessions": 0, "sessions": []}


def list_unfinished(
    home: Home, limits: Limits, *, limit: int | None = None, cursor: str | None = None, project: str | None = None
) -> dict[str, Any]:
    """`{active_sessions, sessions, counts, cursor?}`, newest first; exactly EMPTY where no session is unfinished.

    `limit`: entries of a page. `project`: sessions started in this directory come first. Raises Refused for a cursor
    that no list returned.
    """
    names = journal_names(home.sessions)
    if not names:
        return dict(EMPTY)
    if cursor and not cursor.startswith("p-"):
        raise Refused(f"cursor {cursor[:80]!r} is not from a list: take it from the previous page, or omit it")
    live = live_sessions(home)
    size, room = max(1, min(limit or limits.listed, limits.listed_max)), _PAGE_ROOM_BYTES
    entries: dict[str, dict[str, Any] | None] = {}
    page, following = _page(home, names, size, cursor, project)
    while unread := [sid for sid in page if sid not in entries]:
        for sid in unread:
            entry, cost = _entry(home.journal(sid), "live" if sid in live else "none", room)
            entries[sid] = None if entry is None or _has_ended(entry) else entry
            room -= cost
        # A session that has just ended is about to be archived: the page is filled with the next ones.
        ended = {sid for sid, entry in entries.items() if entry is None}
        names = [name for name in names if _sid(name) not in ended] if ended else names
        page, following = _page(home, names, size, cursor, project)
    if not names:
        return dict(EMPTY)
    counts = {"unfinished": len(names), "live": _count_of(live, names), "finished": journal_count(home.finished)}
    sessions = [entries[sid] for sid in page]
    listed: dict[str, Any] = {"active_sessions": len(names), "sessions": sessions, "counts": counts}
    return listed | ({"cursor": following} if following else {})


def list_finished(home: Home, limits: Limits, *, limit: int | None = None, cursor: str | None = None) -> dict[str, Any]:
    """`{finished_sessions, finished, cursor?}`: how many there are, and a page of them, newest first. A cursor is the
    id below which the next page begins. Raises Refused for a cursor that no list returned."""
    if cursor and not cursor.startswith("p-"):
        raise Refused(f"cursor {cursor[:80]!r} is not from a list: take it from the previous page, or omit it")
    names = journal_names(home.finished)
    older = _older(names, cursor) if cursor else len(names)
    page = _newest(names, older, max(1, min(limit or limits.listed, limits.listed_max)))
    entries, room = [], _PAGE_ROOM_BYTES
    for name in page:
        entry, cost = _entry(home.finished / name, "none", room)
        room -= cost
        if entry is not None:
            entries.append(entry)
    following = {"cursor": _sid(page[-1])} if older > len(page) else {}
    return {"finished_sessions": len(names), "finished": entries} | following


def _has_ended(entry: Mapping[str, Any]) -> bool:
    return entry["status"] in ("completed", "cancelled") or (entry["status"] == "error" and "error_code" not in entry)


def _page(
    home: Home, names: Sequence[str], size: int, cursor: str | None, project: str | None
) -> tuple[list[str], str | None]:
    """The ids of one page, and the cursor of the next page or None."""
    after, _, named_down_to = (cursor or "").partition(":")
    older = _older(names, after) if after else len(names)
    newest = [_sid(name) for name in _newest(names, older, NEWEST + size + 1)]
    own = [sid for sid in newest[:NEWEST] if (not after or sid >= named_down_to > "") and _is_of(home, project, sid)]
    first = [] if after else own[:size]  # later pages go by age, without what came first
    rest = [sid for sid in newest if sid not in (own if after else first)]
    page = first + rest[: size - len(first)]
    if older - (len(own) if after else 0) <= len(page):
        return page, None
    last = (
        page[-1] if len(page) > len(first) else newest[0] + "~"
    )  # no session by age yet: the next page begins with the newest
    oldest = first[-1] if first else named_down_to
    return page, f"{last}:{oldest}" if oldest and oldest < last else last


_projects: dict[
    tuple[Path, str], str | None
] = {}  # (root of the home, id) -> its project; a first record never changes


def _is_of(home: Home, project: str | None, sid: str) -> bool:
    if project is None:
        return False
    key = (home.root, sid)
    if key not in _projects:
        try:
            first = journal_parts.read_first(home.journal(sid))
        except OSError:
            return False
        if len(_projects) >= _REMEMBERED:
            _projects.clear()
        _projects[key] = (first or {}).get("project")
    return _projects[key] == project


def _older(names: Sequence[str], sid: str) -> int:
    """How many of the sorted names are older than an id: a name sorts as its id does."""
    return bisect_left(names, sid)


def _count_of(sids: Iterable[str], names: Sequence[str]) -> int:
    """How many of the sessions have one of the sorted names. The worker of a finished session may not have left yet."""
    starts = [(f"{sid}.", _older(names, f"{sid}.")) for sid in sids]
    return sum(at < len(names) and names[at].startswith(start) for start, at in starts)


def _newest(names: Sequence[str], older: int, count: int) -> Sequence[str]:
    """The last `count` of the first `older` names, newest first."""
    return names[max(0, older - count) : older][::-1]


def _sid(name: str) -> str:
    return name.partition(".")[0]


def _entry(path: Path, worker: str, room: int) -> tuple[dict[str, Any] | None, int]:
    """One session, or None where it is gone or has not begun; and how many bytes were read for it.

    `room`: bytes that may be read."""
    now_ns = time.time_ns()
    sid = _sid(path.name)
    try:
        status = os.stat(path, follow_symlinks=False)
        entry, cost = listing_cache.kept_line(path, status), 0
        if entry is None:
            entry, cost = _read_entry(path, status, room)
            if entry is not None and entry["status"] not in ("unknown", "error"):
                listing_cache.keep_line(path, status, now_ns, entry)
    except OSError:
        return None, 0
    except AlcError as exc:
        entry, cost = {"status": "error", "error_code": exc.code, "error": str(exc)}, 0
    return None if entry is None else {**entry, "session_id": sid, "worker": worker}, cost


def _read_entry(path: Path, status: os.stat_result, room: int) -> tuple[dict[str, Any] | None, int]:
    """A short journal is read whole; of a long one its last mark has the entry. A long journal without such a mark (of
    version 0.1.0, or just imported) is read whole as far as the room of the page allows."""
    size = status.st_size
    if size > journal.SHORT_BYTES and stat.S_ISREG(status.st_mode):
        mark = journal_parts.read_mark(path, size)
        if mark is not None and problem_of(mark) is None:
            line: dict[str, Any] = mark["line"]
            return line, 0
        if room < size <= journal.LARGEST_BYTES:
            return {"status": "unknown", "last_activity_at": status.st_mtime, "next": _UNKNOWN}, 0
    return _folded(path), size


def _folded(path: Path) -> dict[str, Any] | None:
    session, redaction = folded(journal.stream(path, is_for_host=False))
    if session.phase is Phase.NEW:
        return None
    line = summary(session, worker="")
    for query in list(session.pending.values())[:1]:
        line["prompt"] = preview(redaction.text(query["prompt"]))
    return line


def ids_of(home: Home, beginning: str) -> list[str]:
    """Ids of unfinished sessions that begin with `beginning`, newest first."""
    return sorted((_sid(name) for name in journal_names(home.sessions) if name.startswith(beginning)), reverse=True)


def fitting_ids(home: Home, part: str) -> list[str]:
    """Ids of all sessions, finished ones too, that begin or end with `part`, newest first; the whole id alone."""
    sids = {_sid(name) for directory in (home.sessions, home.finished) for name in journal_names(directory)}
    fitting = [sid for sid in sids if sid.startswith(part) or sid.endswith(part)]
    return [part] if part in sids else sorted(fitting, reverse=True)


def title_of(home: Home, sid: str) -> str:
    """The title of a session, finished or not; "" where its first record cannot be read."""
    for path in (home.journal(sid), home.finished_journal(sid), home.journal(sid)):  # it may finish between two
        with suppress(OSError):
            return str((journal_parts.read_first(path) or {}).get("title", ""))
    return ""


def not_found(home: Home, limits: Limits, sid: str) -> str:
    """The error text for an unknown id, with the newest unfinished sessions."""
    listed = list_unfinished(home, limits, limit=_NAMED)
    entries = listed["sessions"]
    if not entries:
        return f"Session {sid[:80]!r} not found, and no session is unfinished here: start with alc_run"
    named = "; ".join(f'{entry["session_id"]} "{entry.get("title", "")}" ({_state(entry)})' for entry in entries)
    left = listed["active_sessions"] - len(entries)
    more = f"; {left} more: alc_status lists them" if left else ""
    return f"Session {sid[:80]!r} not found. Unfinished here: {named}{more}. Use its id, or start with alc_run"


def _state(entry: Mapping[str, Any]) -> str:
    return f"waits for {', '.join(entry['pending'])}" if entry.get("pending") else str(entry["status"])
