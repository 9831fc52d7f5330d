"""How long a worker stays that no client asks."""

import pytest

from algocline_mcp.config.limits import Limits
from algocline_mcp.worker.keeper.quiet import QuietPeriod, Stay

BURST = Limits(pool_max=2, pool_burst=4, burst_s=30.0, idle_s=600.0, linger_s=0.1)
CAPPED = Limits.from_env({"ALC_POOL_MAX": "2"})
WITHOUT_CAP = Limits.from_env({"ALC_POOL_MAX": "0"})
NEVER_IDLE = Limits(idle_s=0)
SHORT_IDLE = Limits(idle_s=5.0)

CASES: dict[str, tuple[Limits, float, bool, bool, tuple[Stay, float | None]]] = {
    # limits, seconds of quiet, has looked, is over -> decision, next deadline
    "it waits for its look": (BURST, 29.9, False, False, (Stay.WAIT, 30.0)),
    "it looks": (BURST, 30.0, False, False, (Stay.LOOK, 600.0)),
    "it looks once": (BURST, 30.0, True, False, (Stay.WAIT, 600.0)),
    "it hibernates": (BURST, 600.0, True, False, (Stay.LEAVE, 600.0)),
    "a stopped process has missed both": (BURST, 700.0, False, False, (Stay.LEAVE, 600.0)),
    "a cap that was chosen needs no look": (CAPPED, 31.0, False, False, (Stay.WAIT, 600.0)),
    "no cap needs none either": (WITHOUT_CAP, 31.0, False, False, (Stay.WAIT, 600.0)),
    "who never hibernates looks": (NEVER_IDLE, 30.0, False, False, (Stay.LOOK, None)),
    "and has no further deadline": (NEVER_IDLE, 1e6, True, False, (Stay.WAIT, None)),
    "who hibernates sooner does not look": (SHORT_IDLE, 1.0, False, False, (Stay.WAIT, 5.0)),
    "a session that is over lingers": (BURST, 0.0, False, True, (Stay.WAIT, 0.1)),
    "and leaves": (BURST, 0.1, False, True, (Stay.LEAVE, 0.1)),
}


@pytest.mark.parametrize("name", CASES)
def test_decision_follows_from_the_quiet_time(name: str) -> None:
    limits, now, has_looked, is_over, decision = CASES[name]

    assert QuietPeriod(0.0, has_looked=has_looked).decide(now, limits, is_over=is_over) == decision


def test_a_request_begins_a_new_period_with_a_look_of_its_own() -> None:
    quiet = QuietPeriod(0.0, has_looked=True)
    quiet.end(100.0)

    assert quiet.decide(100.0, BURST, is_over=False) == (Stay.WAIT, 130.0)
