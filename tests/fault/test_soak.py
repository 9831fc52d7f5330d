"""Random deaths of servers, fork servers, keepers and engines under many sessions: nothing is lost, doubled or changed.

A few seconds; 40 with ALC_THOROUGH=1; `python bench/soak.py --minutes N --seed S` goes on for as long as one likes.
"""

import os

import pytest

from algocline_mcp.worker.failpoints import POINTS
from tests.pool.rig import Rig

from .soak import Soak

_IS_THOROUGH = os.environ.get("ALC_THOROUGH") == "1"
_SECONDS = 40.0 if _IS_THOROUGH else 4.0


@pytest.mark.anyio
async def test_whatever_dies_at_random_every_acknowledged_answer_counts_once_and_no_prompt_changes(rig: Rig) -> None:
    happened = await Soak(rig, seed=5).run(_SECONDS, answers=20)

    assert happened["sessions finished"] == happened["sessions"]
    assert happened["deaths: keeper"] + happened["deaths: engine"] + happened["deaths: server"], happened
    if _IS_THOROUGH:  # that each of them loses nothing is told by a test of its own
        assert all(happened[f"deaths: {victim}"] for victim in ("keeper", "engine", "server", "fork server")), happened
        assert len([point for point in POINTS if happened[f"deaths: fail point {point}"]]) > len(POINTS) // 2, happened
