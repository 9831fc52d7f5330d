"""Runs the program with a wall clock that a test sets: `wrong_clock.py FILE ARGUMENTS…`, in the place of python.

FILE contains the seconds that are added to time.time and time.time_ns; it is read at each call. Monotonic clocks are
unchanged. ARGUMENTS are those of python: its options, then `-m algocline_mcp` and the arguments of the program.
"""

import runpy
import sys
import time
from pathlib import Path

_file = Path(sys.argv[1])
_time = time.time


def _wrong_time() -> float:
    return _time() + float(_file.read_text())


time.time = _wrong_time
time.time_ns = lambda: int(_wrong_time() * 1e9)
at = sys.argv.index("-m")
sys.argv = sys.argv[at + 1 :]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
