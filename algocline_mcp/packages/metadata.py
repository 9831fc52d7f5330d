"""Metadata of a package, read from its source without running it. Pure.

Contract: `metadata_of` never raises. Of a package in Lua it reads the form that published packages have: a table `meta`
whose fields are plain strings (or several, joined by `..`), a function `run`, and a comment at the beginning as
documentation. A field in another form counts as absent. Of a package in Python it reads the dict `meta`, the docstring,
and the definition of `run`.

Beside version, description, category and type, `meta` may say: `reference`, the paper or practice that the strategy
follows; `cost`, its prompts; `inputs`, of each name a form as JSON Schema has it (`type`, `description`, `default`,
without which the input is required, `enum`, `minimum`, `maximum`); `outputs`, of each name what it is.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from algocline_mcp import python_metadata
from algocline_mcp.languages import PYTHON, Language
from algocline_mcp.packages.lua_table import table_at

_FIELDS = ("version", "description", "category", "type", "reference", "cost")
_TABLES = ("inputs", "outputs")
_SHORT = r"\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'"
# Strings too, because a string may contain the characters of a comment.
_COMMENT_OR_STRING = re.compile(rf"--\[(=*)\[.*?\]\1\]|--[^\n]*|\[(=*)\[.*?\]\2\]|{_SHORT}", re.DOTALL)
_META = re.compile(r"\bmeta\s*=\s*\{")
_TOKEN = re.compile(rf"\[(=*)\[(?:\n)?(.*?)\]\1\]|({_SHORT})|([A-Za-z_]\w*)|(\.\.)|([{{}}=,;])|\S", re.DOTALL)
_RUN = re.compile(r"\bfunction\s+[A-Za-z_]\w*[.:]run\b|\.run\s*=[^=]|[{,;]\s*run\s*=[^=]")
_ESCAPES = {"n": "\n", "t": "\t", "\n": "\n"}
_META_TOKENS = 2000  # a longer table is not a description
_DOC_LINES = 200


@dataclass(frozen=True, slots=True)
class PackageMetadata:
    version: str | None
    description: str  # one line; empty if there is none
    category: str | None
    is_library: bool  # only for `require`: there is nothing to run
    doc: str  # the comment at the beginning of the source
    reference: str | None = None
    cost: str | None = None
    inputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # in the order of the source
    outputs: Mapping[str, str] = field(default_factory=dict)


def metadata_of(text: str, language: Language) -> PackageMetadata:
    return _of_python(text) if language is PYTHON else _of_lua(text)


def _of_python(text: str) -> PackageMetadata:
    read = python_metadata.read(text)
    meta = {name: read.meta[name] for name in _FIELDS if isinstance(read.meta.get(name), str)}
    meta |= {name: read.meta[name] for name in _TABLES if isinstance(read.meta.get(name), dict)}
    return _metadata(meta, read.doc, has_run=read.has_run)


def _of_lua(text: str) -> PackageMetadata:
    code = _COMMENT_OR_STRING.sub(lambda match: " " if match[0].startswith("--") else match[0], text)
    bare = _COMMENT_OR_STRING.sub(lambda match: " " * len(match[0]), code)  # of the same length, so that offsets match
    table = _META.search(bare)
    meta: dict[str, Any] = dict(_fields(code, table.end())) if table else {}
    own = _until_closed(bare, table.end()) if table else ""
    for name in _TABLES:
        opening = re.search(rf"\b{name}\s*=\s*\{{", own)
        value = table_at(code, table.end() + opening.end() - 1) if table and opening else None
        meta |= {name: value} if isinstance(value, dict) else {}
    return _metadata(meta, _doc(text), has_run=_RUN.search(bare) is not None)


def _until_closed(bare: str, start: int) -> str:
    """The content of the table that opens before `start`."""
    depth = 1
    for brace in re.finditer(r"[{}]", bare[start:]):
        depth += 1 if brace[0] == "{" else -1
        if not depth:
            return bare[start : start + brace.start()]
    return bare[start:]


def _metadata(meta: Mapping[str, Any], doc: str, *, has_run: bool) -> PackageMetadata:
    return PackageMetadata(
        version=meta.get("version"),
        description=" ".join((meta.get("description") or doc.partition("\n")[0]).split()),
        category=meta.get("category"),
        is_library=meta.get("type") == "library" or not has_run,
        doc=doc,
        reference=meta.get("reference"),
        cost=meta.get("cost"),
        inputs={name: form for name, form in meta.get("inputs", {}).items() if isinstance(form, dict)},
        outputs={name: text for name, text in meta.get("outputs", {}).items() if isinstance(text, str)},
    )


def _fields(code: str, start: int) -> dict[str, str]:
    """The fields of the table that opens at `start`, without those of inner tables."""
    fields: dict[str, str] = {}
    depth, name, is_assigned = 1, "", False  # name of the current field; is_assigned: its `=` was read
    for number, token in enumerate(_TOKEN.finditer(code, start)):
        level, long, short, word, concatenation, mark = token.groups()
        if mark == "{":
            depth += 1
        elif mark == "}":
            depth -= 1
            if not depth or number > _META_TOKENS:
                break
        elif depth == 1 and word:
            name, is_assigned = word, False
        elif depth == 1 and mark == "=":
            is_assigned = True
        elif depth == 1 and mark:
            name, is_assigned = "", False
        elif depth == 1 and is_assigned and name in _FIELDS and (short or level is not None):
            fields[name] = fields.get(name, "") + (_unescaped(short[1:-1]) if short else long)
        elif depth == 1 and not concatenation:
            is_assigned = False  # another kind of expression
    return fields


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), text, flags=re.DOTALL)


def _doc(text: str) -> str:
    """The comment lines at the beginning, without the annotations that are for editors."""
    lines = []
    for line in text.removeprefix("\ufeff").splitlines()[:_DOC_LINES]:
        if not line.startswith("--") or line.startswith("--["):
            break
        if not line.startswith("---@"):
            lines.append(line.lstrip("-").removeprefix(" ").rstrip())
    return "\n".join(lines).strip()
