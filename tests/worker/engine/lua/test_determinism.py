"""Determinism, which replay needs: the same strategy with the same answers does the same in every process."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worker.engine.lua.in_process import FakeChannel, play

WHATEVER = r"""
local words = {}
for word in ('the quick brown fox jumps over a lazy dog while many others watch from far away'):gmatch('%a+') do
  words[word] = #word
end
for word, n in pairs(words) do print(word, n) end
for i = 1, 200 do words['key' .. i] = i end
local keys = {}
for word in pairs(words) do keys[#keys + 1] = word end
print(table.concat(keys, ' '))
for name in pairs(_G) do print(name) end
for name in pairs(string) do print(name) end
print(math.random(), math.random(1, 1000000), math.random(0))
math.randomseed(5) print(math.random(1000000))
math.randomseed() print(math.random(1000000))
local list = {}
for i = 1, 1500 do list[i] = {key = math.random(1, 20), place = i} end
table.sort(list, function(a, b) return a.key < b.key end)
for i = 1, #list do keys[i] = list[i].place end
print(table.concat(keys, ','))
local mixed = {}
for i = 1, 600 do mixed[i] = i % 2 == 0 and i % 10 or i % 10 + 0.0 end
table.sort(mixed)
print(table.concat(mixed, ','))
print({}, print, coroutine.create(print), string.format('%s %s', {}, print), tostring(keys), io.stdout)
print(pcall(error, {}), select(2, pcall(error, print)), collectgarbage('count'))
print(alc.llm('a'), os.time(), os.clock(), os.date('!%c'), os.date('!%c', 5), os.getenv('X'), require('m'))
for k, v in pairs({1, 2, x = 1, y = 2, [1.5] = 3, [true] = 4, [-1] = 5}) do print(k, v) end
print(debug.traceback('here'), select(2, pcall(string.rep)))
error({{}, print})
"""

PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
from algocline_mcp.worker.engine.lua import runtime
exec(sys.argv[2])
from tests.worker.engine.lua.in_process import FakeChannel, last_line
channel = FakeChannel(modules={"m": "return 'm' .. tostring({})"}, environ={"X": "y"})
line = last_line(sys.stdin.read(), channel, seed=1234567890123456789)
print(json.dumps([channel.sent, channel.queries, channel.calls, line.decode()]))
"""


def _elsewhere(cwd: Path, *, breaking: str = "", **environ: str) -> Any:
    root = Path(__file__).parents[4]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(root), breaking],
        input=WHATEVER, capture_output=True, text=True, cwd=cwd, env=environ, timeout=240, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def test_processes_in_different_places_do_the_same(tmp_path: Path) -> None:
    # Each process has its own address layout and its own clock besides.
    first = _elsewhere(Path("/"), TZ="Asia/Tokyo", PYTHONHASHSEED="1")
    second = _elsewhere(tmp_path, TZ="America/New_York", PYTHONHASHSEED="2", LANG="de_DE.UTF-8", A="b")
    third = _elsewhere(tmp_path, TZ="UTC", PYTHONHASHSEED="random", MALLOC_PERTURB_="7")

    assert len(first[0]) > 80
    assert first == second == third


# Each removes one cause of determinism.
BROKEN = {
    "order of pairs": """
real = runtime.lua.LuaRuntime
class Lua:
    LuaError = runtime.lua.LuaError
    def LuaRuntime(string_hash_seed, **options): return real(**options)
runtime.lua = Lua
""",
    "chance": "cut(b'randomseed(seed >> 32, seed & 0xffffffff)', b'')",
    "addresses": "cut(b'local number = serials[value]', b'do return tostring(value) end local number')",
}
CUT = """
def cut(old, new):
    assert old in runtime._FILES["stable"]
    runtime._FILES["stable"] = runtime._FILES["stable"].replace(old, new)
"""


@pytest.mark.parametrize("breaking", BROKEN.values(), ids=BROKEN.keys())
def test_control_without_one_cause_of_determinism_processes_differ(tmp_path: Path, breaking: str) -> None:
    runs = [_elsewhere(tmp_path, breaking=CUT + breaking) for _ in range(2)]

    assert runs[0] != runs[1]


FORKING = """
import os, sys
from algocline_mcp.worker.engine.process import Start
from algocline_mcp.worker.engine.lua.runtime import prepare
runtime = prepare(heap_bytes=8 << 20, headroom_bytes=2 << 20, line_bytes=1 << 20)
class Echo:
    def __init__(self, name): self.name = name
    def ask(self, line): return b'{"answers":[{"response":"%s"}]}' % self.name
    def send(self, line): pass
for name in b"a", b"b", b"c":
    pid = os.fork()
    if not pid:
        start = Start("x = (x or 0) + 1 return alc.llm('q') .. x", "panel.lua", "{}", 1, 0.0)
        os.write(1, runtime.run(start, Echo(name)) + b"\\n")
        os._exit(0)
    os.waitpid(pid, 0)
"""


def test_each_fork_of_one_prepared_runtime_starts_unused() -> None:
    done = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, timeout=240, check=True)

    results = [json.loads(line)["result"] for line in done.stdout.splitlines()]
    assert results == ["a1", "b1", "c1"]


def test_seed_decides_the_random_numbers() -> None:
    code = "return {math.random(1, 1 << 40), math.randomseed() and math.random(1, 1 << 40)}"

    assert play(code, seed=7).result == play(code, seed=7).result
    assert play(code, seed=7).result != play(code, seed=7 + (1 << 40)).result != play(code, seed=8).result


SEEDED = [
    ("math.randomseed(42) local a = math.random(1e9) math.randomseed(42) return a == math.random(1e9)", True),
    ("math.randomseed(42) local a = math.random(1e9) math.randomseed(43) return a == math.random(1e9)", False),
    ("math.randomseed(42) local a = math.random(1e9) math.randomseed(42, 1) return a == math.random(1e9)", False),
    ("local a, b = math.randomseed(42, 7) return {a, b}", [42, 7]),
    ("return select('#', math.randomseed())", 2),
]


@pytest.mark.parametrize(("code", "result"), SEEDED)
def test_randomseed_works_as_usual(code: str, result: Any) -> None:
    assert play(code).result == result


SORT = "local list = ctx.list table.sort(list%s) return list"


@given(st.lists(st.integers(-50, 50), max_size=300))
def test_sort_with_comparator_is_stable(numbers: list[int]) -> None:
    ctx = json.dumps({"list": [[number, index] for index, number in enumerate(numbers)]})

    ended = play(SORT % ", function(a, b) return a[1] > b[1] end", ctx=ctx)

    expected = sorted(([n, index] for index, n in enumerate(numbers)), key=lambda pair: -pair[0])
    assert ended.result == expected


@given(
    st.lists(st.integers(-1000, 1000), max_size=100)
    | st.lists(st.floats(-100, 100, width=16), max_size=100)
    | st.lists(st.integers(-5, 5) | st.sampled_from([-1.0, -0.0, 0.0, 1.0]), max_size=100)
    | st.lists(st.text("abc", max_size=4), max_size=100)
)
def test_sort_without_comparator_is_as_in_python(values: list[Any]) -> None:
    ended = play(SORT % "", ctx=json.dumps({"list": values}))

    assert repr(ended.result) == repr(sorted(values))


def test_sort_honours_metamethods_and_leaves_the_list_when_the_comparator_fails() -> None:
    code = """
    local List = {__lt = function(a, b) return a.n < b.n end}
    local list = {}
    for i = 1, 30 do list[i] = setmetatable({n = (i * 7) % 30}, List) end
    table.sort(list)
    local ns = {}
    for i = 1, 30 do ns[i] = list[i].n end
    local other, n = {5, 4, 3, 2, 1}, 0
    local ok = pcall(table.sort, other, function(a, b) n = n + 1 if n == 6 then error('e') end return a < b end)
    return {ns, other, ok}
    """

    assert play(code).result == [list(range(30)), [5, 4, 3, 2, 1], False]


def test_text_of_a_value_keeps_its_serial_number() -> None:
    channel = FakeChannel()

    play("local a, b = {}, {} print(b, a) collectgarbage() print(a, b) print(('%5s|%-3s'):format(nil, 7), {})", channel)

    assert [message for _, message in channel.logged] == [
        "table: 0x00000001\ttable: 0x00000002",
        "table: 0x00000002\ttable: 0x00000001",
        "  nil|7  \ttable: 0x00000003",
    ]


FORMATTED = [
    ("'%s %d %5.2f %%', {}, 3, 2.5", "table: 0x00000001 3  2.50 %"),
    ("'%-20s|', print", "function: 0x00000001|"),
    ("'%s %s %s %s %s %s', 1, 2, 3, 4, 5, {}", "1 2 3 4 5 table: 0x00000001"),
    ("'%s', setmetatable({}, {__name = 'Point'})", "Point: 0x00000001"),
    ("'%q', 'a\\nb'", '"a\\\nb"'),
    ("5", "5"),
    ("'%s'", None),
]


@pytest.mark.parametrize(("arguments", "text"), FORMATTED)
def test_format_shows_no_address(arguments: str, text: str | None) -> None:
    ok_and_text = play(f"return {{pcall(string.format, {arguments})}}").result

    assert ok_and_text == [True, text] if text is not None else ok_and_text[0] is False
