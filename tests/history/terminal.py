"""The `alc` command in a home of a test."""

import os
import subprocess
import sys

from algocline_mcp.config.home import Home
from tests.rig.rig import WAIT_S


def alc(home: Home, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "algocline_mcp", *arguments]
    environ = {**os.environ, "ALC_HOME": str(home.root)}
    return subprocess.run(command, capture_output=True, text=True, env=environ, timeout=WAIT_S, check=False)
