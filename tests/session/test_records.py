"""Shapes of records: each field that a kind must have, stated once more by hand, and what happens without it."""

from typing import Any

import pytest

from algocline_mcp.session.records import SHAPES, Record, has_shape
from algocline_mcp.session.state import TRANSITIONS

QUERY = {"id": "q-0", "system": None}
# kind -> a record of that kind with nothing but its required fields
LEAST: dict[str, Record] = {
    "header": {"sid": "p-1", "t": 1.0, "title": "t", "limits": {}},
    "module": {},
    "effect": {},
    "note": {"bytes": 1},
    "prompt": {"t": 1.0, "queries": [QUERY]},
    "answer": {"t": 1.0, "answers": [{"id": "q-0"}]},
    "fork": {"t": 1.0, "strategies": ["a"], "first": 0, "ctx": {}, "on_error": "skip"},
    "end": {"t": 1.0, "stream": "0", "result": 1},
    "crash": {"reason": "r"},
    "final": {"t": 1.0, "status": "completed"},
    "flushed": {},
}
LEGAL: dict[str, dict[str, Any]] = {  # further fields that a record may have
    "effect": {"n": 3},
    "header": {"budget": {"max_llm_calls": 1}},
    "prompt": {"spent_s": 0.5},
    "fork": {"spent_s": 1},
    "end": {"spent_s": 1, "error": "e"},
}
WRONG = [
    ("header", {"budget": 5}),
    ("effect", {"n": "1"}),
    ("note", {"bytes": "1"}),
    ("prompt", {"t": "1"}),
    ("prompt", {"spent_s": "1"}),
    ("prompt", {"queries": [{"id": "q-0"}]}),
    ("prompt", {"queries": [{**QUERY, "id": 0}]}),
    ("prompt", {"queries": ["q-0"]}),
    ("answer", {"answers": {"id": "q-0"}}),
    ("answer", {"answers": [{"response": "a"}]}),
    ("fork", {"ctx": []}),
    ("fork", {"on_error": "abort"}),
    ("fork", {"spent_s": None}),
    ("end", {"error": 5}),
    ("crash", {"reason": 9}),
    ("final", {"status": "vanished"}),
    ("final", {"t": None}),
]


def record(kind: str, **fields: Any) -> Record:
    return {"kind": kind, **LEAST[kind], **fields}


def test_every_kind_has_a_shape() -> None:
    assert set(SHAPES) == set(LEAST) == {kind for _, kind in TRANSITIONS}


@pytest.mark.parametrize("kind", LEAST)
def test_record_with_its_required_fields_has_its_shape(kind: str) -> None:
    assert has_shape(record(kind))
    assert has_shape(record(kind, **LEGAL.get(kind, {}), of_a_later_version=[1]))


@pytest.mark.parametrize(("kind", "missing"), [(kind, name) for kind, fields in LEAST.items() for name in fields])
def test_record_without_a_required_field_has_no_shape(kind: str, missing: str) -> None:
    incomplete = {name: value for name, value in record(kind).items() if name != missing}

    assert not has_shape(incomplete)


@pytest.mark.parametrize(("kind", "fields"), WRONG, ids=str)
def test_field_of_another_type_or_value_has_no_shape(kind: str, fields: dict[str, Any]) -> None:
    assert not has_shape(record(kind, **fields))
