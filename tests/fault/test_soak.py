"""Random deaths of servers, fork servers, keepers and engines under many sessions: nothing is lost, doubled or changed.

A few seconds; 40 with ALC_THOROUGH=1; `python bench/soak.py --minutes N --seed S` runs longer.
"""

import os
from collections import Counter

import pytest

from tests.fault.soak import PASSED, Soak
from tests.rig.rig import Rig

VICTIMS = ("keeper", "engine", "server", "fork server")
_IS_THOROUGH = os.environ.get("ALC_THOROUGH") == "1"
_SECONDS = 40.0 if _IS_THOROUGH else 4.0


def is_enough(events: Counter[str]) -> bool:
    """A slow machine runs until then. Each fail point has a test of its own as well."""
    if events["answers acknowledged"] < 20 or not any(events[f"deaths: {victim}"] for victim in VICTIMS[:3]):
        return False
    points = [point for point in PASSED if events[f"deaths: fail point {point}"]]
    return not _IS_THOROUGH or (
        all(events[f"deaths: {victim}"] for victim in VICTIMS) and len(points) > len(PASSED) // 2
    )


@pytest.mark.slow
@pytest.mark.anyio
async def test_whatever_dies_at_random_every_acknowledged_answer_counts_once_and_no_prompt_changes(rig: Rig) -> None:
    events = await Soak(rig, seed=5).run(_SECONDS, is_enough=is_enough)

    assert events["sessions finished"] == events["sessions"]
    assert is_enough(events), events
