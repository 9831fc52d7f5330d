"""Immortal objects: used without being written to, and nothing that was free is touched."""

import subprocess
import sys

import pytest

from algocline_mcp.worker.lowlevel import immortal

pytestmark = pytest.mark.skipif(
    not (3, 12) <= sys.version_info[:2] < (3, 14) or bool(sys.abiflags), reason="counts are kept otherwise"
)


def run(program: str) -> str:
    """In a process of its own: what is immortal stays so."""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_counts_stand_still_of_all_that_was_there() -> None:
    program = """
import sys
from algocline_mcp.worker.fork_server import main as fork_server
from algocline_mcp.worker.lowlevel import immortal
kept = ["a list"]
things = [kept, kept[0], fork_server.main, fork_server.main.__code__, fork_server.main.__code__.co_consts, str.join]
immortal.immortalize()
before = [sys.getrefcount(each) for each in things]
more = things * 3
print(before == [sys.getrefcount(each) for each in things], sys.getrefcount(more))
"""

    still, fresh = run(program).split()

    assert still == "True"
    assert int(fresh) < 10  # what came later is counted as ever


def test_memory_that_was_free_is_still_fit_for_use() -> None:
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


def test_python_that_counts_otherwise_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(immortal, "_works", lambda: False)

    assert not immortal.immortalize()
