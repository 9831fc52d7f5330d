"""The form of an answer, as a small part of JSON Schema: the text that asks for it, and the check of what came back.

A schema is an object of these keywords: `type` (a name, or a list of names), `properties`, `required`, `items`, `enum`,
`minimum` and `maximum`; `title`, `description`, `default` and `examples` are shown to the model and not checked. Any
other keyword is an error, because nothing would check it. An object or array is asked for as JSON. A choice, number,
or yes and no is asked for as a marked last line, which match_enum, parse_number, parse_score and match_bool read best.
A property that is not named is allowed.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from algocline_mcp.worker.engine.answers.json_text import json_extract

Schema = Mapping[str, Any]

_SHOWN = ("title", "description", "default", "examples")
_LONG_DIGITS = 300  # of an integer: Python refuses 4,301, and nobody asks for so many
_QUOTED = 60  # characters of a value in a sentence


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: _is_number(value) and float(value).is_integer(),
    "number": _is_number,
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}


def schema_form(schema: Any) -> list[str | None]:
    """`[form, problem]`: the text to put behind a prompt, or what is wrong with the schema."""
    problem = _problem(schema, "schema")
    return [None, problem] if problem else [_form(schema), None]


def schema_mismatch(text: str, schema: Schema) -> str | None:
    """Where the JSON in an answer does not fit the schema, with its path; None where it fits or is missing."""
    extract = json_extract(text)
    return None if extract is None else _mismatch(json.loads(extract, parse_int=_integer), schema, "answer")


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < _LONG_DIGITS else float(digits)


def _form(schema: Schema) -> str:
    choices, types = schema.get("enum"), _types(schema)
    if choices and all(isinstance(choice, str) for choice in choices):
        return "Last line: " + " or ".join(f'"Verdict: {choice}"' for choice in choices) + "."
    if types == ["boolean"]:
        return 'Last line: "Verdict: yes" or "Verdict: no".'
    if types in (["integer"], ["number"]):
        low, high = schema.get("minimum"), schema.get("maximum")
        bounds = [f"from {low}"] * (low is not None) + [f"to {high}"] * (high is not None)
        kind = "a whole number" if types == ["integer"] else "a number"
        return f'Last line: "Answer: N", where N is {" ".join([kind, *bounds])}.'
    written = json.dumps(schema, ensure_ascii=False, sort_keys=True)
    return f"Answer with JSON only, of this form (JSON Schema): {written}"


def _types(schema: Schema) -> list[str]:
    types = schema.get("type") or []
    return [types] if isinstance(types, str) else list(types)


# ── the schema itself ─────────────────────────────────────────────────────────────────────────────────────


def _problem(schema: Any, path: str) -> str | None:
    if not isinstance(schema, dict):
        return f"{path} is not a table such as {{type = 'object', properties = {{name = {{type = 'string'}}}}}}"
    for key, value in schema.items():
        if key in _SHOWN:
            continue
        if key not in _KEYWORDS:
            return f"{path}.{key} is not checked by anything: known are {', '.join([*_KEYWORDS, *_SHOWN])}"
        test, form = _KEYWORDS[key]
        if not test(value):
            return f"{path}.{key} must be {form}"
    inner = [(f"{path}.properties.{name}", part) for name, part in (schema.get("properties") or {}).items()]
    if "items" in schema:
        inner.append((f"{path}.items", schema["items"]))
    return next((problem for place, part in inner if (problem := _problem(part, place))), None)


def _is_list_of(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value == {} or (isinstance(value, list) and all(map(test, value)))  # {}: a list in Lua too


def _is_type(value: Any) -> bool:
    names = value if isinstance(value, list) else [value]
    return all(isinstance(name, str) and name in _TYPES for name in names)


_KEYWORDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "type": (_is_type, f"one of {', '.join(_TYPES)}, or a list of them"),
    "properties": (lambda value: isinstance(value, dict), "a table of schemas"),
    "required": (_is_list_of(lambda name: isinstance(name, str)), "a list of names"),
    "items": (lambda value: isinstance(value, dict), "a schema"),
    "enum": (_is_list_of(lambda value: not isinstance(value, (dict, list))), "a list of texts, numbers or booleans"),
    "minimum": (_is_number, "a number"),
    "maximum": (_is_number, "a number"),
}


# ── an answer ─────────────────────────────────────────────────────────────────────────────────────────────


def _mismatch(value: Any, schema: Schema, path: str) -> str | None:
    types = _types(schema)
    if types and not any(_TYPES[name](value) for name in types):
        return f"{path} is {_shown(value)} and not of type {' or '.join(types)}"
    choices = schema.get("enum") or []
    if choices and not any(_is_same(value, choice) for choice in choices):
        return f"{path} is {_shown(value)} and not one of {', '.join(map(_shown, choices))}"
    if _is_number(value):
        if value < schema.get("minimum", value):
            return f"{path} is {_shown(value)} and less than {schema['minimum']}"
        if value > schema.get("maximum", value):
            return f"{path} is {_shown(value)} and more than {schema['maximum']}"
    return _mismatch_inside(value, schema, path)


def _mismatch_inside(value: Any, schema: Schema, path: str) -> str | None:
    if isinstance(value, dict):
        for name in schema.get("required") or []:
            if name not in value:
                return f"{path}.{name} is missing"
        parts = schema.get("properties") or {}
        inside = ((f"{path}.{name}", value[name], part) for name, part in parts.items() if name in value)
    elif isinstance(value, list) and "items" in schema:
        inside = ((f"{path}[{n}]", item, schema["items"]) for n, item in enumerate(value, 1))
    else:
        return None
    return next((problem for place, part, form in inside if (problem := _mismatch(part, form, place))), None)


def _is_same(value: Any, choice: Any) -> bool:
    """1 and 1.0 are one value in JSON; 1 and true, which Python takes for one, are two."""
    return bool(value == choice) and isinstance(value, bool) == isinstance(choice, bool)


def _shown(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "an array"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _QUOTED else text[: _QUOTED - 1] + "…"
