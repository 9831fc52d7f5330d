"""Shapes of records: each field that a kind must have, stated once more by hand, and what happens without it."""

from typing import Any

import pytest

from algocline_mcp.session.records import SHAPES, Record, problem_of
from algocline_mcp.session.state import TRANSITIONS
from tests.session.histories import LIMITS

QUERY = {"id": "q-0", "digest": "d", "prompt": "p", "system": None}
SAID = {"id": "q-0", "response": "a"}
# kind -> a record of that kind with nothing but its required fields
LEAST: dict[str, Record] = {
    "header": {
        "sid": "p-1",
        "t": 1.0,
        "title": "t",
        "limits": LIMITS,
        "language": "lua",
        "code": "",
        "chunk": "c",
        "ctx": "{}",
        "lib_paths": [],
        "seed": 1,
        "utc_offset_s": 0,
    },
    "module": {"name": "module", "args": ["m"], "error": "gone"},
    "effect": {"name": "time", "args": [], "result": 1},
    "note": {"bytes": 1, "level": "info", "message": "m"},
    "prompt": {"t": 1.0, "queries": [QUERY]},
    "delivery": {"t": 1.0, "answered": [[0, "q-0"]]},
    "answer": {"t": 1.0, "answers": [SAID]},
    "misfit": {"t": 1.0, "query_ids": ["q-0"]},
    "fork": {"t": 1.0, "strategies": ["a"], "first": 0, "ctx": {}, "on_error": "skip"},
    "end": {"t": 1.0, "stream": "0", "result": 1},
    "crash": {"t": 1.0, "reason": "r"},
    "final": {"t": 1.0, "status": "completed", "result": None},
    "flushed": {},
}
CARRIED = {"answers": {"d": [None, {"response": "a"}]}, "effects": [["time", [], {"result": 1}, 2]]}
LINE = {"session_id": "p-1", "title": "t", "status": "running", "created_at": 1.0, "last_activity_at": 2.0}
LEGAL: dict[str, dict[str, Any]] = {  # further fields that a record may have
    "effect": {"n": 3, "times": 2},
    "header": {"budget": {"max_llm_calls": 1}, "parent": {"session_id": "p-2", "at": None}, "carried": CARRIED},
    "prompt": {"spent_s": 0.5, "wait": True, "wake_s": 2.5},
    "delivery": {"answered": []},
    "note": {"progress": {"step": -1, "total": 0, "message": None}},
    "answer": {"answers": [{**SAID, "usage": {"prompt_tokens": 3}, "by": None}]},
    "fork": {"spent_s": 1, "abis": [{"language": "python"}]},
    "flushed": {"line": LINE},
    "end": {"spent_s": 1, "error": "e"},
}
WAITS: list[Any] = [1, False, None, {}]
DELIVERED: list[Any] = [5, {}, ["q-0"], [[0]], [["q-0", 0]], [[-1, "q-0"]], [[0, "q-0", 1]]]
PARENTS: list[Any] = [5, {}, {"session_id": 5}]
EFFECTS: list[Any] = [5, [], ["time", [], {}, "1"], ["time", [], 5, 1]]
ANSWERS: list[Any] = [5, {"d": 5}, {"d": [5]}, {"d": [{}]}]
TALLIES: list[Any] = [5, {}, {"calls": 1}]
WRONG: list[tuple[str, dict[str, Any]]] = [
    *(("header", {"limits": {**LIMITS, "children": bad}}) for bad in (-1, "16", True, None, 1e300)),
    *(
        ("header", {"limits": {name: LIMITS[name] for name in LIMITS if name != gone}})
        for gone in ("strikes", "queries")
    ),
    *(("header", {"ctx": bad}) for bad in ("", "[]", "{", 5, "[" * 100_000)),
    *(("header", {"t": bad}) for bad in ("1", None, True, 1e300, -1e300, 10**400)),
    *(("header", {"project": bad}) for bad in (5, "a\0b", "\ud800")),
    *(("header", {"lib_paths": bad}) for bad in ("p", [5], ["a\0"], None)),
    *(("header", {"seed": bad}) for bad in (1.5, "1", 1 << 70)),
    *(("header", {"utc_offset_s": bad}) for bad in (1 << 40, "0")),
    *(("header", {"parent": bad}) for bad in PARENTS),
    *(("header", {"carried": {"effects": [bad]}}) for bad in EFFECTS),
    *(("header", {"carried": {"answers": bad}}) for bad in ANSWERS),
    *(("header", {"tally": bad}) for bad in TALLIES),
    *(("flushed", {"line": {**LINE, name: []}}) for name in LINE),
    ("header", {"budget": 5}),
    ("header", {"budget": {"max_llm_calls": "1"}}),
    ("header", {"variants": {"a": 5}}),
    ("header", {"title": ["t"]}),
    ("effect", {"n": "1"}),
    ("effect", {"times": -1}),
    ("effect", {"args": "a"}),
    ("note", {"bytes": "1"}),
    ("note", {"message": 5}),
    ("note", {"progress": {"step": "1", "total": 1, "message": None}}),
    ("prompt", {"t": "1"}),
    ("prompt", {"spent_s": "1"}),
    *(("prompt", {"wait": bad}) for bad in WAITS),
    *(("prompt", {"wait": True, "wake_s": bad}) for bad in ("1", -1, None, True, 1e300)),
    *(("delivery", {"answered": bad}) for bad in DELIVERED),
    *(("prompt", {"queries": [{**QUERY, name: 0}]}) for name in QUERY),
    ("prompt", {"queries": ["q-0"]}),
    ("answer", {"answers": {"id": "q-0"}}),
    ("answer", {"answers": [{"response": "a"}]}),
    ("answer", {"answers": [{"id": "q-0"}]}),
    ("answer", {"answers": [{**SAID, "response": 5}]}),
    ("answer", {"answers": [{**SAID, "usage": {"prompt_tokens": -5}}]}),
    ("answer", {"answers": [{**SAID, "by": 5}]}),
    ("fork", {"ctx": []}),
    ("fork", {"strategies": [5]}),
    ("fork", {"on_error": "abort"}),
    ("fork", {"on_error": ["skip"]}),
    ("fork", {"spent_s": None}),
    ("fork", {"abis": None}),
    ("fork", {"abis": ["python"]}),
    ("fork", {"abis": [{"interpreter": "CPython 3.12"}]}),
    ("end", {"error": 5}),
    ("end", {"stats": 5}),
    ("crash", {"reason": 9}),
    ("final", {"status": "vanished"}),
    ("final", {"status": []}),
    ("final", {"status": "error"}),
    ("final", {"t": None}),
]


def record(kind: str, **fields: Any) -> Record:
    return {"kind": kind, **LEAST[kind], **fields}


def test_every_kind_has_a_shape() -> None:
    assert set(SHAPES) == set(LEAST) == {kind for _, kind in TRANSITIONS}


@pytest.mark.parametrize("kind", LEAST)
def test_record_with_its_required_fields_has_its_shape(kind: str) -> None:
    assert problem_of(record(kind)) is None
    assert problem_of(record(kind, **LEGAL.get(kind, {}), of_a_later_version=[1])) is None


@pytest.mark.parametrize(("kind", "missing"), [(kind, name) for kind, fields in LEAST.items() for name in fields])
def test_record_without_a_required_field_has_no_shape(kind: str, missing: str) -> None:
    incomplete = {name: value for name, value in record(kind).items() if name != missing}

    assert problem_of(incomplete) is not None


@pytest.mark.parametrize(("kind", "fields"), WRONG, ids=str)
def test_field_of_another_type_or_value_has_no_shape(kind: str, fields: dict[str, Any]) -> None:
    assert problem_of(record(kind, **fields)) is not None
