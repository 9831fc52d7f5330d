"""The tools of sessions, in memory with the fake pool: what they hand on and what they return."""

import json
from typing import Any

import pytest

from algocline_mcp.pool.replies import stopped
from tests.rig.hosts import Tools
from tests.rig.tool_replies import ONE, SID, TWO, refusal_of, result_of, text_of


def test_a_failed_write_of_the_registry_is_a_field_of_the_result(tools: Tools) -> None:
    assert result_of(tools.call("alc_run", code="x"))["pool_save_error"] == "registry.json: disk full"


def test_a_prompt_leaves_out_options_that_say_nothing_and_a_result_keeps_its_null(tools: Tools) -> None:
    first, second = tools.calls(
        ("alc_run", {"code": ONE}), ("alc_run", {"code": '{"status": "completed", "result": null}'})
    )

    assert result_of(first).keys() == {"status", "session_id", "query_id", "prompt", "system"}
    assert "result" in result_of(second)


@pytest.mark.parametrize("is_text", [False, True])
def test_responses_are_accepted_item_by_item(tools: Tools, is_text: bool) -> None:
    items = [
        {"query_id": "q-1", "response": "B", "usage": {"prompt_tokens": 3, "total": 9}},
        {"response": "without an id"},
        {"id": "q-0", "refuse": "no idea", "by": "human"},
        {"query_id": "q-7", "response": "x"},
    ]
    call = {"session_id": SID, "responses": json.dumps(items) if is_text else items, "by": "model"}

    replies = tools.calls(
        ("alc_run", {"code": TWO}),
        ("alc_continue", call),
        ("alc_continue", {"session_id": SID, "response": "C", "query_id": "q-2"}),
    )

    assert [item["query_id"] for item in result_of(replies[1])["refused"]] == ["q-7", None]
    assert result_of(replies[2])["result"] == [
        {"id": "q-1", "response": "B", "usage": {"prompt_tokens": 3}, "by": "model"},
        {"id": "q-0", "refuse": "no idea", "by": "human"},
        {"id": "q-2", "response": "C"},
    ]


def test_sessions_are_listed_where_no_session_id_is_given(tools: Tools) -> None:
    empty, _, one, same = tools.calls(
        ("alc_status", {}),
        ("alc_run", {"code": ONE}),
        ("alc_status", {"session_id": None}),
        ("alc_status", {"session_id": ""}),
    )

    assert text_of(empty) == '{"active_sessions":0,"sessions":[]}'
    assert [(line["session_id"], line["status"]) for line in result_of(one)["sessions"]] == [(SID, "needs_response")]
    assert result_of(same) == result_of(one)


def test_a_view_is_shown_by_pages(tools: Tools) -> None:
    code = json.dumps({"pauses": [["a"], ["b"], ["c"], ["d"]]})
    answers = [("alc_continue", {"session_id": SID, "query_id": f"q-{n}", "response": str(n)}) for n in range(3)]
    page = {"session_id": SID, "view": "history", "limit": "1", "cursor": "1"}
    shown = result_of(tools.calls(("alc_run", {"code": code}), *answers, ("alc_status", page))[-1])

    assert (shown["view"], shown["total"], shown["cursor"]) == ("history", 4, "2")
    assert [turn["response"] for turn in shown["history"]] == ["1"]


def test_stop_hibernates_unless_its_mode_is_cancel(tools: Tools) -> None:
    _, slept, ended = tools.calls(
        ("alc_run", {"code": ONE}),
        ("alc_stop", {"session_id": SID}),
        ("alc_stop", {"session_id": SID, "mode": "cancel"}),
    )

    assert result_of(slept)["status"] == "needs_response"
    assert result_of(slept)["stopped"] is True
    assert result_of(slept)["next"].startswith("stopped: ")
    assert "alc_continue" in result_of(slept)["next"]
    assert result_of(ended)["status"] == "cancelled"
    assert "stopped" not in result_of(ended)


@pytest.mark.parametrize(
    ("result", "way_on"),
    [
        ({"status": "needs_response", "query_id": "q-0", "prompt": "a"}, "answer the pending prompts with alc_contin"),
        ({"status": "running", "elapsed_s": 1.0, "next": "alc_status waits"}, "call alc_status with this session_id"),
        ({"status": "error", "error_code": "crash_loop", "error": "…", "next": "start the strategy anew"}, "start the"),
        ({"status": "error", "error_code": "lost", "error": "…"}, "call alc_status"),
        ({"status": "completed", "result": 1}, None),
        ({"status": "error", "error": "x:1: …", "next": "correct the code"}, None),
        ({"status": "cancelled", "stats": {}}, None),
    ],
    ids=lambda value: value["status"] if isinstance(value, dict) else "",
)
def test_a_stopped_session_says_so_and_how_to_go_on_unless_it_had_ended(
    result: dict[str, Any], way_on: str | None
) -> None:
    before = {"session_id": SID, **result}

    after = stopped(before)
    rest = {name: value for name, value in after.items() if name not in ("stopped", "next")}
    assert rest == {name: value for name, value in before.items() if name != "next"}
    assert after == before if way_on is None else after["next"].startswith("stopped: ")
    assert after.get("stopped", False) is (way_on is not None)
    assert f"To go on: {way_on}" in after["next"] if way_on else True


def test_a_host_that_shows_text_and_structured_content_gets_one_line_as_the_text(tools: Tools) -> None:
    tools.client_name = "codex-mcp-client"
    started, refused = tools.calls(("alc_run", {"code": ONE}), ("alc_continue", {"session_id": SID}))

    assert [block.text for block in started.content] == [f"needs_response {SID}: see structuredContent"]
    assert started.structured_content["prompt"] == "a"
    assert "Either 'response' or 'responses'" in refusal_of(refused)
