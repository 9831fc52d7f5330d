"""Journals that another program wrote: whatever a field holds, every reader works or names what is wrong."""

import io
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from algocline_mcp.cli.html import html_of
from algocline_mcp.cli.timeline import text_of
from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import AlcError
from algocline_mcp.history.export import export_session, import_session
from algocline_mcp.history.listing import list_unfinished, not_found
from algocline_mcp.history.reader import readable_records, session_of
from algocline_mcp.history.retention import delete_session, scrubbed
from algocline_mcp.history.run_stats import runs
from algocline_mcp.history.views import VIEWS, Page, view_of
from algocline_mcp.pool.branch import Branch, plan
from algocline_mcp.pool.replies import feed_result_to_mcp_json
from algocline_mcp.session.decisions import decide
from algocline_mcp.session.events import Answer, Continue
from algocline_mcp.session.records import SHAPES, Record
from algocline_mcp.session.results import view
from algocline_mcp.session.state import fold
from algocline_mcp.storage import journal, journal_lines
from algocline_mcp.worker.keeper import engine_start
from algocline_mcp.worker.keeper.journaled_session import Content
from tests.rig.journals import answer, final, header, prompt, sid_of, write

LIMITS = Limits()
FOLDER = Path(__file__).parent.parent / "journals" / "0.1.0"
SCRUBBED = scrubbed([header(sid_of(1)), prompt("q-0"), answer("q-0"), final()], "result")
HOSTILE: tuple[Any, ...] = (
    *(None, True, -1, 1.5, 10**18, 10**400, 1e300, "", "x", "a\0b\ud800", "9" * 400, [], {}, [[]], [None], ["x"], [5]),
    *({"x": {}}, {"x": None}, [{}], {"inject": 5}),
)


END: Record = {"kind": "end", "t": 2e9, "stream": "0", "result": {"x": 1}, "stats": {"y": 1}, "spent_s": 0.5}


WAIT: Record = {**prompt("q-0", "q-1"), "wait": True, "wake_s": 5}


def read(path: Path) -> list[Record]:
    return journal.read(path, is_for_host=False)


def journals() -> Iterator[list[Record]]:
    for path in sorted(FOLDER.glob("*.journal")):
        yield read(path)
    yield SCRUBBED
    fork = read(FOLDER / "fork.journal")
    end = [record["kind"] for record in fork].index("fork") + 1
    yield [*fork[:end], END]
    yield [header(sid_of(1)), WAIT, {"kind": "misfit", "t": 2e9, "query_ids": ["q-0"]}]
    yield [header(sid_of(1)), WAIT, answer("q-1"), {"kind": "delivery", "t": 2e9, "answered": [[1, "q-1"]]}]


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Of each field and item; of a list the first item stands for all."""
    if path:
        yield path
    inner = (
        list(value.items())
        if isinstance(value, dict)
        else list(enumerate(value))[:1]
        if isinstance(value, list)
        else []
    )
    for key, part in inner:
        yield from paths(part, (*path, key))


def with_value(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = with_value(value[path[0]], path[1:], new)
    return copy


def cases() -> Iterator[tuple[list[Record], int, tuple[Any, ...]]]:
    """Each field of each kind of record once, in a journal that has it."""
    seen = set()
    for records in journals():
        for index, record in enumerate(records):
            for path in paths(record):
                name = (record["kind"], tuple("#" if isinstance(key, int) else key for key in path))
                if name not in seen and path != ("s",):
                    seen.add(name)
                    yield records, index, path


CASES = list(cases())


@pytest.fixture
def short_root() -> Iterator[Path]:
    """A socket's path has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="alc") as name:
        yield Path(name)


def keep(records: Sequence[Record]) -> None:
    """What a keeper does with the records before its engine starts."""
    session = fold(records)
    content = Content(lambda place: records[place])
    for place, record in enumerate(records):
        content.take(record, place)
    if records[0].get("format") == journal_lines.FORMAT and records[0]["language"] == "lua":
        engine_start.of_strategy(records[0])
    decide(session, Continue((Answer("q-0", "a"),), 2000.0))


def reads(home: Home, sid: str) -> dict[str, Callable[[], object]]:
    """Every reader of a journal."""

    def viewed(name: str) -> None:
        records, _ = readable_records(home, LIMITS, sid)
        json.dumps(view_of(records, name, Page(limit=20), worker="none", now_s=2000.0))

    def status() -> object:
        return feed_result_to_mcp_json(sid, view(session_of(home, LIMITS, sid), now_s=2000.0))

    def other_home() -> object:
        return import_session(
            Home(home.root / "other"), io.BytesIO(b"".join(export_session(home, LIMITS, sid))), LIMITS
        )

    def shown() -> object:
        records, _ = readable_records(home, LIMITS, sid)
        return text_of(records, now_s=2000.0), html_of(records, now_s=2000.0)

    def planned() -> object:
        records, _ = readable_records(home, LIMITS, sid)
        fold(records)
        at = next((query["id"] for record in records for query in record.get("queries", ())), None)
        return [plan(records, branch, LIMITS, now_s=2000.0) for branch in (Branch(at=at), Branch(code="return 1"))]

    by_view = {name: lambda name=name: viewed(name) for name in VIEWS}
    return by_view | {
        "list": lambda: list_unfinished(home, LIMITS, project="/p"),
        "unknown id": lambda: not_found(home, LIMITS, "p-1"),
        "status": status, "import": other_home, "show": shown, "branch": planned, "runs": lambda: runs(home),
        "keeper": lambda: keep(readable_records(home, LIMITS, sid)[0]),
    }  # fmt: skip


def test_the_cases_hold_every_kind_of_record() -> None:
    assert {records[index]["kind"] for records, index, _ in CASES} == set(SHAPES)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(CASES)))
def test_any_value_in_any_field_is_read_or_refused_and_can_be_deleted(number: int, short_root: Path) -> None:
    records, index, path = CASES[number]
    home = Home(short_root)
    home.finished.mkdir(parents=True, exist_ok=True)
    sid = sid_of(1)
    faults = []
    for value in HOSTILE:
        planted = [{**records[0], "sid": sid}, *records[1:]]
        planted[index] = with_value(planted[index], path, value)
        try:
            is_final = any(record.get("kind") == "final" for record in planted)
            write(home.finished_journal(sid) if is_final else home.journal(sid), planted)
        except OverflowError:
            continue
        for name, read in reads(home, sid).items():
            try:
                read()
            except AlcError:
                pass
            except Exception as exc:  # noqa: BLE001  this is what the test looks for
                faults.append((name, path, repr(value)[:40], repr(exc)))
        for there in (home, Home(home.root / "other")):
            delete_session(there, sid)

    assert not faults, faults[:3]
    assert list(short_root.rglob("*.journal")) == []
