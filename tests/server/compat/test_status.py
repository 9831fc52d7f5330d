"""The snapshot of upstream's alc_status, built from records."""

import json
from typing import Any

import pytest

from algocline_mcp.errors import Refused
from algocline_mcp.server.compat.status import PendingFilter, parse_pending_filter, snapshot
from algocline_mcp.session.records import Record
from tests.rig.journals import answer, answered, final, header, prompt, sid_of

SID = sid_of(1, created_s=1.7e9)


def view(records: list[Record], pending: Any = None, *, include_history: bool = False) -> dict[str, Any]:
    selected = None if pending is None else parse_pending_filter(pending)
    return snapshot(records, now_s=1010.0, pending=selected, include_history=include_history)


def log(number: int) -> Record:
    return {"kind": "note", "bytes": 1, "level": "info", "message": f"line {number}"}


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("bogus", 'unknown pending_filter preset \'bogus\' (valid: "meta" | "preview" | "full")'),
        (True, "pending_filter must be a preset name (string) or filter object, got bool"),
        (3, "got number"),
        (0.5, "got number"),
        ([], "got array"),
        (None, "got null"),
        ({"system": 1}, "invalid pending_filter object: system is true or false"),
        ({"prompt": "full"}, "invalid pending_filter object: prompt is"),
        ({"prompt": {"mode": "half"}}, "invalid pending_filter object: prompt is"),
        ({"prompt": {"mode": "preview", "chars": -1}}, "invalid pending_filter object: prompt is"),
        ({"prompt": {"mode": "preview", "chars": True}}, "invalid pending_filter object: prompt is"),
    ],
)
def test_an_invalid_filter_is_refused_in_upstreams_words(value: Any, sentence: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_pending_filter(value)

    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("pending", "shown"),
    [
        ("meta", {"query_id": "q-0", "max_tokens": 9}),
        ("preview", {"query_id": "q-0", "max_tokens": 9, "prompt_preview": "あいうえお" * 40}),
        (
            "full",
            {
                "query_id": "q-0",
                "max_tokens": 9,
                "system": None,
                "grounded": True,
                "underspecified": False,
                "prompt": "あいうえお" * 50,
            },
        ),
        ({"query_id": True}, {"query_id": "q-0"}),
        ({"unknown": 3, "prompt": {"mode": "preview", "chars": 3}}, {"prompt_preview": "あいう"}),
        ({"grounded": True, "prompt": {"mode": "full"}}, {"grounded": True, "prompt": "あいうえお" * 50}),
        ({}, {}),
    ],
)
def test_a_filter_selects_the_fields_of_pending_queries(pending: Any, shown: dict[str, Any]) -> None:
    record = prompt("q-0", grounded=True)
    record["queries"][0]["prompt"] = "あいうえお" * 50
    result = view([header(SID), record], pending)

    assert result["pending_queries"] == 1
    assert result["pending"] == [shown]


def test_without_a_filter_only_the_number_of_pending_queries_is_shown() -> None:
    result = view([header(SID), prompt("q-0", "q-1"), answer("q-0")])

    assert (result["pending_queries"], "pending" in result) == (1, False)
    assert parse_pending_filter("preview", preview_chars=0) == PendingFilter(("query_id", "max_tokens"), 0, True)


@pytest.mark.parametrize(
    ("records", "state", "phase"),
    [
        ([], "running", "running"),
        ([prompt("q-0")], "paused", "paused"),
        ([final()], "terminal", "completed"),
        ([final(error="x")], "terminal", "failed"),
        ([{"kind": "final", "status": "cancelled", "t": 1003.0}], "terminal", "cancelled"),
        ([{"kind": "crash", "reason": "x", "t": 1001.0}] * 3, "paused", "failed"),
    ],
)
def test_state_and_phase_have_upstreams_names(records: list[Record], state: str, phase: str) -> None:
    result = view([header(SID), *records])

    assert (result["state"], result["phase"]) == (state, phase)
    assert ("pending_queries" in result) == (phase == "paused")


def test_a_fresh_session_was_last_active_when_it_started() -> None:
    result = view([header(SID, strategy="cot"), prompt("q-0")])

    assert (result["started_at"], result["last_activity_at"], result["strategy"]) == (1_000_000, 1_000_000, "cot")
    waiting = {"query_id": "q-0", "prompt_tokens": 4, "started_waiting_at": 1_001_000}
    assert result["metrics"]["tokens"]["current_query"] == waiting
    assert result["metrics"]["elapsed_ms"] == 10_000


def test_metrics_have_the_last_logs_the_progress_and_the_remaining_budget() -> None:
    progress = {"kind": "note", "bytes": 1, "progress": {"step": 1, "total": 5, "message": "a"}}
    records = [header(SID, budget={"max_llm_calls": 5}), *map(log, range(25)), progress, prompt("q-0")]
    metrics = view(records)["metrics"]

    assert [log["message"] for log in metrics["recent_logs"]] == [f"line {number}" for number in range(5, 25)]
    assert metrics["recent_logs"][0] == {"ts": 1_000_000, "level": "info", "source": "main", "message": "line 5"}
    assert metrics["progress"] == {"step": 1, "total": 5, "message": "a"}
    assert metrics["budget_remaining"] == {"llm_calls": 4, "elapsed_ms": None, "tokens": None}
    assert metrics.keys() >= {"elapsed_ms", "llm_calls", "rounds", "tokens"}


def test_history_is_the_last_ten_turns_and_only_on_request() -> None:
    result = view(answered(SID, 12), include_history=True)["metrics"]["conversation_history"]

    assert [turn["query_id"] for turn in result] == [f"q-{n}" for n in range(2, 12)]
    assert result[0] == {
        "query_id": "q-2",
        "prompt": "prompt of q-2",
        "response": "a2",
        "prompt_tokens": 4,
        "response_tokens": 1,
        "started_at": 1_003_000,
        "completed_at": 1_003_500,
    }
    assert "conversation_history" not in view(answered(SID, 1))["metrics"]


def test_values_read_from_the_environment_are_redacted() -> None:
    ctx = json.dumps({"env": {"inject": {"KEY": "hunter2-hunter2"}}})
    record = prompt("q-0")
    record["queries"][0]["prompt"] = "use hunter2-hunter2"

    assert "hunter2" not in json.dumps(view([header(SID, ctx=ctx), record], "full"))
