"""Processor time of a step: the limit is lower while no call waits, and as before when one waits again."""

import resource
import socket
import subprocess
import sys

import pytest

from algocline_mcp.worker.keeper.connections import Engine


@pytest.mark.skipif(sys.platform != "linux", reason="prlimit")
def test_limit_is_lower_while_no_call_waits() -> None:
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(["cat"], stdin=theirs.fileno())

    def soft_s() -> int:
        return resource.prlimit(process.pid, resource.RLIMIT_CPU)[0]

    engine = Engine(process.pid, ours, 1000, stream="")
    engine.begin_step(180)
    seen = [soft_s()]
    for alone_s in (60, None):
        engine.limit_cpu(alone_s)
        seen.append(soft_s())
    for cpu_s in (20, 180):
        engine.begin_step(cpu_s, 60)
        seen.append(soft_s())
    process.kill()
    process.wait()
    engine.close()
    theirs.close()

    assert seen == [181, 61, 181, 21, 61]
