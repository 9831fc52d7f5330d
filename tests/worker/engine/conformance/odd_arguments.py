"""Calls the functions of alc that only compute with every combination of three odd arguments.

python -m tests.worker.engine.conformance.odd_arguments LANGUAGE

Prints the name of each function before its calls: a caller with a time limit sees which one did not end.
"""

import sys
from inspect import isfunction

import alc
from tests.worker.engine.conformance.keeper import ScriptedKeeper
from tests.worker.engine.conformance.languages import RUNNERS

# Each as it is written in Lua and in Python.
VALUES = [
    ("0/0", "float('nan')"),
    ("1/0", "float('inf')"),
    ("-1/0", "float('-inf')"),
    ("1e17", "1e17"),
    ("math.tointeger(1e17)", "10**17"),
    ("-1e17", "-1e17"),
    ("3", "3"),
    ("5e-324", "5e-324"),
    ("1.7e308", "1.7e308"),
    ("'text'", "'text'"),
    ("{0/0, 1}", "[float('nan'), 1]"),
    ("{1/0, -1/0, 1e17}", "[float('inf'), float('-inf'), 1e17]"),
    ("{1, 2, 3}", "[1, 2, 3]"),
    ("{size = 1e17, overlap = -1/0, threshold = 0/0}", "{'size': 1e17, 'overlap': -1e308, 'threshold': float('nan')}"),
    ("alc.math.rng_create(5)", "alc.math.rng_create(5)"),
]
PURE = (
    *("chunk", "filter", "fingerprint", "fmt", "json_decode", "json_encode", "json_extract", "log", "log_fmt", "map"),
    *("match_bool", "match_enum", "parse_number", "parse_score", "phase", "progress", "reduce", "refused", "tuning"),
    *("vote", "state.get", "state.incr", "state.set", "stats.get", "stats.record"),
)
FUNCTIONS = (*PURE, *(f"math.{name}" for name, fn in vars(alc.math).items() if isfunction(fn)))
LUA = """
local function value(i)
  %s
end
for i = 1, %d do for j = 1, %d do for k = 1, %d do
  pcall(alc.%s, value(i), value(j), value(k))
end end end
"""
PYTHON = """
value = [%s]
for i in value:
    for j in value:
        for k in value:
            for arguments in (i(), j(), k()), (i(), j()), (i(),):
                try:
                    alc.%s(*arguments)
                except Exception:
                    pass
                if k is not value[0]:
                    break
"""


def code_of(language: str, name: str) -> str:
    if language == "lua":
        values = " ".join(f"if i == {i} then return {lua} end" for i, (lua, _) in enumerate(VALUES, 1))
        return LUA % (values, *3 * [len(VALUES)], name)
    return PYTHON % (", ".join(f"lambda: {python}" for _, python in VALUES), name)


def main(language: str) -> None:
    for name in FUNCTIONS:
        print(name, flush=True)
        outcome = RUNNERS[language](code_of(language, name), ScriptedKeeper())
        assert outcome.error is None, outcome.error


if __name__ == "__main__":
    main(sys.argv[1])
