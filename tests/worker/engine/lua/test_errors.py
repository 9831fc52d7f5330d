"""Error texts of a strategy: its own file and lines, and never an empty text."""

import pytest

from algocline_mcp.languages import LUA
from tests.worker.engine.lua.in_process import FakeChannel, play

RAISED = [
    ("error('intentional')", "panel.lua:1: intentional"),
    ("error('bare', 0)", "bare\nstack"),
    ("error({code = 3, why = 'x'})", '{"code":3,"why":"x"}\nstack'),
    ("error(setmetatable({}, {__tostring = function() return 'my text' end}))", "my text\nstack"),
    ("error(setmetatable({}, {__tostring = function() error('worse') end}))", "error raised with table: 0x00000001\n"),
    ("error({f = print})", "error raised with table: 0x00000001\nstack"),
    ("error(print)", "error raised with function: 0x00000001\nstack"),
    ("error()", "error raised with nil\nstack"),
    ("error('', 0)", "an error with an empty text\nstack"),
    ("error(ctx.null)", "error raised with null\nstack"),
    ("local x = ctx.null.field", "panel.lua:1: attempt to index a null value (field 'null')"),
    ("ctx.null.field = 1", "panel.lua:1: attempt to index a null value (field 'null')"),
    ("ctx.null()", "panel.lua:1: attempt to call a null value (field 'null')"),
    ("return 'a' .. ctx.null", "panel.lua:1: attempt to concatenate a null value (field 'null')"),
    ("return 1 + ctx.null", "panel.lua:1: attempt to perform arithmetic on a null value (field 'null')"),
    ("return #ctx.null", "panel.lua:1: attempt to get length of a null value (field 'null')"),
    ("\n\nlocal t = nil\nt.x = 1", "panel.lua:4: attempt to index a nil value (local 't')"),
    ("string.format('%d', 1.5)", "panel.lua:1: bad argument #2 to 'format' (number has no integer representation)"),
    ("string.format('%d', {})", "panel.lua:1: bad argument #2 to 'format' (number expected, got table)"),
    ("string.format()", "panel.lua:1: bad argument #1 to 'format'"),
    ("string.format('%p', {})", "panel.lua:1: string.format: %p shows an address"),
    ("setmetatable(1, {})", "panel.lua:1: bad argument #1 to 'setmetatable' (table expected, got number)"),
    ("table.sort({1, 'x'})", "panel.lua:1: attempt to compare string with number"),
    ("table.sort({1, 2}, 3)", "panel.lua:1: bad argument #2 to 'sort' (function expected, got number)"),
    ("table.sort({2, 1}, function() error('mine') end)", "panel.lua:1: mine"),
    ("local T = {__lt = function() error('mine') end} table.sort({setmetatable({}, T), setmetatable({}, T)})",
     "panel.lua:1: mine"),
    ("math.randomseed('x')", "panel.lua:1: bad argument #1 to 'randomseed'"),
    ("os.date('%Ez', 0)", "panel.lua:1: bad argument #1 to 'date'"),
    ("local t = os.time({})", "panel.lua:1: field 'year' missing in date table"),
    ("local function f() return 1 + f() end f()", "panel.lua:1: stack overflow"),
    ("local function f() return (('x'):gsub('.', f)) end f()", "C stack overflow"),
    ("local function f() error('deep') end\nlocal function g()\nf()\nend\ng()",
     "panel.lua:1: deep\nstack traceback:\n\tpanel.lua:1: in upvalue 'f'\n\tpanel.lua:3: in local 'g'"
     "\n\tpanel.lua:5: in main chunk"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "beginning"), RAISED)
def test_error_text(code: str, beginning: str) -> None:
    error = play(code, ctx='{"null":null}').error

    assert error.startswith(beginning)
    assert "[alc" not in error
    assert "[C]" not in error
    assert error.count("\n") < 30


@pytest.mark.parametrize("code", ["\nerror('x')", "local t\nreturn t.x", "for i = 1, 2 do\nalc.llm() end"])
def test_a_traceback_that_repeats_the_line_alone_is_left_out(code: str) -> None:
    assert "\n" not in play(code).error


def test_the_traceback_that_a_strategy_asks_for_stays_as_it_is() -> None:
    traceback = "panel.lua:1: x\nstack traceback:\n\tpanel.lua:1: in main chunk"

    assert play("return (debug.traceback('panel.lua:1: x'))").result == traceback
    source = "return {run = function()\nlocal text = debug.traceback('x') return text end}"
    launched = "x\nstack traceback:\n\tpanel.lua:2: in field 'run'\n\tpanel.lua:8: in main chunk"
    assert play(LUA.entered("one", source)).result == launched


TAIL_CALLS = [
    ("\n\nreturn alc.llm(nil)", "panel.lua:3: alc.llm: the prompt is missing"),
    ("if true then\nreturn alc.llm_batch({})\nend", "panel.lua:2: alc.llm_batch: empty"),
    ("return (function()\nreturn alc.llm(nil)\nend)()", "panel.lua:3: alc.llm: the prompt is missing"),
    ("return require('asks')", "asks.lua:2: alc.llm: the prompt is missing"),
]


@pytest.mark.parametrize(("code", "beginning"), TAIL_CALLS)
def test_error_of_a_tail_call_has_a_line(code: str, beginning: str) -> None:
    assert play(code, FakeChannel(modules={"asks": "\nreturn alc.llm(nil)"})).error.startswith(beginning)


LOST = "\n\t(...tail calls: Lua keeps no line of return f(…)...)"
LOST_LINES = [
    ("local function f()\nreturn alc.llm()\nend\nlocal y = f()", f"{LOST}\n\tpanel.lua:4: in main chunk"),
    ("local function g() return nil + 1 end\nlocal function f()\nreturn g()\nend\nlocal y = f()",
     f"\n\tpanel.lua:1: in function <panel.lua:1>{LOST}\n\tpanel.lua:5: in main chunk"),
    ("local function f()\nlocal y = alc.llm()\nend\nlocal y = f()",
     "\n\tpanel.lua:2: in local 'f'\n\tpanel.lua:4: in main"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "frames"), LOST_LINES)
def test_traceback_says_where_a_tail_call_has_lost_a_line(code: str, frames: str) -> None:
    assert f"\nstack traceback:{frames}" in play(code).error


@pytest.mark.parametrize("value", ["nil", "5", "ctx.null"])
def test_loop_over_no_list_has_its_line(value: str) -> None:
    assert play(f"\nfor i, x in ipairs({value}) do end").error.startswith("panel.lua:2: attempt to index a ")


HINTS = [
    ("alc.lllm('x')", "(field 'lllm') (the nearest names are: alc.llm)"),
    ("alc.lmm_batch{}", "(field 'lmm_batch') (the nearest names are: alc.llm_batch)"),
    ("llm('x')", "(global 'llm') (the nearest names are: alc.llm)"),
    ("alc.parseScore('x')", "(the nearest names are: alc.parse_score)"),
    ("alc.state.gett('x')", "(the nearest names are: alc.card.get, alc.state.get, alc.stats.get)"),
    ("string.fromat('x')", "(the nearest names are: string.format)"),
    ("alc.ask('x')", "(field 'ask') (here it is called: alc.llm)"),
    ("alc.parse_verdict('x')", "(here it is called: alc.match_bool, alc.match_enum)"),
    ("alc.parse_json('x')", "(here it is called: alc.json_extract)"),
    ("('x'):uper()", "(the nearest names are: string.upper)"),
    ("alc.zzzzzz()", "attempt to call a nil value (field 'zzzzzz')"),
    ("retrun {1}", "(global 'retrun') (the nearest word of Lua is: return)"),
    ("local x = f'{1}'", "Lua has no f-strings"),
    ("for x in {1} do end", "write for i, x in ipairs(list) do"),
    ("for x in 'a, b' do end", "it is a text and not a list"),
    ("for k in pairs('a') do end", "it is a text and not a list"),
    ("for i, x in ipairs('a, b') do end", "panel.lua:1: a text has no item 1: a list was expected"),
    ("local t = 'a, b' for i = 1, #t do print(t[i]) end", "panel.lua:1: a text has no item 1"),
    ("return alc.llm('x') > 5", "an answer is a text: alc.parse_number(answer)"),
    ("return 5 <= alc.llm('x')", "an answer is a text: alc.parse_number(answer)"),
    ("return alc.llm('x') + 1", "texts are joined with .."),
    ("return 'a' + 'b'", "texts are joined with .."),
    ("return 1 + alc.llm('x')", "texts are joined with .."),
    ("return alc.llm('x') * 2", "an answer is a text: alc.parse_number(answer)"),
    ("return -alc.llm('x')", "an answer is a text: alc.parse_number(answer)"),
    ("io.open('x'):read()", "a strategy has no files, so pass the text in ctx"),
    ("assert(io.open('x'))", "x: a strategy has no files, so pass the text in ctx"),
    (
        "local M = {} function M.run(ctx) end return M",
        "the code returns a module: call it at the end, return M.run(ctx)",
    ),
    ("if a != b then end", "Lua writes ~="),
    ("x = 1\nx += 1", "Lua has no +="),
    ("s = ''\ns ..= 'a'", "Lua has no ..="),
    ("x = 1\nx++", "Lua has no ++"),
    ("def f(x):\n return x", "Lua writes: function name(arguments) … end"),
    ("```lua\nreturn 1\n```", "the code stands in a fence"),
    ("return 1\n```", "the code stands in a fence"),
    ("if x && y then end", "Lua writes and"),
    ("if !x then end", "Lua writes not"),
    ("if x == 1:\n  y = 2", "Lua writes: if … then … end"),
    ("for x in t:\n  print(x)", "Lua writes: for i, x in ipairs(list) do … end"),
    ("while x:\n  y()", "Lua writes: while … do … end"),
    ("local x = [1, 2]", "Lua writes a list as {1, 2, 3}"),
    ("const x = 1", "Lua writes: local name = value"),
    ("import json", 'Lua writes: local name = require("name")'),
    ("// hi", "a comment of Lua begins with --"),
]


@pytest.mark.parametrize(("code", "hint"), HINTS)
def test_mistake_of_another_language_is_told_what_to_write(code: str, hint: str) -> None:
    assert hint in play(code, FakeChannel(lambda query: {"response": "seven"})).error


MISSPELT = [
    ("retrun 1", "return"),
    ("retrun", "return"),
    ("retrun -1", "return"),
    ("Return nil", "return"),
    ("local x = 1 retrun x", "return"),
    ("fucntion f() return 1 end", "function"),
    ("lcoal x = 1", "local"),
    ("lcoal function f() end", "local"),
    ("if true then\nx = 1\nesle\ny = 1\nend", "else"),
    ("if true then x = 1 esle -- not so\n\ny = 2\nend", "else"),
    ("if x then\nelsief y then\nend", "elseif"),
    ("if x then f() edn", "end"),
    ("if x then f() edn\nreturn 1", "end"),
    ("fi x then end", "if"),
    ("fi (x) then end", "if"),
    ("whiel true do end", "while"),
    ("fro i = 1, 3 do end", "for"),
    ("repaet x() until true", "repeat"),
    ("repeat x() utnil true", "until"),
    ("while true do\nbraek\nend", "break"),
]


@pytest.mark.parametrize(("code", "word"), MISSPELT)
def test_a_misspelt_keyword_is_named(code: str, word: str) -> None:
    assert play(code).error.endswith(f" (the nearest word of Lua is: {word})")


@pytest.mark.parametrize(
    "code", ["x y", "note = = 3", "local ends = 3 3", "x = 1\nfour = five six", "a" * 300_000 + " b", "b " * 300_000]
)
def test_another_syntax_error_names_no_keyword(code: str) -> None:
    assert "nearest word" not in play(code).error


NOT_GIVEN = [
    ("return #ctx.items", "(field 'items') (not given: ctx.items)"),
    ("local items = ctx.items\nreturn #items", "(local 'items') (not given: ctx.items)"),
    ("local list = ctx.items\nfor i, x in ipairs(list) do end", "(not given: ctx.items)"),
    ("for i, x in pairs(ctx.items) do end", "got nil) (not given: ctx.items)"),
    ("return alc.llm(ctx.question)", "and not nil (not given: ctx.question)"),
    ("local question = ctx.question\nreturn alc.llm(question)", "and not nil (not given: ctx.question)"),
    ("ctx.result = alc.llm(ctx.question)", "and not nil (not given: ctx.question)"),
    ("return 'a' .. ctx.task", "(field 'task') (not given: ctx.task)"),
    ("return ctx.n + 1", "(field 'n') (not given: ctx.n)"),
    ("if ctx.n > 3 then end", "compare number with nil (not given: ctx.n)"),
    ("return ctx.user.name", "(field 'user') (not given: ctx.user)"),
    ("return ctx['items'][1]", "(field 'items') (not given: ctx.items)"),
    ("return ('x'):rep(ctx.n)", "got nil) (not given: ctx.n)"),
    ("alc.llm_batch(ctx.items)", "and not nil (not given: ctx.items)"),
    ("return alc.llm(ctx.a, ctx.b)", "and not nil (not given: ctx.a, ctx.b)"),
    ("local input = ctx\nreturn #input.items", "(not given: ctx.items)"),
    ("local M = {}\nfunction M.run(c)\nreturn #c.items\nend\nreturn M.run(ctx)", "(not given: ctx.items)\nstack"),
    ("return require('m').f()", "m.lua:2: attempt to get length of a nil value (field 'items') (not given: ctx.items)"),
    ("return #list", "(global 'list') (write ctx.list)"),
    ("local n, t = ctx.rounds or 3\nreturn t.x", "panel.lua:2: attempt to index a nil value (local 't')"),
    ("local list = ctx.list\nreturn list.x.y", "panel.lua:2: attempt to index a nil value (field 'x')"),
    ("local t, x = {}, ctx.items\nreturn #t.list", "panel.lua:2: attempt to get length of a nil value (field 'list')"),
    ("return #ctx.items" + " " * 1_000_000, "(field 'items') (not given: ctx.items)"),
]


@pytest.mark.parametrize(("code", "end"), NOT_GIVEN, ids=[code[:40] for code, _ in NOT_GIVEN])
def test_an_error_about_nil_names_the_key_of_ctx_that_was_not_given(code: str, end: str) -> None:
    modules = {"m": "return {f = function()\nreturn #ctx.items end}"}

    error = play(code, FakeChannel(modules=modules), ctx='{"list": []}').error
    assert end in error if end.endswith("stack") else error.partition("\nstack")[0].endswith(end)


def test_correct_lines_with_other_syntax_errors_get_no_hint() -> None:
    assert play("local s = 'a != b'\nx =").error == "syntax error: panel.lua:2: unexpected symbol near <eof>"
    assert play("return ('x').missing, #'abc'").result is None


SYNTAX = [
    ("x =", "syntax error: panel.lua:1: unexpected symbol near <eof>"),
    ("\nfor i = 1, 3 do i = 2 end",
     "syntax error: panel.lua:2: attempt to assign to const variable 'i' (if it is a loop variable: Lua 5.5 does not "
     "let it be assigned, so copy it first, local my_i = i)"),
    ("goto nowhere", "syntax error: panel.lua:1: no visible label 'nowhere'"),
    ("x y", "panel.lua:1: syntax error near 'y'"),
    ("\x1bLua", "syntax error: attempt to load a binary chunk"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "text"), SYNTAX)
def test_syntax_error_names_its_kind_and_its_line(code: str, text: str) -> None:
    assert play(code).error.startswith(text)


BEGINNINGS = [
    "(function() x = 1 end)() return x",
    "; return 1",
    "-- a comment\nreturn 1",
    "#!lua\n(function() x = 1 end)() return x",
]


@pytest.mark.parametrize("code", BEGINNINGS)
def test_code_may_begin_with_anything(code: str) -> None:
    assert play(code).result == 1


def test_first_line_of_a_shell_script_and_byte_order_mark_are_skipped() -> None:
    assert play("\ufeffreturn 1").result == 1
    assert "panel.lua:2: " in play("\ufeff#!/usr/bin/env lua\nerror('x')").error


MODULES = {
    "good": "local M = {} function M.fail() error('inside') end return M",
    "broken": "return +",
    "fails": "error('while loading')",
    "a": "local b = require('b') return b",
    "b": "local a = require('a') return a",
    "asks_name": "return {...}",
    "silent": "loaded_once = (loaded_once or 0) + 1",
}

REQUIRED = [
    (
        "require('good').fail()",
        "good.lua:1: inside\nstack traceback:\n\tgood.lua:1: in field 'fail'\n\tpanel.lua:1: in",
    ),
    ("require('absent')", "panel.lua:1: module 'absent' not found: looked nowhere"),
    ("require('broken')", "panel.lua:1: error loading module 'broken': syntax error: broken.lua:1: unexpected symbol"),
    ("require('fails')", "fails.lua:1: while loading\nstack traceback:\n\tfails.lua:1: in"),
    ("require('a')", "b.lua:1: module 'a' requires itself, directly or through another module"),
    ("require()", "panel.lua:1: bad argument #1 to 'require' (string expected, got nil)"),
]


@pytest.mark.parametrize(("code", "beginning"), REQUIRED)
def test_error_of_a_module_names_the_module(code: str, beginning: str) -> None:
    assert play(code, FakeChannel(modules=MODULES)).error.startswith(beginning)


def test_module_is_loaded_once_and_gets_its_name_and_chunk() -> None:
    channel = FakeChannel(modules=MODULES)

    code = "local first = require('silent') return {first, require('silent'), loaded_once, (require('asks_name'))}"
    ended = play(code, channel)

    assert ended.result == [True, True, 1, ["asks_name", "asks_name.lua"]]
    assert channel.calls == [["module", "silent"], ["module", "asks_name"]]


def test_module_that_failed_can_be_required_again() -> None:
    channel = FakeChannel(modules=MODULES)

    ended = play("pcall(require, 'fails') local _, e = pcall(require, 'fails') return e", channel)

    assert ended.result == "fails.lua:1: while loading"


def test_strategy_may_provide_and_replace_modules_itself() -> None:
    code = """package.preload.own = function(name) return name .. '!' end
    package.loaded.other = 5
    table.insert(package.searchers, 1, function(name) if name == 'third' then return function() return 3 end end end)
    return {require('own'), require('other'), require('third'), package.path}"""

    assert play(code).result == ["own!", 5, 3, ""]
