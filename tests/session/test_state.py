"""Random histories: the live session is the fold of its records, at every moment, also after a way through JSON."""

import copy
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from algocline_mcp.session.decisions import decide
from algocline_mcp.session.events import (
    Answer,
    Asked,
    Called,
    Cancel,
    Continue,
    Delivered,
    Died,
    Ended,
    Forked,
    Logged,
    Status,
)
from algocline_mcp.session.records import Record
from algocline_mcp.session.results import metrics, summary, view
from algocline_mcp.session.state import Phase, Session, evolve, fold
from algocline_mcp.session.streams import refusal
from algocline_mcp.storage.journal_lines import encode, scan
from tests.session import rows
from tests.session.histories import MARK, header, query

OLDEST = "oldest"  # stands for what has waited longest
STREAMS = ("", "0", "1", "2", "3")
REACHED = {(row.row, row.after) for row in rows.TRANSITIONS}

texts = st.text(st.characters(codec=None), max_size=6)  # lone surrogates too
streams = st.sampled_from(("", *STREAMS))
queries = st.builds(query, texts, st.none() | texts, grounded=st.booleans()) | st.builds(
    query, texts, schema=st.just({"type": "object"})
)
batches = st.lists(queries, min_size=1, max_size=3)
asks = st.builds(lambda stream, asked: Asked(stream, tuple(asked), 0.0), streams, batches)
waits = st.builds(
    lambda stream, asked, wake_s, withdrawn: Asked(
        stream, tuple(asked), 0.0, is_wait=True, wake_s=wake_s, withdrawn=tuple(withdrawn)
    ),
    streams,
    batches | st.just([]),
    st.none() | st.just(5),
    st.just([]) | st.lists(st.integers(0, 5), max_size=3),
)
deliveries = st.builds(Delivered, streams, st.just(0.0))
calls = st.builds(
    Called,
    streams,
    st.sampled_from(["time", "module"]),
    st.just(()),
    st.sampled_from([{"result": 1.5}, {"error": "e"}]),
    st.integers(1, 3),
)
notes = st.builds(
    Logged,
    streams,
    st.builds(lambda text: {"level": "info", "message": text * 9}, texts)
    | st.builds(lambda text: {"progress": {"step": 1, "total": 2, "message": text}}, texts),
)
ids = st.none() | st.sampled_from([*(f"q-{n}" for n in range(4)), "f-0-0", "f-0-1", "f-1-0", "f-2-0", "f-9-9", OLDEST])
usages = st.none() | st.fixed_dictionaries({}, optional={"prompt_tokens": st.just(5), "completion_tokens": st.just(7)})
answers = st.builds(Answer, ids, st.just("a") | texts, st.none() | st.none() | texts, usages)
continues = st.builds(
    lambda given, is_checked: Continue(tuple(given), 0.0, is_checked), st.lists(answers, max_size=4), st.booleans()
)
deaths = st.builds(Died, streams, st.just("ended by SIGKILL"), st.just(0.0))
outcomes = st.sampled_from([{"result": 1}, {"error": "e"}, {"result": None, "stats": {"k": 1}}])
forks = st.builds(
    Forked,
    streams,
    st.sampled_from([("a",), ("a", "b"), ("a", "a", "b")]),
    st.just({"k": 1}),
    st.sampled_from(["skip", "fail"]),
    st.just(0.0),
)
child_ends = st.builds(Ended, st.sampled_from(STREAMS[1:]), outcomes, st.just(0.0))
ends = st.builds(Ended, st.just(""), st.sampled_from([{"result": None}, {"error": "e"}]), st.just(0.0))
ordinary = [
    asks,
    waits,
    *[deliveries] * 3,
    calls,
    calls,
    notes,
    continues,
    continues,
    *[deaths] * 5,
    forks,
    child_ends,
    st.just(MARK),
]
steps = st.lists(st.sampled_from(range(len(ordinary))).flatmap(ordinary.__getitem__), max_size=30)
closing = st.none() | ends | st.just(Cancel(0.0))
histories = st.builds(lambda chosen, last: [*chosen, *([last, MARK] if last else [])], steps, closing)


def may_happen(session: Session, event: Any) -> bool:
    """The events that a keeper lets happen: an engine sends only while it computes."""
    if isinstance(event, dict | Continue | Cancel | Status):
        return True
    stream = session.streams.get(event.stream)
    if session.phase is Phase.FINISHED or stream is None or not stream.is_live:
        return False
    if isinstance(event, Forked) and refusal(session.streams, event.stream, len(event.strategies), session.limits):
        return False
    if isinstance(event, Delivered):
        return stream.waits.can_deliver(stream.waits.ready)
    if isinstance(event, Asked) and not event.queries and event.wake_s is None:
        left = stream.waits.undelivered.keys() - stream.waits.open_of(event.withdrawn)
        if not left:
            return False
    return isinstance(event, Died) or (stream.can_run and not stream.waits.is_waiting)


def placed(session: Session, event: Any) -> Any:
    """The event as one of a runtime that can run: few that are drawn blindly would be."""
    if isinstance(event, Continue):
        oldest = next(iter(session.pending), "q-0")
        return Continue(
            tuple(replace(each, query_id=oldest) if each.query_id == OLDEST else each for each in event.answers),
            event.now_s,
            event.is_checked,
        )
    if isinstance(event, Delivered):
        due = [name for name, one in session.streams.items() if one.waits.can_deliver(one.waits.ready)]
        return replace(event, stream=due[int(event.stream or 0) % len(due)]) if due else event
    if not isinstance(event, Asked | Called | Logged | Died | Forked | Ended) or session.phase is Phase.FINISHED:
        return event
    is_child = isinstance(event, Ended) and event.stream != ""
    names = [name for name, stream in session.streams.items() if stream.can_run and (name or not is_child)]
    return replace(event, stream=names[int(event.stream or 0) % len(names)]) if names else event


def play(chosen: list[Any]) -> tuple[list[Record], list[Session]]:
    """The records of a history and the session after each."""
    live, records, moments = Session(), [], []
    for drawn in [header(), *chosen]:
        event = placed(live, drawn)
        if not may_happen(live, event):
            continue
        before = copy.deepcopy(live)
        deserved = (event,) if isinstance(event, dict) else decide(live, event).records
        assert live == before
        for record in deserved:
            row = live.phase, record["kind"]
            evolve(live, record)
            records.append(copy.deepcopy(record))
            moments.append(copy.deepcopy(live))
            assert (row, live.phase) in REACHED
    return records, moments


@given(histories)
def test_fold_of_any_prefix_is_the_live_session(chosen: list[Any]) -> None:
    records, moments = play(chosen)

    for length, moment in enumerate(moments, 1):
        assert fold(json.loads(json.dumps(records[:length]))) == moment


@given(histories)
def test_views_are_json_and_equal_after_a_way_through_the_journal(chosen: list[Any]) -> None:
    records, moments = play(chosen)

    reached = scan(b"".join(encode(record, 0) for record in records)).records

    for length, moment in enumerate(moments, 1):
        again = fold(reached[:length])
        shown = [view(moment, now_s=2000.0, computing=n, accepted=a) for n in (0, 1) for a in (False, True)]
        assert json.loads(json.dumps(shown, allow_nan=False)) == shown
        assert shown == [view(again, now_s=2000.0, computing=n, accepted=a) for n in (0, 1) for a in (False, True)]
        assert summary(again, worker="none") == summary(moment, worker="none")


@given(histories)
def test_no_id_is_used_twice_and_no_query_answered_twice(chosen: list[Any]) -> None:
    records, _ = play(chosen)

    asked = [each["id"] for record in records if record["kind"] == "prompt" for each in record["queries"]]
    taken = [item["id"] for record in records if record["kind"] == "answer" for item in record["answers"]]
    assert len(set(asked)) == len(asked)
    assert len(set(taken)) == len(taken)
    assert set(taken) <= set(asked)


@given(histories)
def test_what_is_pending_is_what_was_asked_and_not_answered_oldest_first(chosen: list[Any]) -> None:
    records, moments = play(chosen)

    session = moments[-1]
    asked = [each["id"] for record in records if record["kind"] == "prompt" for each in record["queries"]]
    dropped = tuple(f"f-{name}-" for name, stream in session.streams.items() if stream.is_over)
    withdrawn = {query_id for record in records for query_id in record.get("withdrawn", ())}
    open_ids = [each for each in asked if each not in session.answered and not each.startswith(dropped)]
    waiting = [each for each in open_ids if each not in withdrawn]
    assert not withdrawn & session.answered.keys()
    assert list(session.pending) == ([] if session.final else waiting)
    assert sum(stream.open + len(stream.waits.open) for stream in session.streams.values()) == len(waiting)
    assert metrics(session, 2000.0)["auto"]["llm_calls"] == len(asked)


@pytest.mark.slow
def test_histories_reach_every_phase_and_most_rows() -> None:
    reached: set[Any] = set()

    @settings(max_examples=300)
    @given(histories)
    def visit(chosen: list[Any]) -> None:
        records, moments = play(chosen)
        before = [Phase.NEW, *(moment.phase for moment in moments)]
        reached.update((phase, record["kind"]) for phase, record in zip(before, records, strict=False))

    visit()

    missed = {row.row for row in rows.TRANSITIONS} - reached
    assert {phase for phase, _ in reached} == set(Phase)
    assert len(missed) <= 3, missed
