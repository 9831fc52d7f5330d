"""Results that are longer than the host shows: cut, marked, and available as a whole by cursor."""

import json
from typing import Any

import pytest

from algocline_mcp.history.chunking import part_of, size_of
from algocline_mcp.server.tool_call.truncation import (
    OMISSION_NOTE_BYTES,
    SHOWN_BY_CLIENT_BYTES,
    SHOWN_BYTES,
    shown_bytes,
    truncate,
    with_snapshot,
    with_snapshots,
)

SID = "p-1-0123456789abcdef"
MAX_BYTES = 3000
TEXTS = ["", "plain " * 3000, 'ö\n"\\' * 2000, "日本語" * 2500, "\ud800" * 50, "🜚" * 1500]


def one(prompt: str, **more: Any) -> dict[str, Any]:
    head = {"status": "needs_response", "session_id": SID, "query_id": "q-7", "prompt": prompt}
    return {**head, "system": None, "max_tokens": 9, **more}


def several(*prompts: str) -> dict[str, Any]:
    queries = [{"id": f"q-{n}", "query_id": f"q-{n}", "prompt": text, "system": None} for n, text in enumerate(prompts)]
    return {"status": "needs_response", "session_id": SID, "queries": queries}


def read_parts(result: dict[str, Any]) -> list[dict[str, Any]]:
    """What a host gets that follows the cursor to the end."""
    seen = [truncate(result, MAX_BYTES)]
    while "cursor" in seen[-1]:
        assert len(seen) < 100, "the cursor goes in circles"
        seen.append(truncate(result, MAX_BYTES, seen[-1]["cursor"]))
    for part in seen:
        assert size_of(part) <= MAX_BYTES
        assert ("cursor" in part) == (part.get("truncated") is True) == ("resource" in part) == ("next" in part)
    return seen


@pytest.mark.parametrize(
    ("text", "room"), [(text, room) for text in TEXTS for room in (300, 5000)] + [("ö\n🜚" * 9, 1), ("ö\n🜚" * 9, 7)]
)
def test_joined_parts_are_the_whole(text: str, room: int) -> None:
    item = {"query_id": "q-0", "prompt": text, "system": text[::-1], "n": 3, "table": list(range(500))}
    joined: dict[str, Any] = {"prompt": "", "system": "", "table": ""}
    offset, rounds = 0, 0
    while rounds == 0 or offset:
        part, offset = part_of(item, offset, room, keep=("query_id",))
        assert part.pop("query_id") == "q-0"
        if rounds == 0:
            assert part.pop("n") == 3
        for key, shown in part.items():
            joined[key] += shown
        rounds += 1

    assert joined["prompt"] == text
    assert joined["system"] == text[::-1]
    assert json.loads(joined["table"]) == item["table"]


@pytest.mark.parametrize("text", TEXTS)
def test_a_long_prompt_comes_in_parts_that_fit(text: str) -> None:
    seen = read_parts(one(text, system="as a judge"))

    assert "".join(part.get("prompt", "") for part in seen) == text
    assert {part["query_id"] for part in seen} == {"q-7"}
    assert [part["system"] for part in seen if "system" in part] == ["as a judge"]
    assert (len(seen) > 1) == (size_of(text) > MAX_BYTES)
    if len(seen) > 1:
        assert seen[0]["resource"] == f"alc://sessions/{SID}/prompts"
        assert "answer the whole prompt" in seen[0]["next"]


def test_of_several_prompts_those_that_fit_are_shown_whole() -> None:
    result = several(*(f"{n} " + "x" * 800 for n in range(7)))
    first = truncate(result, MAX_BYTES)

    assert first["queries"] == result["queries"][:2]
    assert "2 of 7 prompts: answer these" in first["next"]
    shown = [query for page in read_parts(result) for query in page["queries"]]
    assert shown == result["queries"]


def test_a_long_prompt_among_several_is_cut_alone() -> None:
    seen = read_parts(several("a" * 7000, "b", "c" * 7000))

    texts = {"q-0": "", "q-1": "", "q-2": ""}
    for page in seen:
        for query in page["queries"]:
            texts[query["query_id"]] += query.get("prompt", "")
    assert texts == {"q-0": "a" * 7000, "q-1": "b", "q-2": "c" * 7000}
    assert "q-0 is only a part" in seen[0]["next"]


@pytest.mark.parametrize(
    "result",
    [
        {"status": "completed", "session_id": SID, "result": "r" * 9000, "stats": {"auto": {}}},
        {"status": "completed", "session_id": SID, "result": {"rows": ["r"] * 4000}, "stats": {"auto": {}}},
        {"status": "error", "session_id": SID, "error": "e" * 9000},
    ],
)
def test_a_long_end_comes_in_parts_that_fit(result: dict[str, Any]) -> None:
    seen = read_parts(result)

    key = "error" if result["status"] == "error" else "result"
    whole = "".join(part.get(key, "") for part in seen)
    assert (whole if isinstance(result[key], str) else json.loads(whole)) == result[key]
    assert seen[0]["resource"] == f"alc://sessions/{SID}/result"


@pytest.mark.parametrize("cursor", ["q-3:900", "q-7:0", "completed:5", "q-7:x", "q-7", "7", ":", "q-7:9999999999999"])
def test_a_cursor_of_an_earlier_state_is_ignored(cursor: str) -> None:
    assert truncate(one("a new prompt"), MAX_BYTES, cursor) == one("a new prompt")
    assert truncate(several("a", "b"), MAX_BYTES, cursor) == several("a", "b")


def test_a_field_that_the_strategy_chose_is_cut_like_any_other() -> None:
    seen = read_parts(one("short", sessions=["s"] * 2000, branches=["b" * 3000]))

    assert seen[0]["prompt"] == "short"
    assert json.loads("".join(part.get("sessions", "") for part in seen)) == ["s"] * 2000


def test_a_truncated_list_says_how_to_get_the_rest() -> None:
    lines = [{"session_id": f"p-{n}", "title": "t" * 200} for n in range(50)]
    shown = truncate({"active_sessions": 90, "sessions": lines, "counts": {}, "cursor": "p-49"}, MAX_BYTES)

    assert shown["sessions"] == lines[: len(shown["sessions"])]
    assert 5 < len(shown["sessions"]) < 15
    assert shown["next"].startswith(f"ask again with limit={len(shown['sessions'])}:")
    assert "cursor" not in shown, "it would pass over the lines that are not shown"


def test_branches_that_do_not_fit_keep_their_ids() -> None:
    branches = [one("x" * 900) | {"session_id": f"p-{n}"} for n in range(6)]
    shown = truncate({"status": "branched", "session_id": SID, "branches": branches}, MAX_BYTES)

    assert [branch["session_id"] for branch in shown["branches"]] == [f"p-{n}" for n in range(6)]
    assert shown["branches"][0] == branches[0]
    assert "prompt" not in shown["branches"][-1]
    assert shown["truncated"] is True


@pytest.mark.parametrize(
    ("client", "setting", "expected"),
    [
        ("codex-mcp-client", 0, 10_000),
        ("claude-code", 0, 48_000),
        ("unknown", 0, SHOWN_BYTES),
        ("codex-mcp-client", 5000, 5000),
        ("claude-code", 1, 2000),
    ],
)
def test_the_longest_result_follows_the_name_of_the_host_and_the_setting(
    client: str, setting: int, expected: int
) -> None:
    assert shown_bytes(client, setting) == expected


def test_a_program_with_the_client_of_the_sdk_gets_whole_results() -> None:
    from algocline_mcp.config.limits import Limits

    assert SHOWN_BY_CLIENT_BYTES["mcp"] > Limits().line_bytes


# ── with a snapshot   ──────────────────────────────────────────────────────────────────────────────────

SHOT = {
    "pending": [{"query_id": "q-0", "prompt": "p" * 800}],
    "metrics": {"tokens": "t" * 400, "recent_logs": ["l" * 700], "conversation_history": ["h" * 800]},
}


@pytest.mark.parametrize(
    ("bytes_of_prompt", "left_out"),
    [
        (0, []),
        (200, ["metrics.conversation_history"]),
        (900, ["metrics.conversation_history", "pending"]),
        (1700, ["metrics.conversation_history", "pending", "metrics.recent_logs"]),
        (2400, ["metrics.conversation_history", "pending", "metrics.recent_logs", "metrics"]),
    ],
)
def test_a_snapshot_is_shown_as_far_as_it_fits_and_the_rest_is_named(bytes_of_prompt: int, left_out: list[str]) -> None:
    shown = truncate(one("a" * bytes_of_prompt), MAX_BYTES - OMISSION_NOTE_BYTES)
    whole = with_snapshot(shown, SHOT, MAX_BYTES)

    assert size_of(whole) <= MAX_BYTES
    assert whole.items() >= {key: value for key, value in shown.items() if key != "next"}.items()
    for name in ("metrics.conversation_history", "pending", "metrics.recent_logs", "metrics"):
        field, _, inner = name.partition(".")
        holder = whole.get(field, {}) if inner else whole
        assert ((inner or field) in holder) is (name not in left_out), name
        assert (f"{name} (view=" in whole.get("next", "")) is (name in left_out)


def test_a_list_has_the_snapshots_that_fit() -> None:
    lines = [{"session_id": f"p-{n}", "status": "paused"} for n in range(5)]
    shown = {"active_sessions": 5, "sessions": lines}

    assert with_snapshots(shown, {"p-1": {"state": "x"}}, MAX_BYTES)["sessions"][1] == lines[1] | {"state": "x"}
    whole = with_snapshots(
        shown, {f"p-{n}": SHOT for n in range(5)}, size_of(shown) + OMISSION_NOTE_BYTES + 2 * size_of(SHOT)
    )
    assert ["metrics" in line for line in whole["sessions"]] == [True, True, False, False, False]
    assert "3 sessions are shown without metrics" in whole["next"]


LONG_TEXTS = ["x" * 90_000, "ö\n" * 30_000]
REMARKS: dict[str, Any] = {
    "many refused items": {"refused": [{"query_id": f"q-{n}", "reason": "r" * 200, "code": "c"} for n in range(256)]},
    "one long refused item": {"refused": [{"query_id": "q" * 200, "reason": LONG_TEXTS[1]}]},
    "many warnings": {"warnings": ["w" * 300] * 500},
    "one long warning": {"warnings": [LONG_TEXTS[0], "second"]},
    "a long save error": {"pool_save_error": LONG_TEXTS[1]},
    "a long advice": {"next": LONG_TEXTS[0]},
    "all": {
        "refused": [{"query_id": "q" * 200, "reason": "r" * 2000}] * 99,
        "warnings": [LONG_TEXTS[1]] * 99,
        "pool_save_error": LONG_TEXTS[0],
        "next": LONG_TEXTS[0],
    },
}
BODIES: dict[str, dict[str, Any]] = {
    "one prompt": one(LONG_TEXTS[1]),
    "several prompts": several(*["p" * 3000] * 20),
    "a result": {"status": "completed", "session_id": SID, "result": {"deep": [LONG_TEXTS[0]]}, "stats": {"auto": {}}},
    "an error": {"status": "error", "session_id": SID, "error": LONG_TEXTS[1]},
    "accepted": {"status": "accepted", "session_id": SID, "pending": [f"q-{n}" for n in range(256)]},
    "running": {"status": "running", "session_id": SID, "progress": {"step": 1, "total": 2, "message": LONG_TEXTS[0]}},
    "sessions": {
        "active_sessions": 9,
        "sessions": [{"session_id": SID, "title": "t" * 120, "pending": [f"q-{n}" for n in range(256)]}] * 9,
    },
    "branches": {"status": "branched", "session_id": SID, "branches": [one(LONG_TEXTS[0])] * 16},
}


@pytest.mark.parametrize("max_bytes", [2000, 10_000, 48_000])
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("remarks", REMARKS)
def test_no_result_is_longer_than_its_host_shows(body: str, remarks: str, max_bytes: int) -> None:
    shown = truncate({**BODIES[body], **REMARKS[remarks]}, max_bytes)
    rounds = 0

    while "cursor" in shown and rounds < 30:
        assert size_of(shown) <= max_bytes
        shown, rounds = truncate({**BODIES[body], **REMARKS[remarks]}, max_bytes, shown["cursor"]), rounds + 1
    assert size_of(shown) <= max_bytes


def test_remarks_that_are_left_out_are_counted() -> None:
    shown = truncate({**one("short"), **REMARKS["many refused items"], **REMARKS["many warnings"]}, 10_000)

    assert shown["prompt"] == "short"
    assert "truncated" not in shown
    assert shown["refused"][0] == REMARKS["many refused items"]["refused"][0]
    assert shown["refused"][-1] == {"query_id": None, "reason": "251 more refused are left out here"}
    assert shown["warnings"][-1] == "496 more warnings are left out here"
