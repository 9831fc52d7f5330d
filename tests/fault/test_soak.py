"""Random deaths of servers, fork servers, keepers and engines under many sessions: nothing is lost, doubled or changed.

A few seconds unless ALC_SOAK_S says otherwise; `python bench/soak.py --minutes N --seed S` goes on for as long as one
likes.
"""

import os

import pytest

from algocline_mcp.worker.failpoints import POINTS
from tests.pool.rig import Rig

from .soak import Soak

_SECONDS = float(os.environ.get("ALC_SOAK_S", "") or 4.0)
_LONG_S = 30.0  # after so long every fail point has had its turn


@pytest.mark.anyio
async def test_whatever_dies_at_random_every_acknowledged_answer_counts_once_and_no_prompt_changes(rig: Rig) -> None:
    happened = await Soak(rig, seed=5).run(_SECONDS)

    assert happened["answers acknowledged"] > 10 * _SECONDS
    assert happened["sessions finished"] == happened["sessions"]
    for victim in ("keeper", "engine") if _SECONDS < _LONG_S else ("keeper", "engine", "server", "fork server"):
        assert happened[f"deaths: {victim}"], victim
    struck = [point for point in POINTS if happened[f"deaths: fail point {point}"]]
    assert struck if _SECONDS < _LONG_S else len(struck) == len(POINTS), happened
