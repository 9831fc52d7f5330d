"""Calls that wait for a computing session: progress reports, and `running` after wait_s."""

from functools import partial

import anyio
import pytest

from algocline_mcp.pool.dispatch import Progress, Strategy, run_via_pool
from algocline_mcp.pool.dispatch import continue_via_pool as continue_
from algocline_mcp.pool.dispatch import status_via_pool as status
from algocline_mcp.protocol.messages import PoolRequest
from algocline_mcp.session.events import Answer
from tests.rig.rig import WAIT_S, RawClient, Rig, run

pytestmark = pytest.mark.anyio


@pytest.mark.slow
async def test_progress_is_reported_while_a_call_waits(rig: Rig) -> None:
    reports: list[Progress] = []

    async def collect(progress: Progress) -> None:
        reports.append(progress)

    code = """
    local function rest() local began = alc.time() while alc.time() - began < 0.15 do end end
    for i = 1, 3 do rest() alc.progress(i, 3, "step " .. i) end
    rest()
    return 1
    """
    async with rig.pool() as pool:
        await run_via_pool(pool, Strategy(code), wait_s=WAIT_S, on_progress=collect)

    assert reports == [Progress(step, 3, f"step {step}") for step in (1, 2, 3)]


@pytest.mark.slow
async def test_progress_from_before_a_call_is_reported_at_once(rig: Rig) -> None:
    reports: list[Progress] = []

    async def collect(progress: Progress) -> None:
        reports.append(progress)

    code = 'alc.progress(1, 2, "begun") local t = alc.time() while alc.time() - t < 1.5 do end return 1'
    async with rig.pool() as pool:
        sid, soon, _ = await run(pool, code, wait_s=0.1)
        late = (await status(pool, sid, wait_s=WAIT_S, on_progress=collect)).result

    assert (soon["status"], late["status"]) == ("running", "completed")
    assert reports == [Progress(1, 2, "begun")]


async def test_progress_from_before_the_request_of_a_run_is_reported_at_once(rig: Rig) -> None:
    """The engine may be faster than the request: then two of three runs never told what they reported first."""
    is_told = anyio.Event()

    async def collect(progress: Progress) -> None:
        is_told.set()

    async with rig.pool() as pool, anyio.create_task_group() as tasks:
        sid, *_ = await run(pool, 'alc.progress(1, 2, "begun") while true do end', wait_s=0)
        tasks.start_soon(partial(status, pool, sid, wait_s=WAIT_S, on_progress=collect))
        await is_told.wait()
        with RawClient(rig.home.socket(sid)) as client:
            client.send(PoolRequest("run", 1, sid, WAIT_S))
            line = client.receive()
        tasks.cancel_scope.cancel()

    assert "begun" in str(line)


@pytest.mark.slow
async def test_a_call_learns_for_how_long_the_session_computes_already(rig: Rig) -> None:
    reports: list[Progress] = []

    async def collect(progress: Progress) -> None:
        reports.append(progress)

    code = """
    local function rest(s) local t = alc.time() while alc.time() - t < s do end end
    rest(0.2) alc.llm("first") rest(1.5) return 1
    """
    async with rig.pool() as pool:
        sid, *_ = await run(pool, code)
        soon = (await continue_(pool, sid, [Answer("q-0", "A")], wait_s=0.3)).result
        late = (await status(pool, sid, wait_s=WAIT_S, on_progress=collect)).result

    assert (soon["status"], late["status"]) == ("running", "completed")
    assert reports == [Progress(0, 0, None)]
    assert reports[0].elapsed_s is not None
    assert reports[0].elapsed_s >= soon["elapsed_s"] > 0


@pytest.mark.slow
async def test_step_longer_than_wait_s_answers_running_and_status_waits_on(rig: Rig) -> None:
    code = 'local t = alc.time() while alc.time() - t < 1.0 do end return alc.llm("late")'
    async with rig.pool() as pool:
        sid, soon, _ = await run(pool, code, wait_s=0.05)
        late = (await status(pool, sid, wait_s=WAIT_S)).result

    assert soon["status"] == "running"
    assert "alc_status" in soon["next"]
    assert late["prompt"] == "late"
