"""Immortal objects: using them writes nothing, and free memory is left alone."""

import subprocess
import sys

import pytest

from algocline_mcp.worker.lowlevel import immortal

pytestmark = pytest.mark.skipif(
    not (3, 12) <= sys.version_info[:2] < (3, 14) or bool(sys.abiflags),
    reason="this Python counts references in another way",
)


def run(program: str) -> str:
    """Runs in another process: immortal objects stay immortal until it ends."""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_counts_of_existing_objects_do_not_change() -> None:
    program = """
import sys
from algocline_mcp.worker.fork_server import main as fork_server
from algocline_mcp.worker.lowlevel import immortal
strings = ["a list"]
code = fork_server.main.__code__
things = [strings, strings[0], fork_server.main, code, code.co_consts, str.join]
immortal.immortalize()
before = [sys.getrefcount(thing) for thing in things]
more = things * 3
print(before == [sys.getrefcount(thing) for thing in things], sys.getrefcount(more))
"""

    still, fresh = run(program).split()

    assert still == "True"
    assert int(fresh) < 10  # later objects are counted as before


def test_free_memory_can_still_be_used() -> None:
    program = """
import gc
from algocline_mcp.worker.fork_server import main as fork_server
from algocline_mcp.worker.lowlevel import immortal
immortal.immortalize()
held = [(bytes(size), [size], float(size), {size: size}) for size in range(600) for _ in range(20)]
del held
print(gc.collect() >= 0)
"""

    assert run(program) == "True\n"


def test_python_with_other_counts_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(immortal, "_works", lambda: False)

    assert not immortal.immortalize()
