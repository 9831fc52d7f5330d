"""Decides how long a worker stays that no client asks. Pure: times are those of one monotonic clock.

A worker hibernates after `idle_s`. After `burst_s` it looks once whether more than `pool_max` workers live in its home;
if so, it hibernates then. That alone brings a home back to `pool_max` after a burst, also where its server has died:
workers come to their look in the order in which they were asked last, so the longest idle one goes first, and those
behind it see that it has gone. Two that look in the same moment may both go: that loses nothing.

One timer per worker and quiet period, and none of the server. Where no more than `pool_max` may live at any time, and
in a session that is over, there is no look.
"""

from dataclasses import dataclass
from enum import Enum, auto

from algocline_mcp.config.limits import Limits


class Stay(Enum):
    WAIT = auto()
    LOOK = auto()  # count the workers of the home, once
    LEAVE = auto()


@dataclass(slots=True)
class QuietPeriod:
    """Since when no client asks and no engine computes, and what is due then."""

    since: float
    has_looked: bool = False

    def end(self, now: float) -> None:
        """The worker is needed: the period begins anew with the next moment in which it is not."""
        self.since, self.has_looked = now, False

    def look_at(self, limits: Limits) -> float | None:
        """When the other workers are to be counted. None: not, or not again."""
        if self.has_looked or not 0 < limits.pool_max < limits.pool_burst:
            return None
        return self.since + limits.burst_s

    def decide(self, now: float, limits: Limits, *, is_over: bool) -> tuple[Stay, float | None]:
        """What to do now, and when to decide again (None: no deadline). `is_over`: the session has ended."""
        limit_s = limits.linger_s if is_over else limits.idle_s or None
        leave_at = None if limit_s is None else self.since + limit_s
        if leave_at is not None and now >= leave_at:
            return Stay.LEAVE, leave_at
        look_at = None if is_over else self.look_at(limits)
        if look_at is not None and now >= look_at:
            return Stay.LOOK, leave_at
        return Stay.WAIT, min((at for at in (leave_at, look_at) if at is not None), default=None)
