"""What the owners of a home have stored: number and bytes of their journals, and bytes of what their strategies keep.

Contract: counts files, 10,000 in 30 ms; a file that goes meanwhile is not counted.
"""

import os
from collections.abc import Collection, Iterable
from contextlib import suppress

from algocline_mcp.config.home import Home


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
