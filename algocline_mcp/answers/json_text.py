"""JSON in answers: the last whole value. A part of a broken whole is never returned."""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from algocline_mcp.answers.text import without_thinking

_OPENING = re.compile(r"[{\[]")
_TRIES = 1000  # brackets in prose that are tried; a try costs little, since it fails at the first wrong byte
# Refused here: whether Python can read such a nesting depends on its release, and takes milliseconds where it can.
_TOO_DEEP = re.compile(r'(?>[{\[](?:[^{}\[\]"]|"(?:[^"\\]|\\.)*+")*+){900}', re.DOTALL)
_FENCE = re.compile(r"^[ \t>]{0,8}(`{3,}|~{3,})[ \t]?([\w+-]{0,20})[ \t]*", re.MULTILINE)
# What makes an opening in prose the beginning of JSON that went wrong, and not a set or a reference.
_BROKEN = re.compile(
    r"\[\s{0,99}(?:[\"'“„「{\[]|(?:True|False|None|NaN)\b|\Z)|\{\s{0,99}(?:[\"'“„「\[]|\{\s{0,99}\"|"
    r"[A-Za-z_]\w{0,99}\"?\s{0,9}:|//|/\*|\.\.\.|…|\Z)"
)
_BRACKET_OR_STRING = re.compile(r'[{}\[\]]|"(?:[^"\\]++|\\.)*+(?:"|\Z)', re.DOTALL)
_STRUCTURED = re.compile(r"[{\[\",]")  # an array with none of these may be a footnote
_CHECKBOX = re.compile(r"\[\s\](?=\s\S)")
_CUE_CHARS = 60  # so near to a value are the words that say that it is not the answer
_NO_ANSWER_BEFORE = re.compile(
    r"\b(?:example|template|schema|(?:an?|the) (?:wrong|invalid)|instead of|rather than|alternatively|not|"
    r"unlike|e\.g\.|such as|format|input was|input|previous|draft)\b"
    r"[^.{}\[\]]{0,30}\Z",
    re.IGNORECASE,
)
_NO_ANSWER_AFTER = re.compile(
    r"\s?(?:would be|would have been|is|was) (?:wrong|invalid|not|incorrect)\b", re.IGNORECASE
)


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
    text = without_thinking(text)
    whole = _whole(text)
    return whole if whole is not None else _last(text)


class _Piece(NamedTuple):
    start: int
    end: int
    is_whole: bool  # else it is broken: it looks like JSON and is none
    rank: int


def _last(text: str) -> str | None:
    """The last piece of the highest rank, if it is whole and not followed by another one without a word between."""
    openers = {match.end() for match in _FENCE.finditer(text)}
    pieces = [_ranked(text, piece, openers) for piece in _pieces(text)]
    if not pieces:
        return None
    top = max(piece.rank for piece in pieces)
    best = [piece for piece in pieces if piece.rank == top]
    last = best[-1]
    is_row_of_values = len(best) > 1 and not text[best[-2].end : last.start].strip(" \t\r\n,;")
    return text[last.start : last.end] if last.is_whole and not is_row_of_values else None


def _ranked(text: str, piece: _Piece, openers: set[int]) -> _Piece:
    """`piece` with its rank: 3 begins a fenced block, 2 is in prose, 1 may be a footnote ("[1]"), 0 is an example."""
    before, after = text[max(0, piece.start - _CUE_CHARS) : piece.start], text[piece.end : piece.end + _CUE_CHARS]
    gap = len(before) - len(before.rstrip())
    content = text[piece.start : piece.end]
    if _NO_ANSWER_BEFORE.search(before) or _NO_ANSWER_AFTER.match(after):
        return piece._replace(rank=0)
    if piece.start - gap in openers or piece.start in openers:
        return piece._replace(rank=3)
    is_footnote = content == "{}" or (content[0] == "[" and not _STRUCTURED.search(content, 1))
    return piece._replace(rank=1 if is_footnote else 2)


def _pieces(text: str) -> Iterator[_Piece]:
    """Each outermost value, and each outermost span that looks like a value and is none."""
    at = 0
    for _ in range(_TRIES):
        match = _OPENING.search(text, at)
        if match is None:
            return
        start = match.start()
        end = _end_of_json(text, start)
        if end is not None:
            if not _CHECKBOX.match(text, start):
                yield _Piece(start, end, True, 0)
            at = end
        elif _BROKEN.match(text, start):
            at = _end_of_brackets(text, start)
            yield _Piece(start, at, False, 0)
        else:
            at = start + 1


def _end_of_brackets(text: str, start: int) -> int:
    """The index behind the bracket that closes the one at `start`, or the end of the text."""
    depth = 0
    for token in _BRACKET_OR_STRING.finditer(text, start):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token[0], 0)
        if depth == 0 and token[0] in "}]":
            return token.end()
    return len(text)
