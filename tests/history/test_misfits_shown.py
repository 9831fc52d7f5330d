"""Answers that did not fit their schema, in what a person sees of a session."""

from algocline_mcp.cli import timeline
from algocline_mcp.history.transcript import timeline as entries_of
from algocline_mcp.session.records import Record
from tests.session.histories import History, header, query

SCHEMA: Record = {"type": "object"}


def records() -> list[Record]:
    asked = {"id": "q-0", "digest": "d", **query("p", schema=SCHEMA)}
    history = History(
        header(),
        {"kind": "prompt", "queries": [asked], "t": 1001.0},
        {"kind": "misfit", "query_ids": ["q-0"], "t": 1002.0},
        {"kind": "answer", "answers": [{"id": "q-0", "response": "{}"}], "t": 1003.0},
    )
    return history.records


def test_misfit_is_an_entry_of_the_timeline_with_its_line() -> None:
    entries = list(entries_of(records()))

    assert [entry["kind"] for entry in entries] == ["prompt", "misfit"]
    assert timeline.label(entries[1]) == "an answer to q-0 did not fit and was asked for again"
