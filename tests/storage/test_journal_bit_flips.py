"""Flipped bits: every bit of a journal is flipped, one at a time, and the file is read."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from algocline_mcp.storage import journal
from algocline_mcp.storage.journal_lines import scan
from tests.storage.disk import content_records, run

STEPS: list[int | None] = [30, None, 60, 200, None, 40, 300, 10, None, 900, None]


def flips(content: bytes, stop: int) -> Iterator[tuple[int, bytes]]:
    """Every content that differs in one bit below `stop`, with the position of the bit."""
    for position in range(stop):
        for bit in range(8):
            changed = bytearray(content)
            changed[position] ^= 1 << bit
            yield position, bytes(changed)


def silently_lost(content: bytes, stop: int) -> int:
    """How many flips make acknowledged records vanish without a word."""
    whole = content_records(content)
    return sum(
        not scan(changed).is_corrupt and content_records(changed) != whole for _, changed in flips(content, stop)
    )


@pytest.mark.slow
def test_every_flipped_bit_below_the_last_mark_is_named_or_harmless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = run(tmp_path / "j", STEPS, monkeypatch)[-1].written
    last = scan(content)
    whole = content_records(content)

    named = 0
    for position, changed in flips(content, last.flushed):
        scanned = scan(changed)
        if scanned.is_corrupt:
            named += 1
            assert scanned.damaged_line == content.count(b"\n", 0, position) + 1
        else:
            assert [record for record in scanned.records if record["kind"] != "flushed"] == whole

    assert len(content) > 2000
    assert named > last.flushed * 7.5


def test_flipped_bit_in_the_last_mark_costs_nothing_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = run(tmp_path / "j", STEPS, monkeypatch)[-1].written
    flushed = scan(content).flushed

    for position, changed in flips(content, len(content)):
        if position >= flushed:
            assert not scan(changed).is_corrupt
            assert content_records(changed) == content_records(content)


def test_control_that_writes_no_mark_loses_acknowledged_records_silently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "encode_mark", lambda flushed, line: b"")
    moment = run(tmp_path / "j", [30, None, 60, 200, None], monkeypatch)[-1]
    content = moment.written.rstrip(b"\n") + b"\n"

    assert b"flushed" not in content
    assert silently_lost(content, len(moment.durable)) > 500


def test_control_whose_mark_has_no_line_feed_of_its_own_loses_records_silently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = run(tmp_path / "j", [30, None], monkeypatch)[-1].written
    flushed = scan(content).flushed
    joined = content[:flushed] + content[flushed:].lstrip(b"\n")

    assert silently_lost(content, flushed) == 0
    assert silently_lost(joined, flushed) > 0


@pytest.mark.parametrize("steps", [[30, None, 60, 200], STEPS])
def test_journal_cut_at_any_byte_is_that_of_an_earlier_moment(
    steps: list[int | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = run(tmp_path / "j", steps, monkeypatch)[-1].written
    records = scan(content).records

    for length in range(len(content)):
        scanned = scan(content[:length])
        assert not scanned.is_corrupt
        assert scanned.records == records[: len(scanned.records)]
        assert content[scanned.end : length].count(b"\n") == 0
