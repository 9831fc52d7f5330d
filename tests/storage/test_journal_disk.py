"""The journal on a failing disk, and its recovery afterwards."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from algocline_mcp.errors import JournalCorrupt, StorageBroken, StorageFailed
from algocline_mcp.session.records import Record
from algocline_mcp.storage import journal
from algocline_mcp.storage.journal import Journal
from algocline_mcp.storage.journal_lines import encode
from tests.storage.disk import GOOD, NOTE, adopt, failing, file_size_limit, header, kinds, records_of


@pytest.mark.parametrize("room", [0, 1, 30])
def test_record_that_found_too_little_room_is_taken_back(path: Path, opened: Journal, room: int) -> None:
    before = path.read_bytes()

    with file_size_limit(len(before) + room), pytest.raises(StorageFailed) as caught:
        opened.append(NOTE)

    assert not isinstance(caught.value, StorageBroken)
    assert path.read_bytes() == before
    assert opened.size == len(before)


def test_journal_goes_on_when_there_is_room_again(path: Path, opened: Journal) -> None:
    with file_size_limit(opened.size + 9), pytest.raises(StorageFailed, match="disk is full: free some space"):
        opened.append(NOTE)

    opened.append(NOTE)
    opened.flush()

    assert kinds(journal.read(path)) == ["header", "note", "flushed"]


@pytest.mark.parametrize("room", [0, 1, 30])
def test_full_disk_costs_a_flush_only_its_mark(path: Path, opened: Journal, room: int) -> None:
    size = opened.size

    with file_size_limit(size + room):
        opened.flush()

    assert opened.flushed == size
    assert path.stat().st_size == size


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_write_that_fails_is_an_error_with_its_reason(
    path: Path, opened: Journal, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", failing(number))

        with pytest.raises(StorageFailed, match=rf"cannot append to .*: {os.strerror(number)}"):
            opened.append(NOTE)

    assert path.read_bytes() == before
    assert opened.size == len(before)


def test_half_a_record_that_stays_breaks_the_journal(opened: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "ftruncate", failing(errno.EIO))

    with file_size_limit(opened.size + 9), pytest.raises(StorageBroken, match="cannot take back half a record"):
        opened.append(NOTE)


def test_half_a_mark_that_stays_breaks_the_journal(opened: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "ftruncate", failing(errno.EIO))

    with file_size_limit(opened.size + 9), pytest.raises(StorageBroken, match="cannot take back half a record"):
        opened.flush()


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_failed_flush_acknowledges_nothing_and_writes_no_mark(
    path: Path, opened: Journal, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped: list[tuple[int, ...]] = []
    monkeypatch.setattr(journal, "_flush_file", failing(number))
    monkeypatch.setattr(os, "posix_fadvise", lambda *args: dropped.append(args))
    before = path.read_bytes()

    with pytest.raises(StorageBroken, match=rf"cannot flush .*: {os.strerror(number)}; repair that disk"):
        opened.flush()

    assert path.read_bytes() == before
    assert (opened.flushed, opened.is_flushed) == (0, False)
    assert dropped == [(opened.fd, 0, 0, os.POSIX_FADV_DONTNEED)]


def test_header_that_finds_no_room_leaves_no_file(path: Path) -> None:
    with file_size_limit(9), pytest.raises(StorageFailed, match="disk is full"):
        Journal.create(path, header())

    assert not path.exists()


def test_new_journal_that_cannot_be_locked_leaves_no_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))

    with pytest.raises(StorageFailed, match=r"cannot lock .*p-1.journal"):
        Journal.create(path, header())

    assert not path.exists()


# ── recovery ──────────────────────────────────────────────────────────────────────────────────────────────


def adopt_file(path: Path) -> tuple[Journal, list[Record]]:
    fd = journal.lock(path)
    assert fd is not None
    return adopt(fd, path)


def test_adopted_journal_has_its_records_and_counts_as_not_flushed(path: Path, flushes: list[int]) -> None:
    opened = Journal.create(path, header())
    opened.flush()
    opened.close()

    adopted, records = adopt_file(path)
    adopted.flush()
    adopted.close()

    assert kinds(records) == ["header", "flushed"]
    assert len(flushes) == 2
    assert adopted.flushed == flushes[1]


def test_torn_tail_is_cut_off_and_the_next_record_follows_the_last_whole_one(path: Path) -> None:
    path.write_bytes(encode(header(), 0) + GOOD[:30])

    adopted, records = adopt_file(path)
    adopted.append(NOTE)
    adopted.close()

    assert kinds(records) == ["header"]
    assert path.read_bytes() == encode(header(), 0) + GOOD


def test_corrupt_journal_is_named_and_stays_as_it_is(path: Path) -> None:
    first = encode(header(), 0)
    content = first + b"damage\n" + encode(NOTE, len(first) + 7)
    path.write_bytes(content)

    with pytest.raises(JournalCorrupt, match=rf"journal {path} is damaged in line 2, below what was") as caught:
        adopt_file(path)

    assert (caught.value.path, caught.value.line, caught.value.code) == (path, 2, "corrupt")
    assert path.read_bytes() == content


def test_tail_that_cannot_be_cut_off_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(encode(header(), 0) + b"torn")
    monkeypatch.setattr(os, "ftruncate", failing(errno.EIO))

    with pytest.raises(StorageFailed, match="cannot recover"):
        adopt_file(path)


def test_torn_tail_is_off_the_disk_before_anything_is_written_in_its_place(
    path: Path, opened: Journal, flushes: list[int]
) -> None:
    opened.append(NOTE)
    size = opened.size
    os.write(opened.fd, GOOD[:-4])

    adopt(opened.fd, path)
    adopt(opened.fd, path)

    assert flushes == [size + 1]  # all but a byte of it; that one cannot look like a record
    assert path.stat().st_size == size


@pytest.fixture
def disk_holds_less(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """As after a failed flush whose keeper was killed before it dropped the cache: the cache has a note that the disk
    has not. Returns the reads behind the cache."""
    looks: list[int] = []

    def drop(fd: int, start: int, size: int, advice: int) -> None:
        looks.append(advice)
        os.truncate(path, path.read_bytes().index(GOOD))

    monkeypatch.setattr(os, "posix_fadvise", drop, raising=False)
    monkeypatch.setattr(os, "POSIX_FADV_DONTNEED", 4, raising=False)
    return looks


def test_what_only_the_cache_shows_beyond_the_mark_is_not_believed(path: Path, disk_holds_less: list[int]) -> None:
    mark = b"\n" + encode({"kind": "flushed"}, 1)
    path.write_bytes(encode(header(), 0) + mark + GOOD)

    adopted, records = adopt_file(path)
    size = adopted.size
    adopted.close()
    path.write_bytes(encode(header(), 0) + mark + GOOD)
    reread = journal.read(path)

    assert kinds(records) == kinds(reread) == ["header", "flushed"]
    assert size == len(encode(header(), 0) + mark)
    assert disk_holds_less == [4, 4]


def test_journal_without_anything_beyond_its_mark_is_read_once(path: Path, disk_holds_less: list[int]) -> None:
    path.write_bytes(encode(header(), 0) + b"\n" + encode({"kind": "flushed"}, 1))

    adopted, _ = adopt_file(path)
    adopted.close()

    assert disk_holds_less == []


def test_journal_written_through_the_same_descriptor_is_read_once(path: Path, disk_holds_less: list[int]) -> None:
    """As a first launch hands it on: a failed write is reported to this descriptor's own flush."""
    opened = Journal.create(path, header())

    adopted, records = adopt(opened.fd, path)
    adopted.close()

    assert kinds(records) == ["header"]
    assert disk_holds_less == []


def test_reader_whose_flush_fails_drops_what_the_cache_kept(
    path: Path, opened: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the writer is dead, only this reader gets the error: the next owner would trust the cache."""
    dropped: list[int] = []
    monkeypatch.setattr(journal, "_flush_file", failing(errno.EIO))
    monkeypatch.setattr(os, "posix_fadvise", lambda fd, start, size, advice: dropped.append(advice), raising=False)
    monkeypatch.setattr(os, "POSIX_FADV_DONTNEED", 4, raising=False)

    with pytest.raises(StorageFailed):
        journal.read(path)

    assert dropped == [4, 4]  # before it read, and after its flush


def test_journal_that_cannot_be_read_again_says_so(opened: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pread", failing(errno.EIO))

    with pytest.raises(StorageFailed, match="cannot read"):
        records_of(opened)


def test_damage_in_a_journal_that_is_read_again_is_named(path: Path, opened: Journal) -> None:
    opened.append(NOTE)
    opened.flush()
    path.write_bytes(b"x" + path.read_bytes()[1:])

    with pytest.raises(JournalCorrupt):
        records_of(opened)


@pytest.mark.parametrize("lost", ["turned to zeros", "cut off"])
def test_unflushed_end_that_is_gone_when_read_again_is_no_corruption(path: Path, opened: Journal, lost: str) -> None:
    opened.flush()
    kept = path.read_bytes()
    opened.append(NOTE)
    zeros = bytes(len(path.read_bytes()) - len(kept)) if lost == "turned to zeros" else b""
    path.write_bytes(kept + zeros)

    with pytest.raises(StorageBroken, match="lost the unflushed end"):
        records_of(opened)
