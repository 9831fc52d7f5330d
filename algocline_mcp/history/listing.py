"""The list of unfinished sessions, a page at a time.

Contract: ids begin with their time of birth, so a page is the largest names and as many folds as it has lines, whatever
else lies on the disk; to name a project's own first, the first record of at most NEWEST others is read, once. It opens
no database, asks no worker, takes no lock, wakes nobody. Counts are counts of names. A cursor is the id below which
the list goes on by age; behind a colon, the oldest of the project's own that were named first, which come only once.
"""

import heapq
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import AlcError, Refused
from algocline_mcp.history.redaction import Redaction
from algocline_mcp.session.records import Record
from algocline_mcp.session.results import summary
from algocline_mcp.session.state import Phase, fold
from algocline_mcp.storage import journal

_SUFFIX = ".journal"
NEWEST = 100  # among so many unfinished sessions a project's own come first
_NAMED = 3  # unfinished sessions that an error message names
_SETTLED_NS = 1_000_000_000
_PREVIEW_CHARS = 80  # of the oldest open prompt
_REMEMBERED = 1000  # sessions of which it is known where they were started
NONE: dict[str, Any] = {"active_sessions": 0, "sessions": []}


def list_unfinished(
    home: Home, limits: Limits, *, limit: int | None = None, cursor: str | None = None, project: str | None = None
) -> dict[str, Any]:
    """`{active_sessions, sessions, counts, cursor?}`, newest first; exactly NONE where there is none.

    `project`: of the NEWEST sessions, those that were started in this directory come before the others.
    """
    names = _names(home.sessions, _SUFFIX)
    if not names:
        return dict(NONE)
    if cursor and not cursor.startswith("p-"):
        raise Refused(f"cursor {cursor[:80]!r} is none: take it from the list before, or leave it out")
    page, following = _page(home, names, max(1, min(limit or limits.listed, limits.listed_max)), cursor, project)
    live = set(map(_sid, _names(home.pool, ".sock")))
    lines = [line for sid in page if (line := _line(home, sid, is_live=sid in live)) is not None]
    unfinished = len(names) - (len(page) - len(lines))  # one that has just ended is about to be moved
    if not unfinished:
        return dict(NONE)
    counts = {"unfinished": unfinished, "live": len(live), "finished": _count(home.finished)}
    listed: dict[str, Any] = {"active_sessions": unfinished, "sessions": lines, "counts": counts}
    return listed | ({"cursor": following} if following else {})


def _page(
    home: Home, names: Sequence[str], size: int, cursor: str | None, project: str | None
) -> tuple[list[str], str | None]:
    """The ids of one page, and the cursor of the next one or None."""
    after, _, named_down_to = (cursor or "").partition(":")
    older = [name for name in names if name < after] if after else names  # a name sorts as its id does
    newest = [_sid(name) for name in heapq.nlargest(NEWEST + size + 1, older)]
    own = [sid for sid in newest[:NEWEST] if (not after or sid >= named_down_to > "") and _is_of(home, project, sid)]
    first = [] if after else own[:size]  # later pages go by age, and leave out what stood first
    rest = [sid for sid in newest if sid not in (own if after else first)]
    page = first + rest[: size - len(first)]
    if len(older) - (len(own) if after else 0) <= len(page):
        return page, None
    last = page[-1] if len(page) > len(first) else newest[0] + "~"  # nothing by age yet: from the newest on
    oldest = first[-1] if first else named_down_to
    return page, f"{last}:{oldest}" if oldest and oldest < last else last


_projects: dict[tuple[Path, str], str | None] = {}  # of sessions, as their first record has it for ever


def _is_of(home: Home, project: str | None, sid: str) -> bool:
    if project is None:
        return False
    key = (home.root, sid)
    if key not in _projects:
        try:
            first = journal.read_first(home.journal(sid))
        except OSError:
            return False
        if len(_projects) >= _REMEMBERED:
            _projects.clear()
        _projects[key] = (first or {}).get("project")
    return _projects[key] == project


def _names(directory: Path, suffix: str) -> list[str]:
    """Of files, unordered. A directory that is gone holds nothing."""
    try:
        return [name for name in os.listdir(directory) if name[:2] == "p-" and name.endswith(suffix)]
    except OSError:
        return []


_counts: dict[Path, tuple[int, int]] = {}  # directory -> its time of change in ns, how many journals it held


def _count(directory: Path) -> int:
    """Finished journals pile up and change seldom: they are counted again only after a change. A change within the
    last second might share its time stamp with a next one, so what is seen then is not remembered."""
    try:
        changed_ns = os.stat(directory).st_mtime_ns
    except OSError:
        return 0
    known = _counts.get(directory)
    if known is not None and known[0] == changed_ns:
        return known[1]
    count = len(_names(directory, _SUFFIX))
    if time.time_ns() - changed_ns > _SETTLED_NS:
        _counts[directory] = (changed_ns, count)
    return count


def _sid(name: str) -> str:
    return name.partition(".")[0]


def _line(home: Home, sid: str, *, is_live: bool) -> dict[str, Any] | None:
    """One unfinished session, or None for one that is finished or gone."""
    worker = "live" if is_live else "none"
    try:
        records = journal.read(home.journal(sid), is_for_host=False)
        session = fold(records) if records else None
    except FileNotFoundError:
        return None
    except AlcError as exc:
        return {"session_id": sid, "status": "error", "error_code": exc.code, "error": str(exc), "worker": worker}
    if session is None or session.phase is Phase.FINISHED:
        return None
    line = summary(session, worker=worker)
    return line | ({"prompt": _preview(records, session.pending)} if session.pending else {})


def _preview(records: Sequence[Record], pending: Mapping[str, Record]) -> str:
    prompt = Redaction.of(records).text(next(iter(pending.values()))["prompt"])
    return prompt if len(prompt) <= _PREVIEW_CHARS else prompt[: _PREVIEW_CHARS - 1] + "…"


def ids_of(home: Home, beginning: str) -> list[str]:
    """Of the unfinished sessions whose ids begin like this, newest first."""
    return sorted((_sid(name) for name in _names(home.sessions, _SUFFIX) if name.startswith(beginning)), reverse=True)


def not_found(home: Home, limits: Limits, sid: str) -> str:
    listed = list_unfinished(home, limits, limit=_NAMED)
    lines = listed["sessions"]
    if not lines:
        return f"Session {sid[:80]!r} not found, and none is unfinished here: start with alc_run"
    named = "; ".join(f'{line["session_id"]} "{line.get("title", "")}" ({_waits_for(line)})' for line in lines)
    left = listed["active_sessions"] - len(lines)
    more = f"; {left} more: alc_status lists them" if left else ""
    return f"Session {sid[:80]!r} not found. Unfinished here: {named}{more}. Use its id, or start with alc_run"


def _waits_for(line: Mapping[str, Any]) -> str:
    return f"waits for {', '.join(line['pending'])}" if line.get("pending") else str(line["status"])
