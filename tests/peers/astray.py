"""Runs the program with a wall clock that a test sets: `astray.py FILE ARGUMENTS…`, in the place of python.

FILE holds the seconds by which time.time and time.time_ns are off, read at each call. Monotonic clocks go on as they
are. What follows are the arguments of python itself: its options, then `-m algocline_mcp` and those of the program.
"""

import runpy
import sys
import time
from pathlib import Path

_file = Path(sys.argv[1])
_time = time.time


def _astray() -> float:
    return _time() + float(_file.read_text())


time.time = _astray
time.time_ns = lambda: int(_astray() * 1e9)
at = sys.argv.index("-m")
sys.argv = sys.argv[at + 1 :]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
