"""The quota of bytes of a principal (ALC_OWNER_BYTES) at one node, as far as strategies fill it: alc.state, alc.card.

Contract: sessions, values and cards of a principal count together, in the database. They are summed once in `sum_s` and
before a refusal, because a sum reads all rows of the owner; between two sums, what the changes at this node add is
added. So several nodes may exceed the quota for as long. A change after which less is stored than before is always
allowed.
"""

import time

from algocline_mcp.cluster import session_list
from algocline_mcp.cluster.connection import Connection
from algocline_mcp.storage import owner_usage

_OWNERS_KEPT = 10_000


class OwnerBytes:
    def __init__(self, max_bytes: int, sum_s: float) -> None:
        self._max_bytes = max_bytes
        self._sum_s = sum_s
        self._sums: dict[str, tuple[float, int]] = {}  # by owner: when it was summed, and the bytes now

    def refuse_over(self, connection: Connection, owner: str, name: str, growth: int) -> None:
        """In the transaction of the change `name`, which made it. `growth`: in bytes. Raises CallRefused. Any thread:
        what two add at once may count as one of them, until the next sum."""
        if growth <= 0:
            return
        summed_at, total = self._sums.get(owner, (float("-inf"), 0))
        total += growth
        if total > self._max_bytes or time.monotonic() - summed_at >= self._sum_s:
            summed_at, (_, total) = time.monotonic(), session_list.usage(connection, owner)
        if len(self._sums) >= _OWNERS_KEPT:
            self._sums.clear()
        self._sums[owner] = (summed_at, total - growth)  # what is refused is taken back
        owner_usage.refuse_over(name, total, self._max_bytes)
        self._sums[owner] = (summed_at, total)
