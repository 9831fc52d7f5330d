"""The quota of bytes of a principal (ALC_OWNER_BYTES), as far as strategies fill it: alc.state and alc.card.

Contract: journals and the state database of a principal count together. The journals are counted once, with the first
change of a step. A change that makes the database no larger is always allowed: so values can be deleted, and replaced.
"""

import _sqlite3 as sqlite3

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.storage import owner_usage


class Quota:
    def __init__(self, part: Home, max_bytes: int) -> None:
        self._part = part
        self._max_bytes = max_bytes
        self._journals: int | None = None

    @classmethod
    def of(cls, home: Home, limits: Limits) -> "Quota | None":
        """None: there is no limit. The user has none."""
        return cls(home, limits.owner_bytes) if home.part and limits.owner_bytes else None

    def refuse_over(self, name: str, before: int, now: int) -> None:
        """`before`, `now`: bytes of the database, around the change `name`. Raises CallRefused."""
        if now <= before:
            return
        if self._journals is None:
            _, self._journals = owner_usage.journals([self._part])
        owner_usage.refuse_over(name, self._journals + now, self._max_bytes)


def used_bytes(connection: sqlite3.Connection) -> int:
    """Of the database as this connection sees it, in whole pages."""
    size, count, free = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
    )
    return int(size) * (int(count) - int(free))
