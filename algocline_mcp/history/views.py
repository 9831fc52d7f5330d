"""Read-only views of one session, built from its journal without starting a worker. Pure.

Contract: every view is a page, `{status, session_id, view, …, total?, cursor?}`. A `cursor` is present where more
follows; the caller passes it to get the next page. It is the number of the next item (for `prompts` the id of the
query, because answered queries leave that list), and after a colon the offset inside that item. A page ends after
`limit` items or `max_bytes`; an item that is longer than a page comes in parts (chunking.py). Every view hides the
values that were read from the environment (redaction.py) before anything is cut.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from algocline_mcp.errors import Refused
from algocline_mcp.history.chunking import part_of, size_of
from algocline_mcp.history.redaction import Redaction
from algocline_mcp.history.transcript import Entry, Made, Timeline, folded_timeline
from algocline_mcp.session.records import Record
from algocline_mcp.session.results import children, lean_query, metrics, status_of, summary
from algocline_mcp.session.state import Session

VIEWS = ("summary", "prompts", "history", "log", "result", "code")
PAGE_BYTES = 60_000  # of a page, if the caller does not say
_PHASES = 50  # the last ones of a summary
_CODE_LINES = 400  # of code on a page, if the caller does not say
_SPARE_BYTES = 300  # of a page, for the fields around its items
_HEAD = ("status", "session_id", "view", "query_id", "kind")  # fields of every part


@dataclass(frozen=True, slots=True)
class Page:
    """The page that a caller asks for. `limit`: items, or lines of code; `is_limit_chosen`: by the caller."""

    limit: int
    cursor: str | None = None
    max_bytes: int = PAGE_BYTES
    is_limit_chosen: bool = True

    @property
    def room(self) -> int:
        """Bytes for the items."""
        return max(1, self.max_bytes - _SPARE_BYTES)


def view_of(records: Sequence[Record], view: str, page: Page, *, worker: str, now_s: float) -> dict[str, Any]:
    """One page of one of VIEWS. `worker`: live or none. Raises Refused for a cursor that no page had, IllegalRecord."""
    session, redaction, entries = folded_timeline(records)
    head: dict[str, Any] = {"status": status_of(session), "session_id": session.sid, "view": view}
    if view in _ITEMS:
        items = _ITEMS[view](entries, session)
        begin, offset = _begin(page.cursor, list(session.pending) if view == "prompts" else None)
        return head | _items(view, items, page, begin, offset, hide=redaction.value)
    begin, offset = _begin(page.cursor)
    if view == "summary":
        content, following = summary(session, worker=worker) | head | _summary(session, entries, now_s), 0
    elif view == "result":
        content, following = head | _result(session), 0
    else:
        code, following = _code(records[0], entries, redaction, begin, page)
        content = head | code
    content = {key: redaction.value(value) for key, value in content.items()}
    if offset or size_of(content) > page.max_bytes:
        content, end = part_of(content, offset, page.room, keep=_HEAD)
        if end:
            return content | {"cursor": f"{begin}:{end}"}
    return content | ({"cursor": str(following)} if following else {})


def _begin(cursor: str | None, ids: Sequence[str] | None = None) -> tuple[int, int]:
    """The number of the first item and the offset in it.

    `ids`: of the items, where a cursor names an item by its id. If the item is gone, the list begins anew.
    """
    name, _, offset = (cursor or "0").partition(":")
    is_number = name.isdecimal() and len(name) <= 9
    if not (offset or "0").isdecimal() or len(offset) > 9 or not (is_number or ids is not None):
        raise Refused(f"cursor {(cursor or '')[:80]!r} is not from a page: take it from the previous page, or omit it")
    if ids is None:
        return int(name), int(offset or 0)
    return (ids.index(name), int(offset or 0)) if name in ids else (0, 0)


def _items(
    view: str, items: Sequence[Any], page: Page, begin: int, offset: int, *, hide: Callable[[Any], Any]
) -> dict[str, Any]:
    """Items are made one by one, as far as the page has room."""
    shown: list[Any] = []
    room, end = page.room, 0
    for number in range(begin, min(len(items), begin + max(1, page.limit))):
        item = hide(items[number])
        if offset or not shown:
            part, end = part_of(item, offset, room, keep=_HEAD) if offset or size_of(item) > room else (item, 0)
            offset = 0
        elif size_of(item) <= room:
            part = item
        else:
            break
        shown.append(part)
        room -= size_of(part)
        if end:
            break
    following = begin + len(shown) - bool(end)
    content: dict[str, Any] = {view: shown, "total": len(items)}
    if following >= len(items):
        return content
    name = items[following]["query_id"] if view == "prompts" else str(following)
    return content | {"cursor": f"{name}:{end}" if end else name}


def _summary(session: Session, entries: Timeline, now_s: float) -> dict[str, Any]:
    header = session.header
    content: dict[str, Any] = {
        "stats": metrics(session, now_s),
        "chunk": header.get("chunk"),
        "version": header.get("version"),
    }
    if header.get("sandbox"):
        content["sandbox"] = header["sandbox"]
    if header.get("parent"):
        content["parent"] = header["parent"]
    if child_lines := children(session):
        content["children"] = child_lines
    if entries.phases:
        content["phases"] = entries.phases[-_PHASES:]
    if session.progress:
        content["progress"] = session.progress
    if session.strikes:
        content |= {"strikes": session.strikes, "crash": session.crash}
    if header.get("kept"):
        content["kept"] = header["kept"]
    return content


def _result(session: Session) -> dict[str, Any]:
    if session.final is None:
        return {"next": "The session has no result yet: alc_status without view shows what it waits for"}
    return {key: session.final[key] for key in ("result", "error") if key in session.final}


def _code(
    header: Record, entries: Timeline, redaction: Redaction, begin: int, page: Page
) -> tuple[dict[str, Any], int]:
    """As many lines as fit, at least one, and the number of the first line of the next page, 0 where none follows."""
    lines = header["code"].splitlines()
    around: dict[str, Any] = {"total": len(lines)}
    if not begin:
        modules = (entries[number] for number in entries.numbers_of(("module",)))
        loaded = [module["name"] for module in modules if module["found"]]
        around |= {
            "chunk": header["chunk"],
            "ctx": redaction.ctx(header["ctx"]),
            "modules": list(dict.fromkeys(loaded)),
        }
    room = page.room - size_of(around)
    end = min(len(lines), begin + max(1, page.limit if page.is_limit_chosen else _CODE_LINES))
    while end > begin + 1 and size_of("\n".join(lines[begin:end])) > room:
        end = begin + (end - begin) // 2
    return {"code": "\n".join(lines[begin:end])} | around, end if end < len(lines) else 0


def _prompts(entries: Timeline, session: Session) -> list[Any]:
    """The open queries, oldest first, in the form that alc_continue answers."""
    hidden = ("id", "digest", "stream", "schema")  # the prompt asks for the form of a schema
    return [
        {"query_id": query_id} | {key: value for key, value in lean_query(query).items() if key not in hidden}
        for query_id, query in session.pending.items()
    ]


def _history(entries: Timeline, session: Session) -> Sequence[Any]:
    """Every prompt with its answer, oldest first."""
    asked = entries.turns
    return Made(range(len(asked)), lambda n: {key: value for key, value in asked[n].items() if key != "options"})


_LOG_FIELDS: Mapping[str, tuple[str, ...]] = {
    "log": ("level", "message", "phase"),
    "progress": ("step", "total", "message"),
    "crash": ("t", "reason"),
    "misfit": ("t", "query_ids"),
    "revival": ("t",),
    "wake": ("t",),
    "fork": ("t", "children", "on_error"),
    "child": ("t", "status", "error"),
}


def _log(entries: Timeline, session: Session) -> Sequence[Any]:
    return Made(entries.numbers_of(_LOG_FIELDS), lambda n: _log_item(entries[n]))


def _log_item(entry: Entry) -> Entry:
    names = (*_LOG_FIELDS[entry["kind"]], "child", "strategy")
    return {"kind": entry["kind"]} | {key: entry[key] for key in names if key in entry}


_ITEMS: dict[str, Callable[[Timeline, Session], Sequence[Any]]] = {
    "prompts": _prompts,
    "history": _history,
    "log": _log,
}
