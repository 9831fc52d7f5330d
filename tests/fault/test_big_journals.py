"""Sessions of the largest size that the limits allow, and of very many records: what looks at them stays small and
answers within its deadline, whoever wrote them."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from algocline_mcp.cli.demo import Server
from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import MIB
from algocline_mcp.errors import Refused
from algocline_mcp.storage import journal_lines
from tests.rig.journals import LIMITS, answer, header, prompt, sid_of

SESSIONS = 12
JOURNAL_BYTES = 228 * MIB
GROWTH_MIB = 32  # holding all records of one such journal took 244
MANY_BYTES = 12 * MIB  # as effects, and as much as prompts and answers
HANG_S = 120.0
MEASURE = """
import resource, sys, tempfile
from pathlib import Path
from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.history import export, listing, reader, retention, views
from algocline_mcp.cli import html, timeline
from algocline_mcp.errors import Refused
from algocline_mcp.pool import branch

def one(home):
    return min(home.sessions.glob("p-*")).stem

def records(home):
    return reader.readable_records(home, Limits(), one(home))[0]

def view(home, name):
    return views.view_of(records(home), name, views.Page(20), worker="none", now_s=2000.0)

def planned(home, **change):
    try:
        return branch.plan(records(home), branch.Branch(**change), Limits(inherited_bytes=8 << 20), now_s=2000.0)
    except Refused as exc:
        return exc.code

def imported(home, limits):
    with tempfile.TemporaryDirectory() as name, export.open_file(home.journal(one(home)), limits) as file:
        return export.import_session(Home(Path(name)), file, limits)[1]

home = Home(Path(sys.argv[1]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
shown = {read}
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(grown // (1024 if sys.platform == "linux" else 1 << 20), shown)
"""


@pytest.fixture(scope="module")
def big() -> Iterator[Home]:
    """A home of many names of one journal, which version 0.1.0 wrote: its marks hold no line of the list."""
    with tempfile.TemporaryDirectory(prefix="alc") as name:
        home = Home(Path(name))
        home.finished.mkdir(parents=True)
        path = home.journal(sid := sid_of(0))
        with open(path, "wb") as file:
            size = file.write(journal_lines.encode(header(sid, limits={**LIMITS, "answer_bytes": 4 * MIB}), 0))
            number = 0
            while size < JOURNAL_BYTES:
                size += file.write(journal_lines.encode(prompt(f"q-{number}"), size))
                size += file.write(journal_lines.encode_mark(size))
                size += file.write(journal_lines.encode(answer(f"q-{number}", "said " * 700_000), size))
                size += file.write(journal_lines.encode_mark(size))
                number += 1
        for other in range(1, SESSIONS):
            home.journal(sid_of(other)).hardlink_to(path)
        yield home


@pytest.mark.slow
@pytest.mark.parametrize(
    ("read", "shown"),
    [
        ('len(listing.list_unfinished(home, Limits())["sessions"])', str(SESSIONS)),
        ('listing.not_found(home, Limits(), "p-1")[:11]', "Session 'p-"),
        ("reader.session_of(home, Limits(), one(home)).phase", "running"),
        (
            "sum(map(len, export.export_session(home, Limits(), one(home)))) > 228 << 20",
            "True",
        ),
        ('view(home, "summary")["status"]', "running"),
        ('len(view(home, "history")["history"])', "1"),
        ('view(home, "log")["total"]', "0"),
        ('view(home, "code")["total"] > 0', "True"),
        ("sum(map(len, timeline.lines_of(records(home), is_full=True))) > 220 << 20", "True"),
        ("sum(map(len, html.parts_of(records(home)))) > 220 << 20", "True"),
        ('sum(1 for _ in branch.records_before(records(home), "q-60")) > 100', "True"),
        ('planned(home, code="return 1")', "too_large"),
        ("imported(home, Limits())", "running"),
        ("imported(home, Limits(strikes=2))", "running"),
    ],
    ids=[
        *("list", "unknown id", "status", "export"),
        *("view summary", "view history", "view log", "view code", "show", "show --html"),
        *("branch", "branch by prompt", "import", "import with lower limits"),
    ],
)
def test_memory_of_a_look_does_not_grow_with_the_journal(big: Home, read: str, shown: str) -> None:
    command = [sys.executable, "-c", MEASURE.replace("{read}", read), str(big.root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=True)
    grown_mib, _, output = done.stdout.strip().partition(" ")

    assert output == shown
    assert int(grown_mib) < GROWTH_MIB


@pytest.fixture(scope="module")
def many() -> Iterator[Home]:
    """A home of one session of many short records, without marks."""
    with tempfile.TemporaryDirectory(prefix="alc") as name:
        home = Home(Path(name))
        home.finished.mkdir(parents=True)
        effect = journal_lines.encode({"kind": "effect", "name": "time", "args": [], "result": 1.5}, 0)
        with open(home.journal(sid := sid_of(0)), "wb") as file:
            size = file.write(journal_lines.encode(header(sid), 0)) + file.write(effect * (MANY_BYTES // len(effect)))
            number = 0
            while size < 2 * MANY_BYTES:
                for record in (prompt(f"q-{number}"), answer(f"q-{number}")):
                    size += file.write(journal_lines.encode(record, 0))
                number += 1
        yield home


@pytest.mark.slow
@pytest.mark.parametrize(
    ("read", "shown"),
    [
        ('view(home, "summary")["status"]', "running"),
        ('view(home, "history")["total"] > 40_000', "True"),
        ('view(home, "log")["total"]', "0"),
        ("sum(map(len, timeline.lines_of(records(home), is_full=True))) > 1 << 20", "True"),
        ("sum(map(len, html.parts_of(records(home)))) > 1 << 20", "True"),
    ],
    ids=["view summary", "view history", "view log", "show", "show --html"],
)
def test_memory_of_a_look_does_not_grow_with_the_number_of_records(many: Home, read: str, shown: str) -> None:
    test_memory_of_a_look_does_not_grow_with_the_journal(many, read, shown)


@pytest.fixture
def planted(big: Home) -> Iterator[Home]:
    """A home of its own, for a server, with the one long session."""
    with tempfile.TemporaryDirectory(prefix="alc") as name:
        home, path = Home(Path(name)), min(big.sessions.glob("p-*"))
        home.sessions.mkdir(parents=True)
        home.journal(path.stem).hardlink_to(path)
        yield home


@pytest.mark.slow
def test_a_running_server_shows_an_old_long_journal(planted: Home) -> None:
    (sid,) = (path.stem for path in planted.sessions.glob("p-*"))

    with Server.start(planted, ALC_GRACE_S=str(HANG_S), ALC_WARMUP_RUNS="1") as server:  # it takes a second
        summary = server.call("alc_status", session_id=sid, view="summary")
        first = server.call("alc_status", session_id=sid, view="history")
        second = server.call("alc_status", session_id=sid, view="history", cursor=first["cursor"])

    assert summary["status"] == "running"
    assert first["history"][0]["query_id"] == second["history"][0]["query_id"] == "q-0"
    assert first["cursor"] != second["cursor"]


@pytest.mark.slow
def test_a_look_that_takes_too_long_is_answered_at_its_deadline(planted: Home) -> None:
    (sid,) = (path.stem for path in planted.sessions.glob("p-*"))

    with (
        Server.start(planted, ALC_GRACE_S="0.05", ALC_WARMUP_RUNS="1") as server,
        pytest.raises(Refused, match=r"has not|within|again"),
    ):
        server.call("alc_status", session_id=sid, view="history")
