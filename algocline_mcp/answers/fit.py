"""Whether an answer, as a whole text, has the form that its schema asks for: what a strategy's reader would find.

An answer that may be something else than an object or array, such as a text or null, is not judged where it holds no
JSON.
"""

from collections.abc import Mapping
from typing import Any

from algocline_mcp.answers.json_text import json_extract
from algocline_mcp.answers.numbers import parse_number
from algocline_mcp.answers.schema import mismatch_of, schema_form, value_of
from algocline_mcp.answers.verdicts import match_bool, match_enum

_CHOICES = 100  # of an enum: a search for each costs time
_STEPS = 100_000  # comparisons of one answer with its schema, in about 0.1 s
_THRESHOLD = 0.7  # as of alc.match_enum


def misfit(text: str, schema: Mapping[str, Any]) -> str | None:
    """What is wrong with an answer, and what is expected; None where it fits, and where it is not judged."""
    form, problem = schema_form(schema)
    if problem is not None or form is None:
        return None  # a journal that another program wrote
    kinds = schema.get("type") or []
    kinds = [kinds] if isinstance(kinds, str) else list(kinds)
    choices = [choice for choice in schema.get("enum") or [] if isinstance(choice, str)]
    if form.startswith("Last line"):
        return None if _has_value(text, schema, kinds, choices) else f"{_as_read(text, kinds, choices)}. {form}"
    extract = json_extract(text)
    if extract is not None:
        return mismatch_of(value_of(extract), schema, _STEPS)
    is_json = kinds and set(kinds) <= {"object", "array"}
    return f"it has no complete JSON {' or '.join(kinds)}; answer with JSON only" if is_json else None


def _has_value(text: str, schema: Mapping[str, Any], kinds: list[str], choices: list[Any]) -> bool:
    if choices:
        return len(choices) > _CHOICES or match_enum(text, choices, _THRESHOLD) is not None
    if kinds == ["boolean"]:
        return match_bool(text) is not None
    number = parse_number(text)
    return number is not None and mismatch_of(number, schema) is None


def _as_read(text: str, kinds: list[str], choices: list[Any]) -> str:
    """What the readers made of the text."""
    if choices or kinds == ["boolean"]:
        return "no verdict can be read from it"
    number = parse_number(text)
    return "no number can be read from it" if number is None else f"its number is read as {number:g}"
