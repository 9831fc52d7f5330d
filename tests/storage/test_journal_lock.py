"""The lock of a journal, and reading beside the process that appends."""

import errno
import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from algocline_mcp.errors import JournalCorrupt, StorageFailed
from algocline_mcp.storage import journal
from algocline_mcp.storage.journal import Journal
from algocline_mcp.storage.journal_lines import encode
from tests.storage.disk import GOOD, NOTE, failing, kinds


def test_lock_of_a_busy_journal_is_none_and_free_again_after_its_owner(path: Path, opened: Journal) -> None:
    busy = journal.lock(path)
    opened.close()
    fd = journal.lock(path)

    assert busy is None
    assert fd is not None
    os.close(fd)


def test_lock_goes_with_a_copy_of_the_descriptor(path: Path, opened: Journal) -> None:
    copy = os.dup(opened.fd)
    opened.close()

    while_copied = journal.lock(path)
    os.close(copy)

    assert while_copied is None


def test_lock_of_a_missing_journal_says_so(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        journal.lock(path)


def _delete(path: Path) -> None:
    path.unlink()


def _move(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))


def _replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(GOOD)
    other.rename(path)


@pytest.mark.parametrize("between", [_delete, _move, _replace])
def test_journal_that_went_between_open_and_lock_is_not_found(
    path: Path, between: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(GOOD)
    flock, before = fcntl.flock, os.listdir("/dev/fd")

    def late(fd: int, operation: int) -> None:
        between(path)
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", late)

    with pytest.raises(FileNotFoundError):
        journal.lock(path)

    assert os.listdir("/dev/fd") == before


def test_symlink_is_no_journal(path: Path, tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(GOOD)
    path.symlink_to(tmp_path / "target")

    with pytest.raises(StorageFailed, match="cannot open"):
        journal.lock(path)
    with pytest.raises(StorageFailed, match=r"cannot open|cannot read"):
        journal.read(path)


def test_journal_of_another_user_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(GOOD)
    mine, before = os.geteuid(), os.listdir("/dev/fd")
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)

    with pytest.raises(StorageFailed, match="belongs to another user: remove it or change ALC_HOME"):
        journal.lock(path)

    assert os.listdir("/dev/fd") == before


def test_file_system_without_locks_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(GOOD)
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))

    with pytest.raises(StorageFailed, match="No locks available"):
        journal.lock(path)


# ── reading beside a writer ───────────────────────────────────────────────────────────────────────────────


def test_reading_needs_no_lock_and_takes_none(path: Path, opened: Journal) -> None:
    records = journal.read(path)
    opened.append(NOTE)

    assert kinds(records) == ["header"]


@pytest.mark.parametrize("length", [*range(1, len(GOOD))])
def test_line_that_is_just_being_written_is_left_out(path: Path, opened: Journal, length: int) -> None:
    opened.flush()
    with path.open("ab") as file:
        file.write(GOOD[:length])

    records = journal.read(path)

    assert kinds(records) == ["header", "flushed"]
    assert path.stat().st_size == opened.size + length


READS: list[tuple[str, list[str], int]] = [
    ("all is marked as flushed", ["flush"], 0),
    ("a record after the mark", ["flush", "append"], 1),
    ("no mark yet", [], 1),
    ("marked again", ["flush", "append", "flush"], 0),
]


@pytest.mark.parametrize(("steps", "count"), [case[1:] for case in READS], ids=[case[0] for case in READS])
def test_reading_flushes_what_lies_beyond_the_mark(
    path: Path, opened: Journal, steps: list[str], count: int, flushes: list[int]
) -> None:
    for step in steps:
        opened.flush() if step == "flush" else opened.append(NOTE)
    flushes.clear()

    journal.read(path)

    assert len(flushes) == count


def test_reading_for_no_host_flushes_nothing(path: Path, opened: Journal, flushes: list[int]) -> None:
    records = journal.read(path, is_for_host=False)

    assert kinds(records) == ["header"]
    assert flushes == []


def test_reading_records_that_cannot_be_flushed_is_an_error(
    path: Path, opened: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_flush_file", failing(errno.EIO))
    before = os.listdir("/dev/fd")

    with pytest.raises(StorageFailed, match=r"cannot read .*: Input/output error"):
        journal.read(path)

    assert os.listdir("/dev/fd") == before


def test_reading_a_corrupt_journal_names_the_line(path: Path) -> None:
    path.write_bytes(GOOD + b"damage\n" + encode(NOTE, len(GOOD) + 7))

    with pytest.raises(JournalCorrupt, match="damaged in line 2"):
        journal.read(path)


def test_reading_a_missing_journal_says_so(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        journal.read(path)


def test_journal_is_readable_json_below_its_checksums(path: Path, opened: Journal) -> None:
    opened.append(NOTE)
    opened.flush()

    lines = [line for line in path.read_bytes().split(b"\n") if line]

    assert [json.loads(line[9:])["kind"] for line in lines] == ["header", "note", "flushed"]
