"""Parts of a journal, read without a lock and without the rest: its first record and its last mark.

Contract: nothing is flushed, and the cost does not grow with the journal. Raises OSError.
"""

import os
import stat
from pathlib import Path

from algocline_mcp.session.records import Record
from algocline_mcp.storage.journal import READ
from algocline_mcp.storage.journal_lines import decode, last_mark

_FIRST_BYTES = 1 << 23  # the first record of a branch may hold all answers of its parent: it is not read to its end
_TAIL_BYTES = (1 << 14, 1 << 18, 1 << 23)  # tried in turn: the first nearly always holds the last mark


def read_mark(path: Path, size: int) -> Record | None:
    """The last mark of a journal of `size` bytes if it holds a line of the list that is still right, else None. Reads
    at most the last _TAIL_BYTES. Raises OSError."""
    with open(os.open(path, READ), "rb") as file:
        for tail_bytes in _TAIL_BYTES:
            tail = os.pread(file.fileno(), tail_bytes, max(0, size - tail_bytes))
            if (mark := last_mark(tail)) is not None or tail_bytes >= size:
                return mark
    return None


def read_first(path: Path) -> Record | None:
    """The first record alone, or None where its line is damaged. Raises OSError."""
    with open(os.open(path, READ), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return None
        line = file.readline(_FIRST_BYTES)
    return decode(line.rstrip(b"\n"))
