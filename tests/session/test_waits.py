"""Waits for any answer: when a stream can go on, what a delivery holds, and which waits are refused."""

import re
from typing import Any

import pytest

from algocline_mcp.session.decisions import decide
from algocline_mcp.session.events import Continue
from algocline_mcp.session.records import IllegalRecord, Record
from algocline_mcp.session.results import children, view
from algocline_mcp.session.state import Phase, evolve, fold
from algocline_mcp.session.waits import Waits, refusal
from tests.session import histories
from tests.session.histories import History, query, said


def last(history: History) -> Record:
    return history.records[-1]


def two_tasks() -> History:
    """The answer to q-1 let one task ask q-2, while q-0 is open."""
    history = histories.running().wait("a", "b")
    history.answer(said("q-1", "B"))
    return history.deliver().wait("c")


def test_any_answer_lets_the_stream_go_on_while_the_others_stay_open() -> None:
    history = histories.running().wait("a", "b", "c")
    before = history.session.phase

    history.answer(said("q-1", "B"))

    assert (before, history.session.phase) == (Phase.PAUSED, Phase.RUNNING)
    assert list(history.session.pending) == ["q-0", "q-2"]
    history.deliver()
    assert last(history) == {"kind": "delivery", "answered": [[1, "q-1"]], "t": history.now_s}


def test_delivery_holds_all_answers_that_are_there_in_the_order_of_asking() -> None:
    history = two_tasks()
    history.answer(said("q-2", "C"), said("q-0", "A"))

    history.deliver()

    assert last(history)["answered"] == [[0, "q-0"], [2, "q-2"]]
    assert history.session.streams[""].waits.undelivered == {}


def test_hosts_see_the_open_queries_of_all_waits() -> None:
    shown = view(two_tasks().session, now_s=0.0)

    assert [each["id"] for each in shown["Paused"]["queries"]] == ["q-0", "q-2"]


def test_answer_that_comes_while_the_stream_computes_waits_for_the_next_wait() -> None:
    history = two_tasks()
    history.answer(said("q-2", "C"))
    history.deliver()
    history.answer(said("q-0", "A"))
    history.ask("now")  # a plain prompt in between
    blocked = history.session.phase
    history.answer(said("q-3", "N"))
    history.wait().deliver()

    assert blocked is Phase.PAUSED
    assert last(history)["answered"] == [[0, "q-0"]]


def test_timer_alone_keeps_the_session_running_until_it_fires() -> None:
    history = histories.asleep()
    running = view(history.session, now_s=history.now_s + 2)

    history.deliver()

    assert running == {"Running": {"elapsed_s": 3.0}}
    assert last(history) == {"kind": "delivery", "answered": [], "t": history.now_s}
    assert history.session.usage.pauses == 0


def test_timer_that_fires_while_a_query_is_open_leaves_it_open() -> None:
    history = histories.waiting().deliver()

    assert history.session.phase is Phase.RUNNING
    assert list(history.session.pending) == ["q-0", "q-1"]


@pytest.mark.parametrize("start", [two_tasks, histories.waiting, histories.waiting_with_an_answer, histories.asleep])
def test_session_is_the_same_after_a_way_through_the_journal(start: histories.Start) -> None:
    history = start()

    assert fold(history.records) == history.session


def test_what_a_wait_withdraws_is_asked_no_longer() -> None:
    history = two_tasks()
    history.answer(said("q-2", "C"))
    history.deliver().wait("d", withdrawn=(0,))

    decision = history.answer(said("q-0", "late"))

    assert last(history)["withdrawn"] == ["q-0"]
    assert list(history.session.pending) == ["q-3"]
    assert decision.error is not None
    assert decision.error.reason == (
        "q-0 is no longer asked: the strategy waits for it no more, because its time was up or its task was cancelled; "
        "pending: q-3"
    )
    taken = history.answer(said("q-0", "late"), said("q-3", "D"))
    assert [refusal.query_id for refusal in taken.refused] == ["q-0"]
    assert history.deliver().session.streams[""].waits.undelivered == {}


def test_what_was_answered_before_it_is_withdrawn_is_delivered() -> None:
    history = two_tasks()
    history.answer(said("q-2", "C"))
    history.deliver()
    history.answer(said("q-0", "A"))

    history.wait("d", withdrawn=(0, 1, 2, 99, -1)).deliver()

    assert "withdrawn" not in history.records[-2]
    assert last(history)["answered"] == [[0, "q-0"]]


def test_open_queries_are_withdrawn_when_the_strategy_ends() -> None:
    history = two_tasks()
    history.answer(said("q-2", "C"))
    history.deliver().end()

    decision = history.answer(said("q-0", "late"))

    assert history.session.pending == {}
    assert decision.error is not None
    assert decision.error.reason == (
        "q-0 is no longer asked: its strategy has ended without the answer; nothing is pending: the session is finished"
    )


def test_open_queries_of_a_child_are_withdrawn_when_it_ends() -> None:
    history = histories.forked().wait("a", wake_s=1, stream="0").deliver("0").end("0").ask("p", stream="1")

    decision = history.answer(said("f-0-0", "late"))

    assert list(history.session.pending) == ["f-1-0"]
    assert decision.error is not None
    assert decision.error.reason == (
        "f-0-0 is no longer asked: its strategy has ended without the answer; pending: f-1-0"
    )


def test_child_that_waits_needs_a_response_and_one_that_sleeps_is_running() -> None:
    history = histories.forked().wait("a", stream="0").wait(wake_s=9, stream="1")

    assert [child["status"] for child in children(history.session)] == ["needs_response", "running"]


def test_answers_that_are_not_delivered_share_the_room_for_answers() -> None:
    history = two_tasks()
    history.answer(said("q-2", "C"))
    history.deliver().wait("d")
    history.answer(said("q-0", "x" * 15), said("q-3", "y" * 6))

    refused = decide(history.session, Continue((said("q-3", "y" * 6),), 9.0)).error
    history.deliver()
    taken = decide(history.session, Continue((said("q-3", "y" * 20),), 9.0)).error

    assert refused is not None
    assert refused.code == "too_large"
    assert taken is None


def test_timer_is_overdue_from_its_time_on_as_long_as_the_stream_waits() -> None:
    history = histories.running().wait("a", wake_s=60)
    due_s = history.now_s + 60

    assert [history.session.is_overdue(due_s + more) for more in (-1, 0, 1)] == [False, True, True]
    assert not histories.running().wait("a").session.is_overdue(due_s)
    assert not history.deliver().session.is_overdue(due_s)


def test_timer_of_a_branch_counts_from_its_beginning() -> None:
    records = histories.running().wait("a", wake_s=60).records
    branch = fold([records[0] | {"t": 5000.0}, *records[1:]])

    assert [branch.is_overdue(now_s) for now_s in (4000.0, 5059.0, 5060.0)] == [False, False, True]


def test_time_of_a_timer_counts_as_that_of_an_answer() -> None:
    history = History(histories.header(limits={**histories.LIMITS, "budget_wait_s": 3})).wait(wake_s=900)
    history.now_s += 900

    history.deliver()

    assert history.session.elapsed.budget_s == 4.0  # one to the wait, and at most three for it


PROMPT: dict[str, Any] = {"kind": "prompt", "queries": [{"id": "q-7", "digest": "d", **query("p")}], "t": 5.0}
FOREIGN: dict[str, Record] = {
    "delivery of what is not answered": {"answered": [[0, "q-0"]]},
    "delivery under another number": {"answered": [[0, "q-1"]]},
    "delivery of less than there is": {"answered": []},
    "delivery of more than there is": {"answered": [[0, "q-0"], [1, "q-1"]]},
    "delivery to a stream that never was": {"answered": [[1, "q-1"]], "stream": "7"},
    "prompt of a stream that waits": PROMPT,
    "wait of a stream that waits": PROMPT | {"wait": True},
    "prompt of nothing": {"kind": "prompt", "queries": [], "t": 5.0},
    "fork of a stream that waits": {
        "kind": "fork", "strategies": ["a"], "first": 0, "ctx": {}, "on_error": "skip", "t": 5.0,
    },
}  # fmt: skip


@pytest.mark.parametrize("record", FOREIGN.values(), ids=FOREIGN.keys())
def test_record_that_does_not_fit_is_illegal_and_changes_nothing(record: Record) -> None:
    history = histories.waiting_with_an_answer()
    before = repr(history.session)

    with pytest.raises(IllegalRecord):
        evolve(history.session, {"kind": "delivery", "t": 5.0, **record})

    assert repr(history.session) == before


@pytest.mark.parametrize(
    "fields",
    [
        {"wait": True, "withdrawn": ["q-1"]},
        {"wait": True, "withdrawn": ["q-2"]},
        {"wait": True, "withdrawn": ["q-9"]},
        {"wait": True, "withdrawn": ["q-0", "q-0"]},
        {"wait": True, "withdrawn": [0]},
        {"withdrawn": ["q-0"]},
    ],
    ids=["answered", "of another prompt", "never asked", "twice", "a number", "without a wait"],
)
def test_withdrawal_of_what_no_wait_has_open_is_illegal(fields: Record) -> None:
    history = two_tasks()
    history.answer(said("q-2", "C"))
    history.deliver().ask("plain")
    history.answer(said("q-3", "P"))

    with pytest.raises(IllegalRecord):
        evolve(history.session, PROMPT | fields)


def test_delivery_of_nothing_needs_a_timer() -> None:
    history = histories.running().wait("a")

    with pytest.raises(IllegalRecord):
        evolve(history.session, {"kind": "delivery", "t": 5.0, "answered": []})


LIMITS = {"queries": 3, "prompt_bytes": 200}


def waits_of(history: History) -> Waits:
    return history.session.streams[""].waits


REFUSED: dict[str, tuple[History, list[Record], bool, str]] = {
    "nothing to wait for": (histories.running(), [], True, "no query is open and no timer is set"),
    "many beside the open ones": (two_tasks(), [query("p")] * 2, True, "2 prompts beside 2 .* at most 3 together"),
    "long beside the open ones": (two_tasks(), [query("p" * 50)], False, "beside .* at most 200 together"),
}


@pytest.mark.parametrize(("history", "queries", "is_endless", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_wait_that_cannot_be_is_refused(
    history: History, queries: list[Record], is_endless: bool, sentence: str
) -> None:
    reason = refusal(waits_of(history), queries, LIMITS, is_endless=is_endless)

    assert reason is not None
    assert re.search(sentence, reason)


def test_what_is_withdrawn_takes_no_room() -> None:
    waits = waits_of(two_tasks())

    assert refusal(waits, [query("p")] * 2, LIMITS | {"prompt_bytes": 900}, withdrawn={0}) is None
    reason = refusal(waits, [], LIMITS, is_endless=True, withdrawn={0, 2})
    assert reason is not None
    assert "no query is open and no timer is set" in reason


@pytest.mark.parametrize(
    ("history", "queries"),
    [(two_tasks(), []), (two_tasks(), [query("p")]), (histories.running(), [query("p")]), (histories.asleep(), [])],
)
def test_wait_that_can_be_is_not_refused(history: History, queries: list[Record]) -> None:
    assert refusal(waits_of(history), queries, LIMITS | {"prompt_bytes": 400}) is None
