"""A process that ends while the benchmark looks at it has no memory any more, and breaks no part."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parent.parent.parent / "bench"
# A zombie is a process that ended after its files in /proc were opened; a reaped one ended before.
PROGRAM = """
import os, subprocess, sys
import idle, idle_server, memory

child = subprocess.Popen([sys.executable, "-c", ""])
os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
for state in ("zombie", "reaped"):
    print(state, memory.rollup(child.pid) == memory.Memory(), idle_server._resident_mib(child.pid))
    child.wait()
print("switches", idle._switches(child.pid))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the benchmark reads /proc")
def test_a_process_that_has_ended_has_no_memory() -> None:
    environ = dict(os.environ, PYTHONPATH=os.fspath(BENCH))

    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environ, capture_output=True, text=True, timeout=120, check=False
    )

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == ["zombie True 0.0", "reaped True 0.0", "switches 0"]
