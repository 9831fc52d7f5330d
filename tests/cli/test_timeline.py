"""The transcript of a session, as text and as a page: complete, in order, safe to print and to send."""

import html
import html.parser
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from algocline_mcp.cli.html import html_of
from algocline_mcp.cli.timeline import readable, seconds, text_of
from algocline_mcp.config.home import Home
from algocline_mcp.history.views import Page, view_of
from algocline_mcp.session.digests import query_digest
from algocline_mcp.session.records import Record
from algocline_mcp.storage import journal_lines
from algocline_mcp.storage.files import mode_of
from tests.rig.journals import LIMITS

SID = "p-18c2f0a1b2c3d4e5-0123456789abcdef"
HEADER: Record = {
    "kind": "header", "sid": SID, "t": 1000.0, "title": "a <title>", "code": "return 1", "chunk": "strategy",
    "ctx": '{"env":{"KEY":"hunter2-hunter2"}}', "language": "lua", "limits": LIMITS, "parent": None, "format": 1,
    "lib_paths": [], "seed": 1, "utc_offset_s": 0,
}  # fmt: skip


def prompt(t: float, *pairs: tuple[str, str], **options: Any) -> Record:
    queries = []
    for query_id, text in pairs:
        query = {"prompt": text, "system": None, "max_tokens": 9, **options}
        queries.append({"id": query_id, "digest": query_digest(query), **query})
    return {"kind": "prompt", "queries": queries, "t": t}


def answer(t: float, query_id: str, text: str = "", **more: Any) -> Record:
    said = {} if "refuse" in more else {"response": text}
    return {"kind": "answer", "answers": [{"id": query_id, **said, **more}], "t": t}


STORY: list[Record] = [
    HEADER,
    {"kind": "note", "bytes": 1, "level": "info", "message": "begun"},
    {"kind": "effect", "name": "time", "args": [], "result": 1.0, "times": 3},
    prompt(1002.5, ("q-0", "first with hunter2-hunter2"), ("q-1", "second"), system="a judge"),
    answer(1003.0, "q-0", "<b>one</b>", by="alice"),
    answer(1062.5, "q-1", refuse="no idea") | {"revived": True},
    {"kind": "crash", "reason": "ended by SIGSEGV", "t": 1063.0},
    prompt(1063.5, ("q-2", "third")),
    answer(1064.0, "q-2", "three", shared=True),
    {"kind": "final", "status": "completed", "result": {"x": [1]}, "t": 1065.0},
]


def in_order(text: str, *parts: str) -> bool:
    offsets = [text.find(part) for part in parts]
    return -1 not in offsets and offsets == sorted(offsets)


def test_text_tells_the_rounds_in_order_with_who_and_how_long() -> None:
    text = text_of(STORY, now_s=2000.0)

    assert in_order(
        text, "a <title>", "language", "lua", "info: begun",
        "time() × 3", "round 1", "computed 2.5 s", "q-0 asks", "[as: a judge]",
        "first with [hidden]", "alice after 500 ms answers", "<b>one</b>", "q-1 asks", "the host after 60.0 s refuses",
        "no idea", "another worker went on from here", "the engine died: ended by SIGSEGV", "round 2",
        "shared from the parent", "── completed", '"x"',
    )  # fmt: skip
    assert "3 in 2 rounds, 1 shared" in text
    assert "60.5 s waiting for answers" in text
    assert "engine deaths" in text
    assert "revivals" in text


def test_page_tells_the_same_in_the_same_order() -> None:
    page = html_of(STORY, now_s=2000.0)

    assert in_order(
        page, "a &lt;title&gt;", "Round 1", "info: begun", "q-0", "as: a judge", "first with [hidden]",
        "alice after 500 ms", "&lt;b&gt;one", "refuses", "no idea", "Round 2", "another worker", "ended by SIGSEGV",
        "Completed", "The strategy", "return 1",
    )  # fmt: skip


class Tags(html.parser.HTMLParser):
    """Which elements and attributes there are, and whether every element is closed in its turn."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize(
    "hostile", ["<script>alert(1)</script>", '"><img src=x onerror=y>', "</style><a href=x>", "\ud800"]
)
def test_page_needs_nothing_else_and_runs_nothing(hostile: str) -> None:
    said = answer(1001.5, "q-0", hostile, by=hostile)
    end = {"kind": "final", "status": "error", "error": hostile, "t": 1.0}
    story = [{**HEADER, "title": hostile, "code": hostile}, prompt(1001.0, ("q-0", hostile), system=hostile), said, end]
    page = html_of(story)
    tags = Tags(page)

    page.encode()
    assert tags.open == []
    assert not tags.seen & {"script", "img", "link", "a", "iframe"}
    assert tags.attributes <= {"lang", "charset", "name", "content", "class"}
    assert "url(" not in page
    assert "prefers-color-scheme: dark" in page


def test_long_texts_are_cut_in_the_terminal_and_folded_on_the_page() -> None:
    story = [HEADER, prompt(1001.0, ("q-0", "\n".join(f"line {n}" for n in range(400))))]

    assert "line 399" not in text_of(story)
    assert "388 more lines (--full)" in text_of(story)
    assert "line 399" in text_of(story, is_full=True)
    assert "<details>" in html_of(story)
    assert "line 399" in html_of(story)


@pytest.mark.parametrize("text", ["x" * 12_000_000, "x " * 2_000_000, "longer " * 600_000, "日本" * 2_000_000])
def test_long_text_is_wrapped_whole_at_the_width_of_the_terminal(text: str) -> None:
    story = [HEADER, prompt(1001.0, ("q-0", text))]

    began_s = time.process_time()
    shown = text_of(story, width=100, is_full=True)
    took_s = time.process_time() - began_s

    assert took_s < 20  # 0.6 s; quadratic in the text it was 80 s
    _, _, body = shown.partition("q-0 asks\n")
    assert max(map(len, body.splitlines())) <= 100
    assert "".join(body.split()).startswith("".join(text.split()))


@pytest.mark.parametrize(
    ("records", "last"),
    [
        ([prompt(1001.0, ("q-0", "p"))], "waits for q-0"),
        ([], "running, unfinished"),
        ([{"kind": "final", "status": "cancelled", "t": 1003.0}], "cancelled"),
    ],
)
def test_the_last_word_is_how_it_stands(records: list[Record], last: str) -> None:
    assert last in text_of([HEADER, *records]).splitlines()[-1]
    assert last in html_of([HEADER, *records]).lower()


@pytest.mark.parametrize(("value", "text"), [(0.0, "0 ms"), (1.5, "1.5 s"), (600.0, "10 min"), (9000.0, "2.5 h")])
def test_times_are_told_in_the_unit_that_fits(value: float, text: str) -> None:
    assert seconds(value) == text


@pytest.mark.slow
def test_the_command_shows_text_and_page(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.finished.mkdir(parents=True)
    home.finished_journal(SID).write_bytes(b"".join(journal_lines.encode(each, 0) for each in STORY))

    def alc(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "algocline_mcp", "show", *arguments]
        environ = {**os.environ, "ALC_HOME": str(tmp_path)}
        return subprocess.run(command, capture_output=True, text=True, env=environ, timeout=120, check=False)

    newest, text, page = alc(), alc(SID), alc(SID, "--html", "--out", str(tmp_path / "a.html"))
    unknown, wrong = alc(SID[:-1] + "0"), alc("nonsense")

    assert "round 1" in text.stdout
    assert newest.stdout == text.stdout
    assert (tmp_path / "a.html").read_text().startswith("<!doctype html>")
    assert mode_of(tmp_path / "a.html", 0) == 0o600
    assert page.stdout == f"{tmp_path / 'a.html'}\n"
    assert (unknown.returncode, "not found" in unknown.stderr) == (1, True)
    assert wrong.returncode == 2

    with subprocess.Popen(
        [sys.executable, "-m", "algocline_mcp", "show"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "ALC_HOME": str(tmp_path)},
    ) as command:  # fmt: skip
        assert command.stdout is not None
        command.stdout.close()  # as head does, when it has enough
        assert command.communicate(timeout=120)[1] == b""


FORKED: list[Record] = [
    {**HEADER, "limits": {**LIMITS, "children": 2, "children_max": 2, "children_depth": 1}},
    {"kind": "fork", "strategies": ["cot", "debate"], "first": 0, "on_error": "skip",
     "ctx": {"env": {"PIN": "secret-of-the-fork"}}, "t": 1001.0},
    {"kind": "note", "bytes": 1, "level": "warn", "message": "careful", "stream": "1"},
    {"kind": "prompt", "queries": [
        {"id": "f-0-0", "digest": "d", "prompt": "think of secret-of-the-fork", "system": None, "stream": "0"}
    ], "t": 1002.0, "stream": "0"},
    {"kind": "end", "stream": "1", "error": "boom", "t": 1003.0},
    answer(1004.0, "f-0-0", "thought"),
    {"kind": "end", "stream": "0", "result": "so", "t": 1005.0},
    {"kind": "final", "status": "completed", "result": ["so"], "t": 1005.5},
]  # fmt: skip


@pytest.mark.parametrize("text", [text_of(FORKED, now_s=2000.0), html.unescape(html_of(FORKED, now_s=2000.0))])
def test_children_are_told_by_number_and_name_and_what_they_were_given_stays_hidden(text: str) -> None:
    assert in_order(text, "f-0-0 (cot)", "think of [hidden]", "thought", "[0 cot] completed")
    assert in_order(text, "forks cot as 0, debate as 1", "[1 debate] warn: careful", "[1 debate] error: boom")
    assert "secret-of-the-fork" not in text


def test_page_begins_with_task_context_and_result() -> None:
    ctx = '{"task":"weigh it","pkg":{"name":"p"},"env":{"KEY":"hunter2-hunter2"}}'
    page = html.unescape(html_of([{**HEADER, "ctx": ctx}, *STORY[1:]]))

    assert in_order(page, "Task", "weigh it", "ctx", '"name": "p"', "[hidden]", "Result", '"x"', "Round 1", "Completed")
    assert "hunter2" not in page


def test_page_of_a_failed_session_begins_with_its_error() -> None:
    end = {"kind": "final", "status": "error", "error": "boom at line 3", "t": 1003.0}
    page = html_of([HEADER, prompt(1001.0, ("q-0", "p")), answer(1002.0, "q-0", "a"), end])

    assert in_order(page, "<h2>Error</h2>", "boom at line 3", "Round 1")


def test_page_groups_what_each_child_did() -> None:
    page = html_of(FORKED, now_s=2000.0)

    assert in_order(page, "forks cot as 0", "<summary>0 cot · 1 round</summary>", "f-0-0", "completed</li>",
                    "<summary>1 debate · 0 rounds</summary>", "careful", "boom", "Completed")  # fmt: skip


PHASES: list[Record] = [
    HEADER,
    {"kind": "note", "bytes": 1, "level": "info", "message": "phase: <draft>", "phase": "<draft>"},
    prompt(1001.0, ("q-0", "write"), label="first <try>"),
    answer(1002.0, "q-0", "text"),
    {"kind": "note", "bytes": 1, "level": "info", "message": "phase: check", "phase": "check"},
    prompt(1003.0, ("q-1", "check"), ("q-2", "check")),
    answer(1004.0, "q-1", "fine"),
    answer(1004.0, "q-2", "fine"),
    {"kind": "final", "status": "completed", "result": 1, "t": 1005.0},
]


def test_phases_and_labels_divide_the_text_and_the_page() -> None:
    text, page = text_of(PHASES), html_of(PHASES)

    assert in_order(text, "<draft> (1) · check (2)", "══ <draft>", "q-0 (first <try>) asks", "══ check", "q-1 asks")
    phase, label = html.escape("<draft>"), html.escape("q-0 (first <try>)")
    assert in_order(page, f'<h2 class="phase">{phase}</h2>', label, '<h2 class="phase">check</h2>', "q-1")


def test_questions_about_the_budget_are_left_out() -> None:
    entries = [
        {"kind": "effect", "name": "budget", "args": []},
        {"kind": "effect", "name": "state.get", "args": ["budget"]},
    ]

    assert list(readable(entries)) == entries[1:]


def test_phases_stand_in_the_summary_and_in_the_log() -> None:
    summary = view_of(PHASES, "summary", Page(20), worker="none", now_s=2000.0)
    log = view_of(PHASES, "log", Page(20), worker="none", now_s=2000.0)
    history = view_of(PHASES, "history", Page(20), worker="none", now_s=2000.0)

    assert summary["phases"] == [{"phase": "<draft>", "prompts": 1}, {"phase": "check", "prompts": 2}]
    assert log["log"][0] == {"kind": "log", "level": "info", "message": "phase: <draft>", "phase": "<draft>"}
    assert [item.get("label") for item in history["history"]] == ["first <try>", None, None]
