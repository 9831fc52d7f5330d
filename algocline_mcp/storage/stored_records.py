"""The records of a journal as a sequence: their positions are in memory, each record is read when it is asked for.

So what looks at a journal needs memory for its longest record, and 4 bytes for each of its records: 228 MiB held as
records took 244. Reading a record again checks its line again. The file stays open as long as the sequence is used, so
neither a move nor a deletion ends it. Lines that are appended later are not in the sequence.
"""

import os
import weakref
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import overload

from algocline_mcp.errors import JournalCorrupt, StorageFailed
from algocline_mcp.session.records import Record
from algocline_mcp.storage import journal
from algocline_mcp.storage.journal_lines import Scanner, decode

_CHECK_BYTES = 1 << 20  # `check` is called after so many bytes


class StoredRecords(Sequence[Record]):
    """The records, read by `journal.stream`: each for the first time when the first iteration comes to it, because
    reading is what takes time. Nothing of them may be shown before `damage` was asked for: only then all are flushed.
    """

    def __init__(self, path: Path, check: Callable[[], object] = bool) -> None:
        """`check` is called now and then, and may raise to end a read that nobody waits for. This and each access raise
        StorageFailed; this raises FileNotFoundError."""
        self._path = path
        self._check, self._unchecked_bytes = check, 0
        self._damage: JournalCorrupt | None = None
        self._starts = array("I")  # of lines; journal.LARGEST_BYTES has 32 bits
        self._scanner = Scanner(yields=True)
        try:
            self._fd = os.open(path, journal.READ)
        except FileNotFoundError:
            raise
        except OSError as exc:
            raise self._failed(exc) from exc
        weakref.finalize(self, os.close, self._fd)
        self._unread = self._scan()
        next(self._unread, None)  # opens the file: from now on it may move

    def __bool__(self) -> bool:
        return len(self._starts) > 0

    def __len__(self) -> int:
        deque(self._unread, maxlen=0)
        return len(self._starts)

    def __iter__(self) -> Iterator[Record]:
        for number in count():
            if number < len(self._starts):
                yield self._read(number)
            elif (record := next(self._unread, None)) is not None:
                yield record
            else:
                return

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        numbers = range(len(self))
        if isinstance(index, slice):
            return [self._read(number) for number in numbers[index]]
        return self._read(numbers[index])

    @property
    def damage(self) -> JournalCorrupt | None:
        """The error of a damaged journal. The records are those before the damage, and are not flushed."""
        len(self)
        return self._damage

    def _scan(self) -> Iterator[Record]:
        try:
            for record in journal.stream(self._path, check=self._check, scanner=self._scanner):
                self._starts.append(self._scanner.start)
                yield record
        except JournalCorrupt as exc:
            self._damage = exc

    def _read(self, number: int) -> Record:
        """Raises StorageFailed where the line is no longer what it was."""
        is_last = number + 1 == len(self._starts)
        start, end = self._starts[number], self._scanner.end if is_last else self._starts[number + 1]
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
        sentence = f"cannot read {self._path}: {exc.strerror}; free or repair that disk, or set ALC_HOME elsewhere"
        return StorageFailed(sentence)


class Beginning(Sequence[Record]):
    """The first `count` records of a sequence, read again each time as those of the sequence are."""

    def __init__(self, records: Sequence[Record], count: int) -> None:
        self._records = records
        self._numbers = range(count)

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[Record]:
        return islice(iter(self._records), len(self))

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        numbers = self._numbers[index]
        return self._records[numbers] if isinstance(numbers, int) else [self._records[number] for number in numbers]


def before_last_mark(records: Sequence[Record]) -> Sequence[Record]:
    """Without what stands behind the last mark: a worker of a node is about to commit it, and nobody may see it yet."""
    marked = (number for number, record in enumerate(records, 1) if record["kind"] == "flushed")
    return Beginning(records, max(marked, default=0))
