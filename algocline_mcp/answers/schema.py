"""The form of an answer, as a part of JSON Schema: the text that asks for it, and the check of what came back.

A schema is an object of the keywords in _KEYWORDS: those of a hand-written schema, and what pydantic writes for a
model. Those in _SHOWN are shown to the model and not checked; `pattern` is one of them, because a hostile one
takes for ever. Any other keyword is an error, because nothing would check it. `$ref` names one of the root's `$defs`.
An object or array is asked for as JSON. A choice, number, or yes and no is asked for as a marked last line, which
match_enum, parse_number, parse_score and match_bool read best. A property that is not named is allowed unless
`additionalProperties` says otherwise.
"""

import json
import operator
from collections.abc import Callable, Iterator, Mapping
from math import inf
from typing import Any

from algocline_mcp import wording
from algocline_mcp.answers.json_text import json_extract
from algocline_mcp.wording import in_words

Schema = Mapping[str, Any]
Words = Mapping[str, str]

_SHOWN = ("title", "description", "default", "examples", "format", "pattern", "discriminator", "deprecated")
_REF = "#/$defs/"
_LEVELS = 100  # of a value that are compared: a schema that refers to itself has no end
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


def schema_form(schema: Any, words: Words = wording.LUA) -> list[str | None]:
    """`[form, problem]`: the text to put behind a prompt, or what is wrong with the schema, in a language's words."""
    problem = _problem(schema, "schema", words, schema.get("$defs") if isinstance(schema, dict) else None)
    return [None, problem] if problem else [_form(schema), None]


def schema_mismatch(text: str, schema: Schema) -> str | None:
    """Where the JSON in an answer does not fit the schema, with its path; None where it fits or is missing."""
    extract = json_extract(text)
    return None if extract is None else mismatch_of(value_of(extract), schema)


def mismatch_of(value: Any, schema: Schema, steps: float = inf) -> str | None:
    """Where a JSON value does not fit the schema, with its path; None where it fits, and where `steps` comparisons are
    not enough to know."""
    try:
        return _Comparison(schema, steps).mismatch(value, schema, "answer")
    except _TooLong:
        return None


def value_of(extract: str) -> Any:
    return json.loads(extract, parse_int=_integer)


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < _LONG_DIGITS else float(digits)


def _form(schema: Schema) -> str:
    choices, types = schema.get("enum"), _types(schema)
    if choices and all(isinstance(choice, str) for choice in choices):
        return "Last line: " + " or ".join(f'"Verdict: {choice}"' for choice in choices) + "."
    if types == ["boolean"]:
        return 'Last line: "Verdict: yes" or "Verdict: no".'
    numbers = choices if choices and all(map(_is_number, choices)) else []
    if types in (["integer"], ["number"]) or (numbers and not types):
        return f'Last line: "Answer: N", where N is {_range(schema, numbers, is_whole=types == ["integer"])}.'
    written = json.dumps(schema, ensure_ascii=False, sort_keys=True)
    return f"Answer with JSON only, of this form (JSON Schema): {written}"


def _range(schema: Schema, numbers: list[Any], *, is_whole: bool) -> str:
    """The numbers that fit, in words."""
    if numbers:
        *first, last = map(str, numbers)
        return f"{', '.join(first)} or {last}" if first else last
    low, high = schema.get("minimum"), schema.get("maximum")
    bounds = [f"from {low}"] * (low is not None) + [f"to {high}"] * (high is not None)
    return " ".join(["a whole number" if is_whole else "a number", *bounds])


def _types(schema: Schema) -> list[str]:
    types = schema.get("type") or []
    return [types] if isinstance(types, str) else list(types)


# ── the schema itself ─────────────────────────────────────────────────────────────────────────────────────


def _problem(schema: Any, path: str, words: Words, definitions: Any) -> str | None:
    if not isinstance(schema, dict):
        return f"{path} is not {words['schema']}"
    for key, value in schema.items():
        if key in _SHOWN:
            continue
        if key not in _KEYWORDS:
            return f"{path}.{key} is not checked by anything: known are {', '.join([*_KEYWORDS, *_SHOWN])}"
        test, form = _KEYWORDS[key]
        if not test(value):
            return f"{path}.{key} must be {in_words(form, words)}"
        if key == "$ref" and value.removeprefix(_REF) not in (definitions or {}):
            return f"{path}.$ref is {_shown(value)}, which $defs of the schema does not have"
    inner = _inner(schema, path)
    return next((problem for place, part in inner if (problem := _problem(part, place, words, definitions))), None)


def _inner(schema: Schema, path: str) -> Iterator[tuple[str, Any]]:
    """The schemas in a schema, with their paths."""
    for key in ("properties", "$defs"):
        yield from ((f"{path}.{key}.{name}", part) for name, part in (schema.get(key) or {}).items())
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        yield from ((f"{path}.{key}[{n}]", part) for n, part in enumerate(schema.get(key) or [], 1))
    yield from ((f"{path}.{key}", schema[key]) for key in ("items", "additionalProperties") if _is_inner(schema, key))


def _is_inner(schema: Schema, key: str) -> bool:
    return key in schema and not isinstance(schema[key], bool)


def _is_list_of(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value == {} or (isinstance(value, list) and all(map(test, value)))  # {}: a list in Lua too


def _is_type(value: Any) -> bool:
    names = value if isinstance(value, list) else [value]
    return all(isinstance(name, str) and name in _TYPES for name in names)


_KEYWORDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "type": (_is_type, f"one of {', '.join(_TYPES)}, or a list of them"),
    "properties": (lambda value: isinstance(value, dict), "{a table} of schemas"),
    "required": (_is_list_of(lambda name: isinstance(name, str)), "a list of names"),
    "items": (lambda value: isinstance(value, dict | bool), "a schema"),
    "prefixItems": (lambda value: isinstance(value, list), "a list of schemas"),
    "additionalProperties": (lambda value: isinstance(value, dict | bool), "a schema, true or false"),
    "anyOf": (lambda value: isinstance(value, list) and bool(value), "a list of schemas"),
    "oneOf": (lambda value: isinstance(value, list) and bool(value), "a list of schemas"),
    "allOf": (lambda value: isinstance(value, list), "a list of schemas"),
    "$defs": (lambda value: isinstance(value, dict), "{a table} of schemas"),
    "$ref": (lambda value: isinstance(value, str) and value.startswith(_REF), f"a text such as {_REF}Name"),
    "const": (lambda value: not isinstance(value, (dict, list)), "a text, number or boolean"),
    "enum": (_is_list_of(lambda value: not isinstance(value, (dict, list))), "a list of texts, numbers or booleans"),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), (_is_number, "a number")),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems"), (_is_number, "a number")),
}


# ── an answer ─────────────────────────────────────────────────────────────────────────────────────────────


class _TooLong(Exception):
    """More comparisons than were allowed."""


class _Comparison:
    """Of one value with its schema."""

    def __init__(self, root: Schema, steps: float) -> None:
        self._definitions: Schema = root.get("$defs") or {}
        self._left = steps

    def mismatch(self, value: Any, schema: Schema, path: str, level: int = 0) -> str | None:
        self._left -= _steps(value, schema)
        if self._left < 0:
            raise _TooLong
        if level > _LEVELS:
            return None
        if "$ref" in schema:
            target = self._definitions.get(schema["$ref"].removeprefix(_REF), {})
            if (problem := self.mismatch(value, target, path, level + 1)) is not None:
                return problem
        problem = _itself(value, schema, path) or self._combined(value, schema, path, level)
        return problem or next(self._inside(value, schema, path, level), None)

    def _combined(self, value: Any, schema: Schema, path: str, level: int) -> str | None:
        """`oneOf` as `anyOf`: a model is told what fits nowhere, and not what fits twice."""
        for part in schema.get("allOf") or ():
            if (problem := self.mismatch(value, part, path, level + 1)) is not None:
                return problem
        for key in ("anyOf", "oneOf"):
            problems = []
            for part in schema.get(key) or ():
                if (problem := self.mismatch(value, part, path, level + 1)) is None:
                    break
                problems.append(problem)
            else:
                if problems:  # the deepest one is of the choice that was meant
                    return max(problems, key=lambda problem: len(problem.split(" ", 1)[0]))
        return None

    def _inside(self, value: Any, schema: Schema, path: str, level: int) -> Iterator[str]:
        for place, part, form in _parts(value, schema, path):
            if isinstance(form, bool):
                if not form:
                    yield f"{place} is not expected"
            elif (problem := self.mismatch(part, form, place, level + 1)) is not None:
                yield problem


def _steps(value: Any, schema: Schema) -> int:
    """Comparisons of a value with one schema, without those inside it: 6,000 types of 80,000 numbers took 42 s."""
    keys = ("required", "properties") if isinstance(value, dict) else ("prefixItems",)
    return 1 + sum(len(schema.get(key) or ()) for key in ("enum", *keys)) + len(_types(schema)[1:])


def _itself(value: Any, schema: Schema, path: str) -> str | None:
    types = _types(schema)
    if types and not any(_TYPES[name](value) for name in types):
        return f"{path} is {_shown(value)} and not of type {' or '.join(types)}"
    choices = schema.get("enum") or ([schema["const"]] if "const" in schema else [])
    if choices and not any(_is_same(value, choice) for choice in choices):
        return f"{path} is {_shown(value)} and not one of {', '.join(map(_shown, choices))}"
    if isinstance(value, dict):
        return next((f"{path}.{name} is missing" for name in schema.get("required") or () if name not in value), None)
    return next((f"{path} {problem}" for problem in _out_of_bounds(value, schema)), None)


def _out_of_bounds(value: Any, schema: Schema) -> Iterator[str]:
    if _is_number(value):
        for key, is_wrong, words in _BOUNDS:
            if key in schema and is_wrong(value, schema[key]):
                yield f"is {_shown(value)} and {words} {schema[key]}"
    elif isinstance(value, str | list):
        low, high, unit = ("minLength", "maxLength", "characters")
        if isinstance(value, list):
            low, high, unit = ("minItems", "maxItems", "items")
        if len(value) < schema.get(low, 0):
            yield f"has {len(value)} {unit} and needs at least {schema[low]}"
        if len(value) > schema.get(high, inf):
            yield f"has {len(value)} {unit} and may have at most {schema[high]}"


_BOUNDS: tuple[tuple[str, Callable[[Any, Any], bool], str], ...] = (
    ("minimum", operator.lt, "less than"),
    ("maximum", operator.gt, "more than"),
    ("exclusiveMinimum", operator.le, "not more than"),
    ("exclusiveMaximum", operator.ge, "not less than"),
)


def _parts(value: Any, schema: Schema, path: str) -> Iterator[tuple[str, Any, Any]]:
    """What is inside a value, with its path and the schema that is for it."""
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        yield from ((f"{path}.{name}", value[name], form) for name, form in properties.items() if name in value)
        if "additionalProperties" in schema:
            form = schema["additionalProperties"]
            yield from ((f"{path}.{name[:_QUOTED]}", value[name], form) for name in value if name not in properties)
    elif isinstance(value, list):
        first: list[Any] = schema.get("prefixItems") or []
        yield from ((f"{path}[{n}]", item, form) for n, (item, form) in enumerate(zip(value, first, strict=False), 1))
        if "items" in schema:
            rest = enumerate(value[len(first) :], len(first) + 1)
            yield from ((f"{path}[{n}]", item, schema["items"]) for n, item in rest)


def _is_same(value: Any, choice: Any) -> bool:
    """1 and 1.0 are one value in JSON; 1 and true, which Python takes for one, are two."""
    return bool(value == choice) and isinstance(value, bool) == isinstance(choice, bool)


def _shown(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "an array"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _QUOTED else text[: _QUOTED - 1] + "…"
