"""The replay serves recorded replies, reports when no record is left, and names the first difference."""

from collections.abc import Callable
from typing import Any

import pytest

from algocline_mcp.session.digests import digest_with_label, query_digest
from algocline_mcp.session.events import Called, Logged
from algocline_mcp.session.records import Record
from algocline_mcp.worker.engine.messages import Ask, Call, End, Fork, Log, Message
from algocline_mcp.worker.keeper.replay import (
    REFUSED_ASK,
    REFUSED_FORK,
    Diverged,
    Outcome,
    Replay,
    fork_digest,
    likely_cause,
    reply_to_ask,
)
from tests.session import histories
from tests.session.histories import History, query, said

TIME, OTHER = Call("time", ()), Call("env", ("A",))
LOG = Log({"level": "info", "message": "m"})


def replay(history: History) -> Replay:
    replay = Replay(lambda place: history.records[place])
    for place, record in enumerate(history.records):
        replay.add(record, place)
    return replay


def called(name: str = "time", *args: Any, times: int = 1, stream: str = "", **outcome: Any) -> Called:
    return Called(stream, name, args, outcome or {"result": 1.5}, times)


def with_call(*events: Called) -> History:
    history = histories.running()
    for event in events:
        history.do(event)
    return history


def answered_prompt() -> History:
    history = histories.paused_at_two()
    history.answer(said("q-1", "b"))
    history.answer(said("q-0", refuse="no", usage={"prompt_tokens": 3}, by="opus"))
    return history


TWO = Ask((query("p"), query("r")))


def test_nothing_recorded_is_live() -> None:
    fresh = replay(histories.running())

    assert fresh.is_over("")
    assert [fresh.serve("", message) for message in (TWO, TIME, LOG, End({"result": 1}))] == [Outcome.LIVE] * 4


SERVED: list[tuple[History, Message, Record]] = [
    (with_call(called()), TIME, {"result": 1.5}),
    (with_call(called("env", "A", result=None)), OTHER, {"result": None}),
    (with_call(called("env", "A", error="gone")), OTHER, {"error": "gone"}),
    (with_call(called("module", "m", result={"source": "s", "chunk": "m.lua"})), Call("module", ("m",)),
     {"result": {"source": "s", "chunk": "m.lua"}}),
    (answered_prompt(), TWO, {"answers": [{"refuse": "no"}, {"response": "b"}]}),
]  # fmt: skip


@pytest.mark.parametrize(("history", "message", "reply"), SERVED)
def test_recorded_reply_is_served_once_and_then_all_is_live(history: History, message: Message, reply: Record) -> None:
    served = replay(history)

    first, over, then = served.serve("", message), served.is_over(""), served.serve("", message)

    assert (first, over, then) == (reply, True, Outcome.LIVE)


@pytest.mark.parametrize("digest_of", [query_digest, digest_with_label])
def test_another_label_is_the_same_prompt_also_where_the_digest_counted_it(digest_of: Callable[[Record], str]) -> None:
    asked = query("p", label="a", temperature=1)
    history = histories.running().ask(asked)
    history.records[-1]["queries"][0]["digest"] = digest_of(asked)
    history.answer(said("q-0", "x"))
    renamed = Ask((query("p", label="b", temperature=1),))

    assert replay(history).serve("", renamed) == {"answers": [{"response": "x"}]}
    with pytest.raises(Diverged):
        replay(history).serve("", Ask((query("p", label="a", temperature=2),)))


@pytest.mark.parametrize("digest_of", [query_digest, digest_with_label])
def test_a_refused_prompt_is_served_as_it_was(digest_of: Callable[[Record], str]) -> None:
    asked = query("p", label="a")

    served = replay(with_call(called(REFUSED_ASK, digest_of(asked), error="over"))).serve("", Ask((asked,)))

    assert served == {"error": "over"}


def test_records_are_served_in_their_order() -> None:
    history = with_call(called(), called("env", "A", result="x"))
    history.ask("p", "r")
    history.answer(said("q-1", "b"), said("q-0", "a"))
    history.do(called(result=2.5))
    served = replay(history)

    replies = [served.serve("", message) for message in (TIME, OTHER, TWO, TIME, TIME)]

    assert replies == [
        {"result": 1.5},
        {"result": "x"},
        {"answers": [{"response": "a"}, {"response": "b"}]},
        {"result": 2.5},
        Outcome.LIVE,
    ]


def test_reading_recorded_as_a_run_is_served_as_often() -> None:
    served = replay(with_call(called(times=3), called(result=2.5)))

    replies = [served.serve("", TIME) for _ in range(5)]

    assert replies == [{"result": 1.5}] * 3 + [{"result": 2.5}, Outcome.LIVE]


def test_replay_leaves_the_records_as_they_were() -> None:
    history = with_call(called(times=3))

    replay(history).serve("", TIME)

    assert history.records[1]["times"] == 3


@pytest.mark.parametrize(("start", "taken"), [(histories.paused_at_two, []), (answered_prompt, ["q-1"])])
def test_prompt_without_all_its_answers_is_open(start: histories.Start, taken: list[str]) -> None:
    history = histories.History(*start().records[: 2 + len(taken)])
    served = replay(history)

    assert not served.is_over("")
    assert served.serve("", TWO) is Outcome.OPEN
    ids, answers = served.open_prompt("")

    assert ids == ["q-0", "q-1"]
    assert answers == {query_id: {"id": query_id, "response": "b"} for query_id in taken}
    assert served.is_over("")


def test_reply_to_a_prompt_has_the_answers_in_the_order_of_the_queries() -> None:
    reply = reply_to_ask([{"id": "q-0", "refuse": "no", "by": "x"}, {"id": "q-1", "response": "", "usage": {}}])

    assert reply == {"answers": [{"refuse": "no"}, {"response": ""}]}


def test_log_lines_are_counted_by_stream_and_not_recorded_again() -> None:
    history = histories.forked()
    for stream in ("", "", "0"):
        history.do(Logged(stream, LOG.entry))
    served = replay(history)

    main = [served.serve("", LOG) for _ in range(3)]
    child = [served.serve("0", LOG) for _ in range(2)]

    assert main == [Outcome.SILENT, Outcome.SILENT, Outcome.LIVE]
    assert child == [Outcome.SILENT, Outcome.LIVE]


def test_log_lines_alone_need_no_replay() -> None:
    history = histories.running()
    history.do(Logged("", LOG.entry))
    served = replay(history)

    assert served.is_over("")
    assert served.serve("", TIME) is Outcome.LIVE
    assert served.serve("", LOG) is Outcome.SILENT


def test_each_stream_replays_its_own() -> None:
    history = with_call(called(result="main")).fork("a", "b")
    history.do(called(stream="1", result="other"))
    history.do(called(stream="0", result="child"))
    served = replay(history)

    replies = [served.serve(stream, TIME) for stream in ("1", "", "0")]

    assert replies == [{"result": "other"}, {"result": "main"}, {"result": "child"}]
    assert [served.is_over(stream) for stream in ("", "0", "1", "2")] == [False, True, True, True]


def test_marks_crashes_and_finals_are_not_served() -> None:
    history = histories.running().die().add(histories.MARK).end()

    assert replay(history).is_over("")


# ── forks ─────────────────────────────────────────────────────────────────────────────────────────────────

AB = Fork(("a", "b"), {"task": "t"}, "skip")
ENDED = {"entries": [{"strategy": "a", "ok": False, "error": "boom"}, {"strategy": "b", "ok": True, "result": 1}]}


def test_fork_that_is_over_gets_what_its_children_returned_and_none_is_run_again() -> None:
    served = replay(histories.forked().end("1", result=1).end("0", error="boom"))

    assert served.serve("", AB) == ENDED
    assert served.is_over("")


def test_fork_with_a_child_that_has_not_ended_is_open() -> None:
    served = replay(histories.forked().end("1", result=1))

    assert served.serve("", AB) is Outcome.OPEN
    assert served.open_prompt("") == ([], {})


def test_strict_fork_gets_the_first_failure_in_the_order_of_the_journal() -> None:
    served = replay(histories.running().fork("a", "b", on_error="fail").end("1", error="boom"))

    reply = served.serve("", Fork(("a", "b"), {"task": "t"}, "fail"))

    assert reply == {"failed": {"strategy": "b", "error": "boom"}}


def test_refused_fork_is_refused_again() -> None:
    history = histories.running()
    history.do(Called("", REFUSED_FORK, (fork_digest(AB),), {"error": "too many"}))

    assert replay(history).serve("", AB) == {"error": "too many"}


# ── divergence ────────────────────────────────────────────────────────────────────────────────────────────

FORKED = {"forked": ["a", "b"], "ctx": {"task": "t"}}
PROMPT, CALL = {"asked": ["p", "r"]}, {"called": "env", "args": ["A"]}
DIVERGED: list[tuple[str, History, Message, Record, Record]] = [
    ("other prompt", answered_prompt(), Ask((query("p"), query("x"))), PROMPT, {"asked": ["p", "x"]}),
    ("other order", answered_prompt(), Ask((query("r"), query("p"))), PROMPT, {"asked": ["r", "p"]}),
    ("fewer prompts", answered_prompt(), Ask((query("p"),)), PROMPT, {"asked": ["p"]}),
    ("other system", answered_prompt(), Ask((query("p"), query("r", "s"))), PROMPT, PROMPT),
    ("other option", answered_prompt(), Ask((query("p"), query("r", n=1))), PROMPT, PROMPT),
    ("call for prompt", answered_prompt(), OTHER, PROMPT, CALL),
    ("end for prompt", answered_prompt(), End({"result": 5}), PROMPT, {"ended": True, "result": 5}),
    ("prompt for call", with_call(called("env", "A")), TWO, CALL, PROMPT),
    ("other function", with_call(called("env", "A")), TIME, CALL, {"called": "time", "args": []}),
    ("other arguments", with_call(called("env", "A")), Call("env", ("B",)), CALL, {"called": "env", "args": ["B"]}),
    ("more arguments", with_call(called("env", "A")), Call("env", ("A", 1)), CALL,
     {"called": "env", "args": ["A", 1]}),
    ("end for call", with_call(called("env", "A")), End({"error": "e"}), CALL, {"ended": True, "error": "e"}),
    ("other strategies", histories.forked(), Fork(("a", "c"), {"task": "t"}, "skip"), FORKED,
     FORKED | {"forked": ["a", "c"]}),
    ("other ctx", histories.forked(), Fork(("a", "b"), {}, "skip"), FORKED, FORKED | {"ctx": {}}),
    ("other mode", histories.forked(), Fork(("a", "b"), {"task": "t"}, "fail"), FORKED, FORKED),
    ("prompt for fork", histories.forked(), TWO, FORKED, PROMPT),
    ("fork for prompt", answered_prompt(), AB, PROMPT, FORKED),
    ("open prompt", histories.paused_at_two(), Ask((query("p"),)), PROMPT, {"asked": ["p"]}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("history", "message", "recorded", "replayed"), [case[1:] for case in DIVERGED], ids=[case[0] for case in DIVERGED]
)
def test_first_difference_shows_both_sides_and_serves_nothing(
    history: History, message: Message, recorded: Record, replayed: Record
) -> None:
    served = replay(history)

    with pytest.raises(Diverged) as caught:
        served.serve("", message)

    assert (caught.value.recorded, caught.value.replayed) == (recorded, replayed)
    assert not served.is_over("")


def test_difference_amid_a_run_of_readings_is_found() -> None:
    served = replay(with_call(called(times=2)))
    served.serve("", TIME)

    with pytest.raises(Diverged):
        served.serve("", OTHER)


CHANGED = "the code, its modules or the engine are not those that wrote this journal"
CHANCE = "depends on something that is not recorded"


@pytest.mark.parametrize(
    ("second", "said_"),
    [({"asked": ["x"]}, CHANGED), ({"asked": ["y"]}, CHANCE), ({"ended": True, "result": 1}, CHANCE), (None, CHANCE)],
)
def test_likely_cause_follows_from_two_replays(second: Record | None, said_: str) -> None:
    first = Diverged(PROMPT, {"asked": ["x"]})

    assert said_ in likely_cause(first, None if second is None else Diverged(PROMPT, second))


def test_a_replay_knows_whether_it_holds_a_message() -> None:
    fresh = replay(answered_prompt())

    assert [fresh.holds("", message) for message in (TWO, TIME, LOG, Ask((query("p"),)))] == [True, False, False, False]
    fresh.serve("", TWO)
    assert not fresh.holds("", TWO)
