"""What code that does not compile says, with the hint that the engine gives; and in which language a text is."""

from pathlib import Path

import pytest

from algocline_mcp.languages import LUA, PYTHON, Language
from algocline_mcp.server.tool_call.compiler import language_of, syntax_error


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("if a != b then end", "Lua writes ~="),
        ("#!/usr/bin/alc\nlocal x = 1\nx += 1", "Lua has no +="),
        ("def run(ctx):\n  return 1", "Lua writes: function name"),
        ("```lua\nreturn 1\n```", "the code stands in a fence"),
    ],
)
def test_the_hint_of_the_engine_stands_behind_the_error(source: str, hint: str) -> None:
    error = syntax_error(LUA, "panel.lua", source)

    assert error is not None
    assert error.startswith("panel.lua:")
    assert hint in error


def test_hostile_lines_cost_no_time_and_code_that_compiles_has_no_error() -> None:
    assert syntax_error(LUA, "a.lua", "return 1") is None
    assert syntax_error(LUA, "a.lua", "for " + "a: " * 300_000) is not None


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("x = 1\nreturn alc.llm('x'\n", "a.py:2: SyntaxError: '(' was never closed"),
        ("return 1\0", "null"),
        ("x" + ".x" * 99_999, ""),
    ],
)
def test_a_file_in_python_that_does_not_compile_names_the_line(source: str, error: str) -> None:
    assert error in str(syntax_error(PYTHON, "a.py", source))


def test_a_top_level_return_or_await_compiles_and_an_odd_escape_is_no_error() -> None:
    assert syntax_error(PYTHON, "a.py", "\ufeff#!/usr/bin/env python3\nreturn await f('\\d')") is None


BOTH = 'local_answer = alc.llm("x")\nreturn local_answer'


@pytest.mark.parametrize(
    ("code", "language"),
    [
        (BOTH, LUA),
        (BOTH.replace('"x"', 'f"{x}"'), PYTHON),
        ('return alc.llm(f"x {ctx}")', PYTHON),
        ("", LUA),
        ("-- A comment\nreturn 1", LUA),
        ("--comment\nreturn 1", LUA),
        ("#!/usr/bin/env alc\nreturn 1", LUA),
        ("# A comment\nreturn 1", PYTHON),
        ("x = 1\n# A comment\nreturn x", PYTHON),
        ('"""What it does."""\nreturn 1', PYTHON),
        ("x = [1, 2]\nreturn x", PYTHON),
        ("return {1, 2}", LUA),
        ("return {'a': 1}", PYTHON),
        ("return {a = 1}", LUA),
        ("import alc\nreturn alc.llm('x')", PYTHON),
        ("return await alc.aio.llm('x')", PYTHON),
        ("x = 1\nx += 1", PYTHON),
        ("if a then return 1 end", LUA),
        ("if a:\n    return 1", PYTHON),
        # of neither: what it looks like
        ("def run(ctx)\n    return alc.llm('x')\n", PYTHON),
        ("import alc\n\ndef run(ctx):\n    return alc.llm('x'\n", PYTHON),
        ("for x in y:\nreturn x", PYTHON),
        ("local x = = 1\nreturn x", LUA),
        ("function run(ctx)\n  return alc.llm('x'\nend", LUA),
        ("Dear diary", LUA),
        ("x" * 200_000, LUA),
        ("x = '" + "x" * 200_000 + "'\nimport alc\n", PYTHON),
        ("-" * 99_999 + "1", LUA),
        # what a fence says
        ("```python\nreturn 1\n```", PYTHON),
        ("```lua\nreturn 1\n```", LUA),
        ("```\nimport alc\nreturn 1\n```", PYTHON),
        ("```\nlocal x = 1\n```", LUA),
    ],
)
def test_a_text_has_the_language_in_which_it_parses_or_that_it_looks_like(code: str, language: Language) -> None:
    assert language_of(code).name == language.name


def test_of_two_languages_a_branch_prefers_that_of_its_parent() -> None:
    assert language_of(BOTH, PYTHON) is PYTHON
    assert language_of("local x = 1\nreturn x", PYTHON) is LUA


@pytest.mark.parametrize("language", [LUA, PYTHON])
def test_every_strategy_of_this_repository_has_the_language_of_its_suffix(language: Language) -> None:
    root = Path(__file__).parents[3]
    files = [path for path in root.glob(f"*/**/*{language.suffix}") if ".venv" not in path.parts]
    texts = {path: text for path in files if (text := path.read_text()).strip()}

    others = [path for path, text in texts.items() if language_of(text).name != language.name]

    assert files
    assert others == []
