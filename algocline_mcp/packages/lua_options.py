"""Tables of options in calls of alc.* in Lua: keys that the function does not have. Pure.

Contract: the stub for editors, stubs/alc.d.lua, says which keys each table may have, and whether the host gets others.
`wrong_options` reads tables that stand in the call itself. It says nothing of others, and of computed keys.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, lru_cache
from pathlib import Path

_STUB = Path(__file__).parents[1] / "stubs" / "alc.d.lua"
_CLASS = re.compile(r"---@class alc\.(\w+)\n((?:---@field .*\n)*)")
_FIELD = re.compile(r"---@field (\w+|\[string\])")
_FUNCTION = re.compile(r"((?:---@.*\n)+)function alc\.([\w.]+)\(")
_PARAMETER = re.compile(r"---@param (\S+?)\?? (.*)")
_OVERLOAD = re.compile(r"---@overload fun\((.*)\): ")
_CALL = re.compile(r"(?<![\w.:])alc\.(\w+(?:\.\w+)?)\s*(?=[({])")
_TOKEN = re.compile(r"\w+|[^\w\s]")
_OPENING, _CLOSING = {"(", "[", "{", "function", "if", "do", "repeat"}, {")", "]", "}", "end", "until"}
_TABLE = re.compile(r"\s*\{")
_KEY = re.compile(r"\s*(\w+)\s*=(?!=)")
_QUOTED_KEY = re.compile(r"\s*\[\s*[\"'](\w+)[\"']\s*\]\s*=(?!=)")
# Similarity from which an option is a misspelt one: of those that the host might know, and of others.
_NEAR_OPEN, _NEAR = 0.8, 0.6


@dataclass(frozen=True, slots=True)
class Options:
    """`is_open`: other keys are passed on to the host. `is_item`: the argument is a list of such tables."""

    keys: tuple[str, ...]
    is_open: bool = False
    is_item: bool = False


Signature = tuple[tuple[Options, ...], ...]  # what the table in the place of each argument may be


@cache
def signatures() -> Mapping[str, Signature]:
    """Of the functions that take options, by their names behind `alc.`."""
    stub = _STUB.read_text(encoding="utf-8")
    classes = {name: _FIELD.findall(fields) for name, fields in _CLASS.findall(stub)}
    found: dict[str, Signature] = {}
    for lines, name in _FUNCTION.findall(stub):
        forms = [[kind for _, kind in _PARAMETER.findall(lines)]]
        forms += [[part.partition(":")[2] for part in _split(form)] for form in _OVERLOAD.findall(lines)]
        options = [[_options_of(kind.strip(), classes) for kind in form] for form in forms]
        places = [[form[i] for form in options if i < len(form)] for i in range(max(map(len, options)))]
        found[name] = tuple(tuple(kind for kind in place if kind is not None) for place in places)
    return found


def _options_of(kind: str, classes: Mapping[str, list[str]]) -> Options | None:
    if kind.startswith("{"):
        return Options(tuple(re.findall(r"(\w+)\??: ", kind)))
    fields = classes.get(kind.removeprefix("alc.").removesuffix("[]"))
    if fields is None or not kind.startswith("alc."):
        return None
    keys = tuple(field for field in fields if field != "[string]")
    return Options(keys, is_open="[string]" in fields, is_item=kind.endswith("[]"))


def wrong_options(code: str, text: str) -> Iterator[tuple[int, str]]:
    """The place and a sentence for each. `code` is `text` with blanks in the place of texts and comments."""
    parts = _parts(code)
    for match in _CALL.finditer(code):
        opening = match.end()
        arguments = parts[opening] if code[opening] == "(" else [opening]
        for argument, kinds in zip(arguments, signatures().get(match[1], ()), strict=False):
            table = _TABLE.match(code, argument)
            if table is not None and kinds:
                for start in parts[table.end() - 1] if kinds[0].is_item else [argument]:
                    place = _TABLE.match(code, start)
                    if place is not None:
                        yield from _of_table(code, text, parts[place.end() - 1], match[1], kinds)


def _of_table(
    code: str, text: str, entries: list[int], name: str, kinds: tuple[Options, ...]
) -> Iterator[tuple[int, str]]:
    known = tuple(key for kind in kinds for key in kind.keys)
    is_open = any(kind.is_open for kind in kinds)
    for entry in entries:
        match = _KEY.match(code, entry) or _QUOTED_KEY.match(text, entry)
        if match is None or match[1] in known:
            continue
        near = _nearest(match[1], known, _NEAR_OPEN if is_open else _NEAR)
        if near or not is_open:
            hint = f": was {near} meant?" if near else f"; it has {', '.join(known)}"
            yield match.start(1), f"alc.{name} has no option {match[1]}{hint}"


@lru_cache(256)
def _nearest(key: str, known: tuple[str, ...], similarity: float) -> str | None:
    return next(iter(get_close_matches(key, known, 1, similarity)), None)


def _parts(code: str) -> dict[int, list[int]]:
    """By the place of each opening bracket: where the parts between its commas begin."""
    parts: dict[int, list[int]] = {}
    stack: list[list[int]] = []
    for token in _TOKEN.finditer(code):
        if token[0] in _OPENING:
            stack.append(parts.setdefault(token.start(), [token.end()]))
        elif token[0] in _CLOSING and stack:
            stack.pop()
        elif token[0] in (",", ";") and stack:
            stack[-1].append(token.end())
    return parts


def _split(parameters: str) -> list[str]:
    starts = _parts(f"({parameters})")[0]
    return [
        parameters[start - 1 : end] for start, end in zip(starts, [*(s - 2 for s in starts[1:]), None], strict=True)
    ]
