"""A connection to the database for one thread, opened again after it was lost.

Contract. `run` carries out a transaction until its outcome is known, or gives up at a deadline. A connection may be
lost after the commit and before its reply, so whatever runs here recognises what an earlier attempt has committed. It
is tried again after a failure that a restart, or the end of another transaction, cures; every other one is raised.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

from algocline_mcp.cluster import schema
from algocline_mcp.cluster.connection import STATEMENT_S, Connection, Database, bounded, cut
from algocline_mcp.errors import StorageFailed

Value = TypeVar("Value")

_BACK_OFF_S = (0.02, 1.0)  # between two attempts: the first, the longest
# What runs here touches a few rows by their keys. A plan that was kept from when the table was small read the whole
# table: with 10,000 sessions a commit took 11 ms longer.
_BY_INDEX = "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off"
_IN_THE_WAY = ("55P03", "40P01", "40001")  # a lock was not given, a deadlock, a conflict: nothing was changed


class Link:
    def __init__(self, database: Database, ending: threading.Event) -> None:
        """`ending`: ends all waits."""
        self.database = database
        self._ending = ending
        self._connection: Connection | None = None

    def run(self, transaction: Callable[[Connection], Value], left_s: Callable[[], float]) -> Value:
        """`left_s`: until the deadline. Raises StorageFailed; then the outcome may be unknown. Refused where the tables
        are of another version."""
        pause_s, longest_s = _BACK_OFF_S
        while True:
            connection: Connection | None = None
            try:
                connection = self._opened()
                with self.database.sentences(), bounded(connection, STATEMENT_S + 5):
                    return transaction(connection)
            except StorageFailed as exc:
                is_passing = connection is None or connection.closed or _code(exc) in _IN_THE_WAY
                if not is_passing or left_s() <= 0 or self._ending.wait(min(pause_s, max(0.0, left_s()))):
                    raise
            pause_s = min(2 * pause_s, longest_s)  # nothing announces that a database is back

    def cut(self) -> None:
        """Any thread: ends the statement that is under way, whose outcome is unknown then."""
        if self._connection is not None:
            cut(self._connection)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _opened(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = None
            connection = self.database.connect()
            try:
                schema.check(connection, self.database)
                with self.database.sentences(), bounded(connection):
                    connection.execute(_BY_INDEX)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection


def _code(exc: StorageFailed) -> str | None:
    return getattr(exc.__cause__, "sqlstate", None)
