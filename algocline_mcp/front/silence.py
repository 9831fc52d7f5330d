"""Watch over a server that owes something and says nothing: it may hang (stopped, in a loop, out of memory). Pure.

Contract. A call may take long without a word, so silence alone ends no server: after `limit_s` it is asked to say
anything (a ping), and only one that is silent for `limit_s` more has to be ended. Whoever stops both processes, as a
shell does, ends none: the first look afterwards asks.
"""

from enum import Enum
from math import inf


class Step(Enum):
    NOTHING = "nothing"
    ASK = "ask"
    END = "end"


class Silence:
    def __init__(self, limit_s: float) -> None:
        """`limit_s`: 0: never."""
        self._limit_s = limit_s or inf
        self._since_s: float | None = None  # None: the server owes nothing, or nobody listens
        self._is_asked = False

    def heard(self) -> None:
        self._since_s, self._is_asked = None, False

    def decide(self, now_s: float, *, is_owing: bool) -> Step:
        """What has to be done now. `is_owing`: something has to come from the server, and would be read."""
        if not is_owing:
            self.heard()
        elif self._since_s is None:
            self._since_s = now_s
        elif now_s >= self.due_s:
            self._since_s = now_s
            self._is_asked = not self._is_asked
            return Step.ASK if self._is_asked else Step.END
        return Step.NOTHING

    @property
    def due_s(self) -> float:
        """When `decide` has to be called at the latest; infinite where nothing is awaited."""
        return inf if self._since_s is None else self._since_s + self._limit_s
