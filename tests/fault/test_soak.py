"""Random deaths of servers, fork servers, keepers and engines under many sessions: nothing is lost, doubled or changed.

A few seconds; 40 with ALC_THOROUGH=1; `python bench/soak.py --minutes N --seed S` goes on for as long as one likes.
"""

import os
from collections import Counter

import pytest

from algocline_mcp.worker.lowlevel.failpoints import POINTS
from tests.fault.soak import Soak
from tests.rig.rig import Rig

VICTIMS = ("keeper", "engine", "server", "fork server")
_IS_THOROUGH = os.environ.get("ALC_THOROUGH") == "1"
_SECONDS = 40.0 if _IS_THOROUGH else 4.0


def is_enough(happened: Counter[str]) -> bool:
    """A slow machine goes on until then. That each fail point loses nothing is told by a test of its own."""
    if happened["answers acknowledged"] < 20 or not any(happened[f"deaths: {each}"] for each in VICTIMS[:3]):
        return False
    points = [point for point in POINTS if happened[f"deaths: fail point {point}"]]
    return not _IS_THOROUGH or (all(happened[f"deaths: {each}"] for each in VICTIMS) and len(points) > len(POINTS) // 2)


@pytest.mark.anyio
async def test_whatever_dies_at_random_every_acknowledged_answer_counts_once_and_no_prompt_changes(rig: Rig) -> None:
    happened = await Soak(rig, seed=5).run(_SECONDS, is_enough=is_enough)

    assert happened["sessions finished"] == happened["sessions"]
    assert is_enough(happened), happened
