"""Metadata of a package in Python, read from its source without running it. Pure.

Contract: `read` never raises. It reads the dict `meta` of the module as far as its values are literals, its docstring,
and whether it defines `run`. Of a source that does not parse, or that is too long to parse, only the last.
"""

import ast
import re
from dataclasses import dataclass, field
from typing import Any

from algocline_mcp.python_source import silence

_PARSED_CHARS = 128 * 1024  # 1 MiB takes over a second, in which nothing else runs
_RUN = re.compile(r"^(?:async\s+def|def)\s+run\s*\(|^run\s*=[^=]|^from\s.*\bimport\b.*\brun\b", re.MULTILINE)
_COMMENT = re.compile(r"(?:\ufeff?#!.*\n)?((?:#.*\n)+)")


@dataclass(frozen=True, slots=True)
class PythonMetadata:
    meta: dict[str, Any] = field(default_factory=dict)  # JSON values by name
    doc: str = ""  # the docstring, or the comment at the beginning
    has_run: bool = False


def read(source: str) -> PythonMetadata:
    has_run = _RUN.search(source) is not None
    comment = _COMMENT.match(source)
    doc = re.sub(r"(?m)^#+ ?", "", comment[1]).strip() if comment is not None else ""
    tree = _tree(source)
    if tree is None:
        return PythonMetadata(doc=doc, has_run=has_run)
    meta = next((node for line in tree.body if (node := _value_of(line, "meta")) is not None), None)
    fields = dict(_literals(meta)) if isinstance(meta, ast.Dict) else {}
    return PythonMetadata(fields, ast.get_docstring(tree) or doc, has_run)


def _tree(source: str) -> ast.Module | None:
    if len(source) > _PARSED_CHARS:
        return None
    with silence():
        try:
            return ast.parse(source.removeprefix("\ufeff"))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def _value_of(line: ast.stmt, name: str) -> ast.expr | None:
    """What the statement assigns to the variable."""
    if isinstance(line, ast.Assign):
        targets: list[ast.expr] = line.targets
    elif isinstance(line, ast.AnnAssign):
        targets = [line.target]
    else:
        return None
    return line.value if any(isinstance(target, ast.Name) and target.id == name for target in targets) else None


def _literals(meta: ast.Dict) -> list[tuple[str, Any]]:
    """The entries whose key is a text and whose value is a literal that JSON has too."""
    entries = []
    for key, node in zip(meta.keys, meta.values, strict=True):
        try:
            value = ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(key, ast.Constant) and isinstance(key.value, str) and _is_json(value):
            entries.append((key.value, value))
    return entries


def _is_json(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_json, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(item) for key, item in value.items())
    return value is None or isinstance(value, bool | str) or (isinstance(value, int | float) and abs(value) < 2**53)
