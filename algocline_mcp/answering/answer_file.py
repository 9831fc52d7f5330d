"""Answers from a file that a person wrote: a list in the order of the prompts, or by query id."""

import json
from pathlib import Path
from typing import Any

from algocline_mcp.answering.prompts import Answer, NoAnswer, Prompt
from algocline_mcp.errors import Refused

_NAMED = 5  # ids in a sentence
_SHOWN = 200  # characters of a prompt in a sentence
_FORMATS = 'give a JSON list of answers, a JSON object such as {"q-0": "…"}, or a .txt with one answer a line'


class AnswerFile:
    """By query id if the file is a JSON object, otherwise one for each prompt of the session in order.

    The first of a list belongs to the first prompt that the session ever asked, also where `alc continue` goes on.
    """

    def __init__(self, path: str) -> None:
        """Raises Refused for a file that cannot be used."""
        self._path = path
        self._used: set[str | int] = set()
        self._asked = 0  # prompts that the session has asked, as far as it is known here
        try:
            text = Path(path).read_text("utf-8-sig")
            content = text.splitlines() if path.endswith(".txt") else json.loads(text)
        except (OSError, ValueError, RecursionError) as exc:
            why = getattr(exc, "strerror", None) or exc
            raise Refused(f"{path} cannot be used for --answers: {why}; {_FORMATS}") from exc
        if not isinstance(content, dict | list):
            raise Refused(f"{path} cannot be used for --answers: it holds {content!r}; {_FORMATS}")
        self._content: dict[str | int, Any] = content if isinstance(content, dict) else dict(enumerate(content))
        self._is_list = isinstance(content, list)

    async def answer(self, prompt: Prompt) -> Answer:
        key = prompt.index if self._is_list else prompt.query_id
        self._asked = max(self._asked, prompt.index + 1)
        if key not in self._content:
            raise NoAnswer(f"{self._path} has no answer to {prompt.query_id}: {prompt.text[:_SHOWN]}")
        value = self._content[key]
        if value == "":
            sentence = f"the answer of {self._path} to {prompt.query_id} is empty: {prompt.text[:_SHOWN]}"
            raise NoAnswer(sentence)
        self._used.add(key)
        return Answer(text=value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))

    def leftover(self) -> str | None:
        """A sentence about answers that no prompt asked for. Those for prompts of before count as used: they were, by
        the command that began the session."""
        first = self._asked if self._is_list else 0
        keys = [key for key in self._content if key not in self._used and not (self._is_list and int(key) < first)]
        if not keys:
            return None
        named = "" if self._is_list else f": {', '.join(map(str, keys[:_NAMED]))}{', …' if len(keys) > _NAMED else ''}"
        return f"{len(keys)} of the {len(self._content)} answers in {self._path} were not asked for{named}"
