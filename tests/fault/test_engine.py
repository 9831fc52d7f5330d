"""Faults of an engine: it dies while it replays; it writes endless output."""

import os
import resource
import signal
from pathlib import Path

import anyio
import pytest

from algocline_mcp.config.limits import KIB, Limits
from algocline_mcp.pool.dispatch import PoolReply, list_via_pool, status_via_pool, stop_via_pool
from algocline_mcp.worker.engine import process
from tests.rig.rig import ASK_TWICE, Rig, finish, open_pidfd, run, say, until

pytestmark = pytest.mark.anyio

# The code after the first answer runs long enough to be killed, in each replay again.
_POISON = """
local a = alc.llm("first")
local n = 0
for i = 1, 30000000 do n = n + i % 7 end
return a .. "+" .. alc.llm("second after " .. a)
"""


@pytest.mark.slow
async def test_engine_that_segfaults_on_its_way_back_is_a_crash_loop_and_the_answer_is_not_taken(rig: Rig) -> None:
    """Each death is a strike. A call after the last death continues the session."""
    replies: list[PoolReply] = []
    async with rig.pool() as pool:
        other, *_ = await run(pool, ASK_TWICE)
        sid, *_ = await run(pool, _POISON)
        await say(pool, sid, "q-0", "A")
        await stop_via_pool(pool, sid, "hibernate")
        await until(lambda: not rig.workers_of(sid))
        before = rig.answers(sid)

        async def answer() -> None:
            replies.append(await say(pool, sid, "q-1", "B"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answer)
            for number in range(1, 4):
                await until(lambda: rig.engines(sid))
                with open_pidfd(rig.engine(sid)) as pidfd:
                    assert pidfd is not None
                    signal.pidfd_send_signal(pidfd, signal.SIGSEGV)
                await until(lambda: len(rig.records(sid, "crash")) == number)  # noqa: B023  awaited before the next round
        stuck = (await status_via_pool(pool, sid)).result
        listed = {line["session_id"]: line["status"] for line in (await list_via_pool(pool))["sessions"]}
        taken = rig.answers(sid)
        undisturbed = (await say(pool, other, "q-0", "A")).result
        end = await finish(pool, await say(pool, sid, "q-1", "B"))

    assert (stuck["status"], stuck["error_code"]) == ("error", "crash_loop")
    assert replies[0].result["error_code"] == "crash_loop"
    assert "3 times in this step, last: ended by SIGSEGV" in stuck["error"]
    assert taken == before == [("q-0", "A")]
    assert listed == {sid: "error", other: "needs_response"}
    assert undisturbed["prompt"] == "second after A"
    assert end["result"] == "A+B"
    assert rig.answers(sid) == [("q-0", "A"), ("q-1", "B")]


@pytest.mark.slow
async def test_engine_writes_only_to_its_log_and_its_limit_is_hard(rig: Rig) -> None:
    async with rig.readable_pool(engine_log_bytes=64 * KIB) as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        pid = rig.engine(sid)
        limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        outputs = [os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)]
        await say(pool, sid, "q-0", "A")

    assert limits == (64 * KIB, 64 * KIB)
    assert outputs == ["/dev/null", "/dev/null", str(rig.home.stderr(sid))]


def test_endless_output_of_an_engine_stops_at_the_limit_and_kills_no_process(tmp_path: Path) -> None:
    """A gigabyte, under the limits that an engine sets itself: a write over the limit is an error."""
    log = tmp_path / "log"
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    pid = os.fork()
    if not pid:
        refused = 0
        try:
            process._reset_signals()
            process._set_limits(Limits(engine_log_bytes=64 * KIB))
            for _ in range(1 << 14):
                try:
                    os.write(fd, b"x" * (64 * KIB))
                except OSError:
                    refused += 1
        finally:
            os._exit(0 if refused == (1 << 14) - 1 else 1)
    _, status = os.waitpid(pid, 0)
    os.close(fd)

    assert os.waitstatus_to_exitcode(status) == 0
    assert log.stat().st_size == 64 * KIB
