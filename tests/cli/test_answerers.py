"""Answerers at the terminal: commands run as many at once as --jobs allows, a person sees each prompt."""

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from algocline_mcp.cli.answerers import AnswerFile, Command
from algocline_mcp.cli.person import Person

QUERIES = [{"query_id": f"q-{n}", "prompt": f"prompt {n}", "system": None} for n in range(7)]


@pytest.mark.parametrize("jobs", [1, 3, 20])
def test_as_many_commands_run_at_once_as_jobs_allows(monkeypatch: pytest.MonkeyPatch, jobs: int) -> None:
    running = peak = 0

    async def fake(command: str, *, stdin: Any, **options: Any) -> "subprocess.CompletedProcess[bytes]":
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        running -= 1
        return subprocess.CompletedProcess(command, 0, stdin.read())

    monkeypatch.setattr(anyio, "run_process", fake)

    done = anyio.run(Command("cat", jobs).answer, "p-1", QUERIES)
    assert peak == min(jobs, len(QUERIES))
    assert done.by_query == {query["query_id"]: query["prompt"] for query in QUERIES}


def test_a_person_sees_which_of_several_prompts_it_is_and_what_is_wanted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("one\n\ntwo\n"))
    queries: list[dict[str, Any]] = [
        {"query_id": "q-4", "prompt": "Is it?", "system": "a judge", "grounded": True},
        {"query_id": "q-5", "prompt": "  code\n\twith tabs", "system": None},
    ]

    done = anyio.run(Person().answer, "p-1", queries)
    shown = capsys.readouterr().err
    assert done.by_query == {"q-4": "one", "q-5": "two"}
    assert "── q-4 · 1 of 2 · grounded ──\n[a judge]\nIs it?\n" in shown
    assert "── q-5 · 2 of 2 ──\n  code\n\twith tabs\n" in shown


def test_a_list_of_answers_belongs_to_the_prompts_of_the_session_in_order(tmp_path: Path) -> None:
    file = tmp_path / "answers.json"
    file.write_text('["zero", "one", 2, "three"]')
    answers = AnswerFile(str(file))
    answers.begin(["q-0", "fork/q-0", "q-1"])  # alc continue: q-1 is pending

    first = anyio.run(answers.answer, "p-1", [{"query_id": "q-1", "prompt": ""}])
    second = anyio.run(answers.answer, "p-1", [{"query_id": "q-2", "prompt": ""}])
    third = anyio.run(answers.answer, "p-1", [{"query_id": "q-3", "prompt": "Why?"}])

    assert (first.by_query, second.by_query) == ({"q-1": "2"}, {"q-2": "three"})
    assert third.problem == f"{file} has no answer to q-3: Why?"
    assert answers.leftover() is None


def test_answers_that_no_prompt_asked_for_are_told(tmp_path: Path) -> None:
    file = tmp_path / "answers.json"
    file.write_text('["zero", "one", "two"]')
    answers = AnswerFile(str(file))
    answers.begin([])

    anyio.run(answers.answer, "p-1", [{"query_id": "q-0", "prompt": ""}])

    assert answers.leftover() == f"2 of the 3 answers in {file} were not asked for"


def test_an_empty_answer_of_a_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "answers.json"
    file.write_text('{"q-0": "a", "q-1": "", "q-9": "b"}')
    answers = AnswerFile(str(file))

    done = anyio.run(answers.answer, "p-1", QUERIES[:2])

    assert (done.by_query, done.problem) == ({"q-0": "a"}, f"the answer of {file} to q-1 is empty: prompt 1")
    assert answers.leftover() == f"2 of the 3 answers in {file} were not asked for: q-1, q-9"


@pytest.mark.parametrize("command", ["true", "echo", "printf '  \\n'"])
def test_a_command_that_prints_nothing_gives_no_answer(command: str) -> None:
    done = anyio.run(Command(command, 1).answer, "p-1", QUERIES[:1])

    assert done.by_query == {}
    assert "printed no answer to q-0" in (done.problem or "")
