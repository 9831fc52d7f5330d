"""An engine that sends nothing and uses no processor time is ended; one that computes, or waits, is not."""

import os
import signal
import socket
import subprocess
import sys
from typing import Any

import pytest

from algocline_mcp.pool.dispatch import status_via_pool, stop_via_pool
from algocline_mcp.worker.keeper.connections import Engine
from tests.rig.rig import ENDLESS, WAIT_S, Rig, run, until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the processor time of another process"),
]
SILENT: dict[str, Any] = {"engine_silent_s": 1.0}
REASON = "sent nothing and used no processor time for 1 s (ALC_ENGINE_SILENT_S)"
COMPUTES = "local n = 0 for i = 1, 200000000 do n = n + i end return alc.llm('p')"


def samples_of(command: list[str], stop: bool = False) -> list[bool]:
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(command, stdin=theirs.fileno())
    if stop:
        os.kill(process.pid, signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
    engine = Engine(process.pid, ours, 1000, stream="", silent_s=60)
    engine.begin_step(180)
    samples = [engine.is_silent() for _ in range(5)]
    process.kill()
    process.wait()
    engine.close()
    theirs.close()
    return samples


def test_only_a_row_of_samples_without_processor_time_is_a_hang() -> None:
    assert samples_of(["cat"], stop=True) == [False, False, False, True, True]


@pytest.mark.slow
async def test_engine_that_hangs_is_replaced_and_the_session_goes_on(rig: Rig) -> None:
    async with rig.pool(**SILENT) as pool:
        sid, *_ = await run(pool, COMPUTES, wait_s=0)
        await until(lambda: rig.engines(sid))
        (first,) = rig.engines(sid)
        os.kill(first, signal.SIGSTOP)
        await until(lambda: rig.records(sid, "crash"))
        asked = (await status_via_pool(pool, sid, wait_s=WAIT_S)).result
        reasons = [record["reason"] for record in rig.records(sid, "crash")]
        await stop_via_pool(pool, sid, "cancel")

    assert set(reasons) == {REASON}
    assert asked["prompt"] == "p"


@pytest.mark.slow
async def test_engines_that_all_hang_are_a_crash_loop_with_the_reason(rig: Rig) -> None:
    stopped: set[int] = set()

    def stop_engines(sid: str) -> bool:
        for pid in set(rig.engines(sid)) - stopped:
            stopped.add(pid)
            os.kill(pid, signal.SIGSTOP)
        return len(rig.records(sid, "crash")) == 3

    async with rig.pool(**SILENT) as pool:
        sid, *_ = await run(pool, ENDLESS, wait_s=0)
        await until(lambda: stop_engines(sid))
        (line,) = rig.records(sid, "crash")[-1:]
        await stop_via_pool(pool, sid, "cancel")

    assert line["reason"] == REASON


async def test_engine_that_waits_for_an_answer_is_left_alone(rig: Rig) -> None:
    async with rig.pool(engine_silent_s=0.01) as pool:
        sid, *_ = await run(pool, "return alc.llm('p')")
        (engine,) = rig.engines(sid)
        again = (await status_via_pool(pool, sid, wait_s=0.2)).result
        is_same = rig.engines(sid) == [engine]
        await stop_via_pool(pool, sid, "cancel")

    assert again["prompt"] == "p"
    assert is_same
