"""Metadata of a package, read from its source without running it. Pure.

Contract: `metadata_of(text)` never raises. It reads the form that published packages have: a table `meta` whose fields
are plain strings (or several, joined by `..`), a function `run`, and a comment at the beginning as documentation.
A field in another form counts as absent.
"""

import re
from dataclasses import dataclass

_FIELDS = ("version", "description", "category", "type")
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


def metadata_of(text: str) -> PackageMetadata:
    code = _COMMENT_OR_STRING.sub(lambda match: " " if match[0].startswith("--") else match[0], text)
    bare = _COMMENT_OR_STRING.sub(lambda match: " " * len(match[0]), code)  # of the same length, so that offsets match
    table = _META.search(bare)
    meta = _fields(code, table.end()) if table else {}
    doc = _doc(text)
    return PackageMetadata(
        version=meta.get("version"),
        description=" ".join((meta.get("description") or doc.partition("\n")[0]).split()),
        category=meta.get("category"),
        is_library=meta.get("type") == "library" or _RUN.search(bare) is None,
        doc=doc,
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
