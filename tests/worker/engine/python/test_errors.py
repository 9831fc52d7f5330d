"""What the author of a strategy in Python is told when it fails."""

import asyncio
import inspect
import re
from typing import Any

import pytest

from algocline_mcp.python_source import compile_strategy
from algocline_mcp.worker.engine.python.errors import describe
from algocline_mcp.worker.engine.python.modules import Modules, preload

allowed = preload()
HELPER = "def share(n):\n    return 1 / n\n"
FILES = {"helper": ("helper.py", HELPER), "broken": ("broken.py", "x = 1\ndef f(:\n")}


def ask(name: str) -> dict[str, Any]:
    if name not in FILES:
        raise RuntimeError(f"module '{name}' not found: no {name}.py in /packages")
    chunk, source = FILES[name]
    return {"chunk": chunk, "source": source}


def failure(code: str, ctx: dict[str, Any] | None = None) -> str:
    """The text of the error that ends the code."""
    modules = Modules(ask, allowed)
    modules.install()
    try:
        namespace = modules.entry("panel.py", code)
        namespace["ctx"] = ctx or {"task": "t"}
        value = compile_strategy(code, "panel.py", is_entry=True).start(namespace)
        if inspect.iscoroutine(value):
            value = asyncio.run(value)
    except BaseException as exc:  # noqa: BLE001  also SystemExit
        return describe(exc, modules.sources)
    finally:
        modules.remove()
    raise AssertionError(f"no error, but {value!r}")


def test_the_sentence_comes_first_then_the_frames_of_the_strategy_and_its_modules() -> None:
    text = failure("import helper\n\ndef run(ctx):\n    return helper.share(0)")

    assert re.sub(r" *[~^]+\n?", "", text).rstrip() == (
        "helper.py:2: ZeroDivisionError: division by zero\n"
        "Traceback (most recent call last):\n"
        '  File "panel.py", line 4, in run\n'
        "    return helper.share(0)\n"
        '  File "helper.py", line 2, in share\n'
        "    return 1 / n"
    )


def test_frames_of_the_standard_library_are_not_shown() -> None:
    text = failure("import json\njson.loads('no')")

    assert text.startswith("panel.py:2: json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)")
    assert text.count("File ") == 1


HINTS = [
    ("nil", "NameError: name 'nil' is not defined (Python writes None)"),
    ("true", "(Python writes True and False)"),
    ("task", "name 'task' is not defined (write ctx['task'])"),
    ("ctx['topic']", "KeyError: 'topic' (not given: ctx['topic']; given: 'task'; ctx.get('topic', …) has a default)"),
    ("{'a': 1}['b']", "panel.py:1: KeyError: 'b'\n"),
    ("{}[3]", "panel.py:1: KeyError: 3\n"),
    ("__import__('alc').llm('p', {'system': 's'})", "(options are keywords: alc.llm(prompt, system=…))"),
    ("'5' / 2", "(an answer is a text: alc.parse_number(answer) reads the number in it)"),
    ("'5' < 2", "(an answer is a text: alc.parse_number"),
    ("int('about 7')", "(an answer is a text: alc.parse_number"),
    ("float('7 of 10')", "(an answer is a text: alc.parse_number"),
    ("'a' + 1", '(write f"… {x}", or str(x))'),
    ("import json\njson.loads('{')", "alc.json_extract finds JSON in a text"),
    ("import json\njson.dumps({1})", "(return the value itself, alc makes it JSON)"),
    ("open('x.txt')", "a strategy has no files: pass the text in ctx"),
    ("import pathlib\npathlib.Path('/nowhere/x').read_text()", "(a strategy has no files: pass the text in ctx"),
    ("input()", "EOFError: input() reaches nobody: alc.llm(prompt) asks the model"),
    ("import numpy", "ModuleNotFoundError: No module named 'numpy': math and statistics"),
    ("raise RuntimeError(\"can't start new thread\")", "(a strategy has one thread: alc.parallel asks many prompts"),
    ("raise PermissionError(1, 'Operation not permitted')", "(a strategy has no files, network or processes)"),
    ("async def f(): return [1]\nx = f()\ntry: x[0]\nfinally: x.close()", "(await is missing: an async function"),
    ("async def f(): return 1\nx = f()\ntry: x + 1\nfinally: x.close()", "(await is missing: an async function"),
    ("async def run(ctx):\n  return await 'answer'", "(alc.llm needs no await; alc.aio.llm needs it)"),
    ("def run(): return 1", "(write def run(ctx):)"),
    ("raise SystemExit", "panel.py:1: SystemExit (the strategy called exit: write return with the result)"),
    ("raise KeyboardInterrupt", "panel.py:1: KeyboardInterrupt (the strategy raised it"),
    ("def f(n): return f(n + 1)\nf(0)", "(a function calls itself without an end"),
    ("import asyncio\nasync def run(ctx):\n  x = asyncio.sleep(0)\n  try: asyncio.run(x)\n  finally: x.close()",
     "(write await instead of asyncio.run)"),
    ("import alc\nalc.ask('x')", "(here it is called: alc.llm)"),
    ("import alc\nalc.lm('x')", "(here it is called: alc.llm)"),
    ("import alc\nalc.llm_bacth(['x'])", "alc.llm_batch"),
    ("import alc\nraise alc.Error('no')", "panel.py:2: alc.Error: no\n"),
    ("raise ValueError", "panel.py:1: ValueError\n"),
    ("raise ValueError('')", "panel.py:1: ValueError\n"),
    ("assert ctx == {}", "panel.py:1: AssertionError\n"),
    ("class E(Exception): pass\nraise E('own')", "panel.py:2: panel.E: own"),
    ("class E(Exception):\n  def __str__(self): return 1 / 0\nraise E", "panel.E: <exception str() failed>"),
    ("e = ValueError('x')\ne.add_note('a note')\nraise e", "ValueError: x\na note"),
    ("compile('1 +', '<text>', 'exec')", "panel.py:1: SyntaxError: invalid syntax (<text>, line 1)"),
    ("raise MemoryError", "panel.py:1: MemoryError: out of memory: keep less in lists, dicts and texts"),
    ("x = object()\nraise ValueError(x)", "ValueError: <object object at 0x0>"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "sentence"), HINTS)
def test_an_error_says_what_to_do_instead(code: str, sentence: str) -> None:
    assert sentence in failure(code)


def test_a_syntax_error_in_a_module_names_its_line_and_who_imports_it() -> None:
    text = failure("import json\nimport broken\n1")

    assert text.startswith("broken.py:2: SyntaxError: invalid syntax\n    def f(:\n          ^\n")
    assert 'File "panel.py", line 2, in <module>' in text


def test_a_syntax_error_before_anything_ran_needs_no_sources() -> None:
    with pytest.raises(SyntaxError) as caught:
        compile_strategy("x = 1\nlocal y = 2", "panel.py", is_entry=True)

    assert describe(caught.value, {}).startswith("panel.py:2: SyntaxError: invalid syntax (Python writes name = value;")


def test_causes_are_shown() -> None:
    text = failure("try:\n  1 / 0\nexcept ZeroDivisionError as e:\n  raise ValueError('b') from e")

    assert text.startswith("panel.py:4: ValueError: b\n")
    assert "ZeroDivisionError: division by zero\n\nThe above exception was the direct cause" in text


def test_of_a_group_the_first_part_stands_in_the_sentence() -> None:
    text = failure(
        "import asyncio\nasync def bad(n): raise KeyError(n)\n"
        "async def run(ctx):\n  async with asyncio.TaskGroup() as g:\n    g.create_task(bad(1))"
    )

    sentence = "panel.py:4: ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)"
    assert text.split("\n")[0] == f"{sentence}; the first: panel.py:2: KeyError: 1"
    assert "taskgroups.py" not in text


def test_of_many_frames_the_outermost_and_the_innermost_are_shown() -> None:
    text = failure("def f(n): return g(n)\ndef g(n): return f(n)\nf(0)")

    assert "frames …" in text
    assert text.count('File "panel.py"') == 22


def test_a_text_is_limited() -> None:
    for code in (
        "raise ValueError('x' * 10_000_000)",
        "e = ValueError(1)\nfor i in range(9999): e.add_note('n' * 99)\nraise e",
    ):
        assert len(failure(code)) < 70_000


def test_an_exception_that_fights_its_description_still_has_a_text() -> None:
    code = "class E(BaseException):\n  def __str__(self): raise SystemExit\n  __repr__ = __str__\n"

    assert "E: <exception str() failed>" in failure(f"{code}raise E")
    meta = "class M(type):\n  def __getattribute__(c, n): raise KeyboardInterrupt\n"
    assert failure(f"{meta}class E(Exception, metaclass=M): pass\nraise E").startswith("E, and its text cannot be made")
    groups = "e = ValueError(1)\nfor i in range(5000): e = ExceptionGroup('g', [e])\nraise e"
    assert failure(groups).startswith(("panel.py:3: ExceptionGroup: g (1 sub-exception)\n", "ExceptionGroup, and its"))
    assert "E" in failure(f"{code}  @property\n  def __notes__(self): 1 / 0\nraise E")
