"""Records of a journal: the shape of each kind, and the check of records that another program may have written.

A record is a JSON object. `kind` names its kind, `t` is the wall clock in unix seconds, `s` (added by the journal) is
the length of the file known to be flushed. `stream` names the stream that wrote the record; it is absent for the
strategy itself. `spent_s` is the time in seconds that the engine has computed in this step.

SHAPES names every field that any reader of a journal uses, with what the field may hold. So a journal that another
program wrote, in an imported file or in the home itself, is refused with the field that is wrong, and no reader behind
the check has to doubt a type.
"""

import json
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from algocline_mcp.errors import AlcError

Record = dict[str, Any]
Test = Callable[[Any], bool]
Fields = Mapping[str, Test]

ON_ERROR = ("skip", "fail")  # alc.fork: a child that fails is an entry of the result, or ends the whole fork
ENDED_AS = {"completed": "Completed", "error": "Failed", "cancelled": "Cancelled"}  # `status` of final, and its view
# The limits that decide: they stand in the header, and the session keeps them for its whole life.
_NEEDED_LIMITS = (
    *("prompt_bytes", "answer_bytes", "result_bytes", "notes_bytes", "queries", "strikes"),
    *("state_key_bytes", "state_value_bytes", "ctx_bytes"),
)
RECORDED_LIMITS = (*_NEEDED_LIMITS, "budget_wait_s", "children", "children_max", "children_depth", "json_depth")
_JSON_DEPTH = 128  # of journals of 0.2.0 and before, whose engines knew no other
# `reason` of a crash: the code is deterministic, so a step that did this twice at one point does it again.
CPU_USED_UP = "used up the processor time of a step (ALC_STEP_CPU_S)"
_EARLIEST_S, _LATEST_S = -6e10, 2.5e11  # the years 68 and 9892: a date in every time zone
_LARGEST = 1 << 53
_OUTCOME = {"completed": "result", "error": "error", "cancelled": "status"}  # `status` of final, and its field


class IllegalRecord(AlcError):
    """A readable record that cannot follow the records before it: another program wrote it, or a newer version."""

    code = "corrupt"


@dataclass(frozen=True, slots=True)
class Shape:
    """The fields of one kind. A field that is not named may hold any JSON value, or be absent."""

    required: Fields = field(default_factory=dict)
    optional: Fields = field(default_factory=dict)
    one_of: Collection[str] = ()  # at least one of these fields is there
    is_of_stream: bool = False  # a stream writes it, and only while the stream should have an engine


# ── what a field may hold ─────────────────────────────────────────────────────────────────────────────────


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _true(value: Any) -> bool:
    return value is True


def _object(value: Any) -> bool:
    return isinstance(value, dict)


def _list(value: Any) -> bool:
    return isinstance(value, list)


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _LARGEST


def _positive(value: Any) -> bool:
    return _count(value) and value > 0


def _whole(value: Any) -> bool:
    return type(value) is int and abs(value) < 1 << 63


def _integer(value: Any) -> bool:
    return type(value) is int


def _number(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < _LARGEST


def _offset(value: Any) -> bool:
    """Seconds from UTC; a day is the most that a time zone may have."""
    return type(value) is int and abs(value) < 86_400


def _time(value: Any) -> bool:
    return type(value) in (int, float) and _EARLIEST_S < value < _LATEST_S


def _path(value: Any) -> bool:
    """A text that the system takes as a name."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        return False
    return True


def _json_object(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        return isinstance(json.loads(value), dict)
    except (ValueError, RecursionError):
        return False


def _choice(*values: str) -> Test:
    return lambda value: isinstance(value, str) and value in values


def _or_null(test: Test) -> Test:
    return lambda value: value is None or test(value)


def _list_of(test: Test) -> Test:
    return lambda value: isinstance(value, list) and all(map(test, value))


def _map_of(test: Test) -> Test:
    return lambda value: isinstance(value, dict) and all(map(test, value.values()))


def _fields(required: Fields, optional: Fields, *, one_of: Collection[str] = ()) -> Test:
    shape = Shape(required, optional, one_of)
    return lambda value: isinstance(value, dict) and wrong_field(value, shape) is None


def _numbered(value: Any) -> bool:
    """`[number, query id]`."""
    return isinstance(value, list) and len(value) == 2 and _count(value[0]) and _text(value[1])


def _effect(value: Any) -> bool:
    """An effect that a branch inherits: `[name, args, outcome, times]`."""
    tests = (_text, _list, _object, _positive)
    return (
        isinstance(value, list) and len(value) == len(tests) and all(map(lambda test, part: test(part), tests, value))
    )


_USAGE = _or_null(_map_of(_count))
_SAID: Fields = {"response": _text, "refuse": _text, "usage": _USAGE, "by": _or_null(_text)}
_INHERITED = _or_null(_fields({}, _SAID, one_of=("response", "refuse")))
_PROGRESS = _fields({"step": _integer, "total": _integer, "message": _or_null(_text)}, {})
_LIMITS = _fields(
    dict.fromkeys(_NEEDED_LIMITS, _count), dict.fromkeys(RECORDED_LIMITS, _number) | {"json_depth": _count}
)
_LINE = _fields(  # of the list, see session/results.py
    {"session_id": _text, "title": _text, "status": _text, "created_at": _time, "last_activity_at": _time},
    {"error_code": _text, "pending": _list_of(_text), "prompt": _text},
)
_COUNTS = (
    *("calls", "pauses", "rounds", "prompt_chars", "response_chars", "prompt_tokens", "response_tokens"),
    *("prompts_provided", "responses_provided"),
)

SHAPES: dict[str, Shape] = {
    "header": Shape(
        {
            "sid": _text, "t": _time, "title": _text, "limits": _LIMITS, "language": _text, "code": _text,
            "chunk": _text, "ctx": _json_object, "lib_paths": _list_of(_path), "seed": _whole, "utc_offset_s": _offset,
        },
        {
            "created_s": _time, "abi": _object, "version": _text, "sandbox": _text, "namespace": _text,
            "budget": _map_of(_count), "variants": _map_of(_path), "strategy": _or_null(_text),
            "project": _or_null(_path), "parent": _or_null(_fields({"session_id": _text}, {"at": _or_null(_text)})),
            "carried": _fields({}, {"answers": _map_of(_list_of(_INHERITED)), "effects": _list_of(_effect)}),
            "kept": _text, "tally": _fields(dict.fromkeys(_COUNTS, _whole), {}), "answered": _map_of(_text),
            "child_stats": _map_of(_fields({"strategy": _text}, {})),
        },
    ),
    "module": Shape(
        {"name": _text, "args": _list},
        {"error": _text},
        one_of=("result", "error"),
        is_of_stream=True,
    ),
    "effect": Shape(
        {"name": _text, "args": _list},
        {"n": _count, "times": _positive, "error": _text},
        one_of=("result", "error"),
        is_of_stream=True,
    ),
    "note": Shape(
        {"bytes": _count},
        {"progress": _PROGRESS, "level": _text, "message": _text, "warning": _true, "phase": _text},
        one_of=("progress", "message"),
        is_of_stream=True,
    ),
    "prompt": Shape(
        {
            "t": _time,
            "queries": _list_of(
                _fields({"id": _text, "digest": _text, "prompt": _text, "system": _or_null(_text)}, {"stream": _text})
            ),
        },
        {"spent_s": _number, "wait": _true, "wake_s": _number, "withdrawn": _list_of(_text)},
        is_of_stream=True,
    ),
    "delivery": Shape({"t": _time, "answered": _list_of(_numbered)}, is_of_stream=True),
    "answer": Shape({"t": _time, "answers": _list_of(_fields({"id": _text}, _SAID, one_of=("response", "refuse")))}),
    "misfit": Shape({"t": _time, "query_ids": _list_of(_text)}),  # answers that were refused: session/misfits.py
    "fork": Shape(
        {
            "t": _time, "strategies": _list_of(_text), "first": _count, "ctx": _object, "on_error": _choice(*ON_ERROR),
        },
        {"spent_s": _number, "abis": _list_of(_or_null(_fields({"language": _text}, {})))},
        is_of_stream=True,
    ),
    "end": Shape(
        {"t": _time, "stream": _text},
        {"spent_s": _number, "error": _text, "stats": _object},
        one_of=("result", "error"),
        is_of_stream=True,
    ),
    "crash": Shape({"t": _time, "reason": _text}, is_of_stream=True),
    "final": Shape(
        {"t": _time, "status": _choice(*ENDED_AS)},
        {"error": _text, "stats": _object, "warnings": _list_of(_text)},
    ),
    "flushed": Shape({}, {"line": _LINE}),
}  # fmt: skip


def wrong_field(record: Mapping[str, Any], shape: Shape) -> str | None:
    """The field that is missing or holds something else than its shape allows; None where the record is well formed."""
    for name, test in shape.required.items():
        if name not in record or not test(record[name]):
            return name
    for name, test in shape.optional.items():
        if name in record and not test(record[name]):
            return name
    if shape.one_of and not any(name in record for name in shape.one_of):
        return " or ".join(shape.one_of)
    return None


def problem_of(record: Record) -> str | None:
    """The field of a record that does not fit its kind, which must be a key of SHAPES; None where all fit."""
    name = wrong_field(record, SHAPES[record["kind"]])
    if name is None and record["kind"] == "final" and _OUTCOME[record["status"]] not in record:
        return _OUTCOME[record["status"]]
    if name is None and record["kind"] == "note" and "progress" not in record and "level" not in record:
        return "level"
    return name


def json_depth_of(header: Record) -> int:
    """How deep the values of a session nest."""
    depth: int = header["limits"].get("json_depth", _JSON_DEPTH)
    return depth
