"""Streams: whose turn it is, what ends a fork, and which forks are refused."""

import pytest

from algocline_mcp.session.decisions import decide
from algocline_mcp.session.events import Asked, Forked
from algocline_mcp.session.records import IllegalRecord
from algocline_mcp.session.results import children
from algocline_mcp.session.state import Phase, evolve, fold
from algocline_mcp.session.streams import MAIN, child_seed, refusal
from tests.session import histories
from tests.session.histories import History, query, said


def turns(history: History) -> dict[str, str]:
    return {name: stream.status for name, stream in history.session.streams.items()}


def test_children_beyond_the_limit_wait_until_one_ends() -> None:
    history = histories.running().fork("a", "b", "c")
    before = turns(history)

    history.end("1")

    assert before == {"": "forked", "0": "running", "1": "running", "2": "queued"}
    assert turns(history) == {"": "forked", "0": "running", "1": "completed", "2": "running"}


def test_session_is_paused_while_children_without_a_turn_could_not_go_on() -> None:
    history = histories.running().fork("a", "b", "c").ask("p", stream="0").ask("p", stream="1")

    assert history.session.phase is Phase.PAUSED


def test_whoever_waits_for_children_needs_no_turn_and_these_come_before_others() -> None:
    history = histories.running().fork("a", "b", "c").fork("d", stream="1")
    first = turns(history)
    history.end("3")

    assert (first["1"], first["2"], first["3"]) == ("forked", "queued", "running")
    assert turns(history) == {"": "forked", "0": "running", "1": "running", "2": "queued", "3": "completed"}


def test_turns_are_the_same_after_a_way_through_the_journal() -> None:
    history = histories.running().fork("a", "b", "c").fork("d", stream="1").ask("p", stream="3").end("0")

    assert fold(history.records) == history.session


def test_failed_child_ends_a_strict_fork_with_all_that_hangs_on_it() -> None:
    history = histories.running().fork("a", "b", on_error="fail").fork("c", stream="0").ask("p", stream="2")

    history.end("1", error="boom")

    assert turns(history) == {"": "running", "0": "dropped", "1": "error", "2": "dropped"}
    assert history.session.pending == {}
    assert history.session.streams[""].fork is not None
    assert history.session.streams[""].fork.reply() == {"failed": {"strategy": "b", "error": "boom"}}


def test_answer_to_what_was_dropped_is_refused_and_says_why() -> None:
    history = histories.running().fork("a", "b", on_error="fail").ask("p", stream="0").end("1", error="boom").ask("m")

    refused = {each: history.answer(said(each, "x")).error for each in ("f-0-0", "f-0-1", "f-1-0", "f-9-0")}

    counts = {each: refusal.reason if refusal else "" for each, refusal in refused.items()}
    assert counts["f-0-0"] == "f-0-0 is no longer asked: its alc.fork has failed; pending: q-0"
    assert all(counts[each] == f"unknown query_id: {each}; pending: q-0" for each in ("f-0-1", "f-1-0", "f-9-0"))


def test_answer_without_an_id_is_not_taken_for_another_prompt_than_the_one_that_was_dropped() -> None:
    history = histories.running().fork("a", "b", on_error="fail").ask("p", stream="0").end("1", error="boom").ask("m")

    decision = history.answer(said(None, "x"))

    assert (decision.records, [refusal.code for refusal in decision.refused]) == ((), ["query_id_needed"])


def test_reply_of_a_fork_has_the_order_of_its_strategies_whoever_ended_first() -> None:
    history = histories.forked().end("1", error="boom").end("0", result=7)

    fork = history.session.streams[""].fork

    assert fork is not None
    assert fork.reply() == {
        "entries": [
            {"strategy": "a", "ok": True, "result": 7},
            {"strategy": "b", "ok": False, "error": "boom"},
        ]
    }


def test_fork_is_forgotten_at_the_next_prompt_or_end() -> None:
    history = histories.forked().fork("c", stream="0").end("2").end("0").end("1").ask("p")

    assert [stream.fork for stream in history.session.streams.values()] == [None] * 4


@pytest.mark.parametrize(
    ("stream", "more", "counts"),
    [
        ("", 2, None),
        ("", 3, "3 children beside the 2 of this session before, at most 4: fork fewer"),
        ("1", 2, None),
        ("2", 1, "forks may be nested 2 deep, not deeper"),
    ],
)
def test_limits_of_children_are_told(stream: str, more: int, counts: str | None) -> None:
    history = histories.running().fork("a", "b")
    if stream == "2":
        history.fork("c", stream="1")

    sentence = refusal(history.session.streams, stream, more, history.session.limits)

    assert (sentence is None) if counts is None else (counts in str(sentence))


def test_session_without_these_limits_forks_nothing() -> None:
    without = {name: limit for name, limit in histories.LIMITS.items() if not name.startswith("children")}
    history = histories.History(histories.header(limits=without))

    assert refusal(history.session.streams, "", 1, history.session.limits) is not None


def test_strikes_are_counted_by_runtime_and_a_fork_ends_a_row() -> None:
    history = histories.forked().die(2, stream="0").die(2, stream="1")
    before = history.session.phase, history.session.strikes
    history.ask("p", stream="0").end("1")
    struck = histories.struck_twice().fork("a")

    assert before == (Phase.RUNNING, 2)
    assert history.session.strikes == 0
    assert struck.session.strikes == 0


def test_progress_and_stats_of_a_child_say_whose_they_are() -> None:
    history = histories.forked().end("1", result=1, stats={"k": 2})

    assert history.session.child_stats == {"1": {"strategy": "b", "custom": {"k": 2}}}
    assert children(history.session) == [
        {"child": "0", "strategy": "a", "status": "running"},
        {"child": "1", "strategy": "b", "status": "completed"},
    ]


def test_children_draw_other_numbers_than_their_siblings_and_the_same_ones_again() -> None:
    seeds = [child_seed(7, str(n)) for n in range(100)]

    assert len(set(seeds)) == 100
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seeds == [child_seed(7, str(n)) for n in range(100)]


def test_ids_are_numbered_by_stream_and_never_used_again() -> None:
    history = histories.running().ask("m")
    history.answer(said("q-0", "a"))
    history.fork("a", "b").ask("p", "r", stream="0").ask("p", stream="1")

    history.answer(said("f-0-0", "a"), said("f-0-1", "b"))
    history.ask("s", stream="0").answer(said("f-0-2", "a"))
    history.end("0").answer(said("f-1-0", "a"))
    history.end("1").fork("a").ask("p", stream="2").answer(said("f-2-0", "a"))
    history.end("2").ask("m")

    assert list(history.session.answered) == ["q-0", "f-0-0", "f-0-1", "f-0-2", "f-1-0", "f-2-0"]
    assert list(history.session.pending) == ["q-1"]


def test_prompt_record_names_its_stream_and_the_main_one_has_no_name() -> None:
    child = decide(histories.forked().session, Asked("0", (query("p"),), 9.0)).records
    main = decide(histories.running().session, Asked(MAIN, (query("p"),), 9.0)).records

    assert (child[0]["stream"], child[0]["queries"][0]["stream"]) == ("0", "0")
    assert "stream" not in main[0]
    assert "stream" not in main[0]["queries"][0]


def test_session_is_paused_only_when_every_stream_waits() -> None:
    history = histories.forked()
    phases = []

    history.ask("p", stream="0")
    phases.append(history.session.phase)
    history.ask("p", stream="1")
    phases.append(history.session.phase)
    history.answer(said("f-0-0", "a"))
    phases.append(history.session.phase)

    assert phases == [Phase.RUNNING, Phase.PAUSED, Phase.RUNNING]


def test_unnamed_answer_means_the_one_query_of_a_child_too() -> None:
    decision = histories.running_beside_a_prompt().answer(said(None, "a"))

    assert decision.records[0]["answers"] == [{"id": "f-0-0", "response": "a"}]


def test_child_has_the_language_of_its_own_abi_else_that_of_the_session() -> None:
    abi = {"language": "python", "interpreter": "CPython 3.12", "prelude": 1}
    history = histories.running()
    history.do(Forked(MAIN, ("a", "b"), {}, "skip", history.tick(), abis=(None, abi)))

    session = history.session
    assert [session.streams[name].language(session.header) for name in ("", "0", "1")] == ["lua", "lua", "python"]
    assert history.records[-1]["abis"] == [None, abi]


def test_a_fork_in_one_language_says_nothing_of_it_and_one_of_another_length_is_illegal() -> None:
    history = histories.running().fork("a", "b")
    forked = history.records[-1]

    assert "abis" not in forked
    with pytest.raises(IllegalRecord):
        evolve(histories.running().session, forked | {"abis": [None]})
