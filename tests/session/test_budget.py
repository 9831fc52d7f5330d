"""Reserved keys of ctx, and the elapsed time of a budget as it is counted from records."""

from typing import Any

import pytest

from algocline_mcp.session.budget import budget_of, exceeded, namespace_of, remaining, unusable_budget
from algocline_mcp.session.events import Asked, Called, Ended
from algocline_mcp.session.results import used
from algocline_mcp.session.streams import MAIN
from tests.session import histories
from tests.session.histories import BORN_S, LIMITS, History, header, query, said

ALL = {"max_llm_calls": 5, "max_elapsed_ms": 0, "max_tokens": 7}
BUDGETS: list[tuple[Any, dict[str, int]]] = [
    (ALL, ALL),
    ({"max_llm_calls": "5", "max_tokens": 1}, {"max_tokens": 1}),
    ({}, {}),
    ({"max_llm_calls": -1}, {}),
    ({"max_llm_calls": 2.0}, {}),
    ({"max_llm_calls": True}, {}),
    (7, {}),
    (None, {}),
    ([], {}),
]


@pytest.mark.parametrize(("value", "budget"), BUDGETS)
def test_budget_is_its_valid_limits(value: Any, budget: dict[str, int]) -> None:
    assert budget_of({"budget": value}) == budget


WRONG: list[tuple[Any, str]] = [
    (6, "ctx.budget is number and not an object"),
    ("x", "ctx.budget is string and not an object"),
    ([], "ctx.budget is array and not an object"),
    ({"max_calls": 2}, "ctx.budget has no limit 'max_calls'"),
    ({"max_llm_calls": "5"}, "ctx.budget.max_llm_calls is not a whole number"),
    ({"max_llm_calls": -1}, "ctx.budget.max_llm_calls is not a whole number"),
    ({"max_tokens": 2.5}, "ctx.budget.max_tokens is not a whole number"),
    ({"max_tokens": True}, "ctx.budget.max_tokens is not a whole number"),
]


@pytest.mark.parametrize(("value", "problem"), WRONG, ids=repr)
def test_budget_of_another_form_is_refused_with_the_right_form(value: Any, problem: str) -> None:
    sentence = unusable_budget({"budget": value})

    assert sentence is not None
    assert sentence.startswith(problem)
    assert '{"max_llm_calls": 20} with any of max_llm_calls, max_elapsed_ms, max_tokens' in sentence


@pytest.mark.parametrize(
    "ctx", [{}, {"budget": None}, {"budget": {}}, {"budget": ALL}, {"budget": {"max_tokens": None}}]
)
def test_budget_of_the_right_form_is_usable(ctx: dict[str, Any]) -> None:
    assert unusable_budget(ctx) is None


@pytest.mark.parametrize(("ctx", "namespace"), [({}, "default"), ({"_ns": 5}, "default"), ({"_ns": ""}, "")])
def test_namespace_is_any_text(ctx: dict[str, Any], namespace: str) -> None:
    assert namespace_of(ctx) == namespace


def test_without_a_budget_nothing_is_exceeded_and_nothing_remains_to_be_told() -> None:
    used = {"calls": 10**9, "elapsed_ms": 10**9, "tokens": 10**9}

    assert exceeded({}, **used, more=10**9) is None
    assert remaining({}, **used) is None


EDGES: list[tuple[int, int, bool]] = [
    (0, 1, True),
    (1, 1, True),
    (2, 1, False),
    (1, 2, False),
    (0, 2, True),
    (0, 3, False),
]


@pytest.mark.parametrize(("calls", "more", "may"), EDGES)
def test_calls_are_judged_with_those_that_are_asked_at_once(calls: int, more: int, may: bool) -> None:
    sentence = exceeded({"max_llm_calls": 2}, calls=calls, elapsed_ms=0, tokens=0, more=more)

    assert (sentence is None) is may


def ask(history: History, at_s: float, spent_s: float | None) -> History:
    history.do(Asked(MAIN, (query("p"),), BORN_S + at_s, spent_s))
    return history


def elapsed_ms(history: History, *, at_s: float, spent_s: float = 0.0) -> int:
    return used(history.session, now_s=BORN_S + at_s, spent_s=spent_s)["elapsed_ms"]


def timed(**limits: Any) -> History:
    return History(header(limits=LIMITS | {"budget_wait_s": 60.0} | limits, budget={"max_elapsed_ms": 5}))


def answer_at(history: History, query_id: str, at_s: float) -> None:
    history.now_s = BORN_S + at_s - 1
    history.answer(said(query_id, "a"))


COUNTED: list[tuple[str, float, float | None, int]] = [
    ("computing", 3.0, 3.0, 3000),
    ("a night without a worker", 30_000.0, 2.0, 2000),
    ("a clock that was set back", -500.0, 2.0, 0),
    ("a journal without spent_s", 3.0, None, 3000),
]


@pytest.mark.parametrize(("at_s", "spent_s", "counted"), [row[1:] for row in COUNTED], ids=[row[0] for row in COUNTED])
def test_step_counts_what_it_computed(at_s: float, spent_s: float | None, counted: int) -> None:
    assert elapsed_ms(ask(timed(), at_s, spent_s), at_s=at_s) == counted


@pytest.mark.parametrize(("wait_s", "counted"), [(5.0, 5000), (60.0, 60_000), (86_400.0, 60_000)])
def test_wait_for_answers_counts_up_to_its_limit(wait_s: float, counted: int) -> None:
    history = ask(timed(), 0.0, 0.0)
    answer_at(history, "q-0", wait_s)

    assert elapsed_ms(history, at_s=wait_s) == counted


def test_running_step_counts_what_its_engine_has_computed_so_far() -> None:
    history = ask(timed(), 1.0, 1.0)
    answer_at(history, "q-0", 2.0)

    assert elapsed_ms(history, at_s=4.0, spent_s=1.5) == 1000 + 1000 + 1500


def test_number_of_a_change_counts_per_stream_and_only_changes() -> None:
    history = histories.running()
    history.fork("a")
    for stream, n in ((MAIN, 0), ("0", 0), (MAIN, 1), (MAIN, None)):
        history.do(Called(stream, "state.incr", ("k", 1, 0), {"result": 1.0}, n=n))

    assert {name: stream.changes for name, stream in history.session.streams.items()} == {MAIN: 2, "0": 1}
    assert [record.get("n") for record in history.records[2:]] == [0, 0, 1, None]


def test_stats_of_the_last_line_stand_in_the_final_record() -> None:
    history = histories.running()
    history.do(Ended(MAIN, {"result": 1, "stats": {"k": 2}}, history.tick()))

    assert history.records[-1]["stats"] == {"k": 2}
