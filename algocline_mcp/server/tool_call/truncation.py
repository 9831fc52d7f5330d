"""Cuts a result to what its host shows: what a host cuts itself, the model never sees and never hears of.

Contract, pure. `fit` returns the result itself where it is short enough. Else a shorter one with `truncated`, `next`,
`resource` (the address of the whole) and `cursor`, with which alc_status(session_id, cursor) tells what follows. Of
several prompts as many come as fit, each whole, and the others afterwards. A cursor is `ID:PLACE`, the prompt or the
status that it belongs to and a place as in history/chunking.py; one of a state that is over begins anew.
"""

from collections.abc import Mapping
from typing import Any

from algocline_mcp.history.chunking import part_of, size_of

# What hosts show of one result. Claude Code puts more than 50,000 characters (or 25,000 tokens) into a file and shows
# 2,000; Codex drops the middle of more than 12,000 bytes. The name of the SDK's own client stands for a program, which
# takes all. For others about as many tokens as Claude Code takes.
SHOWN_BYTES = 100_000
SHOWN_BY_CLIENT_BYTES = {"claude-code": 48_000, "codex-mcp-client": 10_000, "mcp": 64 * 1024 * 1024}
_LEAST_BYTES = 2_000  # below, nothing but the frame would be left
_FRAME = ("status", "session_id", "id", "query_id", "refused", "warnings", "pool_save_error", "next")
_SPARE_BYTES = 400  # for truncated, cursor, resource and next
BESIDE_BYTES = 400  # of room that `beside` and `beside_each` need to say what does not fit
# What of a snapshot goes first, and where it is shown as well.
_HEAVY = {
    "metrics.conversation_history": 'view="history"',
    "pending": 'view="prompts"',
    "metrics.recent_logs": 'view="log"',
    "metrics": 'view="summary"',
}


def shown_bytes(client: str, output_bytes: int) -> int:
    """`output_bytes` of the settings takes the place of what is known of the host `client`, unless it is 0."""
    return max(_LEAST_BYTES, output_bytes or SHOWN_BY_CLIENT_BYTES.get(client, SHOWN_BYTES))


def address(session_id: str, view: str) -> str:
    return f"alc://sessions/{session_id}/{view}"


def fit(result: dict[str, Any], most_bytes: int, cursor: str = "") -> dict[str, Any]:
    """`cursor`: of an earlier, truncated result of this session."""
    if size_of(result) <= most_bytes and not cursor:
        return result
    if "queries" in result:
        return _queries(result, most_bytes, cursor)
    if "active_sessions" in result:
        return _sessions(result, most_bytes)
    if result.get("status") in _LISTS:
        return _list(result, most_bytes, *_LISTS[result["status"]])
    return _one(result, most_bytes, cursor)


def _one(result: dict[str, Any], most_bytes: int, cursor: str) -> dict[str, Any]:
    """One prompt, one result, one error."""
    name = str(result.get("query_id") or result.get("status"))
    place = _place(cursor, name)
    if not place and size_of(result) <= most_bytes:
        return result
    room = most_bytes - _SPARE_BYTES - size_of({key: result[key] for key in _FRAME if key in result})
    part, end = part_of(result, place, room, keep=_FRAME)
    if not end:
        return part
    is_prompt = "query_id" in result
    then = ", then answer the whole prompt" if is_prompt else ""
    return _marked(part, f"this is only a part: read on with cursor until none comes{then}", f"{name}:{end}")


def _queries(result: dict[str, Any], most_bytes: int, cursor: str) -> dict[str, Any]:
    queries = result["queries"]
    ids = [query["query_id"] for query in queries]
    first = ids.index(cursor.rpartition(":")[0]) if cursor.rpartition(":")[0] in ids else 0
    rest = {key: value for key, value in result.items() if key != "queries"}
    room = most_bytes - _SPARE_BYTES - size_of(rest)
    shown: list[dict[str, Any]] = []
    for name, query in zip(ids[first:], queries[first:], strict=True):
        place = _place(cursor, name)
        if place or not shown:
            part, end = part_of(query, place, room, keep=_FRAME)
            shown.append(part)
            if end:
                said = f"{name} goes on: read on with cursor, then answer it whole"
                return _marked(rest | {"queries": shown}, said, f"{name}:{end}")
            room -= size_of(part)
        elif size_of(query) <= room:
            shown.append(query)
            room -= size_of(query)
        else:
            said = (
                f"these are {len(shown)} of {len(queries)} prompts: answer these, "
                "then alc_status with session_id alone shows the others"
            )
            return _marked(rest | {"queries": shown}, said, f"{name}:0")
    return rest | {"queries": shown}


def _sessions(result: dict[str, Any], most_bytes: int) -> dict[str, Any]:
    """Without its cursor, which begins below lines that are not shown."""
    lines = list(result["sessions"])
    rest = {key: value for key, value in result.items() if key not in ("sessions", "cursor")}
    while len(lines) > 1 and size_of(lines) > most_bytes - _SPARE_BYTES - size_of(rest):
        lines.pop()
    said = f"ask again with limit={len(lines)}, whose cursor goes on here"
    return {**rest, "sessions": lines, "truncated": True, "next": said}


def _list(result: dict[str, Any], most_bytes: int, name: str, hint: str) -> dict[str, Any]:
    """What does not fit keeps its id."""
    kept: list[dict[str, Any]] = []
    room = most_bytes - _SPARE_BYTES - size_of({**result, name: []})
    for item in result[name]:
        kept.append(item if size_of(item) <= room else {key: item[key] for key in _FRAME if key in item})
        room -= size_of(kept[-1])
    return {**result, name: kept, "truncated": True, "next": hint}


def beside(shown: dict[str, Any], more: dict[str, Any], most_bytes: int) -> dict[str, Any]:
    """`shown`, which leaves BESIDE_BYTES, and of the snapshot `more` what fits."""
    whole = shown | more
    left_out: list[str] = []
    for name, where in _HEAVY.items():
        if size_of(whole) <= most_bytes:
            return whole
        field, _, inner = name.partition(".")
        if field not in more or (inner and inner not in more[field]):
            continue
        rest = {key: value for key, value in more[field].items() if key != inner} if inner else None
        more = {key: value for key, value in more.items() if key != field} | ({field: rest} if inner else {})
        left_out.append(f"{name} ({where})")
        whole = _told(shown | more, f"left out, for it is too long: {', '.join(left_out)}")
    return whole


def beside_each(shown: dict[str, Any], more: Mapping[str, dict[str, Any]], most_bytes: int) -> dict[str, Any]:
    """A list of sessions that leaves BESIDE_BYTES, and by their ids the snapshots that fit."""
    room = most_bytes - BESIDE_BYTES - size_of(shown)
    lines, left_out = [], 0
    for line in shown["sessions"]:
        whole = line | more.get(line["session_id"], {})
        if (size := size_of(whole) - size_of(line)) > room:
            left_out += 1
            whole, size = line, 0
        lines.append(whole)
        room -= size
    told = shown | {"sessions": lines}
    return _told(told, f"for {left_out} of them metrics are left out: ask with session_id") if left_out else told


def _told(result: dict[str, Any], said: str) -> dict[str, Any]:
    earlier = f"{result['next']}; " if result.get("next") else ""
    return {**result, "next": earlier + said}


def _marked(result: dict[str, Any], said: str, cursor: str) -> dict[str, Any]:
    view = "prompts" if result.get("status") == "needs_response" else "result"
    mark = {"truncated": True, "cursor": cursor, "resource": address(result["session_id"], view)}
    return _told({**result, **mark}, said)


def _place(cursor: str, name: str) -> int:
    of, _, place = cursor.rpartition(":")
    return int(place) if of == name and place.isdecimal() and len(place) <= 9 else 0


def link_of(result: Mapping[str, Any]) -> str | None:
    """The address that a truncated result names."""
    return result.get("resource") if result.get("truncated") is True else None


_LISTS = {
    "branched": ("branches", "alc_status with the session_id of each shows the rest"),
    "dry_run": ("asks", "a prompt that is missing is shown when the branch is started"),
}
