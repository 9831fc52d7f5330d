"""What the owners of a home have stored: number and bytes of their journals, and bytes of what their strategies keep.

Contract: counts files, 10,000 in 30 ms; a file that goes meanwhile is not counted. `refuse_over` is for rows, too.
"""

import os
from collections.abc import Collection, Iterable
from contextlib import suppress

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import MIB
from algocline_mcp.storage.key_values import CallRefused


def journals(parts: Iterable[Home], without: Collection[str] = ()) -> tuple[int, int]:
    """Number and bytes of all journals of these parts of a home, finished or not, without those of some ids."""
    count = size = 0
    for directory in (path for part in parts for path in (part.sessions, part.finished)):
        with suppress(OSError), os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.endswith(".journal") and entry.name.removesuffix(".journal") not in without:
                    with suppress(OSError):
                        size += entry.stat(follow_symlinks=False).st_size
                        count += 1
    return count, size


def kept_bytes(part: Home) -> int:
    """Of alc.state and alc.card, without what SQLite still has in its log."""
    with suppress(OSError):
        return os.stat(part.state_database).st_size
    return 0


def refuse_over(name: str, total: int, max_bytes: int) -> None:
    """`total`: of the owner, with the change `name` of its strategy. Raises CallRefused."""
    if total > max_bytes:
        raise CallRefused(
            f"alc.{name}: your sessions and what they keep take {total / MIB:.1f} MiB with it, at most "
            f"{max_bytes / MIB:.1f} are allowed: delete values with alc.state.delete, or sessions with "
            'alc_stop(mode="delete")'
        )
