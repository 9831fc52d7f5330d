"""Lines of a journal: writing them and reading them back. Pure; journal.py explains what a line is for."""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from algocline_mcp.errors import ProtocolError
from algocline_mcp.protocol import messages
from algocline_mcp.session.records import Record

FORMAT = 1
_LINE_BYTES = 1 << 28  # of one record: the first of a branch holds the answers of its parent
_LONG_BYTES = 1 << 18  # takes 5 ms
_DEPTH = 300  # of a record; a strategy's own values nest to 128, and a reader that recurses has room for 1,000 calls


def encode(record: Record, flushed: int) -> bytes:
    """`crc32 SP json LF`. `flushed`: the length of the file that is known to be on the disk."""
    line = messages.encode({**record, "s": flushed})
    return b"%08x %s" % (zlib.crc32(line[:-1]), line)


def encode_mark(flushed: int, line: Record | None = None) -> bytes:
    """The record that follows a flush, behind a line feed of its own. `line`: of the list, see session/results.py."""
    return b"\n" + encode({"kind": "flushed"} if line is None else {"kind": "flushed", "line": line}, flushed)


def encode_flushed(records: Iterable[Record]) -> bytes:
    """The content of a whole journal that is about to be flushed at once."""
    return b"".join(lines_flushed(records))


def lines_flushed(records: Iterable[Record]) -> Iterator[bytes]:
    """The lines of `encode_flushed`, one by one."""
    size = 0
    for record in records:
        line = encode(record, 0)
        size += len(line)
        yield line
    yield encode_mark(size)


@dataclass(frozen=True, slots=True)
class Scan:
    """The readable content of a journal. `end`: length of the intact part; `flushed`: the largest readable `s`;
    `damaged_line`: the first damaged line, from 1, or None."""

    records: list[Record]
    end: int
    flushed: int
    damaged_line: int | None

    @property
    def is_corrupt(self) -> bool:
        return self.damaged_line is not None and self.end < self.flushed


class Scanner:
    """Reads a journal chunk by chunk, and holds at most one line of it. Afterwards the attributes are those of Scan."""

    __slots__ = ("_held", "_held_bytes", "_number", "_start", "_yields", "damaged_line", "end", "flushed", "start")

    def __init__(self, *, yields: bool = False) -> None:
        """`yields`: as for `decode`."""
        self._yields = yields
        self.end = self.flushed = 0
        self.start = 0  # of the line of the record that was yielded last; that line ends at `end`
        self.damaged_line: int | None = None
        self._number, self._start = 1, 0  # of the line that begins next
        self._held: list[bytes] = []  # parts of an incomplete line; none of a line that is too long
        self._held_bytes = 0

    @property
    def is_corrupt(self) -> bool:
        return self.damaged_line is not None and self.end < self.flushed

    def feed(self, chunk: bytes) -> Iterator[Record]:
        """Yields the records that the chunk completes. Those after the first damage are not, but their `s` counts."""
        start = 0
        while (stop := chunk.find(b"\n", start)) >= 0:
            self._hold(chunk[start:stop])
            record = self._line()
            if record is not None:
                yield record
            start = stop + 1
        self._hold(chunk[start:])

    def finish(self) -> None:
        """A last line without its LF is damage."""
        if self._held_bytes and self.damaged_line is None:
            self.damaged_line, self.end = self._number, self._start

    def _hold(self, part: bytes) -> None:
        self._held_bytes += len(part)
        if self._held_bytes > _LINE_BYTES:
            self._held.clear()
        elif part:
            self._held.append(part)

    def _line(self) -> Record | None:
        """The record of the held line, if it is to be yielded."""
        line = b"".join(self._held)
        self._held.clear()  # before the line is decoded: of a long one, each copy counts
        record = decode(line, yields=self._yields) if line else None
        start, self._start = self._start, self._start + self._held_bytes + 1
        is_empty, number = not self._held_bytes, self._number
        self._number += 1
        self._held_bytes = 0
        if record is not None:
            self.flushed = max(self.flushed, record["s"])
        elif not is_empty and self.damaged_line is None:
            self.damaged_line, self.end = number, start
        if self.damaged_line is not None:
            return None
        self.start, self.end = start, self._start
        return record


def scan(content: bytes) -> Scan:
    """Records after the first damage are not returned, but their `s` counts."""
    scanner = Scanner()
    records = list(scanner.feed(content))
    scanner.finish()
    return Scan(records, scanner.end, scanner.flushed, scanner.damaged_line)


def last_mark(tail: bytes) -> Record | None:
    """The last mark with a field `line` in the end of a journal, if that line still holds: no later mark follows other
    records. A damaged line behind it is the trace of a kill, because no mark that follows says that it was flushed."""
    is_flushed = False
    for text in reversed(tail.split(b"\n")[1:]):
        record = decode(text) if text else None
        if record is None:
            continue
        if record.get("kind") != "flushed":
            if is_flushed:
                return None
        elif "line" in record:
            return record
        else:
            is_flushed = True
    return None


def decode(line: bytes, *, yields: bool = False) -> Record | None:
    """The record of a line without its line feed, or None where the line is damaged. `yields`: other threads run while
    a long line is decoded."""
    try:
        text = line[9:]
        if line[8:9] != b" " or int(line[:8], 16) != zlib.crc32(text):
            return None
        record = messages.decode(text, yields=yields and len(text) > _LONG_BYTES)
    except (ValueError, ProtocolError):
        return None
    if text.count(b"[") + text.count(b"{") > _DEPTH and messages.is_deeper(record, _DEPTH):
        return None
    return record if isinstance(record.get("s"), int) else None
