"""Records for the tests of the journal, and what a failing disk does."""

import contextlib
import os
import resource
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from algocline_mcp.session.records import Record
from algocline_mcp.storage import journal
from algocline_mcp.storage.journal import Journal
from algocline_mcp.storage.journal_lines import encode, scan

NOTE: Record = {"kind": "note", "message": "m"}
GOOD = encode(NOTE, 0)


def header() -> Record:
    return {"kind": "header", "code": "return 1"}


def adopt(fd: int, path: Path) -> tuple[Journal, list[Record]]:
    """The journal, and the records that it was taken over with."""
    records: list[Record] = []
    return Journal.adopt(fd, path, lambda record, start: records.append(record)), records


def records_of(journal: Journal) -> list[Record]:
    records: list[Record] = []
    journal.read(lambda record, start: records.append(record))
    return records


def kinds(records: list[Record]) -> list[str]:
    return [record["kind"] for record in records]


def failing(number: int) -> Callable[..., Any]:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


@contextlib.contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """What a full disk does: a write that begins below the limit is cut short, later ones fail."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# ── every moment at which the power may fail ──────────────────────────────────────────────────────────────


def content_records(content: bytes) -> list[Record]:
    """Without the marks, which are never acknowledged."""
    return [record for record in scan(content).records if record["kind"] != "flushed"]


@dataclass(frozen=True)
class Moment:
    """Between two writes: what the disk holds for sure, its old content behind that, what the file holds, and how
    many records were acknowledged."""

    durable: bytes
    old: bytes
    written: bytes
    acknowledged: int


class Disk:
    """Runs a journal and keeps the moments: after each write of a record, and after each flush with its mark."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        self.moments: list[Moment] = []
        self.durable = self.old = b""
        self.acknowledged = 0
        monkeypatch.setattr(journal, "_flush_file", self._flush_file)

    def _flush_file(self, fd: int) -> None:
        self.durable = self.old = self.path.read_bytes()
        self.keep()

    def keep(self) -> None:
        written = self.path.read_bytes()
        self.acknowledged = max(self.acknowledged, len(content_records(self.durable)))
        self.moments.append(Moment(self.durable, self.old, written, self.acknowledged))

    def play(self, opened: Journal, steps: list[int | None]) -> None:
        """A number appends a record of about so many bytes, None flushes."""
        for number, size in enumerate(steps):
            if size is None:
                opened.flush()
            else:
                opened.append({"kind": "effect", "n": number, "args": ["x" * size]})
            self.keep()


def run(path: Path, steps: list[int | None], monkeypatch: pytest.MonkeyPatch, *, first: int = 100) -> list[Moment]:
    with monkeypatch.context() as patch:
        disk = Disk(path, patch)
        opened = Journal.create(path, {"kind": "header", "code": "x" * first})
        disk.keep()
        disk.play(opened, steps)
        opened.close()
    return disk.moments
