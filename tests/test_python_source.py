"""The forms of a strategy in Python, and syntax errors as sentences."""

import asyncio
import inspect
from typing import Any

import pytest

from algocline_mcp.python_hints import syntax_error
from algocline_mcp.python_source import NO_RESULT, compile_strategy


def played(code: str, ctx: dict[str, Any] | None = None) -> tuple[str, Any]:
    """The form of the code, and its value."""
    program = compile_strategy(code, "panel.py", is_entry=True)
    value = program.start({"__name__": "panel", "ctx": {"task": "t"} if ctx is None else ctx})
    return program.form, asyncio.run(value) if inspect.iscoroutine(value) else value


FORMS = [
    ("def run(ctx):\n  return ctx['task']", "run", "t"),
    ("async def run(ctx):\n  return 1", "run", 1),
    ("run = lambda ctx: 1", "run", 1),
    ("class Agent:\n  def __call__(self, ctx): return 1\nrun = Agent()", "run", 1),
    ("from operator import itemgetter\nrun = itemgetter('task')", "run", "t"),
    ("if True:\n  def run(ctx): return 9", "run", 9),
    ("def run(ctx): return f(run)\ndef f(x): return 'ok'", "run", "ok"),
    ("def run(ctx): return 0 if ctx == 0 else run(0)", "run", 0),
    ("def run(ctx):\n return 2\nif __name__ == '__main__':\n  print(run({}))", "run", 2),
    ("def run(ctx):\n return 2\nprint", "run", 2),
    ("def run(ctx):\n pass", "run", NO_RESULT),
    ("async def run(ctx):\n pass", "run", NO_RESULT),
    ("import asyncio\nawait asyncio.sleep(0)\nreturn", "function", NO_RESULT),
    ("def run(ctx):\n return 2\nrun(ctx)", "statements", 2),
    ("def run(ctx):\n return 2\nrun(ctx) + 1", "statements", 3),
    ("import asyncio\nasync def run(ctx):\n return 2\nasyncio.run(run(ctx))", "statements", 2),
    ("async def run(ctx):\n return 2\nawait run(ctx)", "statements", 2),
    ("1 + 1", "statements", 2),
    ("None", "statements", None),
    ("x = 3", "statements", NO_RESULT),
    ("", "statements", NO_RESULT),
    ("ctx['task']", "statements", "t"),
    ("text = '''\ndef run(ctx):\n'''\nlen(text)", "statements", 15),
    ("import asyncio\nawait asyncio.sleep(0)\n7", "statements", 7),
    ("import asyncio\nasync def main():\n  return 3\nasyncio.run(main())", "statements", 3),
    ("async def f():\n  yield 1\n[x async for x in f()]", "statements", [1]),
    ("def f():\n  global n\n  n = 5\nf()\nn", "statements", 5),
    ("exec('y = 4')\ny", "statements", 4),
    ("return 5", "function", 5),
    ("return", "function", NO_RESULT),
    ("return None", "function", NO_RESULT),
    ("def run(ctx):\n return 2\nreturn run(ctx)", "function", 2),
    ("if ctx:\n  return 1\nreturn 2", "function", 1),
    ("for i in range(3):\n  if i == 2: return i", "function", 2),
    ("match ctx:\n  case {'task': t}: return t", "function", "t"),
    ("import asyncio\nawait asyncio.sleep(0)\nreturn 8", "function", 8),
    ("async def f():\n  yield 1\nreturn [x async for x in f()]", "function", [1]),
    ("count = 0\ndef bump():\n  global count\n  count += 1\nbump()\nreturn count", "function", 1),
    ("x = 1\ndef f(): return x\nx = 2\nreturn f()", "function", 2),
    ("def f(): return g()\ndef g(): return 3\nreturn f()", "function", 3),
    ("class A:\n  y = 1\n  def f(self): return A.y\nreturn A().f()", "function", 1),
    ("class A: pass\nreturn A.__qualname__", "function", "A"),
    ("x: int = 4\ny: list[int]\nreturn x", "function", 4),
    ("from math import *\nreturn floor(2.5)", "function", 2),
    ("from __future__ import annotations\ndef f(x: nothing): return x\nreturn f(1)", "function", 1),
    ("return [x for x in range(3) if (y := x)] + [y]", "function", [1, 2, 2]),
    ("try:\n  return 1/0\nexcept:\n  return 'caught'\nfinally:\n  z = 2", "function", "caught"),
    ("del ctx['task']\nreturn ctx", "function", {}),
    ("from dataclasses import dataclass\n@dataclass\nclass P:\n  x: int = 1\nreturn P(2).x", "function", 2),
    ("  x = 1\n  return x", "function", 1),
    ("\n    def f(): return 6\n    f()\n", "statements", 6),
    ("\ufeffreturn 1", "function", 1),
    ("#!/usr/bin/env python3\nreturn 1", "function", 1),
    ("return '\\d'", "function", "\\d"),
]


@pytest.mark.parametrize(("code", "form", "value"), FORMS)
@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning")
def test_the_form_of_a_text_and_its_value(code: str, form: str, value: Any) -> None:
    assert played(code) == (form, value)


def test_the_lines_of_an_error_are_those_of_the_text_in_each_form() -> None:
    texts = ("\n\ndef run(ctx): 1/0", "\n\n1/0", "\nx = 1\nreturn 1/0", "\n  x = 1\n  return 1/0", "if 1:\n\n  1/0")
    for code in texts:
        with pytest.raises(ZeroDivisionError) as caught:
            played(code)

        assert caught.traceback[-1].lineno == 2  # counted from 0


def test_a_name_that_is_no_function_is_not_run() -> None:
    with pytest.raises(TypeError, match=r"run is a int and no function: write def run\(ctx\):"):
        played("run = 5")


def test_a_module_has_no_value_and_no_form_of_a_strategy() -> None:
    assert compile_strategy("x = 1\ndef f(): pass", "m.py", is_entry=False).form == "module"
    with pytest.raises(SyntaxError, match="'return' outside function"):
        compile_strategy("return 1", "m.py", is_entry=False)


SYNTAX = [
    ("def run(ctx)\n  return 1", "panel.py:1: SyntaxError: expected ':'\n    def run(ctx)\n                ^"),
    ("x = 1\nlocal y = 2", "panel.py:2: SyntaxError: invalid syntax (Python writes name = value; if the code is Lua,"),
    ("local function f()\nend", "(Python writes def name(arguments):"),
    ("if x then\n y()\nend", "(Python writes if …: and elif …:"),
    ("for i = 1, 3 do\nend", "(Python writes for x in items:"),
    ("x = a ~= b", "(Python writes != for not equal"),
    ("y = a .. 'b'", "(Python writes f\"{a} {b}\", or a + b"),
    ("if x:\n  y()\nend)", "unmatched ')'"),
    ("f = function(x) return x end", "(Python writes def name(arguments):"),
    ("x = “a”", "(write straight quotes, \" or ')"),
    ("```python\nx\n```", "(the code stands in a fence: leave out the lines that begin with ```)"),
    ("def run(ctx):\n\tif 1:\n        return 2", "panel.py:3: TabError"),
    ("def f():\n  await x\nreturn 1", "(make the function around it async def; alc.llm needs no await)"),
    ("x = 'abc", 'unterminated string literal (detected at line 1) (a text of several lines stands in """'),
    ("x = '''abc\n\n", "(a text of several lines ends with the quotes it began with)"),
    ("const x = 1", "(Python writes name = value)"),
    ("if (x && y):\n  z", "(Python writes and, or)"),
    ("if (!x):\n  z", "(Python writes not)"),
    ("x++", "(Python has no ++: write x += 1)"),
    ("f = (x) => x", "(Python writes lambda x: …)"),
    ("if (x) {\n  y\n}", "(Python has : and an indented block)"),
    ("if x:\n  y\nelse if z:\n  y", "expected ':' (Python writes elif)"),
    ("x = a ? b : c", "(Python writes a if condition else b)"),
    ("// note", "(a comment of Python begins with #)"),
    ("print 'a'", "Did you mean print(...)?"),
    ("class A:\n  return 1", "panel.py:2: SyntaxError: 'return' outside function"),
    ("x = 1\ny = '\0'", "panel.py:2: SyntaxError: source code"),
    ("x = 1\ny = '\ud800'", "panel.py:2: SyntaxError: half of a surrogate pair"),
    ("(" * 300 + ")" * 300, "too many nested parentheses"),
    ("-" * 99_999 + "1", "nested too deeply for the compiler"),
    ("def main(ctx):\n  return 1", "panel.py:1: SyntaxError: the code defines main and no run, so it does nothing: "
     "write def run(ctx):, or end with main(ctx)"),
    ("import re\nasync def main():\n  return 1\nif __name__ == '__main__':\n  main()", "end with await main()"),
    ("import alc\ndef panel(ctx):\n  return 1\nalc.main(panel)", "the code defines panel and no run"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "sentence"), SYNTAX)
def test_a_syntax_error_names_the_line_and_what_to_write(code: str, sentence: str) -> None:
    assert sentence in str(syntax_error("panel.py", code))


def test_no_hostile_text_costs_seconds_or_raises_another_error() -> None:
    for code in (
        "[" * 100_000,
        "x" + ".x" * 99_999,
        "f(" * 5000,
        "a ? " * 100_000,
        "é" * 300_000 + "~=",
        "\\" * 100_000,
    ):
        error = syntax_error("a.py", code)
        assert error is None or len(error) < 2_000


def test_a_text_that_compiles_has_no_error_and_no_warning() -> None:
    assert syntax_error("a.py", "x = '\\d'\nx is 1\nreturn x") is None
