"""What can be looked at in one session beside where it stands: read from its journal, nobody is woken.

Contract: every view is a page, `{status, session_id, view, …, total?, cursor?}`; `cursor` stands where more follows and
is given back to go on: the number of the next item (of `prompts`, its id, because answered ones leave that list), and
behind a colon the place inside it. A page ends after `limit` items or `max_bytes`; an item that alone is longer comes
in parts (parts.py). Every view hides what was read from the environment (redaction.py), before anything is cut.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from algocline_mcp.errors import Refused
from algocline_mcp.history.chunking import part_of, size_of
from algocline_mcp.history.redaction import Redaction
from algocline_mcp.history.transcript import timeline, turns
from algocline_mcp.session.records import Record
from algocline_mcp.session.results import children, metrics, status_of, summary
from algocline_mcp.session.state import Session, fold

VIEWS = ("summary", "prompts", "history", "log", "result", "code")
PAGE_BYTES = 60_000  # of a page that names no other length
_CODE_LINES = 400  # of code on a page that names no limit
_SPARE_BYTES = 300  # for what stands around the items of a page
_HEAD = ("status", "session_id", "view", "query_id", "kind")  # in every part


@dataclass(frozen=True, slots=True)
class Page:
    limit: int
    cursor: str | None = None
    max_bytes: int = PAGE_BYTES
    is_limit_chosen: bool = True

    @property
    def room(self) -> int:
        return max(1, self.max_bytes - _SPARE_BYTES)


def view_of(records: Sequence[Record], view: str, page: Page, *, worker: str, now_s: float) -> dict[str, Any]:
    """Raises Refused for a cursor that is none, IllegalRecord."""
    session, redaction = fold(records), Redaction.of(records)
    head: dict[str, Any] = {"status": status_of(session), "session_id": session.sid, "view": view}
    if view in _ITEMS:
        items = [redaction.value(item) for item in _ITEMS[view](records, session)]
        begin, place = _begin(page.cursor, [item["query_id"] for item in items] if view == "prompts" else None)
        return head | _items(view, items, page, begin, place)
    begin, place = _begin(page.cursor)
    if view == "summary":
        found, following = summary(session, worker=worker) | head | _summary(session, now_s), 0
    elif view == "result":
        found, following = head | _result(session), 0
    else:
        code, following = _code(records, redaction, begin, page)
        found = head | code
    found = {key: redaction.value(value) for key, value in found.items()}
    if place or size_of(found) > page.max_bytes:
        found, end = part_of(found, place, page.room, keep=_HEAD)
        if end:
            return found | {"cursor": f"{begin}:{end}"}
    return found | ({"cursor": str(following)} if following else {})


def _begin(cursor: str | None, ids: Sequence[str] | None = None) -> tuple[int, int]:
    """The number of the first item and the place in it. `ids`: of the items, where a cursor names one by its id; one
    that is no longer among them begins anew."""
    name, _, place = (cursor or "0").partition(":")
    is_number = name.isdecimal() and len(name) <= 9
    if not (place or "0").isdecimal() or len(place) > 9 or not (is_number or ids is not None):
        raise Refused(f"cursor {(cursor or '')[:80]!r} is none: take it from the page before, or leave it out")
    if ids is None:
        return int(name), int(place or 0)
    return (ids.index(name), int(place or 0)) if name in ids else (0, 0)


def _items(view: str, items: Sequence[Any], page: Page, begin: int, place: int) -> dict[str, Any]:
    shown: list[Any] = []
    room, end = page.room, 0
    for item in items[begin : begin + max(1, page.limit)]:
        if place or not shown:
            part, end = part_of(item, place, room, keep=_HEAD) if place or size_of(item) > room else (item, 0)
            place = 0
        elif size_of(item) <= room:
            part = item
        else:
            break
        shown.append(part)
        room -= size_of(part)
        if end:
            break
    following = begin + len(shown) - bool(end)
    told: dict[str, Any] = {view: shown, "total": len(items)}
    if following >= len(items):
        return told
    name = items[following]["query_id"] if view == "prompts" else str(following)
    return told | {"cursor": f"{name}:{end}" if end else name}


def _summary(session: Session, now_s: float) -> dict[str, Any]:
    about = session.header
    told: dict[str, Any] = {
        "stats": metrics(session, now_s),
        "chunk": about.get("chunk"),
        "language": about.get("language"),
        "version": about.get("version"),
    }
    if about.get("parent"):
        told["parent"] = about["parent"]
    if told_children := children(session):
        told["children"] = told_children
    if session.progress:
        told["progress"] = session.progress
    if session.strikes:
        told |= {"strikes": session.strikes, "crash": session.crash}
    if about.get("kept"):
        told["kept"] = about["kept"]
    return told


def _result(session: Session) -> dict[str, Any]:
    if session.final is None:
        return {"next": "there is none yet: alc_status without view shows what the session waits for"}
    return {key: session.final[key] for key in ("result", "error") if key in session.final}


def _code(records: Sequence[Record], redaction: Redaction, begin: int, page: Page) -> tuple[dict[str, Any], int]:
    """And the number of the first line on the next page, 0 where there is none. As many lines as fit, at least one."""
    header = records[0]
    lines = header["code"].splitlines()
    told: dict[str, Any] = {"total": len(lines)}
    if not begin:
        loaded = [str(each["args"][0]) for each in records if each["kind"] == "module" and "result" in each]
        told |= {"chunk": header["chunk"], "ctx": redaction.ctx(header["ctx"]), "modules": list(dict.fromkeys(loaded))}
    room = page.room - size_of(told)
    end = min(len(lines), begin + max(1, page.limit if page.is_limit_chosen else _CODE_LINES))
    while end > begin + 1 and size_of("\n".join(lines[begin:end])) > room:
        end = begin + (end - begin) // 2
    return {"code": "\n".join(lines[begin:end])} | told, end if end < len(lines) else 0


def _prompts(records: Sequence[Record], session: Session) -> list[Any]:
    """What waits for an answer, oldest first, as alc_continue wants it answered."""
    hidden = ("id", "digest", "stream")
    return [
        {"query_id": query_id} | {key: value for key, value in query.items() if key not in hidden}
        for query_id, query in session.pending.items()
    ]


def _history(records: Sequence[Record], session: Session) -> list[Any]:
    """Every prompt with its answer, oldest first."""
    return [{key: value for key, value in turn.items() if key != "options"} for turn in turns(timeline(records))]


def _log(records: Sequence[Record], session: Session) -> list[Any]:
    entries = timeline(records)
    kinds: Mapping[str, tuple[str, ...]] = {
        "log": ("level", "message"),
        "progress": ("step", "total", "message"),
        "crash": ("t", "reason"),
        "revival": ("t",),
        "fork": ("t", "children", "on_error"),
        "child": ("t", "status", "error"),
    }
    shown = [entry for entry in entries if entry["kind"] in kinds]
    whose = ("child", "strategy")
    return [
        {"kind": each["kind"]} | {key: each[key] for key in (*kinds[each["kind"]], *whose) if key in each}
        for each in shown
    ]


_ITEMS: dict[str, Callable[[Sequence[Record], Session], list[Any]]] = {
    "prompts": _prompts,
    "history": _history,
    "log": _log,
}
