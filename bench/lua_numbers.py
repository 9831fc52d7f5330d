"""Computing speed of a strategy: a simulation with 8.5 million random numbers, here and in plain Lua.

    python bench/lua_numbers.py [--lua lua5.4] [--rounds 7]

Needs a plain Lua (Debian: apt-get install lua5.4). The same epidemic among 1,000 people is played by a real session,
worker and engine included, and by `lua5.4` with the very files of alc.math in front of it; in turns, the best of the
rounds counts. Both must reach the same numbers. The second pair of rows takes math.random instead, which in plain Lua
is C and needs no table.

Measured (2 cores, Python 3.11, lupa 2.8, lua5.4 5.4.4-3 of Debian 12), best of 7, seconds:

    alc.math.rng_float   session 0.72   lua5.4 0.67   ratio 1.08
    math.random          session 0.42   lua5.4 0.35   ratio 1.18

The session's time includes the start of its worker.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import anyio

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.pool.dispatch import Pool, Strategy, run_via_pool
from algocline_mcp.worker.engine.lua import runtime

WAIT_S = 300.0
SIMULATION = """
local people, steps, contacts, spread, heal = 1000, 1700, 4, 0.06, 0.1
local sick, drawn, total = {}, 0, 0
for i = 1, people do sick[i] = i <= 10 end
for _ = 1, steps do
  for i = 1, people do
    for _ = 1, contacts do
      local other = draw() * people // 1 | 0
      drawn = drawn + 1
      if sick[other + 1] and other % 16 < spread * 160 then total = total + 1 end
    end
    drawn = drawn + 1
    if draw() < (sick[i] and heal or spread) then sick[i] = not sick[i] end
  end
end
"""
FROM_LIBRARY = """
local rng, float = alc.math.rng_create(7), alc.math.rng_float
local draw = function() return float(rng) end
"""
NATIVE = "local draw = math.random"
# What math_check.lua and math_random.lua expect around them, for a Lua that knows nothing of us.
SHIM = """
table.create = table.create or function() return {} end
alc = {}
local shared = {alc = alc, text = tostring, complain = error}
for _, name in ipairs{"math_check", "math_random"} do assert(loadfile("%s/" .. name .. ".lua"))(shared) end
"""


async def here(code: str) -> tuple[float, Any]:
    with tempfile.TemporaryDirectory(prefix="alc") as root:
        async with Pool(Home(Path(root)), Limits()) as pool:
            began = time.perf_counter()
            reply = await run_via_pool(pool, Strategy(f"{code} return {{drawn, total}}"), wait_s=WAIT_S)
            return time.perf_counter() - began, reply.result["result"]


def plain(lua: str, code: str) -> tuple[float, Any]:
    began = time.perf_counter()
    done = subprocess.run([lua, "-"], input=f"{code} print(drawn, total)", capture_output=True, text=True, check=True)
    return time.perf_counter() - began, [int(number) for number in done.stdout.split()]


def main() -> None:
    parser = argparse.ArgumentParser(description="8.5 million random numbers in a session and in plain Lua.")
    parser.add_argument("--lua", default="lua5.4")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    shim = SHIM % Path(runtime.__file__).parent
    for name, draw in (("alc.math.rng_float", FROM_LIBRARY), ("math.random", NATIVE)):
        code = f"{draw}\n{SIMULATION}"
        ours_s = theirs_s = float("inf")
        for _ in range(args.rounds):
            took_s, ours = anyio.run(here, code)
            ours_s = min(ours_s, took_s)
            took_s, theirs = plain(args.lua, shim + code)
            theirs_s = min(theirs_s, took_s)
        if draw == FROM_LIBRARY and ours != theirs:
            sys.exit(f"the results differ: {ours} here, {theirs} in {args.lua}")
        print(f"{name:20} session {ours_s:6.3f}   {args.lua} {theirs_s:6.3f}   ratio {ours_s / theirs_s:.2f}   {ours}")


if __name__ == "__main__":
    main()
