"""A package as the code of a session: its name under `require`, its line numbers, its `run`."""

import pytest

from algocline_mcp.languages import LUA
from tests.worker.engine.lua.in_process import FakeChannel, play

ENDS = [
    ("return {}", "Package 'one' is a library package, it has no run(ctx): use it by require"),
    ("return 3", "Package 'one' is a library package, it has no run(ctx): use it by require"),
    ("local M = {}", "Package 'one' is a library package, it has no run(ctx): use it by require"),
    ("#!/usr/bin/lua\nlocal M = {}\nfunction M.run() error('here') end\nreturn M", "panel.lua:3: here"),
    ("\ufefflocal M = {} function M.run() error('here') end return M -- the end", "panel.lua:1: here"),
    ("\n\nerror('there')", "panel.lua:3: there"),
    ("local M = {", "syntax error: panel.lua:"),
    ("return M end return {", "syntax error: panel.lua:"),
]


@pytest.mark.parametrize(("source", "error"), ENDS)
def test_errors_have_the_line_numbers_of_the_package(source: str, error: str) -> None:
    assert play(LUA.entered("one", source)).error.startswith(error)


TRACEBACKS = [
    ("local M = {}\nfunction M.run()\nerror('here')\nend\nreturn M", "panel.lua:3: here"),
    ("\n\nerror('there')", "panel.lua:3: there"),
    (
        "local function f() error('deep') end\nreturn {run = function()\nlocal x = f()\nend}",
        "panel.lua:1: deep\nstack traceback:\n\tpanel.lua:1: in upvalue 'f'\n\tpanel.lua:3: in field 'run'",
    ),
]


@pytest.mark.parametrize(("source", "error"), TRACEBACKS)
def test_traceback_shows_no_line_that_the_package_does_not_have(source: str, error: str) -> None:
    """The code that calls run stands behind the text of the package."""
    assert play(LUA.entered("one", source)).error == error


def test_run_gets_ctx_and_other_modules_require_the_package_without_a_call() -> None:
    source = 'local name = ... return {run = function(ctx) return {ctx.task, name, require("two").same} end}'
    channel = FakeChannel(modules={"two": 'return {same = type(require("one").run) == "function"}'})

    assert play(LUA.entered("one", source), channel, ctx='{"task":"t"}').result == ["t", "one", True]
    assert channel.calls == [["module", "two"]]


DECLARED = """return {
  meta = { inputs = { n = { type = "integer", default = 3, description = "how many" }, q = { type = "string" } } },
  run = function(ctx) return { ctx.q, math.type(ctx.n), ctx.n, ctx.other } end,
}"""


def test_run_finds_the_inputs_that_the_package_declares() -> None:
    assert play(LUA.entered("one", DECLARED), ctx='{"q":"?","n":"4"}').result == ["?", "integer", 4]
    assert play(LUA.entered("one", DECLARED), ctx='{"q":"?"}').result == ["?", "integer", 3]


def test_an_input_that_is_missing_is_one_sentence_without_a_traceback() -> None:
    assert play(LUA.entered("one", DECLARED), ctx='{"m":1}').error == "one needs q"


def test_a_name_that_is_no_input_is_a_warning() -> None:
    ended = play(LUA.entered("one", DECLARED), ctx='{"q":"?","other":[]}')

    assert ended.message["warnings"] == ["one has no input other, and leaves it alone: its inputs are n, q"]
    assert ended.result[3] == [], "it is as it was given"


@pytest.mark.parametrize(
    "meta", ["3", "{}", "{inputs = 3}", "{inputs = {}}", "{inputs = {a = print}}", "{inputs = {'a'}}"]
)
def test_a_meta_of_another_kind_checks_nothing(meta: str) -> None:
    source = f"return {{meta = {meta}, run = function(ctx) return ctx.a end}}"

    assert play(LUA.entered("one", source), ctx='{"a":"7"}').result == "7"
