"""The standard library that a strategy gets: absent functions, refused calls, and the rest as usual."""

from typing import Any

import pytest

from tests.worker.engine.lua.in_process import FakeChannel, play

ABSENT = [
    "io.popen", "io.lines", "io.read", "io.tmpfile", "io.input", "io.output", "os.execute", "os.remove", "os.rename",
    "os.tmpname", "os.setlocale", "debug.getinfo", "debug.sethook", "debug.getregistry", "debug.getupvalue",
    "debug.setmetatable", "debug.getmetatable", "package.loadlib", "package.searchpath", "string.dump", "dofile",
    "loadfile", "warn", "python", "package.loaded.python",
]  # fmt: skip


@pytest.mark.parametrize("name", ABSENT)
def test_function_is_absent(name: str) -> None:
    assert play(f"return type({name})").result == "nil"


@pytest.mark.parametrize("name", ["os", "io", "debug", "package", "string"])
def test_require_gives_the_same_table_as_the_global(name: str) -> None:
    assert play(f"return require('{name}') == {name}").result is True


def test_strategy_cannot_reach_python() -> None:
    code = """
    local seen, objects = {[ctx.null] = true}, {}
    local function visit(value, path)
      local kind = type(value)
      if seen[value] or kind == 'nil' or kind == 'string' or kind == 'number' or kind == 'boolean' then return end
      seen[value] = true
      if kind == 'userdata' or kind == 'thread' then objects[#objects + 1] = path .. ' ' .. kind end
      local meta = getmetatable(value)
      if type(meta) == 'table' then visit(meta, path .. '<meta>') end
      if kind == 'table' then
        for k, v in next, value do visit(k, path .. '<key>') visit(v, path .. '.' .. tostring(k)) end
      end
    end
    visit(_G, '_G')
    visit(getmetatable(''), 'string<meta>')
    visit(load, 'load')
    local n = 0 for _ in pairs(seen) do n = n + 1 end
    return {n > 100, getmetatable(ctx.null), objects}
    """

    assert play(code, ctx='{"null":null}').result == [True, "null", {}]


ESCAPES: list[tuple[str, Any]] = [
    ("pcall(setmetatable, {}, {__gc = print})",
     "panel.lua:1: setmetatable: __gc is not available: use a <close> variable"),
    ("pcall(setmetatable, setmetatable({}, {__metatable = 1}), {})",
     "panel.lua:1: cannot change a protected metatable"),
    ("pcall(setmetatable, ctx.null, {})",
     "panel.lua:1: bad argument #1 to 'setmetatable' (table expected, got userdata)"),
    ("pcall(os.exit)", "panel.lua:1: os.exit is not available: return from the strategy to end it, or call error"),
    ("io.open('/etc/passwd')", "/etc/passwd: a strategy has no files, so pass the text in ctx"),
    ("load('\\27Lua')", "attempt to load a binary chunk (mode is 't')"),
    ("load('\\27Lua', 'n', 'b')", "attempt to load a text chunk (mode is 'b')"),
    ("load('return 1', 'n', 'b')", "attempt to load a text chunk (mode is 'b')"),
    ("load(function() return 5 end)", "reader function must return a string"),
    ("load(function() error('r') end)", "panel.lua:1: r"),
    ("load('x =', '=mine')", "mine:1: unexpected symbol near <eof>"),
    ("pcall(collectgarbage, 'stop')",
     'panel.lua:1: collectgarbage: only "collect", "step" and "count" are there for a strategy'),
    ("pcall(coroutine.yield)", "attempt to yield from outside a coroutine"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "problem"), ESCAPES)
def test_escape_is_refused_with_a_sentence(code: str, problem: str) -> None:
    assert play(f"return (select(2, {code}))", ctx='{"null":null}').result == problem


LOADED = [
    ("load('return x', 'n', 't', {x = 5})()", 5),
    ("load('x = 7') and (load('x = 7')() or x)", 7),
    ("pcall(load('return x', 'n', 't', nil))", False),
    ("load('return ...')(4)", 4),
    ("(function(parts) return load(function() return table.remove(parts, 1) end)() end){'return ', '1 + ', '2'}", 3),
    ("(function(parts) return load(function() return table.remove(parts, 1) end)() end){'return 1', '', ' + 1'}", 1),
    ("select(2, load(function() return nil end))", None),
    ("collectgarbage('count')", 0.0),
    ("collectgarbage()", 0),
    ("collectgarbage('step')", True),
]  # fmt: skip


@pytest.mark.parametrize(("code", "result"), LOADED)
def test_remaining_functions_work_as_usual(code: str, result: Any) -> None:
    assert play(f"return ({code})").result == result


VANDALISM = """
for _, lib in ipairs({string, table, math, coroutine, utf8, os, io, debug}) do
  for k in pairs(lib) do lib[k] = nil end
end
local llm, encode, require, error, G = alc.llm, alc.json_encode, require, error, {}
local meta = getmetatable('')
meta.__index, meta.__concat, meta.__len, meta.__eq = error, error, error, error
getmetatable(ctx.list).__index = error
for k, v in next, _G do G[k] = v end
for k in next, G do G._G[k] = nil end
require('nothing')
return {llm('a', {b = 1}), encode({1.5, {x = {}}}), G.tostring({}), G.print('still'), (G.pcall(llm))}
"""


def test_damage_to_the_standard_library_affects_only_its_strategy() -> None:
    channel = FakeChannel(modules={"nothing": ""})

    ended = play(VANDALISM, channel, ctx='{"list":[]}')

    assert ended.result == ["<a>", '[1.5,{"x":{}}]', "table: 0x00000001", None, False]
    assert channel.logged == [("info", "still")]
