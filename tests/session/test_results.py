"""Results: what a host gets to see, the records of an engine's messages, and the counts of a result."""

from typing import Any

import pytest

from algocline_mcp.session.decisions import decide
from algocline_mcp.session.digests import query_digest
from algocline_mcp.session.events import Answer, Asked, Called, Ended, Logged
from algocline_mcp.session.records import Record
from algocline_mcp.session.results import computing_s, metrics, summary, view
from algocline_mcp.session.state import Session, evolve
from algocline_mcp.session.streams import MAIN
from algocline_mcp.session.usage import byte_size, estimate_tokens
from tests.session import histories
from tests.session.histories import BORN_S, History, Start, header, query, said

STUCK = {
    "error_code": "crash_loop",
    "error": "the engine died 3 times in this step, last: ended by SIGSEGV",
    "next": "alc_status with wait_s tries again; if the engine dies again, start the strategy anew with less work",
}
Q0, Q1 = {"id": "q-0", **query("p")}, {"id": "q-1", **query("r")}

# history, runtimes that compute, whether an answer was just taken -> the feed result
VIEWS: list[tuple[Start, int, bool, Record]] = [
    (histories.running, 1, False, {"Running": {"elapsed_s": 4000.0}}),
    (histories.running, 0, True, {"Running": {"elapsed_s": 4000.0}}),
    (histories.paused, 0, False, {"Paused": {"queries": [Q0]}}),
    (histories.paused_at_two, 0, False, {"Paused": {"queries": [Q0, Q1]}}),
    (histories.paused_at_two, 0, True, {"Accepted": {"remaining": 2, "pending": ["q-0", "q-1"]}}),
    (histories.paused_at_two, 1, True, {"Paused": {"queries": [Q0, Q1], "running": 1}}),
    (histories.running_beside_a_prompt, 2, False,
     {"Paused": {"queries": [{"id": "f-0-0", **query("p")}], "running": 2}}),
    (histories.stuck, 0, False, {"Stuck": STUCK}),
    (histories.stuck, 0, True, {"Stuck": STUCK}),
    (histories.stuck, 1, False, {"Running": {"elapsed_s": 4000.0}}),
    (histories.stuck_at_a_prompt, 0, False, {"Stuck": STUCK}),
    (histories.stuck_at_a_prompt, 1, False, {"Paused": {"queries": [Q0], "running": 1}}),
]  # fmt: skip


@pytest.mark.parametrize(("start", "computing", "accepted", "expected"), VIEWS)
def test_unfinished_session_is_told_as(start: Start, computing: int, accepted: bool, expected: Record) -> None:
    assert view(start().session, now_s=5000.0, computing=computing, accepted=accepted) == expected


def test_a_session_computes_since_its_start_or_the_answer_that_let_it_go_on() -> None:
    """Whatever is recorded meanwhile: a prompt of one child, the end of another."""
    at = {"s": 0, "stream": "0"}
    records: list[tuple[Record, float | None]] = [
        (header(), 0.0),
        ({"kind": "fork", "strategies": ["a", "b"], "first": 0, "on_error": "skip", "ctx": {}, "t": 1010.0}, 0.0),
        ({"kind": "prompt", "queries": [{"id": "f-0-0", "digest": "x", **query("p"), "stream": "0"}], "t": 1020.0} | at,
         0.0),
        ({"kind": "end", "stream": "1", "result": 1, "t": 1030.0}, None),
        ({"kind": "answer", "answers": [{"id": "f-0-0", "response": "a"}], "t": 1040.0}, 40.0),
        ({"kind": "end", "stream": "0", "result": 1, "t": 1050.0}, 40.0),
    ]  # fmt: skip
    session = Session()

    for record, since_s in records:
        evolve(session, record)
        if since_s is not None:
            assert computing_s(session, now_s=1100.0) == 100.0 - since_s


ENDS: list[tuple[Start, Any]] = [
    (histories.completed, {"Completed": {"result": {"x": 1}}}),
    (histories.failed, {"Failed": {"error": "strategy:1: boom"}}),
    (histories.cancelled, "Cancelled"),
]


@pytest.mark.parametrize(("start", "state"), ENDS)
def test_finished_session_is_told_with_its_state_and_counts(start: Start, state: Any) -> None:
    history = start()

    result = view(history.session, now_s=5000.0, computing=1, accepted=True)

    assert result == {"Finished": {"state": state, "metrics": metrics(history.session, 5000.0)}}


def test_completed_result_that_is_null_is_still_a_result() -> None:
    result = view(histories.running().end(result=None).session, now_s=0)

    assert result["Finished"]["state"] == {"Completed": {"result": None}}


def test_prompt_is_told_with_its_options_and_without_digest_and_stream() -> None:
    asked = query("p", "s", grounded=True, temperature=0.5)

    result = view(histories.forked().ask(asked, stream="0").session, now_s=0)

    assert result["Paused"]["queries"] == [{"id": "f-0-0", **asked}]


def test_line_of_a_list_shows_what_waits() -> None:
    line = summary(histories.paused_at_two().session, worker="none")

    assert line == {
        "session_id": "p-1-0123456789abcdef",
        "title": "review",
        "status": "needs_response",
        "language": "lua",
        "worker": "none",
        "created_at": BORN_S,
        "last_activity_at": BORN_S + 1,
        "pending": ["q-0", "q-1"],
    }


def test_line_of_a_session_that_waits_for_nothing_lists_no_pending() -> None:
    assert "pending" not in summary(histories.cancelled().session, worker="live")


# ── records of an engine's words ──────────────────────────────────────────────────────────────────────────

CALLS: list[tuple[Called, Record]] = [
    (Called(MAIN, "time", (), {"result": 1.5}), {"kind": "effect", "name": "time", "args": [], "result": 1.5}),
    (Called("0", "env", ("A",), {"result": None}),
     {"kind": "effect", "name": "env", "args": ["A"], "result": None, "stream": "0"}),
    (Called(MAIN, "time", (), {"result": 1.5}, times=3),
     {"kind": "effect", "name": "time", "args": [], "result": 1.5, "times": 3}),
    (Called(MAIN, "module", ("m",), {"error": "gone"}),
     {"kind": "module", "name": "module", "args": ["m"], "error": "gone"}),
]  # fmt: skip


@pytest.mark.parametrize(("event", "record"), CALLS)
def test_call_is_recorded_with_its_outcome(event: Called, record: Record) -> None:
    assert decide(histories.running().session, event).records == (record,)


def test_prompt_is_recorded_with_ids_and_digests() -> None:
    (record,) = decide(histories.paused().session, Asked(MAIN, (query("p"), query("r", "s", n=1)), 9.0)).records

    assert record == {
        "kind": "prompt",
        "queries": [
            {"id": "q-1", "digest": query_digest(query("p")), **query("p")},
            {"id": "q-2", "digest": query_digest(query("r", "s", n=1)), **query("r", "s", n=1)},
        ],
        "t": 9.0,
    }


def test_digest_tells_prompts_apart_and_ignores_the_order_of_options() -> None:
    one = {"prompt": "p", "system": None, "max_tokens": 5, "a": 1, "b": 2}
    turned = dict(reversed(one.items()))
    others = [one | {"prompt": "q"}, one | {"system": ""}, one | {"max_tokens": 6}, one | {"a": 2}, query("p")]

    digests = {query_digest(each) for each in others}

    assert query_digest(turned) == query_digest(one)
    assert len(digests) == len(others)
    assert query_digest(one) not in digests


@pytest.mark.parametrize(("outcome", "status"), [({"result": None}, "completed"), ({"error": "e"}, "error")])
def test_end_is_recorded_as(outcome: Record, status: str) -> None:
    records = decide(histories.running().session, Ended(MAIN, outcome, 9.0)).records

    assert records == ({"kind": "final", "status": status, **outcome, "t": 9.0},)


def test_log_that_is_full_says_so_once_and_keeps_no_more() -> None:
    history = histories.running()
    line = Logged(MAIN, {"level": "info", "message": "x" * 60})

    kept = [len(history.do(line).records) for _ in range(5)]

    notes = [record for record in history.records if record["kind"] == "note"]
    assert kept == [1, 1, 1, 0, 0]
    assert notes[0]["message"] == "x" * 60
    assert (notes[2]["level"], notes[2]["message"]) == ("warn", "log full at 200 bytes: no more is kept")
    assert histories.History(*history.records).session == history.session


def test_progress_is_remembered_and_log_lines_leave_it() -> None:
    history = histories.forked()
    progress = {"step": 1, "total": 5, "message": None}

    history.do(Logged(MAIN, {"progress": progress}))
    history.do(Logged("0", {"level": "info", "message": "m"}))

    assert history.session.progress == progress
    assert history.records[-1]["stream"] == "0"


def test_prompt_ends_a_row_of_strikes() -> None:
    history = histories.struck_twice().ask("p")
    history.answer(said("q-0", "a"))

    history.die(2)

    assert history.session.phase == "running"


# ── counts, as upstream has them ──────────────────────────────────────────────────────────────────────────


def auto(history: History) -> Record:
    counts: Record = metrics(history.session, history.now_s)["auto"]
    return counts


def tokens(history: History) -> list[tuple[int, str]]:
    counts = auto(history)
    return [
        (counts[name]["tokens"], counts[name]["source"])
        for name in ("prompt_tokens", "response_tokens", "total_tokens")
    ]


def one_call(answer: Answer | None = None, system: str | None = None) -> History:
    history = histories.running().ask(query("What is 2+2?", system))
    if answer is not None:
        history.answer(answer)
    return history.end()


E = "estimated"
TOKENS: list[tuple[str, History, list[tuple[int, str]]]] = [
    ("estimated", one_call(said("q-0", "4"), "terse, x"), [(5, E), (1, E), (6, E)]),
    ("provided", one_call(said("q-0", "4", usage={"prompt_tokens": 100, "completion_tokens": 7})),
     [(100, "provided"), (7, "provided"), (107, "provided")]),
    ("completion only", one_call(said("q-0", "4", usage={"completion_tokens": 7})), [(3, E), (7, "provided"), (10, E)]),
    ("prompt only", one_call(said("q-0", "4", usage={"prompt_tokens": 9}), "s"),
     [(9, "provided"), (1, E), (10, E)]),
    ("no prompt", histories.completed(), [(0, "definite")] * 3),
    ("unanswered", one_call(), [(3, E), (0, E), (3, E)]),
    ("refused", one_call(said("q-0", refuse="no")), [(3, E), (0, E), (3, E)]),
]  # fmt: skip


@pytest.mark.parametrize(("history", "expected"), [case[1:] for case in TOKENS], ids=[case[0] for case in TOKENS])
def test_tokens_are_counted_with_their_source(history: History, expected: list[tuple[int, str]]) -> None:
    assert tokens(history) == expected


def test_one_call_counts_once() -> None:
    counts = auto(one_call(said(None, "4")))

    assert [counts[name] for name in ("llm_calls", "rounds", "pauses")] == [1, 1, 1]
    assert counts["elapsed_ms"] == 3000


def test_batch_counts_its_bytes_and_one_round() -> None:
    history = histories.History(header(limits=histories.LIMITS | {"answer_bytes": 100}))
    history.ask(query("p" * 5), query("p" * 5, "sss"))

    history.answer(said("q-1", "x" * 58))
    history.answer(said("q-0", "x" * 42))

    counts = auto(history)
    assert (counts["total_prompt_chars"], counts["total_response_chars"]) == (13, 100)
    assert [counts[name] for name in ("llm_calls", "rounds", "pauses")] == [2, 1, 1]


def test_mixed_sources_make_an_estimate() -> None:
    history = histories.paused_at_two()
    history.answer(said("q-0", "a", usage={"prompt_tokens": 10, "completion_tokens": 10}), said("q-1", "a"))

    assert tokens(history) == [(11, E), (11, E), (22, E)]


@pytest.mark.parametrize(
    ("text", "count"), [("", 0), ("hello world", 3), ("あいう", 2), ("hello あ", 3), ("a", 1), ("é", 1)]
)
def test_estimate_of_tokens(text: str, count: int) -> None:
    assert estimate_tokens(text) == count


@pytest.mark.parametrize(("text", "size"), [("", 0), ("abc", 3), ("é", 2), ("あ", 3), ("😀", 4), ("\ud800", 1)])
def test_size_is_in_bytes_of_utf8(text: str, size: int) -> None:
    assert byte_size(text) == size


def test_clock_that_went_back_counts_no_negative_time() -> None:
    assert metrics(histories.running().session, BORN_S - 5)["auto"]["elapsed_ms"] == 0


def test_fresh_session_is_new() -> None:
    assert Session().phase == "new"


BY = [
    ([{"id": "q-0"}, {"id": "q-1"}], "2 prompts that are meant to be independent were answered in one call"),
    ([{"id": "q-0", "by": "agent 1"}, {"id": "q-1", "by": "agent 2"}], ""),
    ([{"id": "q-0"}, {"id": "q-1", "by": "agent 2"}], ""),
]


@pytest.mark.parametrize("is_independent", [True, False])
@pytest.mark.parametrize(("answers", "sentence"), BY)
def test_result_warns_where_one_call_answers_independent_prompts_without_saying_by_whom(
    answers: list[Record], sentence: str, is_independent: bool
) -> None:
    session = Session()
    option = {"independent": True} if is_independent else {}
    queries = [{"id": f"q-{n}", "digest": "x", **query("p"), **option} for n in (0, 1)]
    records: list[Record] = [
        header(),
        {"kind": "prompt", "queries": queries, "t": 1020.0},
        {"kind": "answer", "answers": [{**answer, "response": "a"} for answer in answers], "t": 1040.0},
        {"kind": "final", "status": "completed", "result": 1, "warnings": ["own"], "t": 1050.0},
    ]

    for record in records:
        evolve(session, record)

    own, *others = view(session, now_s=1060.0)["Finished"]["state"]["Completed"]["warnings"]
    assert own == "own"
    assert [other[: len(sentence)] for other in others] == [sentence] * bool(sentence and is_independent)
