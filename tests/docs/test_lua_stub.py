"""The stub for editors of Lua is what the signatures of the package alc say, and has every name of Lua's own alc."""

import re

from tests.docs.lua_stub import STUB, stub_text
from tests.worker.engine.lua.in_process import play

NAMES = """
local names = {}
for name, value in pairs(alc) do
  if type(value) == "function" then names[#names + 1] = name end
  for inner in pairs(name ~= "env" and type(value) == "table" and value or {}) do
    names[#names + 1] = name .. "." .. inner
  end
end
return names
"""


def test_stub_is_current() -> None:
    assert STUB.read_text() == stub_text(), "run python -m tests.docs.lua_stub"


def test_stub_has_each_function_of_alc() -> None:
    declared = set(re.findall(r"^function alc\.([\w.]+)\(", STUB.read_text(), re.MULTILINE))

    assert declared == set(play(NAMES).result)


def test_stub_is_lua_that_compiles() -> None:
    assert play(f"return load([==[{STUB.read_text()}]==]) ~= nil").result is True
