"""Power cuts and flipped bits, without root: every file that a cut or a flip can leave is built and read.

A disk holds what was flushed; of each 4 KiB page written since then it may hold the old content, zeros, or the new
one, whatever it holds of the others; and the length of the file may be any that it had, or any page boundary between.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest

from algocline_mcp.session.records import Record
from algocline_mcp.storage import journal
from algocline_mcp.storage.journal import Journal
from algocline_mcp.storage.journal_lines import encode, scan

PAGE = 4096


@dataclass(frozen=True)
class Moment:
    """Between two writes: what the disk holds for sure, its old content behind that, what the file holds, and how
    many records were acknowledged."""

    durable: bytes
    old: bytes
    written: bytes
    acknowledged: int


def states(moment: Moment) -> Iterator[bytes]:
    """Every file that a cut at this moment can leave."""
    durable, written = moment.durable, moment.written
    start = len(durable)
    end = max(len(written), len(moment.old))
    old = moment.old.ljust(end, b"\0")
    first = start // PAGE
    pages = []
    for number in range(first, -(-end // PAGE)):
        begin, stop = max(start, number * PAGE), min(end, (number + 1) * PAGE)
        new = written[begin:stop].ljust(stop - begin, b"\0")
        pages.append({old[begin:stop], bytes(stop - begin), new})
    assert len(pages) <= 12, "more states than can be built"
    lengths = {start, len(moment.old), len(written), *range(-(-start // PAGE) * PAGE, end + 1, PAGE)}
    for length in lengths:
        tail = {b"".join(chosen)[: length - start] for chosen in product(*pages)}
        yield from (durable + each for each in tail)


def content_records(content: bytes) -> list[Record]:
    """Without the marks, which are never acknowledged."""
    return [record for record in scan(content).records if record["kind"] != "flushed"]


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


# The sizes put ends of lines, marks and flushed lengths before, at and behind page boundaries.
MIXED: list[int | None] = [
    *(200, None, 900, 2000, None, 300, 9000, None, 40, 40, 8000, 6000, 50, None),
    *(12_000, 700, 9000, 3000, 5000, 3000),
]
HEADERS = [100, 2400, PAGE - 60, PAGE - 59, PAGE - 58, PAGE - 57, PAGE - 56, PAGE - 55, 3 * PAGE - 400]
FITTING = PAGE - 5 - len(encode({"kind": "effect", "n": 0, "args": [""]}, PAGE))


def is_condemned_by_tearing_alone(content: bytes) -> bool:
    """The simpler rule, as a control: only a last line without its line feed is a trace of a cut."""
    whole = content[: content.rfind(b"\n") + 1]
    return scan(whole).damaged_line is not None


@pytest.mark.parametrize("first", HEADERS)
def test_power_cut_loses_nothing_acknowledged_and_condemns_no_healthy_journal(
    first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = run(tmp_path / "j", MIXED, monkeypatch, first=first)
    whole = content_records(moments[-1].written)

    count = condemned = 0
    for moment in moments:
        for content in states(moment):
            found = scan(content)
            records = [record for record in found.records if record["kind"] != "flushed"]
            assert not found.is_corrupt
            assert len(records) >= moment.acknowledged
            assert records == whole[: len(records)]
            assert found.end >= len(moment.durable)
            count += 1
            condemned += is_condemned_by_tearing_alone(content)

    assert count > 1000
    assert condemned > 100, "the control condemns none: these states prove nothing"


def test_line_that_ends_with_its_page_is_cut_off_with_what_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = run(tmp_path / "j", [None, *[FITTING] * 4], monkeypatch)
    whole = content_records(moments[-1].written)

    lengths = set()
    for content in states(moments[-1]):
        records = content_records(content)
        assert not scan(content).is_corrupt
        assert records == whole[: len(records)]
        lengths.add(len(records))

    assert lengths == {1, 2, 3, 4, 5}


class _Died(BaseException):
    """Of a keeper, at a call of the system."""


def die_in_adopting(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner that cuts the tail off and is killed before that is on the disk."""

    def die(fd: int) -> None:
        raise _Died

    fd = os.open(path, os.O_RDWR | os.O_APPEND)
    with monkeypatch.context() as patch:
        patch.setattr(journal, "_flush_file", die)
        with pytest.raises(_Died):
            Journal.adopt(fd, path)
    os.close(fd)


# LineBuffer as long as a page, from a page's beginning on: those that a replay writes again end where old ones begin.
PAGE_LINE = PAGE - len(encode({"kind": "effect", "n": 0, "args": [""]}, PAGE))
PAGE_HEADER = PAGE - len(encode({"kind": "header", "code": ""}, 0)) - len(b"\n" + encode({"kind": "flushed"}, PAGE))


@pytest.mark.parametrize("deaths", [0, 1, 2])
@pytest.mark.parametrize(
    ("header", "lost", "since"),
    [
        (100, [500, None, 60, 5000, 3000, 60], [70, 4000, None, 80]),
        (PAGE_HEADER, [None, *[PAGE_LINE] * 3], [PAGE_LINE]),
    ],
    ids=["other lines", "lines as long"],
)
def test_second_cut_finds_the_first_recovery_unfinished(
    deaths: int,
    header: int,
    lost: list[int | None],
    since: list[int | None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a cut the new owner cuts the tail off and writes on; the disk may still hold what was cut off."""
    first = run(tmp_path / "j", lost, monkeypatch, first=header)[-1]
    torn = [content for content in states(first) if scan(content).damaged_line is not None]

    count = 0
    for number, content in enumerate(torn):
        path = tmp_path / f"{number}"
        path.write_bytes(content)
        for _ in range(deaths):
            die_in_adopting(path, monkeypatch)
        with monkeypatch.context() as patch:
            disk = Disk(path, patch)
            disk.durable, disk.old, disk.acknowledged = first.durable, content, first.acknowledged
            fd = os.open(path, os.O_RDWR | os.O_APPEND)
            opened, records = Journal.adopt(fd, path)
            disk.keep()
            disk.play(opened, since)
            opened.close()
        written = content_records(path.read_bytes())
        assert len([each for each in records if each["kind"] != "flushed"]) >= first.acknowledged
        for moment in disk.moments:
            for again in states(moment):
                assert not scan(again).is_corrupt
                assert len(found := content_records(again)) >= moment.acknowledged
                assert found == written[: len(found)], "what was cut off came back between what was written since"
                count += 1

    assert len(torn) > 5
    assert count > 30


def test_cut_while_adopting_takes_the_same_end_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = run(tmp_path / "j", [500, None, 6000, 60], monkeypatch)[-1]

    for number, content in enumerate(states(moment)):
        path = tmp_path / f"{number}"
        path.write_bytes(content)
        fd = os.open(path, os.O_RDWR | os.O_APPEND)
        opened, records = Journal.adopt(fd, path)
        opened.close()

        found = scan(path.read_bytes())
        assert (found.damaged_line, found.records) == (None, records)


# ── flipped bits ──────────────────────────────────────────────────────────────────────────────────────────

STEPS: list[int | None] = [30, None, 60, 200, None, 40, 300, 10, None, 900, None]


def flips(content: bytes, stop: int) -> Iterator[tuple[int, bytes]]:
    """Every content that differs in one bit below `stop`, with the place of the bit."""
    for place in range(stop):
        for bit in range(8):
            changed = bytearray(content)
            changed[place] ^= 1 << bit
            yield place, bytes(changed)


def silently_lost(content: bytes, stop: int) -> int:
    """How many flips make acknowledged records vanish without a word."""
    whole = content_records(content)
    return sum(
        not scan(changed).is_corrupt and content_records(changed) != whole for _, changed in flips(content, stop)
    )


def test_every_flipped_bit_below_the_last_mark_is_named_or_harmless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = run(tmp_path / "j", STEPS, monkeypatch)[-1].written
    last = scan(content)
    whole = content_records(content)

    named = 0
    for place, changed in flips(content, last.flushed):
        found = scan(changed)
        if found.is_corrupt:
            named += 1
            assert found.damaged_line == content.count(b"\n", 0, place) + 1
        else:
            assert [record for record in found.records if record["kind"] != "flushed"] == whole

    assert len(content) > 2000
    assert named > last.flushed * 7.5


def test_flipped_bit_in_the_last_mark_costs_nothing_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = run(tmp_path / "j", STEPS, monkeypatch)[-1].written
    flushed = scan(content).flushed

    for place, changed in flips(content, len(content)):
        if place >= flushed:
            assert not scan(changed).is_corrupt
            assert content_records(changed) == content_records(content)


def test_control_that_writes_no_mark_loses_acknowledged_records_silently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "encode_mark", lambda flushed: b"")
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
        found = scan(content[:length])
        assert not found.is_corrupt
        assert found.records == records[: len(found.records)]
        assert content[found.end : length].count(b"\n") == 0
