"""Readers of answers: those of stdlib.py with Python's arguments."""

import math
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, TypedDict

from algocline_mcp.answers import json_text, numbers, verdicts
from algocline_mcp.worker.engine.python.api.arguments import items_of, listed, text_of
from algocline_mcp.worker.engine.python.api.json_values import decoded, encoded
from algocline_mcp.worker.engine.python.api.refused import raise_refused
from algocline_mcp.worker.engine.python.api.texts import kind_of, problem
from algocline_mcp.worker.engine.python.exceptions import Error
from algocline_mcp.worker.engine.stdlib import DEFAULTS


class Vote(TypedDict):
    winner: str | None
    count: int
    total: int


def json_extract(text: Any) -> Any:
    """The JSON in an answer: all of it, the last fenced block, or the last object (else array) in the prose.

    None where a value is cut or broken, or where there is none.
    """
    raise_refused(text)
    extract = json_text.json_extract(text) if isinstance(text, str) else None
    try:
        return None if extract is None else decoded(extract)
    except ValueError:
        return None


def parse_score(text: Any, default: Any = DEFAULTS["score"]) -> Any:
    """The marked score in an answer, its whole part from 1 to 10; the default where there is none."""
    score = numbers.parse_score(str(text))
    return default if score is None else score


def parse_number(text: Any, pattern: str | None = None) -> int | float | None:
    """The marked number in an answer, else the only one that is no list number, version, year or name.

    With `pattern` what the first group (or all) of the regular expression holds.
    """
    raise_refused(text)
    if not isinstance(text, str):
        return None
    if pattern is None:
        return numbers.parse_number(text)
    match = re.search(pattern, text)
    return None if match is None else _number(match[1 if match.re.groups else 0])


def _number(text: str | None) -> int | float | None:
    for kind in (int, float):
        try:
            value: int | float = kind(text or "")
        except ValueError:
            continue
        return value if math.isfinite(value) else None
    return None


def match_enum(text: str, candidates: Iterable[str], *, threshold: float = DEFAULTS["enum_threshold"]) -> str | None:
    """The candidate that the answer marks, gives in a clause of its own or alone names; None where several are left."""
    text = text_of(text, "alc.match_enum")
    choices = listed(candidates)
    if choices is None:
        raise problem("argument", "alc.match_enum", "the candidates", "a list of strings", kind_of(candidates))
    names = [text_of(candidate, "alc.match_enum") for candidate in choices]
    index = verdicts.match_enum(text, names, threshold) if names else None
    return None if index is None else choices[index]


def match_bool(text: str) -> bool | None:
    """The verdict of an answer: yes, approved, ok, pass, … or no, rejected, block, fail, …; None in doubt."""
    return verdicts.match_bool(text_of(text, "alc.match_bool"))


def vote(answers: Iterable[Any]) -> Vote:
    """The most frequent answer, as text without surrounding blanks; the first one of equals."""
    texts = [str(answer).strip() for answer in items_of(answers, "alc.vote")]
    winner, count = Counter(texts).most_common(1)[0] if texts else (None, 0)
    return {"winner": winner, "count": count, "total": len(texts)}


def json_encode(value: Any) -> str:
    """JSON with sorted keys."""
    try:
        return encoded(value, "the value")
    except Error as exc:
        raise Error(f"alc.json_encode: {exc}") from exc


def json_decode(text: Any) -> Any:
    """JSON read strictly."""
    raise_refused(text)
    if not isinstance(text, str):
        raise problem("json_decode", kind_of(text))
    try:
        return decoded(text)
    except ValueError as exc:
        raise Error(f"alc.json_decode: {exc}") from exc
