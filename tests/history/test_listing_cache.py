"""What a list keeps between two pages is never older than the disk."""

import io
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.history import export, listing_cache
from algocline_mcp.history.listing import list_finished, list_unfinished
from algocline_mcp.storage import journal_lines
from tests.rig.journals import answer, header, prompt, sid_of, write

LIMITS = Limits()
SIDS = [sid_of(n, created_s=1.7e9) for n in range(3)]
NEW = sid_of(9, created_s=1.7e9)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Three sessions that nobody has touched for a minute, and a list that was just read and kept."""
    home = Home(tmp_path)
    for directory in (home.pool, home.sessions, home.finished):
        directory.mkdir(parents=True)
    for sid in SIDS:
        write(home.journal(sid), [header(sid), prompt("q-0")], age_s=60)
    rest(home)
    list_unfinished(home, LIMITS)
    return home


def rest(home: Home) -> None:
    then_s = time.time() - 60
    for directory in (home.sessions, home.finished):
        os.utime(directory, (then_s, then_s))


def lines(home: Home) -> list[tuple[str, str]]:
    return [(line["session_id"], line["status"]) for line in list_unfinished(home, LIMITS)["sessions"]]


def append(home: Home) -> None:
    with home.journal(SIDS[1]).open("ab") as file:
        file.write(journal_lines.encode(answer("q-0"), 0))


def delete(home: Home) -> None:
    home.journal(SIDS[1]).unlink()


def finish(home: Home) -> None:
    os.rename(home.journal(SIDS[1]), home.finished_journal(SIDS[1]))


def import_one(home: Home) -> None:
    content = b"".join(journal_lines.encode(record, 0) for record in (header(NEW), prompt("q-0")))
    export.import_session(home, io.BytesIO(content), LIMITS)


def replace_by_the_same_size_and_time(home: Home) -> None:
    """As a restored copy is, its last line damaged: only the inode is new."""
    path = home.journal(SIDS[1])
    before = path.stat()
    content = path.read_bytes()
    draft = path.with_suffix(".draft")
    draft.write_bytes(content[:-10] + b"!" + content[-9:])
    os.utime(draft, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(draft, path)
    rest(home)


def write_in_place(home: Home) -> None:
    path = home.journal(SIDS[1])
    path.write_bytes(b"x" * path.stat().st_size)


CHANGES: dict[str, tuple[Callable[[Home], None], list[tuple[str, str]]]] = {
    "append": (append, [(SIDS[2], "needs_response"), (SIDS[1], "running"), (SIDS[0], "needs_response")]),
    "delete": (delete, [(SIDS[2], "needs_response"), (SIDS[0], "needs_response")]),
    "finish": (finish, [(SIDS[2], "needs_response"), (SIDS[0], "needs_response")]),
    "import": (import_one, [(sid, "needs_response") for sid in (NEW, *reversed(SIDS))]),
    "replaced": (
        replace_by_the_same_size_and_time,
        [(SIDS[2], "needs_response"), (SIDS[1], "running"), (SIDS[0], "needs_response")],
    ),
    "in place": (write_in_place, [(SIDS[2], "needs_response"), (SIDS[0], "needs_response")]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_kept_page_shows_the_next_change(home: Home, name: str) -> None:
    change, after = CHANGES[name]
    before = lines(home)
    change(home)

    assert before == [(sid, "needs_response") for sid in reversed(SIDS)]
    assert lines(home) == after


def test_a_quiet_page_reads_no_journal_and_no_directory_but_that_of_the_sockets(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[Path] = []
    original = os.listdir

    def counted(path: Path) -> list[str]:
        listed.append(path)
        return original(path)

    monkeypatch.setattr(os, "listdir", counted)
    monkeypatch.setattr(os, "open", None)
    list_unfinished(home, LIMITS)

    assert listed == [home.pool]


def test_a_worker_that_starts_or_ends_is_seen_in_a_kept_page(home: Home) -> None:
    workers = []
    for change in (home.socket(SIDS[0]).touch, home.socket(SIDS[0]).unlink):
        change()
        page = list_unfinished(home, LIMITS)
        workers.append((page["sessions"][-1]["worker"], page["counts"]["live"]))

    assert workers == [("live", 1), ("none", 0)]


@pytest.mark.parametrize("during", ["names", "line"])
def test_a_change_within_the_tick_of_the_look_is_not_missed(
    home: Home, monkeypatch: pytest.MonkeyPatch, during: str
) -> None:
    """The worst case of coarse time stamps: directory and journal have the same time before and after the change."""
    tick_ns = time.time_ns()
    new = sid_of(9, created_s=1.7e9)
    seen: list[list[list[str]]] = []
    for records in ([header(new), prompt("q-0")], [header(new), prompt("q-1")]):
        if during == "line" or seen:
            write(home.journal(new), records)
            os.utime(home.journal(new), ns=(tick_ns, tick_ns))
        os.utime(home.sessions, ns=(tick_ns, tick_ns))
        listed = list_unfinished(home, LIMITS)["sessions"]
        seen.append([line["pending"] for line in listed if line["session_id"] == new])

    assert seen == [[["q-0"]] if during == "line" else [], [["q-1"]]]


def test_time_that_a_slow_look_takes_does_not_make_its_time_stamp_an_old_one(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory changes within the tick of its last change, after its names were read; the look ends much later."""
    now_ns = [time.time_ns()]
    original = os.listdir
    monkeypatch.setattr(time, "time_ns", lambda: now_ns[0])

    def slow(path: Path) -> list[str]:
        names = original(path)
        now_ns[0] += 10**10
        return names

    os.utime(home.finished, ns=(now_ns[0], now_ns[0]))
    monkeypatch.setattr(os, "listdir", slow)
    stamp_ns = now_ns[0]
    before = list_finished(home, LIMITS)["finished_sessions"]
    write(home.finished_journal(SIDS[0]), [header(SIDS[0])])
    os.utime(home.finished, ns=(stamp_ns, stamp_ns))

    assert (before, list_finished(home, LIMITS)["finished_sessions"]) == (0, 1)


def test_lines_that_are_kept_are_limited_in_number_and_size(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    listing_cache.clear()
    monkeypatch.setattr(listing_cache, "_LINES", 2)
    list_unfinished(home, LIMITS)
    number = len(listing_cache._lines)
    monkeypatch.setattr(listing_cache, "_LINE_BYTES", 10)
    listing_cache.clear()
    list_unfinished(home, LIMITS)

    assert (number, len(listing_cache._lines)) == (2, 0)
