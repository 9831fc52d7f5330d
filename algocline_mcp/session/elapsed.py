"""Time of a session, from the `t` of its records. Pure.

The budget's time is the sum of gaps between prompts and answers: a wait for answers counts at most `budget_wait_s`, and
a step at most `spent_s`, what its engine has computed. So neither a night without a worker nor a clock that was set
uses up a budget.
"""

from dataclasses import dataclass


@dataclass(slots=True)
class Elapsed:
    budget_s: float = 0.0  # as the budget counts it, up to `counted_s`
    counted_s: float = 0.0
    computing_since_s: float = 0.0  # the `t` with which the phase became `running`

    def count(self, now_s: float, limit_s: float | None) -> None:
        """Adds the time since the last prompt or answer, at most `limit_s`."""
        gap_s = self.since_counted_s(now_s)
        self.budget_s += gap_s if limit_s is None else min(gap_s, limit_s)
        self.counted_s = now_s

    def since_counted_s(self, now_s: float) -> float:
        return max(0.0, now_s - self.counted_s)
