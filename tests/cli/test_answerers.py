"""A person who answers sees each prompt."""

import io
import sys
from typing import Any

import anyio
import pytest

from algocline_mcp.cli.person import Person


def test_a_person_sees_which_of_several_prompts_it_is_and_what_is_wanted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("one\n\ntwo\n"))
    queries: list[dict[str, Any]] = [
        {"query_id": "q-4", "prompt": "Is it?", "system": "a judge", "grounded": True},
        {"query_id": "q-5", "prompt": "  code\n\twith tabs", "system": None},
    ]

    done = anyio.run(Person().answer, queries)
    shown = capsys.readouterr().err
    assert done.by_query == {"q-4": "one", "q-5": "two"}
    assert "── q-4 · 1 of 2 · grounded ──\n[a judge]\nIs it?\n" in shown
    assert "── q-5 · 2 of 2 ──\n  code\n\twith tabs\n" in shown
