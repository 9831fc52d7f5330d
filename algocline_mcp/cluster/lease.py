"""Lease of a node: its row in the database, which says that it lives.

Contract. `beat` renews the row every third of the lease. A lease that has run out (the process was frozen, or cut off)
is lost with all that was held under it: `on_lost` is called before the next one begins. `is_current` counts by the
clock of this process, from before each renewal was sent: the lease ends here before it ends in the database.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import anyio

from algocline_mcp.cluster import ownership
from algocline_mcp.cluster.connection import Connection, Database
from algocline_mcp.cluster.statements import Statements
from algocline_mcp.errors import AlcError

_PARTS = 3  # two renewals may fail
_RETRY_S = 1.0  # between two attempts


class Lease:
    def __init__(self, database: Database, node: str, lease_s: float, on_lost: Callable[[], None]) -> None:
        self.node = node
        self.lease_s = lease_s
        self._on_lost = on_lost
        self._statements = Statements(database, connections=1)  # of its own: nothing else may delay a renewal
        self._renewing = anyio.Lock()
        self._ends_at_s = float("-inf")  # by the clock of the event loop
        self._owed: set[tuple[str, int]] = set()  # holds that are still to be given back: sid and epoch
        self._is_failing = False
        self._beating: anyio.CancelScope | None = None

    @property
    def is_current(self) -> bool:
        return anyio.current_time() < self._ends_at_s

    async def beat(self) -> None:
        """Until it is cancelled, or `leave` is called."""
        with anyio.CancelScope() as self._beating:
            while True:
                pause_s = self.lease_s / _PARTS
                try:
                    await self.renew()
                except AlcError:
                    pause_s = min(pause_s, _RETRY_S)
                await anyio.sleep(pause_s)

    async def require(self) -> None:
        """Raises StorageFailed where there is no lease and none can be had, or where the last renewal failed and this
        one does: the lease still holds, but nothing could be committed."""
        if not self.is_current or self._is_failing:
            await self.renew()

    async def renew(self) -> None:
        """Raises StorageFailed."""
        async with self._renewing:
            try:
                await self._renew()
            except AlcError:
                self._is_failing = True
                raise
            self._is_failing = False

    async def _renew(self) -> None:
        began_s = anyio.current_time()
        if not await self._statements.run(partial(ownership.renew, node=self.node, lease_s=self.lease_s)):
            self._ends_at_s = float("-inf")
            self._owed.clear()
            self._on_lost()
            began_s = anyio.current_time()
            await self._statements.run(partial(ownership.register, node=self.node, lease_s=self.lease_s))
        self._ends_at_s = began_s + self.lease_s
        for sid, epoch in list(self._owed):
            await self._statements.run(partial(ownership.give_back, node=self.node, sid=sid, epoch=epoch))
            self._owed.discard((sid, epoch))

    def owe(self, sid: str, epoch: int) -> None:
        """The next renewal gives this hold back."""
        self._owed.add((sid, epoch))

    async def check(self) -> None:
        """Raises StorageFailed where the database does not answer now."""
        await self._statements.run(_ping, is_left_alone=True)

    async def leave(self) -> None:
        """Gives everything back; without the database the lease runs out."""
        if self._beating is not None:
            self._beating.cancel()
        with suppress(AlcError):
            async with self._renewing:
                await self._statements.run(partial(ownership.leave, node=self.node))
        self._ends_at_s = float("-inf")
        self._statements.close()


def _ping(connection: Connection) -> None:
    connection.execute("SELECT 1")
