"""Records of a journal: the shape of each kind, and the check of records that another program may have written.

A record is a JSON object. `kind` names its kind, `t` is the wall clock in unix seconds, `s` (added by the journal) is
the length of the file known to be flushed. `stream` names the stream that wrote the record; it is absent for the
strategy itself. `spent_s` is the time in seconds that the engine has computed in this step.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from algocline_mcp.errors import AlcError

Record = dict[str, Any]
Fields = Mapping[str, type | tuple[type, ...]]

ON_ERROR = ("skip", "fail")  # alc.fork: a child that fails is an entry of the result, or ends the whole fork
ENDED_AS = {"completed": "Completed", "error": "Failed", "cancelled": "Cancelled"}  # `status` of final, and its view
# The limits that decide: they stand in the header, and the session keeps them for its whole life.
RECORDED_LIMITS = (
    *("prompt_bytes", "answer_bytes", "result_bytes", "notes_bytes", "queries", "strikes"),
    *("state_key_bytes", "state_value_bytes", "budget_wait_s"),
    *("ctx_bytes", "children", "children_max", "children_depth"),
)


class IllegalRecord(AlcError):
    """A readable record that cannot follow the records before it: another program wrote it, or a newer version."""

    code = "corrupt"


@dataclass(frozen=True, slots=True)
class Shape:
    """The fields of one kind. A field that is not named may hold any JSON value, or be absent."""

    required: Fields
    optional: Fields = field(default_factory=dict)
    items: tuple[str, Fields] | None = None  # a field that lists objects, and the required fields of each object
    one_of: Collection[str] = ()  # at least one of these fields is there
    values: tuple[str, Collection[str]] | None = None  # a field, and the values that it may have
    is_of_stream: bool = False  # a stream writes it, and only while the stream should have an engine


_NUMBER = (int, float)
_ANY = object

# `effect` and `module` also hold `name`, `args` and `result` or `error`, and `note` holds `level` and `message` or
# `progress`: the fold does not read these fields, so nothing depends on their types here.
SHAPES: dict[str, Shape] = {
    "header": Shape({"sid": _ANY, "t": _ANY, "title": _ANY, "limits": _ANY}, {"budget": dict}),
    "module": Shape({}, is_of_stream=True),
    "effect": Shape({}, {"n": int}, is_of_stream=True),
    "note": Shape({"bytes": int}, is_of_stream=True),
    "prompt": Shape(
        {"t": _NUMBER, "queries": list},
        {"spent_s": _NUMBER},
        items=("queries", {"id": str, "system": _ANY}),
        is_of_stream=True,
    ),
    "answer": Shape({"t": _NUMBER, "answers": list}, items=("answers", {"id": str})),
    "fork": Shape(
        {"t": _NUMBER, "strategies": list, "first": int, "ctx": dict, "on_error": str},
        {"spent_s": _NUMBER},
        values=("on_error", ON_ERROR),
        is_of_stream=True,
    ),
    "end": Shape(
        {"t": _NUMBER, "stream": str},
        {"spent_s": _NUMBER, "error": str},
        one_of=("result", "error"),
        is_of_stream=True,
    ),
    "crash": Shape({"reason": str}, is_of_stream=True),
    "final": Shape({"t": _NUMBER, "status": str}, values=("status", tuple(ENDED_AS))),
    "flushed": Shape({}),
}


def has_shape(record: Record) -> bool:
    """Whether the record has the fields of its kind. `kind` must be a key of SHAPES."""
    shape = SHAPES[record["kind"]]
    try:
        for name, types in shape.required.items():
            if not isinstance(record[name], types):
                return False
        if shape.items is not None:
            list_name, fields = shape.items
            for item in record[list_name]:
                for name, types in fields.items():
                    if not isinstance(item[name], types):
                        return False
    except (KeyError, TypeError):  # a field is missing, an item is no object
        return False
    for name, types in shape.optional.items():
        if name in record and not isinstance(record[name], types):
            return False
    if shape.values is not None and record[shape.values[0]] not in shape.values[1]:
        return False
    return not shape.one_of or any(name in record for name in shape.one_of)
