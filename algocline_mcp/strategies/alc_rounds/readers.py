"""Readers of answers: each returns None for an answer that does not have its form."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import alc

_THINKING = re.compile(r"<(think|thinking|thought)>.*?</\1>", re.DOTALL | re.IGNORECASE)


def text_of(answer: str) -> str | None:
    """An answer without the thinking that some models write before it; None where nothing visible is left."""
    said = _THINKING.sub("", answer).strip()
    return said if any(char.isprintable() and not char.isspace() for char in said) else None


def json_of(*names: str, **types: type) -> Callable[[str], dict[str, Any] | None]:
    """A reader of a JSON object that has fields with these names, of any type or of the given one."""

    def read(answer: str) -> dict[str, Any] | None:
        value = alc.json_extract(answer)
        return value if _has_fields(value, names, types) else None

    return read


def list_of(*names: str, **types: type) -> Callable[[str], list[dict[str, Any]] | None]:
    """A reader of a JSON list of objects that have fields with these names, of any type or of the given one."""

    def read(answer: str) -> list[dict[str, Any]] | None:
        values = _list_in(answer)
        return values if values is not None and all(_has_fields(value, names, types) for value in values) else None

    return read


def texts_of(answer: str) -> list[str] | None:
    """Reads a JSON list of texts; None where there is no text in it."""
    texts = [item.strip() for item in _list_in(answer) or () if isinstance(item, str)]
    return [text for text in texts if text] or None


def verdict_of(name: str, reason: str) -> Callable[[str], dict[str, Any] | None]:
    """A reader of a JSON object with a boolean `name` and a text `reason`."""
    read_json = json_of(reason, **{name: bool})

    def read(answer: str) -> dict[str, Any] | None:
        value = read_json(answer)
        return None if value is None else {name: value[name], reason: str(value[reason] or "")}

    return read


def _list_in(answer: str) -> list[Any] | None:
    """The JSON list of an answer, which may be empty, or the only list in an object."""
    value = alc.json_extract(answer)
    if isinstance(value, dict):
        lists = [item for item in value.values() if isinstance(item, list)]
        value = lists[0] if len(lists) == 1 else None
    return value if isinstance(value, list) else None


def _has_fields(value: Any, names: Sequence[str], types: Mapping[str, type]) -> bool:
    return (
        isinstance(value, dict)
        and all(name in value for name in (*names, *types))
        and all(is_a(value[name], kind) for name, kind in types.items())
    )


def is_a(value: Any, kind: type) -> bool:
    """Whether a JSON value is of this type; float takes whole numbers too, and a boolean is no number."""
    types = (int, float) if kind is float else kind
    return isinstance(value, types) and (kind is bool or not isinstance(value, bool))


def cut(text: str, chars: int) -> str:
    """The text, or its beginning and its end where it is longer."""
    if len(text) <= chars:
        return text
    half = chars // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half} characters left out …]\n{text[-half:]}"
