"""The Rust program's words for where a session stands, its logs, notes and sums."""

import json
import os
from typing import Any

import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.errors import Refused
from algocline_mcp.history.retention import delete_session
from algocline_mcp.server.compat import logs
from algocline_mcp.server.compat.status import Filter, checked, snapshot
from algocline_mcp.session.records import Record
from tests.rig.journals import answer, final, header, prompt, sid_of, write

SID = sid_of(1, born_s=1.7e9)


def look(records: list[Record], pending: Any = None, *, include_history: bool = False) -> dict[str, Any]:
    chosen = None if pending is None else checked(pending)
    return snapshot(records, now_s=1010.0, pending=chosen, include_history=include_history)


def rounds(count: int) -> list[Record]:
    records = [header(SID)]
    for n in range(count):
        records += [prompt(f"q-{n}", t=1001.0 + n), answer(f"q-{n}", f"a{n}", 1001.5 + n)]
    return records


def log(number: int) -> Record:
    return {"kind": "note", "bytes": 1, "level": "info", "message": f"line {number}"}


# ── alc_status ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("given", "sentence"),
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
def test_a_filter_that_is_none_is_refused_in_the_originals_words(given: Any, sentence: str) -> None:
    with pytest.raises(Refused) as caught:
        checked(given)

    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("pending", "told"),
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
def test_a_filter_chooses_what_is_told_of_what_waits(pending: Any, told: dict[str, Any]) -> None:
    asked = prompt("q-0", grounded=True)
    asked["queries"][0]["prompt"] = "あいうえお" * 50
    found = look([header(SID), asked], pending)

    assert found["pending_queries"] == 1
    assert found["pending"] == [told]


def test_without_a_filter_only_their_number_is_told() -> None:
    found = look([header(SID), prompt("q-0", "q-1"), answer("q-0")])

    assert (found["pending_queries"], "pending" in found) == (1, False)
    assert checked("preview", preview_chars=0) == Filter(("query_id", "max_tokens"), 0, True)


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
def test_state_and_phase_have_the_originals_names(records: list[Record], state: str, phase: str) -> None:
    found = look([header(SID), *records])

    assert (found["state"], found["phase"]) == (state, phase)
    assert ("pending_queries" in found) == (phase == "paused")


def test_a_fresh_session_was_last_active_when_it_started() -> None:
    found = look([header(SID, strategy="cot"), prompt("q-0")])

    assert (found["started_at"], found["last_activity_at"], found["strategy"]) == (1_000_000, 1_000_000, "cot")
    waiting = {"query_id": "q-0", "prompt_tokens": 4, "started_waiting_at": 1_001_000}
    assert found["metrics"]["tokens"]["current_query"] == waiting
    assert found["metrics"]["elapsed_ms"] == 10_000


def test_metrics_hold_the_last_logs_progress_and_what_is_left() -> None:
    progress = {"kind": "note", "bytes": 1, "progress": {"step": 1, "total": 5, "message": "a"}}
    records = [header(SID, budget={"max_llm_calls": 5}), *map(log, range(25)), progress, prompt("q-0")]
    metrics = look(records)["metrics"]

    assert [each["message"] for each in metrics["recent_logs"]] == [f"line {number}" for number in range(5, 25)]
    assert metrics["recent_logs"][0] == {"ts": 1_000_000, "level": "info", "source": "main", "message": "line 5"}
    assert metrics["progress"] == {"step": 1, "total": 5, "message": "a"}
    assert metrics["budget_remaining"] == {"llm_calls": 4, "elapsed_ms": None, "tokens": None}
    assert metrics.keys() >= {"elapsed_ms", "llm_calls", "rounds", "tokens"}


def test_history_is_the_last_ten_turns_and_only_where_it_is_asked_for() -> None:
    found = look(rounds(12), include_history=True)["metrics"]["conversation_history"]

    assert [turn["query_id"] for turn in found] == [f"q-{n}" for n in range(2, 12)]
    assert found[0] == {
        "query_id": "q-2",
        "prompt": "prompt of q-2",
        "response": "a2",
        "prompt_tokens": 4,
        "response_tokens": 1,
        "started_at": 1_003_000,
        "completed_at": 1_003_500,
    }
    assert "conversation_history" not in look(rounds(1))["metrics"]


def test_what_was_read_from_the_environment_is_hidden() -> None:
    ctx = json.dumps({"env": {"inject": {"KEY": "hunter2-hunter2"}}})
    asked = prompt("q-0")
    asked["queries"][0]["prompt"] = "use hunter2-hunter2"

    assert "hunter2" not in json.dumps(look([header(SID, ctx=ctx), asked], "full"))


# ── logs, notes, sums ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def home(tmp_path: Any) -> Home:
    home = Home(tmp_path)
    for number, (strategy, count) in enumerate([("cot", 3), (None, 1), ("cot", 1), ("cot", 0)]):
        sid = sid_of(number, born_s=1.7e9)
        records = [{**rounds(0)[0], "sid": sid, "strategy": strategy}, *rounds(count)[1:], final(1100.0 + number)]
        write(home.finished_journal(sid), records)
    return home


def test_logs_are_those_that_asked_something_newest_first(home: Home) -> None:
    found = logs.logs(home, 50)

    assert [(each["session_id"], each["llm_calls"]) for each in found] == [
        (sid_of(number, born_s=1.7e9), calls) for number, calls in ((2, 1), (1, 1), (0, 3))
    ]
    assert found[0] == {
        "session_id": sid_of(2, born_s=1.7e9),
        "strategy": "cot",
        "task_hint": "made",
        "elapsed_ms": 102_000,
        "rounds": 1,
        "llm_calls": 1,
        "total_prompt_chars": 13,
        "total_response_chars": 2,
        "prompt_tokens": 4,
        "response_tokens": 1,
        "total_tokens": 5,
        "notes_count": 0,
    }
    assert len(logs.logs(home, 2)) == 2


def test_a_log_over_its_limit_loses_its_oldest_rounds_and_says_so(home: Home) -> None:
    sid = sid_of(0, born_s=1.7e9)
    whole = logs.log(home, sid, 0)

    assert [each["query_id"] for each in whole["transcript"]] == ["q-0", "q-1", "q-2"]
    assert (whole["task_hint"], "truncated" in whole) == ("prompt of q-0", False)
    assert logs.log(home, sid, len(json.dumps(whole))) == whole
    cut = logs.log(home, sid, len(json.dumps(whole)) - 1)
    assert [each["query_id"] for each in cut["transcript"]] == ["q-1", "q-2"]
    assert (cut["truncated"], cut["original_rounds"], cut["returned_rounds"]) == (True, 3, 2)
    assert logs.log(home, sid, 1)["transcript"] == []


def test_a_note_stays_with_its_log_and_goes_with_it(home: Home) -> None:
    sid = sid_of(0, born_s=1.7e9)

    assert [logs.note(home, sid, "good", title) for title in ("t", None)] == [1, 2]
    with open(home.annotations(sid), "ab") as file:
        file.write(b'{"cut')
    notes = logs.log(home, sid, 0)["notes"]
    assert [(each["title"], each["content"]) for each in notes] == [("t", "good"), (None, "good")]
    assert {each["session_id"]: each["notes_count"] for each in logs.logs(home, 9)}[sid] == 2
    assert home.annotations(sid).stat().st_mode & 0o777 == 0o600
    assert delete_session(home, sid)
    assert not home.annotations(sid).exists()


def test_only_what_is_over_has_a_log(home: Home) -> None:
    gone, unfinished = sid_of(9, born_s=1.7e9), sid_of(10, born_s=1.7e9)
    write(home.journal(unfinished), rounds(1))
    for sid in (gone, unfinished):
        with pytest.raises(Refused, match=f"Log file not found for session '{sid}'"):
            logs.log(home, sid, 0)
        with pytest.raises(Refused, match=f"Log file not found for session '{sid}'"):
            logs.note(home, sid, "x", None)


def test_what_has_just_ended_has_a_log_where_it_lies(home: Home) -> None:
    sid = sid_of(11, born_s=1.7e9)
    write(home.journal(sid), [{**rounds(0)[0], "sid": sid}, *rounds(1)[1:], final()])

    assert logs.log(home, sid, 0)["transcript"][0]["response"] == "a0"
    assert logs.note(home, sid, "x", None) == 1


def test_a_note_has_its_limits(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    sid = sid_of(0, born_s=1.7e9)
    with pytest.raises(Refused, match="at most 65536"):
        logs.note(home, sid, "x" * 70_000, None)
    monkeypatch.setattr(logs, "_NOTES", 0)
    with pytest.raises(Refused, match="has 0 notes, at most 0"):
        logs.note(home, sid, "x", None)

    assert not os.path.exists(home.annotations(sid))


def test_sums_are_by_strategy(home: Home) -> None:
    found = logs.sums(home, strategy=None, days=None)

    assert (found["total_sessions"], list(found["strategies"])) == (3, ["cot", "unknown"])
    cot = found["strategies"]["cot"]
    assert (cot["count"], cot["avg_llm_calls"], cot["total_tokens"]) == (2, 2.0, 20)
    assert cot["total_prompt_chars"] == 4 * 13
    assert list(logs.sums(home, strategy="cot", days=None)["strategies"]) == ["cot"]
    assert logs.sums(home, strategy=None, days=1) == {"total_sessions": 0, "strategies": {}}
