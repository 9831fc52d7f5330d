"""The list of sessions: newest first, a page at a time, at the cost of a page."""

import os
import time
from pathlib import Path

import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Refused
from algocline_mcp.history.listing import list_unfinished
from algocline_mcp.pool.dispatch import list_via_pool, stop_via_pool
from algocline_mcp.session.records import Record
from algocline_mcp.storage import journal
from tests.rig.journals import final, header, prompt, sid_of, write
from tests.rig.rig import ASK_TWICE, Rig, run, say, until

LIMITS = Limits()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    for path in (home.pool, home.sessions, home.finished):
        path.mkdir(parents=True, exist_ok=True)
    return home


def fill(home: Home, count: int) -> list[str]:
    sids = [sid_of(n, created_s=1.7e9) for n in range(count)]
    for sid in sids:
        write(home.journal(sid), [header(sid), prompt("q-0")])
    return sids


def test_a_home_without_sessions_lists_nothing_else(home: Home) -> None:
    write(home.finished_journal(sid_of(1)), [header(sid_of(1)), final()])

    assert list_unfinished(home, LIMITS) == {"active_sessions": 0, "sessions": []}


def test_pages_hold_every_session_once_newest_first(home: Home) -> None:
    sids = fill(home, 7)
    seen: list[str] = []
    cursor = None
    while True:
        page = list_unfinished(home, LIMITS, limit=3, cursor=cursor)
        seen += [line["session_id"] for line in page["sessions"]]
        cursor = page.get("cursor")
        if cursor is None:
            break

    assert seen == sids[::-1]


def test_a_session_that_starts_meanwhile_shifts_no_page(home: Home) -> None:
    sids = fill(home, 4)
    first = list_unfinished(home, LIMITS, limit=2)
    write(home.journal(new := sid_of(99)), [header(new)])
    second = list_unfinished(home, LIMITS, limit=2, cursor=first["cursor"])

    assert [line["session_id"] for line in second["sessions"]] == sids[1::-1]
    assert "cursor" not in second


def test_counts_are_of_the_home_and_not_of_the_page(home: Home) -> None:
    sids = fill(home, 5)
    home.socket(sids[0]).touch()
    write(home.finished_journal(sid_of(9)), [header(sid_of(9)), final()])
    page = list_unfinished(home, LIMITS, limit=2)

    assert page["active_sessions"] == 5
    assert page["counts"] == {"unfinished": 5, "live": 1, "finished": 1}
    assert [line["worker"] for line in page["sessions"]] == ["none", "none"]


def test_a_count_of_finished_sessions_is_never_stale(home: Home) -> None:
    fill(home, 1)
    counts = []
    for n in range(5):
        write(home.finished_journal(sid_of(n)), [header(sid_of(n)), final()])
        counts.append(list_unfinished(home, LIMITS)["counts"]["finished"])

    assert counts == [1, 2, 3, 4, 5]


def test_changes_within_one_time_stamp_are_all_counted_and_an_older_count_is_not_taken_again(home: Home) -> None:
    fill(home, 1)
    counts = []
    stamp_ns = time.time_ns()
    for n, age_ns in enumerate((0, 0, 10**10, 10**10)):
        write(home.finished_journal(sid_of(n)), [header(sid_of(n)), final()])
        os.utime(home.finished, ns=(stamp_ns - age_ns, stamp_ns - age_ns))
        counts.append(list_unfinished(home, LIMITS)["counts"]["finished"])

    assert counts == [1, 2, 3, 3]


def test_a_page_folds_as_many_journals_as_it_has_lines(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(home, 50)
    read: list[Path] = []
    original = journal.read

    def counted(path: Path, *, is_for_host: bool = True) -> list[Record]:
        read.append(path)
        return original(path, is_for_host=is_for_host)

    monkeypatch.setattr(journal, "read", counted)
    list_unfinished(home, LIMITS, limit=6)

    assert len(read) == 6


def pages(home: Home, limit: int, project: str | None) -> list[list[str]]:
    """The ids of all pages."""
    listed: list[list[str]] = []
    cursor = None
    while not listed or cursor:
        page = list_unfinished(home, LIMITS, limit=limit, cursor=cursor, project=project)
        listed.append([line["session_id"] for line in page["sessions"]])
        cursor = page.get("cursor")
        assert len(listed) <= 300, "the cursor goes in circles"
    return listed


@pytest.mark.parametrize("limit", [1, 3, 7, 20, 99, 200])
@pytest.mark.parametrize("own", [{5}, {0, 1, 2, 3, 50, 110}, set(range(60, 120)), set(range(120)), set()])
def test_the_projects_own_come_first_and_every_session_once(home: Home, limit: int, own: set[int]) -> None:
    sids = [sid_of(n, created_s=1.7e9) for n in range(120)]
    for n, sid in enumerate(sids):
        write(home.journal(sid), [header(sid, project="/here" if n in own else "/there"), prompt("q-0")])
    listed = pages(home, limit, "/here")

    newest_first = sids[::-1]
    mine = [sid for sid in newest_first[:100] if sids.index(sid) in own]
    assert listed[0] == (mine + [sid for sid in newest_first if sid not in mine])[:limit]
    assert sorted(sid for page in listed for sid in page) == sids
    by_age = [sid for page in listed[1:] for sid in page]
    assert by_age == sorted(by_age, reverse=True)


def test_what_starts_or_ends_between_two_pages_shifts_none(home: Home) -> None:
    sids = [sid_of(n, created_s=1.7e9) for n in range(8)]
    for n, sid in enumerate(sids):
        write(home.journal(sid), [header(sid, project="/here" if n in (1, 6) else None), prompt("q-0")])
    first = list_unfinished(home, LIMITS, limit=3, project="/here")
    home.journal(sids[6]).unlink()
    write(home.journal(new := sid_of(99)), [header(new, project="/here")])
    second = list_unfinished(home, LIMITS, limit=9, cursor=first["cursor"], project="/here")

    assert [line["session_id"] for line in first["sessions"]] == [sids[6], sids[1], sids[7]]
    assert [line["session_id"] for line in second["sessions"]] == [sids[5], sids[4], sids[3], sids[2], sids[0]]


def test_a_finished_journal_that_could_not_be_moved_is_not_listed(home: Home) -> None:
    sids = fill(home, 2)
    write(home.journal(sids[1]), [header(sids[1]), final()])
    page = list_unfinished(home, LIMITS)

    assert [line["session_id"] for line in page["sessions"]] == [sids[0]]
    assert page["active_sessions"] == 1


def test_the_longest_page_is_limited(home: Home) -> None:
    fill(home, 8)

    assert len(list_unfinished(home, Limits(listed_max=5), limit=1000)["sessions"]) == 5


def test_a_cursor_that_no_list_returned_is_refused(home: Home) -> None:
    fill(home, 1)

    with pytest.raises(Refused, match="take it from the previous page"):
        list_unfinished(home, LIMITS, cursor="2")


def test_the_prompt_of_a_line_is_short_and_hides_the_environment(home: Home) -> None:
    sid = sid_of(1)
    asked = prompt("q-0")
    asked["queries"][0]["prompt"] = "Use hunter2hunter2 " + "x" * 200
    write(home.journal(sid), [header(sid, ctx='{"env":{"KEY":"hunter2hunter2"}}'), asked])
    (line,) = list_unfinished(home, LIMITS)["sessions"]

    assert line["prompt"].startswith("Use [hidden] xxx")
    assert len(line["prompt"]) == 80


@pytest.mark.anyio
async def test_hibernated_sessions_show_what_they_wait_for_and_get_no_worker(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        await say(pool, sid, "q-0", "A")
        await stop_via_pool(pool, sid, "hibernate")
        await until(lambda: not rig.workers())
        (line,) = (await list_via_pool(pool))["sessions"]

        assert (line["worker"], line["pending"], line["prompt"]) == ("none", ["q-1"], "second after A")
        assert rig.workers() == []
