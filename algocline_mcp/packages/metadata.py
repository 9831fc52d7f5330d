"""What a package says of itself, read from its text: nobody runs it for that. Pure.

Contract: `metadata_of(text)` never raises. It knows the form that published packages have: a table `meta` whose fields are
plain strings (or several, joined by `..`), a function `run`, and a comment at the beginning that tells what it is for.
What is written in another way counts as not said.
"""

import re
from dataclasses import dataclass

_FIELDS = ("version", "description", "category", "type")
_SHORT = r"\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'"
# Strings too, because what looks like a comment may stand in one.
_COMMENT_OR_STRING = re.compile(rf"--\[(=*)\[.*?\]\1\]|--[^\n]*|\[(=*)\[.*?\]\2\]|{_SHORT}", re.DOTALL)
_META = re.compile(r"\bmeta\s*=\s*\{")
_TOKEN = re.compile(rf"\[(=*)\[(?:\n)?(.*?)\]\1\]|({_SHORT})|([A-Za-z_]\w*)|(\.\.)|([{{}}=,;])|\S", re.DOTALL)
_RUN = re.compile(r"\bfunction\s+[A-Za-z_]\w*[.:]run\b|\.run\s*=[^=]|[{,;]\s*run\s*=[^=]")
_ESCAPES = {"n": "\n", "t": "\t", "\n": "\n"}
_META_TOKENS = 2000  # a longer table is no description
_DOC_LINES = 200


@dataclass(frozen=True, slots=True)
class PackageMetadata:
    version: str | None
    description: str  # one line; empty where it says nothing
    category: str | None
    is_library: bool  # it is for `require` and has nothing to run
    doc: str  # the comment at its beginning


def metadata_of(text: str) -> PackageMetadata:
    code = _COMMENT_OR_STRING.sub(lambda found: " " if found[0].startswith("--") else found[0], text)
    bare = _COMMENT_OR_STRING.sub(lambda found: " " * len(found[0]), code)  # as long, so that places are the same
    found = _META.search(bare)
    meta = _meta(code, found.end()) if found else {}
    doc = _doc(text)
    return PackageMetadata(
        version=meta.get("version"),
        description=" ".join((meta.get("description") or doc.partition("\n")[0]).split()),
        category=meta.get("category"),
        is_library=meta.get("type") == "library" or _RUN.search(bare) is None,
        doc=doc,
    )


def _meta(code: str, start: int) -> dict[str, str]:
    """The fields of the table whose brace ends at `start`, at its own level."""
    said: dict[str, str] = {}
    depth, name, is_given = 1, "", False  # of the field that is being read: its name, and whether `=` was there
    for number, token in enumerate(_TOKEN.finditer(code, start)):
        level, long, short, word, joined, mark = token.groups()
        if mark == "{":
            depth += 1
        elif mark == "}":
            depth -= 1
            if not depth or number > _META_TOKENS:
                break
        elif depth == 1 and word:
            name, is_given = word, False
        elif depth == 1 and mark == "=":
            is_given = True
        elif depth == 1 and mark:
            name, is_given = "", False
        elif depth == 1 and is_given and name in _FIELDS and (short or level is not None):
            said[name] = said.get(name, "") + (_unescaped(short[1:-1]) if short else long)
        elif depth == 1 and not joined:
            is_given = False  # some other expression
    return said


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), text, flags=re.DOTALL)


def _doc(text: str) -> str:
    lines = []
    for line in text.removeprefix("\ufeff").splitlines()[:_DOC_LINES]:
        if not line.startswith("--") or line.startswith("--["):
            break
        if not line.startswith("---@"):  # for editors
            lines.append(line.lstrip("-").removeprefix(" ").rstrip())
    return "\n".join(lines).strip()
