"""Every row of the session's tables, reached by a real history; and the proof that each of these checks can fail."""

from itertools import product
from typing import Any

import pytest

from algocline_mcp.session import decisions, results, state
from algocline_mcp.session.records import IllegalRecord
from algocline_mcp.session.state import Phase, evolve
from tests.session import histories, rows
from tests.session.histories import header
from tests.session.rows import EVERY_ROW, KINDS, TABLES, Row

HOLDERS = {"TRANSITIONS": state, "REPLIES": decisions, "STATUSES": results}  # the module of each table
MISSED = (AssertionError, IllegalRecord, KeyError)
LEGAL = {row.row for row in rows.TRANSITIONS}
STARTS = {
    Phase.NEW: histories.new,
    Phase.RUNNING: histories.running,
    Phase.PAUSED: histories.paused,
    Phase.STUCK: histories.stuck_at_a_prompt,
    Phase.FINISHED: histories.completed,
}
RECORDS = {
    "header": header(),
    "module": {"kind": "module", "name": "module", "args": ["m"], "error": "e"},
    "effect": {"kind": "effect", "name": "time", "args": [], "result": 1},
    "note": {"kind": "note", "level": "info", "message": "m", "bytes": 9},
    "prompt": {"kind": "prompt", "queries": [{"id": "q-7", "digest": "d", **histories.query("p")}], "t": 5.0},
    "delivery": {"kind": "delivery", "answered": [[0, "q-0"]], "t": 5.0},
    "fork": {"kind": "fork", "strategies": ["a"], "first": 0, "ctx": {}, "on_error": "skip", "t": 5.0},
    "end": {"kind": "end", "stream": "0", "result": 1, "t": 5.0},
    "answer": {"kind": "answer", "answers": [{"id": "q-0", "response": "a"}], "t": 5.0},
    "misfit": {"kind": "misfit", "query_ids": ["q-0"], "t": 5.0},
    "flushed": histories.MARK,
    "crash": {"kind": "crash", "reason": "r", "t": 5.0},
    "final": {"kind": "final", "status": "cancelled", "t": 5.0},
    "gossip": {"kind": "gossip"},
}


@pytest.mark.parametrize(("table", "row"), EVERY_ROW, ids=rows.name)
def test_row_means_what_is_stated(table: str, row: Row) -> None:
    row.check(row.start())


@pytest.mark.parametrize("table", TABLES)
def test_no_row_is_unstated(table: str) -> None:
    assert {row.row for row in TABLES[table]} == set(getattr(HOLDERS[table], table))


@pytest.mark.parametrize(("table", "row"), EVERY_ROW, ids=rows.name)
def test_check_of_a_removed_row_fails(table: str, row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    history = row.start()
    left = {key: value for key, value in getattr(HOLDERS[table], table).items() if key != row.row}
    monkeypatch.setattr(HOLDERS[table], table, left)

    with pytest.raises(MISSED):
        row.check(history)


def _others(table: str, row: Row) -> list[Any]:
    if isinstance(row, rows.Transition):
        return [phase for phase in Phase if phase is not row.after]
    values = set(getattr(HOLDERS[table], table).values())
    return [value for value in values if value != getattr(HOLDERS[table], table)[row.row]]


@pytest.mark.parametrize(("table", "row"), EVERY_ROW, ids=rows.name)
def test_check_of_a_changed_row_fails(table: str, row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    for other in _others(table, row):
        history = row.start()
        with monkeypatch.context() as patch:
            patch.setitem(getattr(HOLDERS[table], table), row.row, other)

            with pytest.raises(MISSED):
                row.check(history)


@pytest.mark.parametrize(("phase", "kind"), sorted(set(product(Phase, (*KINDS, "gossip"))) - LEGAL))
def test_record_that_cannot_come_is_illegal_and_changes_nothing(phase: Phase, kind: str) -> None:
    history = STARTS[phase]()
    before = repr(history.session)

    with pytest.raises(IllegalRecord, match=f"kind '{kind}' cannot come while a session is {phase}") as caught:
        evolve(history.session, RECORDS[kind])

    assert caught.value.code == "corrupt"
    assert repr(history.session) == before


FOREIGN = {
    "no kind": {"t": 5.0},
    "kind that cannot be a key": {"kind": ["note"]},
    "answer to a query that never was": {"kind": "answer", "answers": [{"id": "q-9", "response": "a"}], "t": 5.0},
    "answer whose second item fits nothing": {
        "kind": "answer",
        "answers": [{"id": "q-0", "response": "a"}, {"id": "q-9", "response": "a"}],
        "t": 5.0,
    },
    "answer without answers": {"kind": "answer", "t": 5.0},
    "crash without a reason": {"kind": "crash", "t": 5.0},
    "prompt of a stream that never was": {**RECORDS["prompt"], "stream": "7"},
    "fork of nothing": {**RECORDS["fork"], "strategies": []},
    "fork of a runtime that waits": RECORDS["fork"],
    "fork that numbers its children anew": {**RECORDS["fork"], "first": 4},
    "fork with an unknown mode": {**RECORDS["fork"], "on_error": "abort"},
    "end of a child that never was": RECORDS["end"],
    "end of the strategy as if it were a child": {**RECORDS["end"], "stream": ""},
    "final with an unknown status": {"kind": "final", "status": "vanished", "t": 5.0},
}


@pytest.mark.parametrize("record", FOREIGN.values(), ids=FOREIGN.keys())
def test_readable_record_that_does_not_fit_is_illegal_and_changes_nothing(record: dict[str, Any]) -> None:
    history = histories.paused_at_two()
    before = repr(history.session)

    with pytest.raises(IllegalRecord):
        evolve(history.session, record)

    assert repr(history.session) == before


def test_header_is_kept_without_code_ctx_and_mark() -> None:
    history = histories.History(header(s=0))

    assert history.session.sid == "p-1-0123456789abcdef"
    assert history.session.header == {
        key: value for key, value in header().items() if key not in ("kind", "code", "ctx")
    }
