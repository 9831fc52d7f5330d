"""The rules of admission over schedules of arrivals and deaths, and that breaking a rule is noticed."""

from collections.abc import Callable
from typing import Any

import pytest

from algocline_mcp.pool import admission_plan
from algocline_mcp.worker.keeper.quiet import QuietPeriod
from tests.sim import crowd
from tests.sim.machine import Violation


@pytest.fixture(autouse=True)
def enough_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission_plan, "available_bytes", lambda: 1 << 40)


def test_no_promise_of_admission_is_broken() -> None:
    happened = crowd.play(0, 300)

    assert all(happened[name] > 100 for name in ("answered", "evicted", "left by itself"))


def _never_looks(self: QuietPeriod, limits: object) -> None:
    return None


def _ignoring(name: str) -> Callable[[Any], Any]:
    """`plan_eviction` to which this fact of a worker is unknown."""

    def plan(workers: Any, *args: Any, **more: Any) -> Any:
        for worker in workers:
            object.__setattr__(worker, name, False)
        return admission_plan.plan_eviction(workers, *args, **more)

    return lambda patch: patch.setattr(crowd, "plan_eviction", plan)


def _over_the_cap(patch: pytest.MonkeyPatch) -> None:
    plan = admission_plan.plan_eviction
    patch.setattr(crowd, "plan_eviction", lambda workers, cap, *args, **more: plan(workers, cap + 1, *args, **more))


BREAKS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "the cap": (_over_the_cap, "workers live, the cap is"),
    "on its way back": (_ignoring("is_called"), "is evicted on its way back"),
    "the look": (lambda patch: patch.setattr(QuietPeriod, "look_at", _never_looks), "are left of a burst"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_rule_that_is_broken_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    break_rule, violation = BREAKS[name]
    break_rule(monkeypatch)

    with pytest.raises(Violation, match=violation):
        crowd.play(0, 300)
