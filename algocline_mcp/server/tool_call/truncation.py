"""Truncation of a result to what its host shows: the model never learns of a cut that the host makes itself.

Contract, pure. `truncate` returns the result unchanged where it is short enough. Else it returns a shorter result with
`truncated`, `next`, `resource` (the address of the whole) and `cursor`; alc_status(session_id, cursor) returns what
follows. Of several prompts it shows as many as fit, each whole; the others follow. A cursor is `ID:OFFSET`: the prompt
or the status that it belongs to, and an offset as in history/chunking.py. A cursor of an earlier state is ignored.
Lists of remarks (`refused`, `warnings`) take a share of the room; a sentence counts what they leave out.
`with_snapshot` and `with_snapshots` add upstream's snapshot of a session (ALC_TOOLS=full) as far as it fits.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from algocline_mcp.history.chunking import part_of, prefix, size_of

# How much of one result a host shows. Claude Code puts more than 50,000 characters (or 25,000 tokens) into a file and
# shows 2,000; Codex drops the middle of more than 12,000 bytes. The name of the SDK's own client stands for a program,
# which takes everything. An unknown host is taken to show about as many tokens as Claude Code.
SHOWN_BYTES = 100_000
SHOWN_BY_CLIENT_BYTES = {"claude-code": 48_000, "codex-mcp-client": 10_000, "mcp": 64 * 1024 * 1024}
_MIN_SHOWN_BYTES = 2_000  # below, only the fields of _FRAME would fit
_FRAME = ("status", "session_id", "stopped", "id", "query_id", "refused", "warnings", "pool_save_error", "next")
_REMARKS_SHARE = 8  # so much of the room, as a divisor, has each list or text of remarks
_MARK_BYTES = 400  # reserved for truncated, cursor, resource and next
OMISSION_NOTE_BYTES = 400  # reserved for the sentence of with_snapshot and with_snapshots about what they leave out
# Parts of a snapshot in the order in which they are left out, and the view that shows each.
_OMITTED_FIRST = {
    "metrics.conversation_history": 'view="history"',
    "pending": 'view="prompts"',
    "metrics.recent_logs": 'view="log"',
    "metrics": 'view="summary"',
}


def shown_bytes(client: str, output_bytes: int) -> int:
    """`output_bytes` of the settings, or where it is 0 what the host named `client` shows."""
    return max(_MIN_SHOWN_BYTES, output_bytes or SHOWN_BY_CLIENT_BYTES.get(client, SHOWN_BYTES))


def address(session_id: str, view: str) -> str:
    return f"alc://sessions/{session_id}/{view}"


def truncate(result: dict[str, Any], max_bytes: int, cursor: str = "") -> dict[str, Any]:
    """`result` in at most `max_bytes` of minified JSON. `cursor`: of an earlier, truncated result of this session."""
    if size_of(result) <= max_bytes and not cursor:
        return result
    result = _with_short_remarks(result, max_bytes // _REMARKS_SHARE)
    if "queries" in result:
        return _truncate_queries(result, max_bytes, cursor)
    if "active_sessions" in result or "finished_sessions" in result:
        return _truncate_sessions(result, max_bytes)
    if result.get("status") in _LISTS:
        return _truncate_list(result, max_bytes, *_LISTS[result["status"]])
    return _truncate_fields(result, max_bytes, cursor)


def _with_short_remarks(result: dict[str, Any], room: int) -> dict[str, Any]:
    """`result` whose remarks, which are in every part, take at most about `room` bytes each."""
    short: dict[str, Any] = {}
    for name in ("pool_save_error", "next"):
        if size_of(text := result.get(name, "")) > room:
            short[name] = _prefix_of(text, room)
    for name, item_of in (("warnings", str), ("refused", lambda text: {"query_id": None, "reason": text})):
        if size_of(items := result.get(name, [])) > room:
            short[name] = _first_items(items, room)
            left = len(items) - len(short[name])
            short[name].append(item_of(f"{left} more {name} are left out here"))
    return {**result, **short}


def _first_items(items: Sequence[Any], room: int) -> list[Any]:
    """The items at the beginning that fit. A text takes at most half of the room, a field a quarter."""
    shown: list[Any] = []
    left = room
    for item in items:
        if isinstance(item, dict):
            short: Any = {name: _prefix_of(text, room // 4) for name, text in item.items()}
        else:
            short = _prefix_of(item, room // 2)
        if (left := left - size_of(short)) < 0:
            break
        shown.append(short)
    return shown


def _prefix_of(value: Any, room: int) -> Any:
    """`value`, or the beginning of a text that takes more than `room` bytes."""
    return value if not isinstance(value, str) or size_of(value) <= room else prefix(value, 0, room - 5) + "…"


def _truncate_fields(result: dict[str, Any], max_bytes: int, cursor: str) -> dict[str, Any]:
    """Of a result with one prompt, one value or one error."""
    name = str(result.get("query_id") or result.get("status"))
    offset = _offset(cursor, name)
    if not offset and size_of(result) <= max_bytes:
        return result
    room = max_bytes - _MARK_BYTES - size_of({key: result[key] for key in _FRAME if key in result})
    part, end = part_of(result, offset, room, keep=_FRAME)
    if not end:
        return part
    then = ", then answer the whole prompt" if "query_id" in result else ""
    return _marked(part, f"this is only a part: repeat alc_status with cursor until no cursor comes{then}", name, end)


def _truncate_queries(result: dict[str, Any], max_bytes: int, cursor: str) -> dict[str, Any]:
    queries = result["queries"]
    ids = [query["query_id"] for query in queries]
    first = ids.index(cursor.rpartition(":")[0]) if cursor.rpartition(":")[0] in ids else 0
    rest = {key: value for key, value in result.items() if key != "queries"}
    room = max_bytes - _MARK_BYTES - size_of(rest)
    shown: list[dict[str, Any]] = []
    for name, query in zip(ids[first:], queries[first:], strict=True):
        offset = _offset(cursor, name)
        if offset or not shown:
            part, end = part_of(query, offset, room, keep=_FRAME)
            shown.append(part)
            if end:
                advice = f"{name} is only a part: repeat alc_status with cursor, then answer the whole prompt"
                return _marked(rest | {"queries": shown}, advice, name, end)
            room -= size_of(part)
        elif size_of(query) <= room:
            shown.append(query)
            room -= size_of(query)
        else:
            advice = (
                f"these are {len(shown)} of {len(queries)} prompts: answer these, "
                "then alc_status with session_id alone shows the others"
            )
            return _marked(rest | {"queries": shown}, advice, name, 0)
    return rest | {"queries": shown}


def _truncate_sessions(result: dict[str, Any], max_bytes: int) -> dict[str, Any]:
    """Drops the cursor too: it begins after the lines that are cut off."""
    lines = list(result["sessions"])
    rest = {key: value for key, value in result.items() if key not in ("sessions", "cursor")}
    room = max_bytes - _MARK_BYTES - size_of(rest)
    while len(lines) > 1 and size_of(lines) > room:
        lines.pop()
    if size_of(lines) > room:  # one line with hundreds of prompts
        lines = [{key: value for key, value in line.items() if key != "pending"} for line in lines]
    advice = f"ask again with limit={len(lines)}: the cursor of that list leads to the other sessions"
    return {**rest, "sessions": lines, "truncated": True, "next": advice}


def _truncate_list(result: dict[str, Any], max_bytes: int, name: str, advice: str) -> dict[str, Any]:
    """An item that does not fit keeps the fields of _FRAME, so its id. The last are left out and counted."""
    items: list[dict[str, Any]] = []
    room = max_bytes - _MARK_BYTES - size_of({**result, name: []})
    for item in result[name]:
        short = item if size_of(item) <= room else {key: item[key] for key in _FRAME if key in item}
        if (room := room - size_of(short)) < 0:
            advice = f"{len(items)} of {len(result[name])} are shown; {advice}"
            break
        items.append(short)
    return {**result, name: items, "truncated": True, "next": advice}


def with_snapshot(shown: dict[str, Any], snapshot: dict[str, Any], max_bytes: int) -> dict[str, Any]:
    """`shown`, which leaves OMISSION_NOTE_BYTES, and the parts of `snapshot` that fit."""
    whole = shown | snapshot
    omitted: list[str] = []
    for name, view in _OMITTED_FIRST.items():
        if size_of(whole) <= max_bytes:
            return whole
        field, _, inner = name.partition(".")
        if field not in snapshot or (inner and inner not in snapshot[field]):
            continue
        rest = {key: value for key, value in snapshot[field].items() if key != inner} if inner else None
        snapshot = {key: value for key, value in snapshot.items() if key != field} | ({field: rest} if inner else {})
        omitted.append(f"{name} ({view})")
        whole = _with_next(shown | snapshot, f"left out because too long: {', '.join(omitted)}")
    return whole


def with_snapshots(shown: dict[str, Any], snapshots: Mapping[str, dict[str, Any]], max_bytes: int) -> dict[str, Any]:
    """`shown`, a list of sessions that leaves OMISSION_NOTE_BYTES, and the snapshots (by session id) that fit."""
    room = max_bytes - OMISSION_NOTE_BYTES - size_of(shown)
    lines, omitted = [], 0
    for line in shown["sessions"]:
        whole = line | snapshots.get(line["session_id"], {})
        if (size := size_of(whole) - size_of(line)) > room:
            omitted += 1
            whole, size = line, 0
        lines.append(whole)
        room -= size
    listing = shown | {"sessions": lines}
    advice = f"{omitted} sessions are shown without metrics: ask for each with session_id"
    return _with_next(listing, advice) if omitted else listing


def _with_next(result: dict[str, Any], advice: str) -> dict[str, Any]:
    earlier = f"{result['next']}; " if result.get("next") else ""
    return {**result, "next": earlier + advice}


def _marked(result: dict[str, Any], advice: str, name: str, end: int) -> dict[str, Any]:
    """`result` marked as truncated, with the cursor that goes on at `end` of the prompt or status `name`."""
    view = "prompts" if result.get("status") == "needs_response" else "result"
    mark = {"cursor": f"{name}:{end}", "resource": address(result["session_id"], view)}
    return {**_with_next({**result, "truncated": True}, advice), **mark}


def _offset(cursor: str, name: str) -> int:
    of, _, offset = cursor.rpartition(":")
    return int(offset) if of == name and offset.isdecimal() and len(offset) <= 9 else 0


def link_of(result: Mapping[str, Any]) -> str | None:
    """The address of the whole, which a truncated result names."""
    return result.get("resource") if result.get("truncated") is True else None


_LISTS = {
    "branched": ("branches", "alc_status with the session_id of a branch shows the rest of the branch"),
    "dry_run": ("asks", "a prompt that is left out here is shown when the branch is started"),
}
