"""What can be looked at in one session beside where it stands: read from its journal, nobody is woken.

Contract: every view is a page, `{status, session_id, view, …, total?, cursor?}`; `cursor` stands where more follows and
is given back to go on. A page ends after `limit` items or `_PAGE_CHARS`, but holds at least one item. Every view hides
what was read from the environment (redaction.py).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from algocline_mcp.errors import Refused
from algocline_mcp.pool.redaction import Redaction
from algocline_mcp.pool.transcript import timeline, turns
from algocline_mcp.session import Record, Session, children, fold, metrics, status_of, summary

VIEWS = ("summary", "prompts", "history", "log", "result", "code")
_PAGE_CHARS = 60_000
_CODE_LINES = 400  # of code on a page that names no limit


def view_of(
    records: Sequence[Record],
    view: str,
    *,
    worker: str,
    now_s: float,
    limit: int,
    cursor: str | None = None,
    is_limit_chosen: bool = True,
) -> dict[str, Any]:
    """Raises Refused for a cursor that is none, IllegalRecord."""
    session, redaction = fold(records), Redaction.of(records)
    head: dict[str, Any] = {"status": status_of(session), "session_id": session.sid, "view": view}
    if view == "summary":
        told = summary(session, worker=worker) | head | _summary(session, now_s)
        return {key: redaction.value(value) for key, value in told.items()}
    if view == "result":
        return head | {key: redaction.value(value) for key, value in _result(session).items()}
    begin = _begin(cursor)
    if view == "code":
        page = _code(records, redaction, begin, limit if is_limit_chosen else _CODE_LINES)
        return head | {key: redaction.value(value) for key, value in page.items()}
    items = [redaction.value(item) for item in _ITEMS[view](records, session)]
    return head | _page(view, items, begin, limit)


def _begin(cursor: str | None) -> int:
    if not cursor:
        return 0
    if not cursor.isdecimal() or len(cursor) > 9:
        raise Refused(f"cursor {cursor[:80]!r} is none: take it from the page before, or leave it out")
    return int(cursor)


def _page(name: str, items: Sequence[Any], begin: int, limit: int) -> dict[str, Any]:
    shown: list[Any] = []
    chars = 0
    for item in items[begin : begin + max(1, limit)]:
        chars += len(json.dumps(item, ensure_ascii=False))
        if shown and chars > _PAGE_CHARS:
            break
        shown.append(item)
    end = begin + len(shown)
    return {name: shown, "total": len(items)} | ({"cursor": str(end)} if end < len(items) else {})


def _summary(session: Session, now_s: float) -> dict[str, Any]:
    about = session.about
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


def _code(records: Sequence[Record], redaction: Redaction, begin: int, limit: int) -> dict[str, Any]:
    header = records[0]
    lines = header["code"].splitlines()
    end = min(len(lines), begin + max(1, limit))
    page: dict[str, Any] = {"code": "\n".join(lines[begin:end]), "total": len(lines)}
    if end < len(lines):
        page["cursor"] = str(end)
    if not begin:
        loaded = [str(each["args"][0]) for each in records if each["kind"] == "module" and "result" in each]
        page |= {"chunk": header["chunk"], "ctx": redaction.ctx(header["ctx"]), "modules": list(dict.fromkeys(loaded))}
    return page


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
