"""Syntax errors of Python as sentences, with hints for habits from Lua, JavaScript and chats. Pure."""

import re
import sys

from algocline_mcp.python_source import compile_strategy, silence

_LINE_CHARS = 400  # of a line that is searched or shown

_LUA = "Python writes %s; if the code is Lua, name the file .lua or give the language"

# Pattern of the compiler's own text -> the hint.
_OF_MESSAGE = (
    (r"invalid character '[\u2018\u2019\u201c\u201d\u00ab\u00bb\u201e]'", "write straight quotes, \" or '"),
    (r"inconsistent use of tabs", "indent with blanks only"),
    (r"'(await|async for|async with)' outside async function|asynchronous comprehension outside",
     "make the function around it async def; alc.llm needs no await"),
    (r"unterminated string literal", 'a text of several lines stands in """ … """'),
    (r"unterminated triple-quoted", 'a text of several lines ends with the quotes it began with'),
    (r"'return' outside function", "indent the line into a function"),
)  # fmt: skip

# Pattern of the line of code -> the hint. In order: the special before the general.
_OF_LINE = (
    (r"^\s*```", "the code stands in a fence: leave out the lines that begin with ```"),
    (r"^\s*local\s+function\b", _LUA % "def name(arguments):"),
    (r"^\s*local\s", _LUA % "name = value"),
    (r"\bfunction\s*[\w.:]*\s*\(", _LUA % "def name(arguments):, or lambda x: …"),
    (r"^\s*(if|elseif)\b.*\bthen\b", _LUA % "if …: and elif …:"),
    (r"^\s*(for|while)\b.*\bdo\s*$", _LUA % "for x in items: and while …:"),
    (r"^\s*(end|end\)|until\b.*|repeat)\s*[,;]?\s*$", _LUA % "no end: a block ends where its indentation ends"),
    (r"~=", _LUA % "!= for not equal"),
    (r"[\w\"')\]]\s*\.\.\s*[\w\"'(]", _LUA % "f\"{a} {b}\", or a + b"),
    (r"^\s*--", _LUA % "a comment with #"),
    (r"^\s*(const|let|var)\s", "Python writes name = value"),
    (r"^\s*(//|/\*)", "a comment of Python begins with #"),
    (r"&&|\|\|", "Python writes and, or"),
    (r"=>", "Python writes lambda x: …"),
    (r"!(?!=)\s*[\w(]", "Python writes not"),
    (r"\+\+|--\s*$", "Python has no ++: write x += 1"),
    (r"^\s*else\s+if\b", "Python writes elif"),
    (r"^\s*(if|elif|else|for|while|def|class|try|except|with)\b.*\{\s*$", "Python has : and an indented block"),
    (r"^\s*}\s*$", "Python has : and an indented block"),
    (r"`", 'Python writes texts with values as f"… {x}"'),
    (r"\?.*:", "Python writes a if condition else b"),
)  # fmt: skip

_OLD_F_STRING = "before Python 3.12 an f-string cannot contain its own quotes, a backslash or a comment between { and }"


def syntax_error(chunk: str, source: str) -> str | None:
    """Why `source` does not compile as a strategy, with a hint and the line, or None."""
    try:
        with silence():
            compile_strategy(source, chunk, is_entry=True)
    except SyntaxError as exc:
        return describe_syntax(exc)
    return None


def describe_syntax(error: SyntaxError) -> str:
    """`panel.py:3: SyntaxError: expected ':' (hint)`, the line and a mark below it."""
    place = f"{error.filename}:{error.lineno}: " if error.lineno else f"{error.filename}: " if error.filename else ""
    hint = syntax_hint(error)
    sentence = f"{place}{type(error).__name__}: {error.msg}" + (f" ({hint})" if hint else "")
    line = (error.text or "").rstrip()
    if not line or len(line) > _LINE_CHARS:
        return sentence
    shown = line.lstrip()
    start = max(0, (error.offset or 1) - 1 - (len(line) - len(shown)))
    is_one_line = error.end_lineno == error.lineno and error.end_offset and error.end_offset > 0
    width = max(1, min((error.end_offset or 0) - (error.offset or 1), len(shown) - start)) if is_one_line else 1
    mark = f"\n    {' ' * start}{'^' * width}" if error.offset and start <= len(shown) else ""
    return f"{sentence}\n    {shown}{mark}"


def syntax_hint(error: SyntaxError) -> str | None:
    line = (error.text or "")[:_LINE_CHARS]
    if error.msg.startswith("f-string") and sys.version_info < (3, 12):
        return _OLD_F_STRING
    for pattern, hint in _OF_MESSAGE:
        if re.search(pattern, error.msg):
            return hint
    for pattern, hint in _OF_LINE:
        if re.search(pattern, line):
            return hint
    return None
