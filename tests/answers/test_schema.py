"""The form of an answer: what is asked for, what fits, and which schemas are refused."""

import json
from typing import Any

import pytest

from algocline_mcp.answers.schema import schema_form, schema_mismatch

JSON_FORM = "Answer with JSON only, of this form (JSON Schema): "
FORMS: list[tuple[dict[str, Any], str]] = [
    ({"enum": ["PASS", "FAIL"]}, 'Last line: "Verdict: PASS" or "Verdict: FAIL".'),
    ({"type": "string", "enum": ["C"]}, 'Last line: "Verdict: C".'),
    ({"type": "boolean"}, 'Last line: "Verdict: yes" or "Verdict: no".'),
    ({"type": "integer"}, 'Last line: "Answer: N", where N is a whole number.'),
    (
        {"type": "integer", "minimum": 1, "maximum": 10},
        'Last line: "Answer: N", where N is a whole number from 1 to 10.',
    ),
    ({"type": "integer", "enum": [1, 2, 3]}, 'Last line: "Answer: N", where N is 1, 2 or 3.'),
    ({"enum": [0.5, 1]}, 'Last line: "Answer: N", where N is 0.5 or 1.'),
    ({"type": "number", "maximum": 0.5}, 'Last line: "Answer: N", where N is a number to 0.5.'),
    ({"type": "array", "items": {}}, JSON_FORM + '{"items": {}, "type": "array"}'),
    ({"type": ["object", "null"], "title": "é"}, JSON_FORM + '{"title": "é", "type": ["object", "null"]}'),
]


@pytest.mark.parametrize(("schema", "form"), FORMS)
def test_form_that_is_asked_for(schema: dict[str, Any], form: str) -> None:
    assert schema_form(schema) == [form, None]


PERSON: dict[str, Any] = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "share": {"type": "number"},
        "tags": {"type": "array", "items": {"type": ["string", "null"]}},
        "state": {"enum": ["on", "off", 1, None]},
        "is_new": {"type": "boolean"},
        "any": {},
    },
}
ANSWERS: list[tuple[Any, str | None]] = [
    ({"name": "x"}, None),
    ({"name": "x", "age": 3.0, "share": 1, "tags": ["a", None], "state": 1.0, "any": [{}], "other": 5}, None),
    ({"name": "x", "tags": [], "state": None, "is_new": False}, None),
    ({}, "answer.name is missing"),
    ([], "answer is an array and not of type object"),
    ({"name": None}, "answer.name is null and not of type string"),
    ({"name": "x", "age": 3.5}, "answer.age is 3.5 and not of type integer"),
    ({"name": "x", "age": True}, "answer.age is true and not of type integer"),
    ({"name": "x", "age": -1}, "answer.age is -1 and less than 0"),
    ({"name": "x", "age": 151}, "answer.age is 151 and more than 150"),
    ({"name": "x", "share": "1"}, 'answer.share is "1" and not of type number'),
    ({"name": "x", "tags": ["a", 2]}, "answer.tags[2] is 2 and not of type string or null"),
    ({"name": "x", "tags": {"a": 1}}, "answer.tags is an object and not of type array"),
    ({"name": "x", "state": True}, 'answer.state is true and not one of "on", "off", 1, null'),
    ({"name": "x", "is_new": 0}, "answer.is_new is 0 and not of type boolean"),
    ({"name": "x", "is_new": "x" * 99}, 'answer.is_new is "' + "x" * 58 + "… and not of type boolean"),
]


@pytest.mark.parametrize(("value", "problem"), ANSWERS)
def test_answer_is_compared_with_its_schema(value: Any, problem: str | None) -> None:
    assert schema_mismatch(f"Here it is:\n```json\n{json.dumps(value)}\n```", PERSON) == problem


def test_answer_without_json_has_no_difference_to_name() -> None:
    assert schema_mismatch("sorry", PERSON) is None


@pytest.mark.parametrize("digits", ["9" * 5000, "-" + "9" * 400, "1e999"])
def test_number_of_any_length_is_compared(digits: str) -> None:
    problem = schema_mismatch(f'{{"name": "x", "age": {digits}}}', PERSON)

    assert problem is not None
    assert problem.startswith("answer.age is ")


KNOWN = "known are type, properties, required, items, "
BAD_SCHEMAS: list[tuple[Any, str]] = [
    ("object", "schema is not a table such as {type = 'object', properties = {name = {type = 'string'}}}"),
    (["object"], "schema is not a table such as {type = 'object', properties = {name = {type = 'string'}}}"),
    ({"tpye": "object"}, f"schema.tpye is not checked by anything: {KNOWN}"),
    ({"multipleOf": 2}, f"schema.multipleOf is not checked by anything: {KNOWN}"),
    (
        {"items": {"properties": {"a": {"min": 1}}}},
        f"schema.items.properties.a.min is not checked by anything: {KNOWN}",
    ),
    ({"properties": {"a": "string"}}, "schema.properties.a is not a table such as"),
    ({"type": "int"}, "schema.type must be one of object, array, string, integer, number, boolean, null, or a list"),
    ({"type": {"a": 1}}, "schema.type must be one of"),
    ({"required": "name"}, "schema.required must be a list of names"),
    ({"properties": ["name"]}, "schema.properties must be a table of schemas"),
    ({"items": [{}]}, "schema.items must be a schema"),
    ({"enum": [{}]}, "schema.enum must be a list of texts, numbers or booleans"),
    ({"minimum": {}}, "schema.minimum must be a number"),
    ({"maximum": True}, "schema.maximum must be a number"),
]


@pytest.mark.parametrize(("schema", "problem"), BAD_SCHEMAS)
def test_schema_that_nothing_would_check_is_refused(schema: Any, problem: str) -> None:
    form, sentence = schema_form(schema)

    assert form is None
    assert sentence is not None
    assert sentence.startswith(problem)
