"""Reads out of an answer what a grader compares: its text, a number, a choice, JSON. Pure.

Contract: a model writes around its answer, so each function looks first where models say that the answer comes ("the
answer is", \\boxed{…}, ####), and else for a reading that is the only one. None: there is no clear reading.
"""

import json
import re
import string
import unicodedata
from collections.abc import Sequence
from typing import Any

from algocline_mcp.answers.verdicts import match_enum

_LETTER = re.compile(r"\s*[A-Za-z]\s*")
_EXACT = 1.0  # similarity: a misspelt choice is not graded as the right one
_OUTPUT_KEYS = ("answer", "summary", "output", "text")


def text_of(result: Any) -> str:
    """The text that graders see of a strategy's result: the result itself, else its field `result`, and of that the
    field answer, summary, output or text, as evalframe reads it; anything else as JSON."""
    if isinstance(result, dict) and result.get("result") is not None:
        result = result["result"]
    if isinstance(result, dict):
        result = next((result[key] for key in _OUTPUT_KEYS if isinstance(result.get(key), str)), result)
    return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, sort_keys=True)


def normalized(text: str, *, ignores_case: bool) -> str:
    """Without space around it, and with one way to write each character."""
    text = unicodedata.normalize("NFC", text).strip()
    return text.casefold() if ignores_case else text


def choice_of(text: str, choices: Sequence[str]) -> int | None:
    """The index of the choice that the text gives, by its letter or by its own words. Choices that are letters
    themselves have no other."""
    letters = "" if any(map(_LETTER.fullmatch, choices)) else string.ascii_uppercase[: len(choices) or None]
    index = match_enum(text, [*letters, *choices], _EXACT)
    return index if index is None or index < len(letters) else index - len(letters)
