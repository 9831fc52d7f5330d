"""A journal: what is in the file, and when it is flushed."""

import os
from pathlib import Path

import pytest

from algocline_mcp.errors import StorageFailed
from algocline_mcp.storage import journal
from algocline_mcp.storage.journal import Journal
from algocline_mcp.storage.journal_lines import encode
from tests.storage.disk import NOTE, header, kinds, records_of


def test_new_journal_is_private_locked_and_holds_its_header(path: Path, opened: Journal) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    assert journal.lock(path) is None
    assert records_of(opened) == [{**header(), "s": 0}]
    assert not os.get_inheritable(opened.fd)


def test_append_flushes_nothing(opened: Journal, flushes: list[int]) -> None:
    opened.append(NOTE)

    assert flushes == []
    assert opened.flushed == 0


def test_flush_comes_before_the_mark_and_the_mark_says_what_was_flushed(
    path: Path, opened: Journal, flushes: list[int]
) -> None:
    opened.append(NOTE)
    before = path.read_bytes()

    opened.flush()

    assert flushes == [len(before)]
    assert path.read_bytes() == before + b"\n" + encode({"kind": "flushed"}, len(before))
    assert opened.size == path.stat().st_size


def test_flush_without_a_new_record_does_nothing(path: Path, opened: Journal, flushes: list[int]) -> None:
    opened.flush()
    size = path.stat().st_size

    opened.flush()

    assert len(flushes) == 1
    assert path.stat().st_size == size


def test_record_carries_what_was_flushed_when_it_was_written(opened: Journal) -> None:
    opened.flush()
    flushed = opened.flushed
    opened.append(NOTE)

    assert [record["s"] for record in records_of(opened)] == [0, flushed, flushed]


def test_existing_journal_is_never_created_over(path: Path, opened: Journal) -> None:
    before = path.read_bytes()

    with pytest.raises(StorageFailed, match=r"cannot create .*p-1.journal: File exists"):
        Journal.create(path, header())

    assert path.read_bytes() == before


def test_journal_in_a_missing_directory_names_the_cure(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match=r"No such file.*set ALC_HOME elsewhere"):
        Journal.create(tmp_path / "gone" / "p-1.journal", header())


def test_limit_refuses_the_record_and_keeps_the_rest(path: Path) -> None:
    opened = Journal.create(path, header())
    opened.limit = opened.size + 100

    with pytest.raises(StorageFailed, match=r"would grow over .*ALC_JOURNAL_BYTES") as caught:
        opened.append({"kind": "note", "message": "x" * 100})

    opened.flush()
    opened.close()
    assert caught.value.code == "journal_full"
    assert kinds(journal.read(path)) == ["header", "flushed"]


def test_flush_at_the_limit_still_counts(path: Path, flushes: list[int]) -> None:
    opened = Journal.create(path, header())
    opened.limit = opened.size

    opened.flush()

    opened.close()
    assert opened.flushed == flushes[0]
    assert kinds(journal.read(path)) == ["header"]


def test_moved_journal_goes_on_under_its_new_name(path: Path, opened: Journal, tmp_path: Path) -> None:
    opened.move(tmp_path / "moved.journal")
    opened.append(NOTE)

    assert not path.exists()
    assert kinds(journal.read(tmp_path / "moved.journal")) == ["header", "note"]


def test_journal_that_cannot_be_moved_stays(path: Path, opened: Journal, tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match="cannot move"):
        opened.move(tmp_path / "gone" / "moved.journal")

    assert opened.path == path


def test_journal_over_the_limit_is_not_read_and_stays(path: Path, opened: Journal) -> None:
    """A keeper takes as much memory as its journal."""
    opened.append(NOTE)
    opened.close()
    content = path.read_bytes()
    fd = journal.lock(path)
    assert fd is not None
    with pytest.raises(StorageFailed, match="raise ALC_JOURNAL_BYTES"):
        Journal.adopt(fd, path, lambda record, start: None, limit=len(content) - 1)
    os.close(fd)

    assert path.read_bytes() == content
