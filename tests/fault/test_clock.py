"""The wall clock of real workers jumps by a day, forth and back: nothing is lost, and recorded times stay.

A file sets the clock of the workers and of their fork server.
"""

import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from algocline_mcp.pool.dispatch import list_via_pool, stop_via_pool
from tests.rig.rig import PEERS, Rig, run, say, until

pytestmark = pytest.mark.anyio

DAY_S = 86400.0
CODE = """
local t = {alc.time()}
for i = 1, 4 do
  alc.llm(("at %.3f"):format(t[#t]))
  t[#t + 1] = alc.time()
end
return t
"""

SetClock = Callable[[float], object]


@pytest.fixture
def clock(rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Workers get a clock of their own. The function sets by how many seconds that clock is wrong."""
    offset, python = tmp_path / "offset", tmp_path / "python"
    offset.write_text("0")
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -s -P {PEERS / "wrong_clock.py"} {offset} "$@"\n')
    python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))

    def set_to(off_s: float) -> None:
        new = tmp_path / "new"  # replaced as a whole: a worker may be reading the file
        new.write_text(str(off_s))
        new.replace(offset)

    return set_to


@pytest.mark.parametrize("first", [DAY_S, -DAY_S])
async def test_clock_that_jumps_by_a_day_ends_no_worker_and_changes_no_recorded_time(
    rig: Rig, clock: SetClock, first: float
) -> None:
    async with rig.pool(idle_s=600) as pool:
        sid, *_ = await run(pool, CODE)
        idle, *_ = await run(pool, CODE)
        keepers = {session: rig.keeper(session) for session in (sid, idle)}
        clock(first)
        await say(pool, sid, "q-0", "A")
        clock(-first)
        await say(pool, sid, "q-1", "B")
        live = {session: rig.keeper(session) for session in (sid, idle)}
        await stop_via_pool(pool, sid, "hibernate")
        await until(lambda: not rig.workers_of(sid))
        clock(0)
        revived = (await say(pool, sid, "q-2", "C")).result
        end = (await say(pool, sid, "q-3", "D")).result
        listed = (await list_via_pool(pool))["sessions"]
    read = [record["result"] for record in rig.records(sid, "effect") if record["name"] == "time"]

    assert live == keepers  # no worker was idle for a day
    assert end["result"] == read  # also the times that a replay served
    assert revived["prompt"] == f"at {read[3]:.3f}"
    jumps = [round((after - before) / DAY_S) for before, after in pairwise(read)]
    assert jumps == [first // DAY_S, -2 * first // DAY_S, first // DAY_S, 0]
    assert 0 <= end["stats"]["auto"]["elapsed_ms"] < 3 * DAY_S * 1000
    assert [line["session_id"] for line in listed] == [idle]


@pytest.mark.slow
@pytest.mark.parametrize("off_s", [DAY_S, -DAY_S])
async def test_idle_worker_leaves_in_time_although_the_clock_jumps(rig: Rig, clock: SetClock, off_s: float) -> None:
    async with rig.pool(idle_s=0.5) as pool:
        sid, *_ = await run(pool, CODE)
        clock(off_s)
        await until(lambda: not rig.keepers(sid))
        revived = (await say(pool, sid, "q-0", "A")).result

    assert revived["query_id"] == "q-1"
