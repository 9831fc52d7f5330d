"""Answers that do not fit the schema of their prompt: refused twice with the reason, then taken as they are."""

from typing import Any

import pytest

from algocline_mcp.session import misfits
from algocline_mcp.session.decisions import Decision, decide
from algocline_mcp.session.digests import query_digest
from algocline_mcp.session.events import Asked, Continue
from algocline_mcp.session.records import IllegalRecord, Record
from algocline_mcp.session.state import Phase, evolve, fold
from tests.session import histories
from tests.session.histories import History, query, said

AGE: Record = {"type": "object", "required": ["age"], "properties": {"age": {"type": "integer"}}}
BAD = '{"age": "x"}'
GOOD = '{"age": 7}'
REASON = 'the answer to q-0 does not fit: answer.age is "x" and not of type integer. q-0 stays open'


def asked(*queries: Record) -> History:
    history = History(histories.header())
    history.add(*decide(history.session, Asked("", queries, 1001.0)).records)
    return history


def hand_in(history: History, *answers: tuple[str, str], is_checked: bool = True) -> Decision:
    given = tuple(said(query_id, text) for query_id, text in answers)
    decision = decide(history.session, Continue(given, 2000.0, is_checked))
    history.add(*decision.records)
    return decision


def test_answer_that_does_not_fit_is_refused_with_the_reason_and_its_prompt_stays_open() -> None:
    history = asked(query("p", schema=AGE))
    decision = hand_in(history, ("q-0", BAD))

    assert decision.error is not None
    assert (decision.error.reason, decision.error.code) == (REASON, "misfit")
    assert decision.records == ({"kind": "misfit", "query_ids": ["q-0"], "t": 2000.0},)
    assert (history.session.phase, list(history.session.pending)) == (Phase.PAUSED, ["q-0"])
    assert hand_in(history, ("q-0", GOOD)).is_taken


def test_third_answer_that_does_not_fit_is_taken_also_after_a_revival() -> None:
    history = asked(query("p", schema=AGE))
    first, second = hand_in(history, ("q-0", BAD)), hand_in(history, ("q-0", BAD))
    revived = History(*history.records)
    third = hand_in(revived, ("q-0", BAD))

    assert [decision.is_taken for decision in (first, second, third)] == [False, False, True]
    assert revived.session.misfits == {}


def test_of_several_answers_those_that_fit_are_taken_and_the_others_named() -> None:
    history = asked(query("p", schema=AGE), query("p"), query("p", schema=AGE))
    decision = hand_in(history, ("q-0", BAD), ("q-1", "any"), ("q-2", GOOD))

    assert [record["kind"] for record in decision.records] == ["misfit", "answer"]
    assert [refusal.reason for refusal in decision.refused] == [REASON]
    assert (decision.error, list(history.session.pending)) == (None, ["q-0"])


def test_a_reason_is_cut_where_the_schema_is_long() -> None:
    history = asked(query("p", schema={"type": "object", "required": ["n" * 60_000]}))
    error = hand_in(history, ("q-0", "{}")).error

    assert error is not None
    assert error.reason.endswith("n…. q-0 stays open")
    assert len(error.reason) < 2_100


def test_where_no_answer_fits_the_error_names_the_first_ones() -> None:
    history = asked(*[query("p", schema={"type": "array"})] * 4)
    error = hand_in(history, ("q-9", "x"), *((f"q-{n}", "x") for n in range(4))).error

    assert error is not None
    assert [f"the answer to q-{n} does not fit: it has no" in error.reason for n in range(4)] == [True] * 4


@pytest.mark.parametrize(
    ("text", "more", "is_checked"),
    [
        (BAD, {}, False),  # the caller cannot correct it
        (BAD + " " * misfits.CHECKED_BYTES, {}, True),
        (BAD, {"title": "x" * misfits.CHECKED_BYTES}, True),
        (BAD, {"pattern2": 1}, True),  # a journal that another program wrote
        ('{"age": 1}', {}, True),
    ],
)
def test_answer_is_taken_unchecked(
    text: str, more: dict[str, Any], is_checked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = asked(query("p", schema=AGE | more))
    history.session.header["limits"] = {**history.session.limits, "answer_bytes": 1 << 20}

    assert hand_in(history, ("q-0", text), is_checked=is_checked).is_taken


def test_refusal_of_the_model_is_taken() -> None:
    history = asked(query("p", schema=AGE))

    assert decide(history.session, Continue((said("q-0", refuse="no"),), 2000.0, True)).is_taken


def test_schema_is_no_part_of_a_digest() -> None:
    assert query_digest(query("p", schema=AGE)) == query_digest(query("p"))
    assert query_digest(query("p", schema="x")) != query_digest(query("p"))


def test_label_is_no_part_of_a_digest() -> None:
    assert (
        query_digest(query("p", label="a", schema=AGE))
        == query_digest(query("p", label="b"))
        == query_digest(query("p"))
    )
    assert query_digest(query("p", label=5)) != query_digest(query("p")), "an option of the host"


@pytest.mark.parametrize("ids", [[], ["q-1"], ["q-0", "q-0"]])
def test_record_of_a_query_that_is_not_open_is_refused(ids: list[str]) -> None:
    history = asked(query("p", schema=AGE))

    with pytest.raises(IllegalRecord):
        evolve(history.session, {"kind": "misfit", "query_ids": ids, "t": 5.0})


def test_fold_of_the_records_is_the_session() -> None:
    history = asked(query("p", schema=AGE))
    hand_in(history, ("q-0", BAD))

    assert fold(history.records) == history.session
