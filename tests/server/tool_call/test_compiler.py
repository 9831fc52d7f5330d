"""What a file that does not compile says: the error of the compiler, and the hint that the engine gives."""

import pytest

from algocline_mcp.server.tool_call.compiler import syntax_error


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
    error = syntax_error("panel.lua", source)

    assert error is not None
    assert error.startswith("panel.lua:")
    assert hint in error


def test_hostile_lines_cost_no_time_and_code_that_compiles_has_no_error() -> None:
    assert syntax_error("a.lua", "return 1") is None
    assert syntax_error("a.lua", "for " + "a: " * 300_000) is not None
