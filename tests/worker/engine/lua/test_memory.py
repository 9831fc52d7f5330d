"""Lack of memory is an error of the strategy: catchable, never a hang or the end of the process."""

import json
import subprocess
import sys

import pytest

from algocline_mcp.config.limits import MIB
from algocline_mcp.worker.engine.lua.runtime import prepare
from tests.worker.engine.lua.in_process import play

GREEDY = {
    "tables": "local t = {} for i = 1, 1e9 do t[i] = {} end",
    "globals that stay": "t = {} for i = 1, 1e9 do t[i] = {} end",
    "strings": "local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1000) .. i end",
    "one string": "return ('x'):rep(1 << 40)",
    "doubling": "local s = 'x' while true do s = s .. s end",
    "arguments": "return select('#', table.unpack({}, 1, 1e8))",
    "result": "local t = {} for i = 1, 2e5 do t[i] = {a = 'x'} end return {t, t, t, t, t, t, t, t, t, t}",
    "closures": "local f = function() end while true do local g = f f = function() return g() end end",
    "coroutines": "local t = {} while true do t[#t + 1] = coroutine.create(print) end",
}


@pytest.mark.slow
@pytest.mark.parametrize("way", GREEDY)
def test_exhaustion_ends_with_a_sentence(way: str) -> None:
    error = play(GREEDY[way], heap_bytes=32 * MIB).error

    assert error.startswith(("out of memory: a strategy may use 32 MiB", "panel.lua:1: too many results to unpack"))


def test_exhaustion_is_catchable_and_the_session_goes_on() -> None:
    code = """
    local ok, e = pcall(function() local t = {} for i = 1, 1e9 do t[i] = {} end end)
    local held, n = {}, 0
    local ok2, e2 = pcall(function() while true do held[#held + 1] = ('x'):rep(1 << 20) .. #held end end)
    local ok3, e3 = pcall(alc.llm, 'while the heap is full')
    held = nil
    return {ok, e, ok2, e2, ok3, e3, alc.llm('after')}
    """

    result = play(code, heap_bytes=32 * MIB).result

    assert result[:4] == [False, "not enough memory", False, "not enough memory"]
    assert result[4] is False
    assert "out of memory: a strategy may use 32 MiB" in result[5]
    assert result[6] == "<after>"


# Fills the heap to the last byte in smaller and smaller steps, and asks for long answers at each step and from each
# kind of code. A push that does not fit would hang the process while it holds Python's lock: so this runs in another
# process.
ATTACK = """
local kept, asked, refused, count = {}, 0, 0, 0
local function ask()
  asked = asked + 1
  if not pcall(alc.llm, 'x') then refused = refused + 1 end
  pcall(print, 'y')
  pcall(alc.time)
end
local function ask_in_coroutine() coroutine.wrap(ask)() end
local function less(a, b) ask() return a < b end
local function ask_in_sort() table.sort({2, 1}, less) end
local size
local function keep() local s = ('x'):rep(size - 30) .. count count = count + 1 kept[count] = s end
local function keep_table() local t = {} count = count + 1 kept[count] = t end
local function deep(n) if n > 199000 and n % 10 == 0 then ask() end return 1 + deep(n + 1) end
local function c_deep() ask() return (('x'):gsub('.', c_deep)) end
local function fill()
  for exponent = 19, 5, -1 do
    size = 1 << exponent
    for _ = 1, 20 do
      local ok = pcall(keep)
      ask()
      pcall(ask_in_coroutine)
      pcall(ask_in_sort)
      if not ok then break end
    end
  end
  while pcall(keep_table) do end
  ask()
end
pcall(fill)
pcall(deep, 1)
pcall(c_deep)
kept = nil
pcall(deep, 1)
pcall(c_deep)
return {asked > 200 or asked, refused > 100 or refused, asked - refused > 50 or refused, #alc.llm('x')}
"""

HARNESS = """
import sys
from algocline_mcp.worker.engine.process import Start
from algocline_mcp.worker.engine.lua.runtime import prepare
class Generous:
    def ask(self, line):
        return b'{"answers":[{"response":"' + b"z" * 1_000_000 + b'"}],"result":1.0}'
    def send(self, line):
        pass
runtime = prepare(heap_bytes=6 << 20, headroom_bytes=2_200_000, line_bytes=1_100_000)
sys.stdout.buffer.write(runtime.run(Start(sys.stdin.read(), "panel.lua", "{}", 1, 0.0), Generous()))
"""


@pytest.mark.slow
def test_asking_at_every_degree_of_exhaustion_never_hangs() -> None:
    done = subprocess.run([sys.executable, "-c", HARNESS], input=ATTACK.encode(), capture_output=True, timeout=240)

    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout) == {"op": "end", "result": [True, True, True, 1_000_000]}


def test_headroom_that_cannot_hold_a_reply_is_refused() -> None:
    with pytest.raises(ValueError, match="headroom of 1048576 bytes is less than two lines of 1048576"):
        prepare(heap_bytes=MIB, headroom_bytes=MIB, line_bytes=MIB)


def test_code_and_ctx_too_long_to_begin_with_are_an_error() -> None:
    assert "too many to begin with" in play("--" + "x" * 9 * MIB).error
