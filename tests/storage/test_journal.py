"""The journal: its lines, what is in the file, and when it is flushed."""

import errno
import os
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algocline_mcp.errors import StorageBroken, StorageFailed
from algocline_mcp.session.records import Record
from algocline_mcp.storage import journal, journal_lines
from algocline_mcp.storage.files import sync_directory
from algocline_mcp.storage.journal import Journal
from algocline_mcp.storage.journal_lines import encode, scan
from tests.storage.disk import GOOD, NOTE, failing, header, kinds

texts = st.text(st.characters(codec=None, max_codepoint=0xE000), max_size=4)  # lone surrogates too
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
lists = st.lists(scalars, max_size=3)
values = scalars | lists | st.dictionaries(texts, scalars | lists, max_size=3)
records_of_any_shape = st.dictionaries(texts.filter(lambda key: key != "s"), values, max_size=4)


# ── codec ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_line_is_checksum_space_json_line_feed() -> None:
    line = encode({"kind": "note", "message": "é\n\ud800"}, 17)

    assert line == b'%08x {"kind":"note","message":"\\u00e9\\n\\ud800","s":17}\n' % zlib.crc32(line[9:-1])


@given(st.lists(records_of_any_shape, max_size=4))
def test_records_come_back_as_they_were(given_records: list[Record]) -> None:
    content = b"".join(encode(record, 3) for record in given_records)

    found = scan(content)

    assert found.records == [{**record, "s": 3} for record in given_records]
    assert (found.end, found.damaged_line) == (len(content), None)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_number_that_json_has_not_is_never_written(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        encode({"kind": "effect", "result": value}, 0)


LINES = {
    "no space": GOOD.replace(b" ", b"_", 1),
    "no number": b"zzzzzzzz" + GOOD[8:],
    "short": b"12\n",
    "no json": b"%08x {\n" % zlib.crc32(b"{"),
    "no object": b"%08x [1]\n" % zlib.crc32(b"[1]"),
    "no s": b"%08x {}\n" % zlib.crc32(b"{}"),
    "s is text": b'%08x {"s":"1"}\n' % zlib.crc32(b'{"s":"1"}'),
    "zeros": b"\0" * 40 + b"\n",
    "nested too deeply": b"%08x " % zlib.crc32(b"[" * 100_000) + b"[" * 100_000 + b"\n",
    "without its line feed": GOOD[:-1],
    "half": GOOD[:20],
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES.keys())
def test_unreadable_last_line_is_left_out(line: bytes) -> None:
    found = scan(GOOD + line)

    assert kinds(found.records) == ["note"]
    assert (found.end, found.damaged_line, found.is_corrupt) == (len(GOOD), 2, False)


@pytest.mark.parametrize("line", [line for line in LINES.values() if line.endswith(b"\n")])
def test_unreadable_line_below_a_mark_is_corrupt_and_named(line: bytes) -> None:
    found = scan(GOOD + line + encode({"kind": "flushed"}, len(GOOD) + len(line)))

    assert (found.damaged_line, found.is_corrupt) == (2, True)


def test_unreadable_line_at_the_mark_is_a_cut_and_what_follows_goes_too() -> None:
    found = scan(GOOD + b"torn\n" + encode(NOTE, len(GOOD)))

    assert (found.records, found.end) == ([{**NOTE, "s": 0}], len(GOOD))
    assert (found.flushed, found.is_corrupt) == (len(GOOD), False)


def test_empty_lines_mean_nothing() -> None:
    content = b"\n\n" + GOOD + b"\n\n" + GOOD + b"\n"

    assert scan(content).end == len(content)
    assert kinds(scan(content).records) == ["note", "note"]


def test_empty_file_holds_nothing() -> None:
    assert scan(b"") == journal_lines.Scan([], 0, 0, None)


# ── append and flush ──────────────────────────────────────────────────────────────────────────────────────


def test_new_journal_is_private_locked_and_holds_its_header(path: Path, opened: Journal) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    assert journal.lock(path) is None
    assert opened.records() == [{**header(), "s": 0}]
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

    assert [record["s"] for record in opened.records()] == [0, flushed, flushed]


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


def test_directory_that_cannot_be_flushed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))

    with pytest.raises(StorageBroken, match=f"cannot flush directory {tmp_path}: Input/output error"):
        sync_directory(tmp_path)


def test_flushing_a_directory_leaves_no_descriptor(tmp_path: Path) -> None:
    before = os.listdir("/dev/fd")

    sync_directory(tmp_path)

    assert os.listdir("/dev/fd") == before
