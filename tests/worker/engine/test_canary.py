"""The canary: attacks of an engine on what confines it."""

import json
import os
import subprocess
import sys

import pytest

from algocline_mcp.config.sandbox import probe
from algocline_mcp.worker.engine.canary import ATTACKS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the layers are Linux's")


def try_out(mode: str) -> dict[str, object]:
    command = [sys.executable, "-m", "algocline_mcp", "engine-canary"]
    environ = {**os.environ, "ALC_SANDBOX": mode}
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=True, timeout=60)
    tried: dict[str, object] = json.loads(ended.stdout)
    return tried


@pytest.mark.skipif(not probe({}).seccomp, reason="this kernel takes no seccomp filter")
@pytest.mark.parametrize("mode", ["standard", "strict"])
def test_no_attack_of_the_canary_gets_through(mode: str) -> None:
    if mode == "strict" and probe({}).missing:
        pytest.skip("this kernel lacks a layer")

    assert try_out(mode) == {"level": probe({"ALC_SANDBOX": mode}).level, "reached": []}


def test_every_attack_of_the_canary_gets_through_with_the_sandbox_off() -> None:
    assert try_out("off") == {"level": "off", "reached": list(ATTACKS)}
