"""Power cuts, without root: every file that a cut can leave is built and read.

A disk holds what was flushed; of each 4 KiB page written since then it may hold the old content, zeros, or the new
one, whatever it holds of the others; and the length of the file may be any that it had, or any page boundary between.
"""

import os
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from algocline_mcp.storage import journal
from algocline_mcp.storage.journal_lines import encode, scan
from tests.storage.disk import Disk, Moment, adopt, content_records, run

PAGE = 4096


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


@pytest.mark.slow
@pytest.mark.parametrize("first", HEADERS)
def test_power_cut_loses_nothing_acknowledged_and_condemns_no_healthy_journal(
    first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = run(tmp_path / "j", MIXED, monkeypatch, first=first)
    whole = content_records(moments[-1].written)

    count = condemned = 0
    for moment in moments:
        for content in states(moment):
            scanned = scan(content)
            records = [record for record in scanned.records if record["kind"] != "flushed"]
            assert not scanned.is_corrupt
            assert len(records) >= moment.acknowledged
            assert records == whole[: len(records)]
            assert scanned.end >= len(moment.durable)
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
            adopt(fd, path)
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
            opened, records = adopt(fd, path)
            disk.keep()
            disk.play(opened, since)
            opened.close()
        written = content_records(path.read_bytes())
        assert len([each for each in records if each["kind"] != "flushed"]) >= first.acknowledged
        for moment in disk.moments:
            for again in states(moment):
                assert not scan(again).is_corrupt
                assert len(scanned := content_records(again)) >= moment.acknowledged
                assert scanned == written[: len(scanned)], "what was cut off came back between what was written since"
                count += 1

    assert len(torn) > 5
    assert count > 30


def test_cut_while_adopting_takes_the_same_end_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = run(tmp_path / "j", [500, None, 6000, 60], monkeypatch)[-1]

    for number, content in enumerate(states(moment)):
        path = tmp_path / f"{number}"
        path.write_bytes(content)
        fd = os.open(path, os.O_RDWR | os.O_APPEND)
        opened, records = adopt(fd, path)
        opened.close()

        scanned = scan(path.read_bytes())
        assert (scanned.damaged_line, scanned.records) == (None, records)
