"""The warm-up before the first fork: complete sessions that leave nothing behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a fork server")

PROGRAM = """
import os, signal
from algocline_mcp.worker.fork_server import warmup
from algocline_mcp.worker.keeper.poll_loop import Keeper
from algocline_mcp.worker.engine.preload import Preloaded

ended = []
archive = Keeper._archive
Keeper._archive = lambda self: (ended.append(self.runner.session.final["result"]), archive(self))
preloaded = Preloaded.from_env(os.environ)
open_before = os.listdir("/proc/self/fd")
warmup.warm_up(preloaded)
print(set(ended), len(ended) >= preloaded.limits.warmup_runs)
print(os.listdir("/proc/self/fd") == open_before, signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    print("no child")
"""


def warm_up(home: Path) -> str:
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    environ = {**os.environ, "ALC_HOME": str(home)}
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=True, timeout=120).stdout


def test_sessions_are_played_to_their_end_and_leave_nothing(tmp_path: Path) -> None:
    assert warm_up(tmp_path).splitlines() == ["{'yesyes'} True", "True True", "no child"]
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []


def test_home_that_cannot_be_written_skips_the_warm_up(tmp_path: Path) -> None:
    (tmp_path / "state").touch()

    assert warm_up(tmp_path).splitlines() == ["set() False", "True True", "no child"]
