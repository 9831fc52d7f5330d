"""How a keeper uses the state database that all sessions of a home share: at once, later, or with an error.

Contract: nothing here blocks. `attempt` carries a pending_call out, or returns None where another process holds the database:
then it is due again at `pending_call.again`, and after `state_busy_s` the outcome is an error. Whatever else is wrong with the
database is an outcome too: the strategy gets it as an error and the session goes on. The database is opened by the
first attempt and stays open until `close`: a keeper closes it at each pause and before it forks.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.session.records import Record
from algocline_mcp.worker.database import card_files
from algocline_mcp.worker.database.call_scope import Busy, Mark, Unfinished
from algocline_mcp.worker.database.connection import FUNCTIONS, Database, MarkDiffers
from algocline_mcp.worker.engine.messages import Call

__all__ = ["FUNCTIONS", "Mark", "MarkDiffers", "PendingCall", "SharedState", "pending_call"]

_FIRST_S, _LONGEST_S = 0.001, 0.016  # between two tries


@dataclass(slots=True)
class PendingCall:
    """A call under way. Times are monotonic; `again`: when it is due, `until`: when it is given up."""

    call: Call
    again: float
    until: float
    pause_s: float = _FIRST_S


def pending_call(call: Call, limits: Limits) -> PendingCall:
    now = time.monotonic()
    return PendingCall(call, now, now + limits.state_busy_s)


class SharedState:
    def __init__(self, home: Home, limits: Limits) -> None:
        self._home = home
        self._path = home.state_database
        self._limits = limits
        self._database: Database | None = None

    @property
    def is_open(self) -> bool:
        return self._database is not None

    def attempt(self, pending_call: PendingCall, namespace: str, mark: Mark | None) -> Record | None:
        """`{result}`, `{error}`, or None: not yet. Raises MarkDiffers and StorageBroken."""
        try:
            return self._opened().perform(pending_call.call, namespace, mark)
        except Unfinished:
            now = time.monotonic()
            pending_call.again, pending_call.until = now, now + self._limits.state_busy_s
            return None
        except Busy:
            now = time.monotonic()
            if now < pending_call.until:
                pending_call.again = min(now + pending_call.pause_s, pending_call.until)
                pending_call.pause_s = min(2 * pending_call.pause_s, _LONGEST_S)
                return None
            holder = self._opened().holder()
            sentence = (
                f"alc.{pending_call.call.name}: {self._path} was locked for {self._limits.state_busy_s:g} s by {holder}; "
                "nothing was changed: try again, or end that process"
            )
            return {"error": sentence}

    def forget(self, sid: str, is_unfinished: Callable[[str], bool]) -> None:
        """Removes the marks of a finished session, and of some others that `is_unfinished` denies: those whose keeper
        was killed between end and removal. Where the database cannot be used, they stay for the next one."""
        self._opened().forget(sid, is_unfinished)

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _opened(self) -> Database:
        if self._database is None:
            self._database = Database(self._path, self._limits, card_files.places(self._home.cards, os.environ))
        return self._database
