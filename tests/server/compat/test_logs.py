"""Logs, annotations and statistics of finished sessions, as upstream has them."""

import json
import os
from typing import Any

import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.errors import Refused
from algocline_mcp.history.retention import delete_session
from algocline_mcp.server.compat import logs
from tests.rig.journals import answered, final, sid_of, write


@pytest.fixture
def home(tmp_path: Any) -> Home:
    home = Home(tmp_path)
    for number, (strategy, count) in enumerate([("cot", 3), (None, 1), ("cot", 1), ("cot", 0)]):
        sid = sid_of(number, created_s=1.7e9)
        header, *rounds = answered(sid, count)
        records = [{**header, "strategy": strategy}, *rounds, final(1100.0 + number)]
        write(home.finished_journal(sid), records)
    return home


def test_logs_are_of_sessions_that_asked_a_prompt_newest_first(home: Home) -> None:
    lines = logs.list_logs(home, 50)

    assert [(line["session_id"], line["llm_calls"]) for line in lines] == [
        (sid_of(number, created_s=1.7e9), calls) for number, calls in ((2, 1), (1, 1), (0, 3))
    ]
    assert lines[0] == {
        "session_id": sid_of(2, created_s=1.7e9),
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
    assert len(logs.list_logs(home, 2)) == 2


def test_a_log_over_its_limit_omits_its_oldest_rounds_and_says_so(home: Home) -> None:
    sid = sid_of(0, created_s=1.7e9)
    whole = logs.read_log(home, sid, 0)

    assert [turn["query_id"] for turn in whole["transcript"]] == ["q-0", "q-1", "q-2"]
    assert (whole["task_hint"], "truncated" in whole) == ("prompt of q-0", False)
    assert logs.read_log(home, sid, len(json.dumps(whole))) == whole
    cut = logs.read_log(home, sid, len(json.dumps(whole)) - 1)
    assert [turn["query_id"] for turn in cut["transcript"]] == ["q-1", "q-2"]
    assert (cut["truncated"], cut["original_rounds"], cut["returned_rounds"]) == (True, 3, 2)
    assert logs.read_log(home, sid, 1)["transcript"] == []


def test_an_annotation_stays_with_its_log_and_is_deleted_with_it(home: Home) -> None:
    sid = sid_of(0, created_s=1.7e9)

    assert [logs.annotate(home, sid, "good", title) for title in ("t", None)] == [1, 2]
    with open(home.annotations(sid), "ab") as file:
        file.write(b'{"cut')
    notes = logs.read_log(home, sid, 0)["notes"]
    assert [(note["title"], note["content"]) for note in notes] == [("t", "good"), (None, "good")]
    assert {line["session_id"]: line["notes_count"] for line in logs.list_logs(home, 9)}[sid] == 2
    assert home.annotations(sid).stat().st_mode & 0o777 == 0o600
    assert delete_session(home, sid)
    assert not home.annotations(sid).exists()


def test_only_a_finished_session_has_a_log(home: Home) -> None:
    gone, unfinished = sid_of(9, created_s=1.7e9), sid_of(10, created_s=1.7e9)
    write(home.journal(unfinished), answered(unfinished, 1))
    for sid in (gone, unfinished):
        with pytest.raises(Refused, match=f"Log file not found for session '{sid}'"):
            logs.read_log(home, sid, 0)
        with pytest.raises(Refused, match=f"Log file not found for session '{sid}'"):
            logs.annotate(home, sid, "x", None)


def test_a_finished_session_that_is_not_archived_yet_has_a_log(home: Home) -> None:
    sid = sid_of(11, created_s=1.7e9)
    write(home.journal(sid), [*answered(sid, 1), final()])

    assert logs.read_log(home, sid, 0)["transcript"][0]["response"] == "a0"
    assert logs.annotate(home, sid, "x", None) == 1


def test_annotations_have_limits(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    sid = sid_of(0, created_s=1.7e9)
    with pytest.raises(Refused, match="at most 65536"):
        logs.annotate(home, sid, "x" * 70_000, None)
    monkeypatch.setattr(logs, "_MAX_ANNOTATIONS", 0)
    with pytest.raises(Refused, match="has 0 notes, at most 0"):
        logs.annotate(home, sid, "x", None)

    assert not os.path.exists(home.annotations(sid))


def test_statistics_are_by_strategy(home: Home) -> None:
    result = logs.statistics(home, strategy=None, days=None)

    assert (result["total_sessions"], list(result["strategies"])) == (3, ["cot", "unknown"])
    cot = result["strategies"]["cot"]
    assert (cot["count"], cot["avg_llm_calls"], cot["total_tokens"]) == (2, 2.0, 20)
    assert cot["total_prompt_chars"] == 4 * 13
    assert list(logs.statistics(home, strategy="cot", days=None)["strategies"]) == ["cot"]
    assert logs.statistics(home, strategy=None, days=1) == {"total_sessions": 0, "strategies": {}}
