"""Statements of a node: each runs on a thread, over a connection that is kept for the next one.

Contract. `run` ends within seconds, whatever the database does, and raises StorageFailed. A connection that the
database has closed since its last use (it was restarted) is replaced once, and the same work runs again on the new one:
so what runs here must be allowed to run twice. Where the database could not be reached, calls within the next DOWN_S
get the same sentence at once, so a hundred calls do not wait for it one after the other.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import anyio
import anyio.to_thread
import psycopg

from algocline_mcp.cluster import schema
from algocline_mcp.cluster.connection import Connection, Database, bounded
from algocline_mcp.errors import Refused, StorageFailed

CALL_S = 5.0  # for one statement of a call; a page of records takes milliseconds
DOWN_S = 0.5
UNREACHABLE = "database_unreachable"
_STALE_S = 1.0  # a connection that was closed long ago says so at once

Value = TypeVar("Value")
Work = Callable[[Connection], Value]


class Statements:
    def __init__(self, database: Database, *, connections: int) -> None:
        """Makes no connection. At most so many are open."""
        self.database = database
        self._idle: list[Connection] = []  # only `append` and `pop`, which are atomic
        self._threads = anyio.CapacityLimiter(connections)
        self._failed: tuple[float, str] | None = None  # when the database could not be reached last, and why
        self._is_closed = False

    async def run(self, work: Work[Value], *, limit_s: float = CALL_S, is_left_alone: bool = False) -> Value:
        """`work(connection)`, in autocommit. A cancelled call waits for its thread, so what was done is known, unless
        the work may be `is_left_alone`."""
        self._refuse_while_down()
        return await anyio.to_thread.run_sync(
            self._run, work, limit_s, limiter=self._threads, abandon_on_cancel=is_left_alone
        )

    def try_again(self) -> None:
        """The database has answered somebody else: the next call tries it."""
        self._failed = None

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """The rows of one statement. Blocks, as `run` does on its threads: for threads that are limited elsewhere."""

        def work(connection: Connection) -> list[tuple[object, ...]]:
            cursor = connection.execute(sql.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

        return self._run(work, CALL_S)

    def _refuse_while_down(self) -> None:
        if self._failed is not None and time.monotonic() - self._failed[0] < DOWN_S:
            raise StorageFailed(self._failed[1], code=UNREACHABLE)

    def _run(self, work: Work[Value], limit_s: float) -> Value:
        self._refuse_while_down()  # a call that waited for a thread learns what the one before it has
        try:
            value = self._on_a_connection(work, limit_s)
        except StorageFailed as exc:
            if exc.code == UNREACHABLE:
                self._failed = time.monotonic(), str(exc)
            raise
        self._failed = None
        return value

    def _on_a_connection(self, work: Work[Value], limit_s: float) -> Value:
        began_s = time.monotonic()
        if (connection := self._kept()) is not None:
            try:
                return self._on(connection, work, limit_s)
            except StorageFailed:
                if not connection.closed or time.monotonic() - began_s > _STALE_S:
                    raise
        return self._on(self._connect(limit_s), work, limit_s)

    def _on(self, connection: Connection, work: Work[Value], limit_s: float) -> Value:
        try:
            with self.database.sentences(), bounded(connection, limit_s):
                return work(connection)
        finally:
            if connection.closed or self._is_closed:
                with suppress(psycopg.Error):
                    connection.close()
            else:
                self._idle.append(connection)

    def _kept(self) -> Connection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _connect(self, limit_s: float) -> Connection:
        connection = self.database.connect()
        try:
            with bounded(connection, limit_s):
                schema.check(connection, self.database)
        except Refused as exc:  # upgraded under a node that runs: each call says so, and the node goes on
            connection.close()
            raise StorageFailed(str(exc), code=exc.code) from exc
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        self._is_closed = True
        while (connection := self._kept()) is not None:
            connection.close()
