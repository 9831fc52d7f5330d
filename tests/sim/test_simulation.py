"""Nothing acknowledged is ever lost: thousands of schedules of faults, each from a seed that a failure names.

To see one again: `python bench/simulate.py --seed N --schedules 1`. On one Python only: what is simulated is the same
on each. ALC_THOROUGH=1 plays ten thousand.
"""

import os
import sys
from collections import Counter
from random import Random

import pytest

from tests.sim import strategies
from tests.sim.world import World, play

_PYTHON = (3, 11)
_IS_THOROUGH = os.environ.get("ALC_THOROUGH") == "1"
_ITEMS = 25 if _IS_THOROUGH else 6  # so that both cores share them
_SCHEDULES = 400  # of each item

pytestmark = pytest.mark.skipif(
    sys.version_info[:2] != _PYTHON and not _IS_THOROUGH,
    reason=f"simulated on Python {_PYTHON[0]}.{_PYTHON[1]} only; ALC_THOROUGH=1 runs it here too",
)


@pytest.mark.parametrize("item", range(_ITEMS))
def test_whatever_fails_nothing_acknowledged_is_lost_or_changed(item: int) -> None:
    happened = play(item * _SCHEDULES, _SCHEDULES)

    assert not [name for name, count in happened.items() if count < 20], "faults that did not strike prove nothing"
    assert happened["acknowledged"] > _SCHEDULES
    assert happened["workers"] > 2 * _SCHEDULES


def test_whatever_fails_the_answers_to_waits_are_delivered_as_they_were() -> None:
    happened: Counter[str] = Counter()
    for seed in range(_SCHEDULES // 2):
        world = World(seed, programs=[strategies.with_waits(Random(seed))]).run()
        happened.update(world.book.counts)
        happened["deliveries"] += sum(file.cache.count(b'"delivery"') for file in world.disk.files.values())

    assert happened["deliveries"] > _SCHEDULES // 2


def test_schedule_is_the_same_again_from_its_seed() -> None:
    first, second = World(7).run(), World(7).run()

    assert (first.counts, first.spawned) == (second.counts, second.spawned)
    assert first.book == second.book
    assert {path: file.cache for path, file in first.disk.files.items()} == {
        path: file.cache for path, file in second.disk.files.items()
    }
