"""The title of a process, as `ps` and a server that looks for its workers see it."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")

# Forks a process that is not dumpable, whose files in /proc belong to root, and prints its title as others see it.
TITLED = """
import ctypes, os
from algocline_mcp.worker.lowlevel.process_title import set_title
from_child, to_parent = os.pipe()
pid = os.fork()
if not pid:
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
    set_title("alc pool-worker p-1")
    os.close(to_parent)
    os.read(os.pipe()[0], 1)
os.close(to_parent)
os.read(from_child, 1)
print([open(f"/proc/{pid}/{name}").read().strip(chr(0) + chr(10)) for name in ("cmdline", "comm")])
os.kill(pid, 9)
os.waitpid(pid, 0)
"""


def test_process_that_is_not_dumpable_has_its_title() -> None:
    ended = subprocess.run([sys.executable, "-c", TITLED], capture_output=True, text=True, check=True, timeout=60)

    assert ended.stdout.strip() == "['alc pool-worker p-1', 'alc pool-worker']"
