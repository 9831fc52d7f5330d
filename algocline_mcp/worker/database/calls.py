"""Calls of the state database that never block the keeper.

Contract: `SharedState.attempt` performs a pending call, or returns None while another process holds the database. The
call is due again at `pending_call.retry_at`; after `state_busy_s` its outcome is an error. Every other problem with the
database is an outcome too: the strategy gets it as an error and the session goes on. The first attempt opens the
database, and `close` closes it: a keeper closes it at each pause and before it forks.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.session.records import Record
from algocline_mcp.worker.database import card_files
from algocline_mcp.worker.database.call_context import DatabaseLocked, EffectMark, ImportUnfinished
from algocline_mcp.worker.database.connection import FUNCTIONS, Database, MarkDiffers
from algocline_mcp.worker.database.quota import Quota
from algocline_mcp.worker.engine.messages import Call

__all__ = ["FUNCTIONS", "EffectMark", "MarkDiffers", "PendingCall", "SharedState", "pending_call"]

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.001, 0.016  # between two attempts


@dataclass(slots=True)
class PendingCall:
    """A call without an outcome. `retry_at` and `deadline` are monotonic times."""

    call: Call
    retry_at: float
    deadline: float
    pause_s: float = _FIRST_PAUSE_S


def pending_call(call: Call, limits: Limits) -> PendingCall:
    now = time.monotonic()
    return PendingCall(call, now, now + limits.state_busy_s)


class SharedState:
    """The state database of a home, opened when the first call needs it."""

    def __init__(self, home: Home, limits: Limits) -> None:
        self._home = home
        self._path = home.state_database
        self._limits = limits
        self._database: Database | None = None

    @property
    def is_open(self) -> bool:
        return self._database is not None

    def attempt(self, pending_call: PendingCall, namespace: str, mark: EffectMark | None) -> Record | None:
        """Returns `{result}`, `{error}`, or None where `pending_call` is to be attempted again.

        Raises MarkDiffers and StorageBroken.
        """
        try:
            return self._opened().perform(pending_call.call, namespace, mark)
        except ImportUnfinished:
            now = time.monotonic()
            pending_call.retry_at, pending_call.deadline = now, now + self._limits.state_busy_s
            return None
        except DatabaseLocked:
            now = time.monotonic()
            if now < pending_call.deadline:
                pending_call.retry_at = min(now + pending_call.pause_s, pending_call.deadline)
                pending_call.pause_s = min(2 * pending_call.pause_s, _LONGEST_PAUSE_S)
                return None
            holder = self._opened().lock_holder()
            sentence = (
                f"alc.{pending_call.call.name}: {self._path} was locked for {self._limits.state_busy_s:g} s "
                f"by {holder}; nothing was changed: try again, or end that process"
            )
            return {"error": sentence}

    def forget(self, sid: str, is_unfinished: Callable[[str], bool]) -> None:
        """Removes the marks of a finished session, and those of some other sessions that are finished too.

        The other marks belong to keepers that were killed before they could remove them. Where the database cannot be
        used, the marks stay until another session ends.
        """
        self._opened().forget(sid, is_unfinished)

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _opened(self) -> Database:
        if self._database is None:
            environ = {} if self._home.part else os.environ  # sinks and upstream's cards are the user's
            directories = card_files.directories(self._home.cards, environ)
            quota = Quota.of(self._home, self._limits)
            self._database = Database(self._path, self._limits, directories, quota)
        return self._database
