"""Whether a whole answer has the form that was asked for, and what is said where it has not."""

import json
import time
from typing import Any

import pytest

from algocline_mcp.answers import fit
from algocline_mcp.answers.fit import misfit
from algocline_mcp.answers.schema import mismatch_of, schema_form, schema_mismatch

OBJECT: dict[str, Any] = {"type": "object", "required": ["a"]}
SCORE: dict[str, Any] = {"type": "integer", "minimum": 1, "maximum": 10}
VERDICT: dict[str, Any] = {"enum": ["PASS", "FAIL"]}
CASES: list[tuple[str, dict[str, Any], str | None]] = [
    ('Here: {"a": 1}', OBJECT, None),
    ("no idea", OBJECT, "it has no complete JSON object; answer with JSON only"),
    ('{"a": ', OBJECT, "it has no complete JSON object; answer with JSON only"),
    ("{}", OBJECT, "answer.a is missing"),
    ("null", {"type": ["object", "null"]}, None),
    ("text", {}, None),
    ("I think so.\nVerdict: PASS", VERDICT, None),
    ("well", VERDICT, 'no verdict can be read from it. Last line: "Verdict: PASS" or "Verdict: FAIL".'),
    ("Verdict: no", {"type": "boolean"}, None),
    ("well", {"type": "boolean"}, 'no verdict can be read from it. Last line: "Verdict: yes" or "Verdict: no".'),
    ("Answer: 7", SCORE, None),
    ("Answer: 11", SCORE,
     'its number is read as 11. Last line: "Answer: N", where N is a whole number from 1 to 10.'),
    ("Answer: 2", {"type": "integer", "enum": [1, 2]}, None),
    ("Answer: 2", {"enum": [1, 2, 3]}, None),
    ("Answer: 4", {"enum": [1, 2, 3]},
     'its number is read as 4. Last line: "Answer: N", where N is 1, 2 or 3.'),
    ("Answer: 4", {"type": "integer", "minimum": 0, "enum": [1]},
     'its number is read as 4. Last line: "Answer: N", where N is 1.'),
    ("yes", {"type": "boolean", "enum": [True]}, None),
    ("none", SCORE,
     'no number can be read from it. Last line: "Answer: N", where N is a whole number from 1 to 10.'),
]  # fmt: skip


@pytest.mark.parametrize(("text", "schema", "problem"), CASES)
def test_misfit_says_what_is_wrong_and_what_is_expected(text: str, schema: dict[str, Any], problem: str | None) -> None:
    assert misfit(text, schema) == problem


# As pydantic writes a model: class Tree(BaseModel): name: str = Field(min_length=1); kind: Literal["leaf"] | None;
# size: PositiveInt; pair: tuple[int, str]; children: list["Tree"] = Field(max_length=2)
TREE: dict[str, Any] = {
    "$defs": {
        "Tree": {
            "additionalProperties": False,
            "properties": {
                "name": {"minLength": 1, "title": "Name", "type": "string"},
                "kind": {"anyOf": [{"const": "leaf", "type": "string"}, {"type": "null"}], "title": "Kind"},
                "size": {"exclusiveMinimum": 0, "type": "integer"},
                "pair": {"maxItems": 2, "minItems": 2, "prefixItems": [{"type": "integer"}, {"type": "string"}],
                         "type": "array"},
                "children": {"items": {"$ref": "#/$defs/Tree"}, "maxItems": 2, "type": "array"},
            },
            "required": ["name"],
            "title": "Tree",
            "type": "object",
        }
    },
    "$ref": "#/$defs/Tree",
}  # fmt: skip
TREES: list[tuple[Any, str | None]] = [
    ({"name": "a", "kind": None, "size": 1, "pair": [1, "x"], "children": [{"name": "b", "children": []}]}, None),
    ({"name": "a", "children": [{"name": "b"}, {}]}, "answer.children[2].name is missing"),
    ({"name": ""}, "answer.name has 0 characters and needs at least 1"),
    ({"name": "a", "kind": "x"}, 'answer.kind is "x" and not one of "leaf"'),
    ({"name": "a", "size": 0}, "answer.size is 0 and not more than 0"),
    ({"name": "a", "pair": [1]}, "answer.pair has 1 items and needs at least 2"),
    ({"name": "a", "pair": [1, 2]}, "answer.pair[2] is 2 and not of type string"),
    ({"name": "a", "children": [{"name": "b"}] * 3}, "answer.children has 3 items and may have at most 2"),
    ({"name": "a", "more": 1}, "answer.more is not expected"),
]


@pytest.mark.parametrize(("value", "problem"), TREES)
def test_schema_of_a_model_is_checked(value: Any, problem: str | None) -> None:
    assert schema_form(TREE)[1] is None
    assert schema_mismatch(json.dumps(value), TREE) == problem


def test_reference_to_nothing_is_refused() -> None:
    assert (
        schema_form({"$ref": "#/$defs/A"})[1] == 'schema.$ref is "#/$defs/A", which $defs of the schema does not have'
    )


LOOP = {"$defs": {"A": {"anyOf": [{"$ref": "#/$defs/A"}] * 9}}, "$ref": "#/$defs/A", "type": "array"}
HOSTILE: list[tuple[str, dict[str, Any]]] = [
    ("[" + "1," * 60_000 + "1]", {"type": "array", "items": {"enum": list(range(2, 9_000))}}),
    ("[" * 800 + "]" * 800, {"$defs": {"A": {"items": {"$ref": "#/$defs/A"}}}, "$ref": "#/$defs/A", "type": "array"}),
    ("[1]", LOOP),
    ("[" + "1," * 80_000 + "1]", {"type": "array", "items": {"type": ["string"] * 6_000 + ["integer"]}}),
    ("[" + "{}," * 60_000 + "{}]", {"type": "array", "items": {"properties": {f"k{n}": {} for n in range(4_000)}}}),
    ("[" + '{"a":1},' * 25_000 + "{}]", {"type": "array", "items": {"required": ["a"] * 7_000}}),
    ("```json\n{\n" * 20_000, {"type": "object"}),
    ("maybe " * 20_000, {"enum": [f"word{n}" for n in range(5_000)]}),
]


@pytest.mark.parametrize(("text", "schema"), HOSTILE, ids=range(len(HOSTILE)))
def test_check_is_bounded_whatever_the_schema_and_the_answer(text: str, schema: dict[str, Any]) -> None:
    began_s = time.thread_time()
    misfit(text, schema)

    assert time.thread_time() - began_s < 2  # some 0.2 s; without its bounds the first took a minute


def test_comparison_ends_where_its_steps_are_used_up() -> None:
    schema = {"type": "array", "items": {"type": "integer"}}
    value = [1] * fit._STEPS + ["x"]

    assert mismatch_of(value, schema, fit._STEPS) is None
    assert mismatch_of(value, schema) == f'answer[{fit._STEPS + 1}] is "x" and not of type integer'
