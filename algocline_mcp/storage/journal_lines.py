"""Lines of a journal: writing them and reading them back. Pure; journal.py explains what a line is for."""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from algocline_mcp.errors import ProtocolError
from algocline_mcp.protocol import messages
from algocline_mcp.session.records import Record

FORMAT = 1
_DEPTH = 300  # of a record; a strategy's own values nest to 128, and a reader that recurses has room for 1,000 calls


def encode(record: Record, flushed: int) -> bytes:
    """`crc32 SP json LF`. `flushed`: the length of the file that is known to be on the disk."""
    line = messages.encode({**record, "s": flushed})
    return b"%08x %s" % (zlib.crc32(line[:-1]), line)


def encode_mark(flushed: int) -> bytes:
    """The record that follows a flush, behind a line feed of its own."""
    return b"\n" + encode({"kind": "flushed"}, flushed)


def encode_flushed(records: Iterable[Record]) -> bytes:
    """The content of a whole journal that is about to be flushed at once."""
    content = b"".join(encode(record, 0) for record in records)
    return content + encode_mark(len(content))


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


def scan(content: bytes) -> Scan:
    """Records after the first damage are not returned, but their `s` counts."""
    records: list[Record] = []
    flushed = start = end = 0
    damaged_line = None
    for number, line in enumerate(content.split(b"\n"), 1):
        is_last = start + len(line) == len(content)
        record = decode(line) if line else None
        if line and (record is None or is_last):  # the last line lacks its LF
            if damaged_line is None:
                damaged_line, end = number, start
        elif record is not None:
            flushed = max(flushed, record["s"])
            if damaged_line is None:
                records.append(record)
        start += len(line) + 1
    if damaged_line is None:
        end = len(content)
    return Scan(records, end, flushed, damaged_line)


def decode(line: bytes) -> Record | None:
    """The record of a line without its line feed, or None where the line is damaged."""
    try:
        text = line[9:]
        if line[8:9] != b" " or int(line[:8], 16) != zlib.crc32(text):
            return None
        record = messages.decode(text)
    except (ValueError, ProtocolError):
        return None
    if text.count(b"[") + text.count(b"{") > _DEPTH and messages.is_deeper(record, _DEPTH):
        return None
    return record if isinstance(record.get("s"), int) else None
