"""The title of a session that was started without one."""

import pytest

from algocline_mcp.config.limits import Limits
from algocline_mcp.history.new_session import Strategy, header_of
from algocline_mcp.languages import LUA, PYTHON, Language
from tests.rig.journals import sid_of

ASK = 'return alc.llm("x")'


@pytest.mark.parametrize(
    ("strategy", "title"),
    [
        (Strategy(f"-- Names a fear.\n{ASK}", chunk="idea.lua"), "Names a fear."),
        (Strategy(f"#!/usr/bin/env lua\n\n--------\n--- Names a fear.\n{ASK}", chunk="idea.lua"), "Names a fear."),
        (Strategy(f"\ufeff-- Names a fear.\n{ASK}"), "Names a fear."),
        (Strategy(f"\ufeff{ASK}"), ASK),
        (Strategy(f"--[==[\nNames a fear.\n]==]\n{ASK}", chunk="idea.lua"), "Names a fear."),
        (Strategy(ASK, chunk="idea.lua"), "idea.lua"),
        (Strategy("", chunk="idea.lua"), "idea.lua"),
        (Strategy(f"-- {'x' * 100}"), "x" * 60),
        (Strategy("-- A doc.", chunk="cot/init.lua", name="cot", ctx={"task": "Why\nis it?"}), "cot: Why is it?"),
        (Strategy("-- A doc.", chunk="cot/init.lua", name="cot"), "cot"),
    ],
)
def test_title_is_the_same_from_every_tool_and_command(strategy: Strategy, title: str) -> None:
    assert header_of(Limits(), strategy, sid=sid_of(1))["title"] == title


@pytest.mark.parametrize(
    ("code", "title"),
    [
        (ASK, ASK),
        (f"-- Three reviewers\n{ASK}", "Three reviewers"),
        (f"\n\n  --- each item ---\n{ASK}", "each item"),
        (f"```lua\n{ASK}\n```", ASK),
        (f"\n```Lua title=x\n-- in a fence\n{ASK}\n```\n", "in a fence"),
        (f"~~~\n{ASK}\n~~~", ASK),
        ("```lua\n```", "strategy"),
        (f"--[[ of several\nlines ]]\n{ASK}", "of several"),
        (f"--[==[\n  Its first words\n]==]\n{ASK}", "Its first words"),
        ("", "strategy"),
    ],
)
def test_title_is_the_first_words_of_the_code_without_marks_of_comments_and_fences(code: str, title: str) -> None:
    assert header_of(Limits(), Strategy(code), sid=sid_of(1))["title"] == title


PYTHON_ASK = 'return alc.llm("x")'


@pytest.mark.parametrize(
    ("code", "chunk", "title"),
    [
        (PYTHON_ASK, "strategy", PYTHON_ASK),
        (PYTHON_ASK, "idea.py", "idea.py"),
        ('"""Names a fear."""\nimport alc\n', "idea.py", "Names a fear."),
        ('r"""\nNames a fear.\n\nMore.\n"""\n', "strategy", "Names a fear."),
        ("'Names a fear.'\n", "strategy", "Names a fear."),
        ("\ufeff#!/usr/bin/env python3\n# Names a fear.\n", "idea.py", "Names a fear."),
        ("```python\n# in a fence\nreturn 1\n```", "strategy", "in a fence"),
        ("import alc\nfrom math import pi\n\ndef run(ctx):\n    return pi\n", "strategy", "return pi"),
        ("import alc\n", "strategy", "strategy"),
        ('x = "a"\n', "strategy", 'x = "a"'),
    ],
)
def test_title_of_python_is_its_docstring_or_comment_or_the_first_line_that_says_something(
    code: str, chunk: str, title: str
) -> None:
    strategy = Strategy(code, chunk, language=PYTHON.name)

    assert header_of(Limits(), strategy, sid=sid_of(1))["title"] == title


@pytest.mark.parametrize("language", [LUA, PYTHON])
def test_header_names_the_language_and_what_a_replay_needs_of_it(language: Language) -> None:
    header = header_of(Limits(), Strategy(PYTHON_ASK, language=language.name), sid=sid_of(1))

    assert (header["language"], header["abi"]["language"]) == (language.name, language.name)
    assert header["abi"]["interpreter"] == language.interpreter
