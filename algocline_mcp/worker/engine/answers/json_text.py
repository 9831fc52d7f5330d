"""JSON in answers: the last whole value. A part of a broken whole is never returned."""

import json
import re
from collections.abc import Iterator
from typing import Any

from algocline_mcp.worker.engine.answers.thinking import spoken

_OPENING = re.compile(r"[{\[]")
_TRIES = 1000  # brackets in prose that are tried; a try costs little, since it fails at the first wrong byte
# Refused here: whether Python can read such a nesting depends on its release, and takes milliseconds where it can.
_TOO_DEEP = re.compile(r'(?>[{\[](?:[^{}\[\]"]|"(?:[^"\\]|\\.)*+")*+){900}', re.DOTALL)
_FENCE = re.compile(r"^[ \t>]{0,8}(`{3,}|~{3,})[ \t]?([\w+-]{0,20})[ \t]*", re.MULTILINE)
# What makes an opening in prose the beginning of JSON that went wrong, and not a set or a reference.
_BROKEN = re.compile(r"[{\[]\s{0,99}(?:[\"'“„「{\[]|[A-Za-z_]\w{0,99}\"?\s{0,9}:|$)")


def _no_constant(name: str) -> Any:
    raise ValueError(name)  # NaN and Infinity are not JSON: only Python reads them


_DECODER = json.JSONDecoder(parse_constant=_no_constant, parse_int=len, parse_float=len)


def _end_of_json(text: str, start: int) -> int | None:
    """The index behind the JSON value that begins at `start`, or None."""
    if _TOO_DEEP.match(text, start):
        return None
    try:
        return _DECODER.raw_decode(text, start)[1]
    except (ValueError, RecursionError):
        return None


def _whole(text: str) -> str | None:
    stripped = text.strip().removeprefix("\ufeff").strip()
    is_json = stripped[:1] in ("{", "[") and _end_of_json(stripped, 0) == len(stripped)
    return stripped if is_json else None


def json_extract(text: str) -> str | None:
    """The JSON text of an object or array: the answer itself, else the last fenced block, else the last in the prose.

    In prose an object outranks an array: "[1]" may be a footnote. None where there is no JSON, or where what looks
    like it does not end.
    """
    whole = _whole(text)
    if whole is not None:
        return whole
    text = spoken(text)
    whole = _whole(text)
    return whole if whole is not None else _last(text)


def _last(text: str) -> str | None:
    fenced = [at.end() for at in _FENCE.finditer(text) if at[2].lower() in ("", "json", "jsonc", "json5")]
    objects: list[tuple[int, str]] = []
    arrays: list[tuple[int, str]] = []
    for start, piece in _pieces(text):
        if piece is None:
            return None
        is_object = piece[0] == "{" or "{" in piece
        if piece not in ("{}", "[]") or not (objects or arrays):
            (objects if is_object else arrays).append((start, piece))
    blocks = {
        start
        for start, _ in objects + arrays
        if any(not text[end:start].strip() for end in fenced[-50:] if end <= start)
    }
    for values in (objects, arrays):
        in_block = [piece for start, piece in values if start in blocks]
        if in_block:
            return in_block[-1]
    values = objects or arrays
    return values[-1][1] if values else None


def _pieces(text: str) -> Iterator[tuple[int, str | None]]:
    """Each outermost value; None in place of one that is broken."""
    at = 0
    for _ in range(_TRIES):
        match = _OPENING.search(text, at)
        if match is None:
            return
        start = match.start()
        end = _end_of_json(text, start)
        if end is not None:
            yield start, text[start:end]
            at = end
        elif _BROKEN.match(text, start):
            yield start, None
            return
        else:
            at = start + 1
