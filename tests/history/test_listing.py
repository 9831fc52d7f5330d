"""The list of sessions: newest first, a page at a time, at the cost of a page."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Refused
from algocline_mcp.history import listing
from algocline_mcp.history.listing import list_unfinished
from algocline_mcp.pool.dispatch import list_via_pool, stop_via_pool
from algocline_mcp.session.records import Record
from algocline_mcp.session.results import line_of
from algocline_mcp.session.state import Session, evolve
from algocline_mcp.storage import journal, journal_lines
from tests.rig.journals import answer, answered, final, header, prompt, sid_of, write
from tests.rig.rig import ASK_TWICE, Rig, run, say, until

LIMITS = Limits()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    for path in (home.pool, home.sessions, home.finished):
        path.mkdir(parents=True, exist_ok=True)
    return home


ASK_LONG = 'alc.llm("first") return alc.llm("and now?")'


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


def test_sessions_that_have_just_ended_leave_no_gap_in_a_page(home: Home) -> None:
    sids = fill(home, 8)
    for ended in (0, 3, 4, 6, 7):
        write(home.journal(sids[ended]), [header(sids[ended]), prompt("q-0"), answer("q-0"), final()])
    first = list_unfinished(home, LIMITS, limit=2)
    second = list_unfinished(home, LIMITS, limit=2, cursor=first["cursor"])

    assert [line["session_id"] for line in first["sessions"]] == [sids[5], sids[2]]
    assert [line["session_id"] for line in second["sessions"]] == [sids[1]]
    assert first["counts"]["unfinished"] == 8 - 4  # the fifth that has ended was not looked at
    assert "cursor" not in second


def test_counts_are_of_the_home_and_not_of_the_page(home: Home) -> None:
    sids = fill(home, 5)
    home.socket(sids[0]).touch()
    write(home.finished_journal(sid_of(9)), [header(sid_of(9)), final()])
    page = list_unfinished(home, LIMITS, limit=2)

    assert page["active_sessions"] == 5
    assert page["counts"] == {"unfinished": 5, "live": 1, "finished": 1}
    assert [line["worker"] for line in page["sessions"]] == ["none", "none"]


def test_a_worker_of_a_session_that_has_ended_does_not_count_as_live(home: Home) -> None:
    """It stays for a moment, in which its journal is archived."""
    sids = fill(home, 4)
    write(home.journal(sids[3]), [header(sids[3]), prompt("q-0"), answer("q-0"), final()])
    write(home.finished_journal(sid_of(9)), [header(sid_of(9)), final()])
    for sid in (sids[0], sids[2], sids[3], sid_of(9), "p-0", sids[1][:-1]):
        home.socket(sid).touch()

    assert list_unfinished(home, LIMITS)["counts"] == {"unfinished": 3, "live": 2, "finished": 1}


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
    original = journal.stream

    def counted(path: Path, *, is_for_host: bool = True) -> Iterator[Record]:
        read.append(path)
        return original(path, is_for_host=is_for_host)

    monkeypatch.setattr(journal, "stream", counted)
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


LONG = "x" * 40_000


def write_long(home: Home, *, marks: bool, last: list[Record] | None = None) -> str:
    """A journal of 400 kB that waits for q-10, as a keeper of this version or of 0.1.0 writes it."""
    sid, session = sid_of(1, created_s=1.7e9), Session()
    content = b""
    for record in [*answered(sid, 10, text=LONG), prompt("q-10")]:
        content += journal_lines.encode(record, len(content))
        evolve(session, record)
        line = line_of(session, hides=False) if marks and len(content) > journal.SHORT_BYTES else None
        content += journal_lines.encode_mark(len(content), line)
    for record in last or ():
        content += journal_lines.encode(record, len(content))
    home.journal(sid).write_bytes(content)
    return sid


def test_a_long_journal_has_the_same_line_by_its_last_mark_as_by_all_records(home: Home) -> None:
    write_long(home, marks=False)
    (by_records,) = list_unfinished(home, LIMITS)["sessions"]
    write_long(home, marks=True)
    (by_mark,) = list_unfinished(home, LIMITS)["sessions"]

    assert by_mark == by_records
    assert (by_mark["pending"], by_mark["prompt"]) == (["q-10"], "prompt of q-10")


def test_of_a_long_journal_only_the_end_is_read(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    sid = write_long(home, marks=True)
    monkeypatch.setattr(journal, "stream", None)
    (line,) = list_unfinished(home, LIMITS)["sessions"]

    assert (line["session_id"], line["status"]) == (sid, "needs_response")


def test_records_behind_the_last_mark_do_not_hide_it(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    write_long(home, marks=True, last=[answer("q-10", LONG)])
    monkeypatch.setattr(journal, "stream", None)
    (line,) = list_unfinished(home, LIMITS)["sessions"]

    assert line["status"] == "needs_response"  # what the host has seen last


def test_a_line_that_an_older_version_has_outdated_is_not_used(home: Home) -> None:
    """A worker of 0.1.0 writes marks without a line."""
    sid = write_long(home, marks=True)
    content = home.journal(sid).read_bytes()
    content += journal_lines.encode(answer("q-10"), len(content))
    home.journal(sid).write_bytes(content + journal_lines.encode_mark(len(content)))
    (line,) = list_unfinished(home, LIMITS)["sessions"]

    assert line["status"] == "running"


def test_long_journals_without_such_marks_are_read_as_far_as_a_page_has_room(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "_PAGE_ROOM_BYTES", 100_000)
    sid = write_long(home, marks=False)
    (line,) = list_unfinished(home, LIMITS)["sessions"]

    assert (line["session_id"], line["status"]) == (sid, "unknown")
    assert "alc_status" in line["next"]


def test_a_mark_with_a_line_of_another_form_is_not_believed(home: Home) -> None:
    sid = write_long(home, marks=False)
    content = home.journal(sid).read_bytes()
    home.journal(sid).write_bytes(content + journal_lines.encode_mark(len(content), {"status": 5}))
    (line,) = list_unfinished(home, LIMITS)["sessions"]

    assert (line["status"], line["error_code"]) == ("error", "corrupt")


def test_a_line_is_remembered_until_its_journal_changes(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    sid = sid_of(1)
    write(home.journal(sid), [header(sid), prompt("q-0")], age_s=60)
    before = list_unfinished(home, LIMITS)
    with monkeypatch.context() as patch:
        patch.setattr(journal, "stream", None)
        again = list_unfinished(home, LIMITS)
    write(home.journal(sid), [header(sid), prompt("q-0"), answer("q-0")])
    after = list_unfinished(home, LIMITS)

    assert before == again
    assert [page["sessions"][0]["status"] for page in (before, after)] == ["needs_response", "running"]


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.parametrize(("code", "prompt_shown"), [(ASK_LONG, "and now?"), ('os.getenv("HOME") ' + ASK_LONG, None)])
async def test_a_worker_writes_the_line_of_a_long_session_into_its_marks(
    rig: Rig, code: str, prompt_shown: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, code)
        await say(pool, sid, "q-0", "x" * 300_000)
        monkeypatch.setattr(journal, "stream", None)
        (line,) = (await list_via_pool(pool))["sessions"]

    assert (line["session_id"], line["pending"], line.get("prompt")) == (sid, ["q-1"], prompt_shown)
