"""The records of a journal as a sequence: their positions are in memory, each record is read when it is asked for.

So what looks at a journal needs memory for its longest record, and 4 bytes for each of its records: 228 MiB held as
records took 244. Reading a record again checks its line again. The file stays open as long as the sequence is used, so
neither a move nor a deletion ends it. Lines that are appended later are not in the sequence.
"""

import os
import weakref
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import overload

from algocline_mcp.errors import JournalCorrupt, StorageFailed
from algocline_mcp.session.records import Record
from algocline_mcp.storage import journal
from algocline_mcp.storage.journal_lines import Scanner, decode

_CHECK_BYTES = 1 << 20  # `check` is called after so many bytes


class StoredRecords(Sequence[Record]):
    """The records, read by `journal.stream`, so flushed. Of a damaged journal those before the damage, not flushed;
    `damage` is the error. Raises FileNotFoundError, StorageFailed."""

    def __init__(self, path: Path, check: Callable[[], object] = bool) -> None:
        """`check` is called now and then, also when records are read again, and may raise to end a read that nobody
        waits for."""
        self.damage: JournalCorrupt | None = None
        self._path = path
        self._check, self._unchecked_bytes = check, 0
        self._starts = array("I")  # of lines; journal.LARGEST_BYTES has 32 bits
        scanner = Scanner(yields=True)
        try:
            self._fd = os.open(path, journal.READ)
            weakref.finalize(self, os.close, self._fd)
            for _ in journal.stream(path, check=check, scanner=scanner):
                self._starts.append(scanner.start)
        except FileNotFoundError:
            raise
        except JournalCorrupt as exc:
            self.damage = exc
        except OSError as exc:
            raise self._failed(exc) from exc
        self._starts.append(scanner.end)

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        """Raises StorageFailed where the line is no longer what it was."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        start, end = self._starts[number], self._starts[number + 1]
        self._unchecked_bytes += end - start
        if self._unchecked_bytes > _CHECK_BYTES:
            self._unchecked_bytes = 0
            self._check()
        try:
            line = os.pread(self._fd, end - start, start).rstrip(b"\n")  # a mark stands behind an empty line
            record = decode(line, yields=True)
        except OSError as exc:
            raise self._failed(exc) from exc
        if record is None:
            raise StorageFailed(f"{self._path} was changed while it was read, or its disk fails: retry")
        return record

    def _failed(self, exc: OSError) -> StorageFailed:
        return StorageFailed(f"cannot read {self._path}: {exc.strerror}; repair that disk, then retry")
