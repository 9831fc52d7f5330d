"""Compiles the source of a strategy without running it, and finds out in which language a bare text is written."""

import ast
import re
from pathlib import Path
from typing import Any

from algocline_mcp import languages, python_hints
from algocline_mcp.languages import LUA, PYTHON, Language
from algocline_mcp.python_source import silence

_HINT_BYTES = 400  # of a line that is searched for a hint
_MEMORY_BYTES = 64 * 1024 * 1024  # for one source
# A longer text is not parsed as Python: 1 MiB of it takes over a second, in which the server does nothing else.
_PARSED_CHARS = 128 * 1024
_FENCE = re.compile(r"\ufeff?\s*(?:```|~~~)\s*(\w*)")  # models send code as they show it
_FENCE_LINE = re.compile(r"^\s*(?:```|~~~).*$", re.MULTILINE)
_FENCED = {"lua": LUA, "py": PYTHON, "python": PYTHON, "python3": PYTHON}
_LIKE_PYTHON = re.compile(
    r"^\s*(?:(?:async\s+)?def\s+\w+\s*\(|class\s+\w+.*:|import\s+\w|from\s+[\w.]+\s+import\b"
    r"|(?:if|elif|else|for|while|with|try|except|finally)\b.*:\s*(?:#.*)?$|#(?!!))",
    re.MULTILINE,
)
_LIKE_LUA = re.compile(r"^\s*(?:local\s|function\b|end\b|--)|\b(?:then|do)\s*$", re.MULTILINE)
_COMMENT = re.compile(r"^\s*#(?!!)", re.MULTILINE)  # #! is for a shell, in both
# Statements that could be Lua as well: `x = f(y)`, `f(x)`, `return f(x)`, and -- before a comment, which is a sign to
# Python.
_ALSO_LUA = (ast.Assign, ast.Expr, ast.Return)


def language_of(code: str, preferred: Language = LUA) -> Language:
    """The language in which the code parses. Of two: Python if it has an f-string, else `preferred`. Of none: the
    language that it looks like."""
    if (fence := _FENCE.match(code)) is not None:
        if (named := _FENCED.get(fence[1].lower())) is not None:
            return named
        code = _FENCE_LINE.sub("", code)
    tree = _python_tree(code) if len(code) <= _PARSED_CHARS else None
    if tree is not None and (_COMMENT.search(code) or _is_python_alone(tree)):
        return PYTHON
    if tree is None and len(_LIKE_PYTHON.findall(code)) <= len(_LIKE_LUA.findall(code)):
        return LUA
    if _lua_error("strategy", code) is not None:
        return PYTHON
    return LUA if tree is None else preferred


def _python_tree(code: str) -> ast.Module | None:
    """None where the code is not Python."""
    with silence():
        try:
            return ast.parse(code.removeprefix("\ufeff"))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def _is_python_alone(tree: ast.Module) -> bool:
    """It cannot be Lua, or has an f-string. An empty text could be both."""
    is_lua = all(
        isinstance(line, _ALSO_LUA) and not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
        for line in tree.body
    )
    return not is_lua or any(isinstance(node, ast.JoinedStr) for node in ast.walk(tree))


def syntax_error(language: Language, chunk: str, source: str) -> str | None:
    """Why `source` does not compile, with the hint that the engine would give, or None.

    As in the engine, a first line that begins with # is for a shell."""
    return (_lua_error if language is LUA else python_hints.syntax_error)(chunk, source)


def _lua_error(chunk: str, source: str) -> str | None:
    import lupa.lua55 as lua  # 4 ms, needed only where a file is read

    text = (f"--{source}" if source.startswith("#") else source).encode("utf-8", "replace")
    runtime = lua.LuaRuntime(encoding=None, register_eval=False, register_builtins=False, max_memory=_MEMORY_BYTES)
    try:
        runtime.compile(text, name=b"@" + chunk.encode("utf-8", "replace"), mode=b"t")
    except lua.LuaError as exc:
        reason = exc.args[0]
        problem = reason if isinstance(reason, bytes) else str(reason).encode("utf-8", "replace")
        return (problem + _hint(runtime, problem, text)).decode("utf-8", "replace")
    return None


def _hint(runtime: Any, problem: bytes, text: bytes) -> bytes:
    """ " (…)" or nothing. The lines are cut, because Lua's patterns hold the interpreter lock while they match."""
    assert LUA.hints is not None
    source = (Path(languages.__file__).parent / LUA.hints).read_bytes()
    shared = runtime.table()
    runtime.compile(source, name=b"@hints", mode=b"t")(shared)
    hint: bytes = shared[b"syntax_hint"](problem, b"\n".join(line[:_HINT_BYTES] for line in text.split(b"\n")))
    return hint
