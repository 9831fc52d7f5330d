"""Decisions on answers: accepted items, refused items, and the sentence of every refusal."""

import copy

import pytest

from algocline_mcp.session.decisions import decide
from algocline_mcp.session.events import Answer, Continue, Logged
from algocline_mcp.session.refusals import Refusal
from algocline_mcp.session.results import view
from algocline_mcp.session.state import Phase
from tests.session import histories
from tests.session.histories import History, Start, said

SECOND = (
    "already responded to query_id: q-0 with another text; the first answer stands: "
    "go on with what the session asks now"
)
NEEDED = "an answer after the first prompt needs its query_id: send it again with the id of this prompt"


def answered_once() -> History:
    """The second prompt, q-1, is open."""
    history = histories.paused()
    history.answer(said("q-0", "a"))
    return history.ask("r")


def half_answered() -> History:
    history = histories.paused_at_two()
    history.answer(said("q-1", "b"))
    return history


def computing_after_two() -> History:
    history = answered_once()
    history.answer(said("q-1", "b"))
    return history


# the whole call is refused: history, answers, query_id, code, sentence
REFUSED: list[tuple[Start, list[Answer], str | None, str, str]] = [
    (histories.paused, [], None, "no_answer",
     "Either 'response' or 'responses' must be provided; pending: q-0"),
    (histories.running, [], None, "no_answer",
     "Either 'response' or 'responses' must be provided; nothing is pending: the session is running"),
    (histories.paused, [said("q-9", "a")], "q-9", "unknown_query", "unknown query_id: q-9; pending: q-0"),
    (histories.paused_at_two, [said("q-01", "a")], "q-01", "unknown_query",
     "unknown query_id: q-01; pending: q-0, q-1"),
    (histories.paused, [said("", "a")], "", "unknown_query", "unknown query_id: ; pending: q-0"),
    (histories.running, [said("q-0", "a")], "q-0", "unknown_query",
     "unknown query_id: q-0; nothing is pending: the session is running"),
    (histories.cancelled, [said("q-0", "a")], "q-0", "unknown_query",
     "q-0 is no longer asked: the session was cancelled; nothing is pending: the session is finished"),
    (histories.paused_at_two, [said(None, "a")], None, "query_id_missing",
     "2 queries pending; specify query_id explicitly; pending: q-0, q-1"),
    (histories.running, [said(None, "a")], None, "not_waiting",
     "this session does not wait for an answer: it is running"),
    (histories.completed, [said(None, "a")], None, "not_waiting",
     "this session does not wait for an answer: it is finished"),
    (histories.cancelled, [said(None, "a")], None, "not_waiting",
     "this session does not wait for an answer: it is finished"),
    (computing_after_two, [said(None, "a")], None, "not_waiting",
     "this session does not wait for an answer: it is running"),
    (histories.paused, [said("q-0", "x" * 21)], "q-0", "too_large",
     "answer of 21 bytes to q-0: the answers of one pause may hold 20 bytes; shorten it"),
    (histories.paused, [said("q-0", refuse="é" * 11)], "q-0", "too_large",
     "answer of 22 bytes to q-0: the answers of one pause may hold 20 bytes; shorten it"),
    (half_answered, [said("q-0", "x" * 20)], "q-0", "too_large",
     "answer of 20 bytes to q-0: the answers of one pause may hold 20 bytes; shorten it"),
]  # fmt: skip


@pytest.mark.parametrize(("start", "answers", "query_id", "code", "sentence"), REFUSED)
def test_call_is_refused_with_its_sentence_and_changes_nothing(
    start: Start, answers: list[Answer], query_id: str | None, code: str, sentence: str
) -> None:
    history = start()
    before = repr(history.session)

    decision = decide(history.session, Continue(tuple(answers), 9.0))

    assert decision.error == Refusal(query_id, sentence, code)
    assert decision.records == ()
    assert repr(history.session) == before


def test_every_refusal_of_several_is_told_and_the_first_is_the_error() -> None:
    decision = answered_once().answer(said("q-0", "other"), said("q-9", "a"), said(None, "b"))

    assert [each.code for each in decision.refused] == ["already_answered", "unknown_query", "query_id_needed"]
    assert decision.error == decision.refused[0]


def test_answer_is_taken_as_it_was_said() -> None:
    history = histories.paused()

    decision = history.answer(said("q-0", "a", usage={"prompt_tokens": 3}, by="opus"))

    item = {"id": "q-0", "response": "a", "usage": {"prompt_tokens": 3}, "by": "opus"}
    assert decision.records == ({"kind": "answer", "answers": [item], "t": history.now_s},)
    assert decision.refused == ()
    assert decision.error is None


def test_refusal_of_the_host_is_an_answer() -> None:
    history = histories.paused()

    decision = history.answer(said("q-0", refuse="no browser here"))

    assert decision.records[0]["answers"] == [{"id": "q-0", "refuse": "no browser here"}]
    assert history.session.phase is Phase.RUNNING


def test_empty_response_is_an_answer() -> None:
    history = histories.paused()

    decision = history.answer(said("q-0", ""))

    assert decision.records[0]["answers"] == [{"id": "q-0", "response": ""}]


REPEATS = {
    "named": [said("q-0", "a")],
    "by another, at another price": [said("q-0", "a", usage={"prompt_tokens": 1}, by="a person")],
    "twice in one call": [said("q-0", "a"), said("q-0", "a")],
    "beside a bad one": [said("q-9", "a"), said("q-0", "a")],
}


@pytest.mark.parametrize("answers", REPEATS.values(), ids=REPEATS.keys())
def test_repeated_answer_gets_the_current_state(answers: list[Answer]) -> None:
    history = answered_once()

    decision = history.answer(*answers)

    assert decision.records == ()
    assert decision.error is None
    assert list(history.session.pending) == ["q-1"]


def test_repeated_answer_to_the_first_prompt_needs_no_query_id_while_nothing_else_was_asked() -> None:
    history = histories.paused()
    history.answer(said(None, "a"))

    repeat, other = history.answer(said(None, "a")), history.answer(said(None, "b"))

    assert (repeat.records, repeat.refused, repeat.error) == ((), (), None)
    assert (other.records, other.refused, other.error) == ((), (Refusal("q-0", SECOND, "already_answered"),), None)


@pytest.mark.parametrize("second", [said("q-0", "other"), said("q-0", refuse="a")])
def test_second_of_two_answers_is_refused_and_gets_the_current_state(second: Answer) -> None:
    history = answered_once()

    decision = history.answer(second)

    assert (decision.records, decision.error) == ((), None)
    assert decision.refused == (Refusal("q-0", SECOND, "already_answered"),)
    assert list(history.session.pending) == ["q-1"]


@pytest.mark.parametrize("start", [histories.completed_after_an_answer, histories.cancelled])
def test_answer_sent_again_after_the_end_is_no_offence_if_it_was_taken(start: Start) -> None:
    history = start()
    taken = bool(history.session.answered)

    decision = history.answer(said("q-0", "a"))

    assert decision.records == ()
    assert (decision.error is None) is taken


def test_same_id_twice_in_one_call_takes_the_first_text() -> None:
    history = histories.paused()

    decision = history.answer(said("q-0", "first"), said("q-0", "second"))

    assert decision.records[0]["answers"] == [{"id": "q-0", "response": "first"}]
    assert [each.code for each in decision.refused] == ["already_answered"]


BAD = {
    "unknown_query": said("q-9", "a"),
    "already_answered": said("q-0", "other"),
    "too_large": said("q-2", "x" * 21),
    "query_id_needed": said(None, "a"),
}


@pytest.mark.parametrize("index", range(3))
@pytest.mark.parametrize("code", BAD)
def test_one_bad_item_costs_the_good_ones_nothing(code: str, index: int) -> None:
    history = histories.running().ask("p", "r", "s", "t")
    history.answer(said("q-0", "a"))
    answers = [said("q-3", "d"), said("q-1", "b")]
    answers.insert(index, BAD[code])

    decision = history.answer(*answers)

    assert [item["id"] for item in decision.records[0]["answers"]] == ["q-3", "q-1"]
    assert [(each.query_id, each.code) for each in decision.refused] == [(BAD[code].query_id, code)]
    assert decision.error is None
    assert list(history.session.pending) == ["q-2"]


def test_unnamed_answer_means_the_first_prompt() -> None:
    decision = histories.paused().answer(said(None, "a"))

    assert decision.records[0]["answers"] == [{"id": "q-0", "response": "a"}]


@pytest.mark.parametrize("start", [answered_once, half_answered])
def test_unnamed_answer_later_is_not_taken_and_the_current_prompt_comes_back(start: Start) -> None:
    decision = start().answer(said(None, "a"))

    assert decision.records == ()
    assert decision.refused == (Refusal(None, NEEDED, "query_id_needed"),)
    assert decision.error is None


def test_unnamed_answer_to_a_cancelled_session_means_none_of_the_queries_it_had_asked() -> None:
    history = answered_once()
    history.cancel()

    decision = history.answer(said(None, "a"), said("q-0", "a"))

    assert [(each.query_id, each.code) for each in decision.refused] == [(None, "not_waiting")]


def test_answers_of_one_pause_share_its_room() -> None:
    history = histories.paused_at_two()

    decision = history.answer(said("q-0", "x" * 12), said("q-1", "x" * 9))
    second = history.answer(said("q-1", "x" * 8))

    assert [item["id"] for item in decision.records[0]["answers"]] == ["q-0"]
    assert [each.code for each in decision.refused] == ["too_large"]
    assert [item["id"] for item in second.records[0]["answers"]] == ["q-1"]


def test_each_pause_has_room_of_its_own() -> None:
    history = histories.forked().ask("p", stream="0").ask("r", stream="1")

    history.answer(said("f-0-0", "x" * 20))
    second = history.answer(said("f-1-0", "x" * 20))
    third = history.ask("s", stream="1").answer(said("f-1-1", "x" * 20))

    assert second.error is None
    assert third.error is None


def test_batch_is_answered_in_any_order_and_in_parts() -> None:
    history = histories.running().ask("p", "r", "s")
    phases, pending = [], []

    for query_id in ("q-2", "q-0", "q-1"):
        history.answer(said(query_id, "a"))
        phases.append(history.session.phase)
        pending.append(list(history.session.pending))

    assert phases == [Phase.PAUSED, Phase.PAUSED, Phase.RUNNING]
    assert pending == [["q-0", "q-1"], ["q-1"], []]


def test_answers_of_one_call_are_one_record_in_the_order_of_the_call() -> None:
    decision = histories.running().ask("p", "r", "s").answer(said("q-2", "c"), said("q-0", "a"))

    assert len(decision.records) == 1
    assert [item["id"] for item in decision.records[0]["answers"]] == ["q-2", "q-0"]


def test_deciding_changes_nothing() -> None:
    history = histories.paused_at_two()
    before = copy.deepcopy(history.session)

    decide(history.session, Continue((said("q-0", "a"), said("q-9", "b"), said(None, "c")), 9.0))

    assert history.session == before
    assert view(history.session, now_s=9.0) == view(before, now_s=9.0)


def test_log_line_of_an_engine_that_comes_back_to_the_open_prompt_is_not_recorded() -> None:
    """It ended the keeper, and each that followed: no such record may come while a session is paused."""
    history = histories.paused()

    decision = history.do(Logged("", {"level": "info", "message": "more than before"}))

    assert decision.records == ()
