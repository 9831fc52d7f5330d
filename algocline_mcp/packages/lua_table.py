"""Literal tables of Lua, read without running the code. Pure.

Contract: `table_at` reads the table that opens at a place of a source without comments, as far as it is made of texts,
numbers, booleans and such tables. It returns a dict, or a list where no entry has a name; None for anything else.
"""

import re
from collections.abc import Iterator
from typing import Any

_DEPTH = 6
_TOKENS = 5000  # a longer table is not a description
_TOKEN = re.compile(
    r"\s*(?:\[(=*)\[\n?(.*?)\]\1\]|(\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*')|(-?\d[\d.]*(?:e[+-]?\d+)?)|"
    r"([A-Za-z_]\w*)|(\S))",
    re.DOTALL,
)
_ESCAPES = {"n": "\n", "t": "\t", "\n": "\n"}
_WORDS = {"true": True, "false": False}


class _NoLiteral(Exception):
    pass


Token = tuple[str, Any]  # kind (value, word, mark) and what it holds


def table_at(code: str, start: int) -> Any:
    """`start`: the place of the opening brace."""
    tokens = _tokens(code, start)
    try:
        return _value(next(tokens), tokens, 0)
    except (_NoLiteral, StopIteration, RuntimeError):
        return None


def _tokens(code: str, start: int) -> Iterator[Token]:
    for number, match in enumerate(_TOKEN.finditer(code, start)):
        if number > _TOKENS:
            return
        _, long, short, digits, word, mark = match.groups()
        if long is not None:
            yield "value", long
        elif short is not None:
            yield "value", re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[1]), short[1:-1], flags=re.S)
        elif digits is not None:
            yield "value", _number(digits)
        else:
            yield ("word", word) if word is not None else ("mark", mark)


def _number(digits: str) -> int | float:
    try:
        return int(digits) if digits.lstrip("-").isdecimal() else float(digits)
    except ValueError:
        raise _NoLiteral from None


def _value(token: Token, tokens: Iterator[Token], depth: int) -> Any:
    kind, content = token
    if kind == "value":
        return content
    if kind == "word" and content in _WORDS:
        return _WORDS[content]
    if token != ("mark", "{") or depth >= _DEPTH:
        raise _NoLiteral
    return _entries(tokens, depth)


def _entries(tokens: Iterator[Token], depth: int) -> Any:
    """Those of a table whose brace was read, up to its closing brace."""
    named: dict[str, Any] = {}
    listed: list[Any] = []
    token = next(tokens)
    while token != ("mark", "}"):
        name = None
        if token[0] == "word" and token[1] not in _WORDS:
            name = token[1]
        elif token == ("mark", "["):
            name = next(tokens)[1]
            if not isinstance(name, str) or next(tokens) != ("mark", "]"):
                raise _NoLiteral
        if name is not None:
            if next(tokens) != ("mark", "="):
                raise _NoLiteral
            token = next(tokens)
            named[name] = _value(token, tokens, depth + 1)
        else:
            listed.append(_value(token, tokens, depth + 1))
        token = next(tokens)
        if token in (("mark", ","), ("mark", ";")):
            token = next(tokens)
        elif token != ("mark", "}"):
            raise _NoLiteral
    if named and listed:
        raise _NoLiteral
    return named or listed
