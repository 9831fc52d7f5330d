"""docs/sessions.md says what the code does: each table of the page, row by row, against the code's tables."""

import re
from pathlib import Path

import pytest

from algocline_mcp.session.decisions import REPLIES, Reply
from algocline_mcp.session.results import STATUSES, status_of
from algocline_mcp.session.state import TRANSITIONS, Phase
from tests.docs.markdown import table_of
from tests.session import histories, rows

PAGE = (Path(__file__).parents[2] / "docs" / "sessions.md").read_text()
CALLS = {"continue": "continue", "continue without an answer": "bare", "status": "status", "cancel": "cancel"}


def table(*heads: str) -> list[list[str]]:
    return table_of(PAGE, *heads)


def test_phases_are_all_explained() -> None:
    assert [row[0] for row in table("phase", "what it means")] == list(Phase)


def test_replies_stand_as_in_the_code() -> None:
    on_the_page = {(row[0], CALLS[row[1]]): row[2] for row in table("phase", "call", "reply")}

    assert on_the_page == {key: reply.value for key, reply in REPLIES.items()}
    assert len(table("phase", "call", "reply")) == len(REPLIES)


def test_words_of_the_replies_are_all_explained() -> None:
    assert re.findall(r"^- `(\w+)`:", PAGE, re.MULTILINE) == [reply.value for reply in Reply]


@pytest.mark.parametrize("row", table("phase", "call", "reply"), ids=lambda row: f"{row[0]}-{row[1]}")
def test_reply_names_what_the_host_gets_and_what_to_do(row: list[str]) -> None:
    phase, _, reply, gets, then = row
    starts = {
        "running": histories.running,
        "paused": histories.paused,
        "finished": histories.completed,
        "stuck": histories.stuck,
    }
    named = {
        "reject_empty": "*Either 'response' or 'responses' must be provided*",
        "cancel": "`cancelled`",
        "retry": "`error_code: crash_loop`",
    }
    named["report"] = f"`{status_of(starts[phase]().session)}`"

    if reply in named and not gets.startswith("the same as status"):
        assert named[reply] in gets
    assert then


def test_statuses_stand_as_in_the_code() -> None:
    assert {row[0]: tuple(row[1:]) for row in table("the session is", "status")} == STATUSES


def test_transitions_stand_as_in_the_code() -> None:
    on_the_page = {(row[0], row[1]): set(re.findall(r"\w+", row[2])) for row in table("phase", "record", "then")}

    assert set(on_the_page) == set(TRANSITIONS)
    assert len(table("phase", "record", "then")) == len(TRANSITIONS)
    for key, value in TRANSITIONS.items():
        reached = {str(row.after) for row in rows.TRANSITIONS if row.row == key}
        assert on_the_page[key] == reached, key
        assert callable(value) or on_the_page[key] == {str(value)}, key
