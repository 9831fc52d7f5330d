"""JSON Schema of dataclasses, TypedDicts and other types: what is written, what is refused, what pydantic takes."""

import json
import sys
from dataclasses import dataclass, field
from datetime import date
from enum import Enum, IntEnum
from typing import Annotated, Any, ClassVar, Literal, NewType, NotRequired, Optional, Required, TypedDict

import pytest
from pydantic import TypeAdapter

import alc
from algocline_mcp.answers.schema import mismatch_of
from algocline_mcp.worker.engine.python.session import running
from tests.worker.engine.conformance.keeper import ScriptedKeeper
from tests.worker.engine.conformance.languages import session_of

STRING, INTEGER = {"type": "string"}, {"type": "integer"}


class Kind(Enum):
    FACT = "fact"
    OPINION = "opinion"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


@dataclass
class Claim:
    text: str
    kind: Kind = Kind.FACT
    line: int | None = None
    tags: list[str] = field(default_factory=list)
    shared: ClassVar[int] = 5
    n: int = field(default=0, init=False)


@dataclass
class Report:
    claims: list[Claim]
    best: Claim


@dataclass
class Tree:
    name: str
    children: "list[Tree]"


class Row(TypedDict):
    name: str
    total: NotRequired[float]


class Loose(TypedDict, total=False):
    name: Required[str]
    rows: dict[str, Row]


Name = NewType("Name", str)
CLAIM = {
    "type": "object",
    "properties": {
        "text": STRING,
        "kind": {"enum": ["fact", "opinion"], "default": "fact"},
        "line": {"anyOf": [INTEGER, {"type": "null"}]},
        "tags": {"type": "array", "items": STRING},
    },
    "required": ["text"],
}
ROW = {"type": "object", "properties": {"name": STRING, "total": {"type": "number"}}, "required": ["name"]}
TREE = {
    "type": "object",
    "properties": {"name": STRING, "children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}},
    "required": ["name", "children"],
}
WRITTEN: list[tuple[Any, dict[str, Any]]] = [
    (bool, {"type": "boolean"}),
    (list[int], {"type": "array", "items": INTEGER}),
    (dict[str, float], {"type": "object", "additionalProperties": {"type": "number"}}),
    (dict, {"type": "object"}),
    (tuple[int, str], {"type": "array", "prefixItems": [INTEGER, STRING], "minItems": 2, "maxItems": 2}),
    (tuple[int, ...], {"type": "array", "items": INTEGER}),
    (Optional[str], {"anyOf": [STRING, {"type": "null"}]}),  # noqa: UP045 - both ways to write it
    (Literal["A", "B"], {"enum": ["A", "B"]}),
    (Literal[1, 2], {"type": "integer", "enum": [1, 2]}),
    (Literal["A", 1, None], {"enum": ["A", 1, None]}),
    (Level, {"type": "integer", "enum": [1, 2]}),
    (Annotated[Name, 5, "a word"], {"type": "string", "description": "a word"}),
    (list[Any], {"type": "array"}),
    (Claim, CLAIM),
    (list[Claim], {"type": "array", "items": {"$ref": "#/$defs/Claim"}, "$defs": {"Claim": CLAIM}}),
    (
        Report,
        {
            "type": "object",
            "properties": {
                "claims": {"type": "array", "items": {"$ref": "#/$defs/Claim"}},
                "best": {"$ref": "#/$defs/Claim"},
            },
            "required": ["claims", "best"],
            "$defs": {"Claim": CLAIM},
        },
    ),
    (Tree, TREE | {"$defs": {"Tree": TREE}}),
    (Row, ROW),
    (
        Loose,
        {
            "type": "object",
            "properties": {
                "name": STRING,
                "rows": {"type": "object", "additionalProperties": {"$ref": "#/$defs/Row"}},
            },
            "required": ["name"],
            "$defs": {"Row": ROW},
        },
    ),
    ({"enum": ["A"]}, {"enum": ["A"]}),
]


@pytest.mark.parametrize(("form", "written"), WRITTEN, ids=[str(n) for n in range(len(WRITTEN))])
def test_schema_of_a_type(form: Any, written: dict[str, Any]) -> None:
    assert alc.schema(form) == written


TYPES = [Claim, Report, Tree, Optional[str], tuple[int, str], Level, list[Kind]]  # noqa: UP045
if sys.version_info >= (3, 12):  # pydantic reads a TypedDict of typing only there
    TYPES += [Row, Loose]


@pytest.mark.parametrize("form", TYPES)
@pytest.mark.parametrize(
    "value",
    [
        {"text": "a"},
        {"text": "a", "kind": "lie"},
        {"text": "a", "kind": "opinion", "line": None, "tags": ["x"]},
        {"text": 1},
        {"claims": [{"text": "a"}], "best": {"text": "b", "line": 3}},
        {"claims": [{"line": 3}], "best": {"text": "b"}},
        {"name": "a", "children": [{"name": "b", "children": []}]},
        {"name": "a", "children": [{"name": "b"}]},
        {"name": "a", "total": "x"},
        {"name": "a", "rows": {"x": {"name": "y", "total": 1.5}}},
        {"name": "a", "rows": {"x": {"total": 1.5}}},
        *({}, None, "a", 2, 3, [1, "a"], [1], ["fact"], ["fiction"]),
    ],
    ids=repr,
)
def test_an_answer_fits_where_pydantic_takes_it(form: Any, value: Any) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(form)
    expected = _is_valid(adapter, value)

    assert (mismatch_of(value, alc.schema(form)) is None) == expected


def _is_valid(adapter: "TypeAdapter[Any]", value: Any) -> bool:
    try:
        adapter.validate_json(json.dumps(value), strict=True)
    except ValueError:
        return False
    return True


def _unknown() -> type:
    @dataclass
    class Late:
        other: "Missing"  # type: ignore[name-defined]  # noqa: F821 - the annotation that nothing explains

    return Late


def _named_twice() -> Any:
    @dataclass
    class Row:
        text: str

    return list[Row]


@dataclass
class Odd:
    when: date


ADVICE = "which JSON Schema does not express: use str, int"
REFUSED: list[tuple[Any, str]] = [
    (Odd, f"Odd.when is date, {ADVICE}"),
    (set[int], f"schema is set[int], {ADVICE}"),
    (dict[int, str], f"schema is dict[int, str], {ADVICE}"),
    (Literal[b"a"], f"schema is Literal[b'a'], {ADVICE}"),
    (list["Nobody"], f"schema is 'Nobody', {ADVICE}"),  # type: ignore[name-defined]  # noqa: F821
    (Claim("a"), "schema is an object of Claim: give the class itself"),
    (dict[str, Row] | _named_twice(), "two types of the schema are named Row: rename one of them"),
    (_unknown(), "the annotations of Late cannot be read (name 'Missing' is not defined): define what they name at"),
    (5, "schema is not a dict such as {"),
]


@pytest.mark.parametrize(("form", "sentence"), REFUSED, ids=[str(n) for n in range(len(REFUSED))])
def test_a_type_that_json_schema_does_not_express_is_refused_at_the_call(form: Any, sentence: str) -> None:
    keeper = ScriptedKeeper()
    with running(session_of("", keeper)), pytest.raises(alc.Error, match=r".") as raised:
        alc.llm("p", schema=form)
    with pytest.raises(alc.Error, match=r"alc\.schema: "):
        alc.schema(form)

    assert str(raised.value).startswith(f"alc.llm: {sentence}")
    assert keeper.messages == []


def test_an_answer_is_compared_with_the_type_and_asked_for_again() -> None:
    keeper = ScriptedKeeper(['[{"kind": "fact"}]', '[{"text": "a"}]'])
    with running(session_of("", keeper)):
        answer = alc.llm_json("p", schema=list[Claim], details=True)

    prompts = [message["queries"][0] for message in keeper.messages if message["op"] == "ask"]
    assert answer.value == [{"text": "a"}]
    assert "answer[1].text is missing" in prompts[1]["prompt"]
    assert prompts[0]["schema"] == alc.schema(list[Claim])
