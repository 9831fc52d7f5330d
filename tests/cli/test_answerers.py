"""Answerers at the terminal: commands run as many at once as --jobs allows, a person sees each prompt."""

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from algocline_mcp.cli.answerers import AnswerFile, Command, InteractiveAnswerer

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

    done = anyio.run(InteractiveAnswerer().answer, "p-1", queries)
    shown = capsys.readouterr().err
    assert done.by_query == {"q-4": "one", "q-5": "two"}
    assert "── q-4 · 1 of 2 · grounded ──\n[a judge]\nIs it?\n" in shown
    assert "── q-5 · 2 of 2 ──\n  code\n\twith tabs\n" in shown


@pytest.mark.parametrize(
    ("content", "asked", "answers", "problem", "unused"),
    [
        ('["a", "b", "c"]', 1, {"q-0": "a"}, None, "2 of the answers in FILE were not asked for"),
        ('["a", 9]', 2, {"q-0": "a", "q-1": "9"}, None, ""),
        ('{"q-0": "a", "q-00": "b"}', 1, {"q-0": "a"}, None, "1 of the answers in FILE were not asked for: q-00"),
        ('["a"]', 2, {"q-0": "a"}, "FILE has no answer to q-1: prompt 1", ""),
        ('["a", "", "c"]', 2, {"q-0": "a"}, "the answer of FILE to q-1 is empty: prompt 1", "1 of the answers in FILE"),
    ],
)
def test_a_file_says_which_answers_are_missing_empty_or_unused(
    tmp_path: Path, content: str, asked: int, answers: dict[str, str], problem: str | None, unused: str
) -> None:
    path = tmp_path / "answers.json"
    path.write_text(content)
    file = AnswerFile(str(path))

    done = anyio.run(file.answer, "p-1", QUERIES[:asked])
    assert done.by_query == answers
    assert (done.problem or "").replace(str(path), "FILE") == (problem or "")
    assert file.unused().replace(str(path), "FILE").startswith(unused)
    assert bool(file.unused()) == bool(unused)


def test_a_command_that_prints_nothing_has_not_answered() -> None:
    done = anyio.run(Command("true", 1).answer, "p-1", QUERIES[:1])

    assert done.by_query == {}
    assert done.problem == "the command printed no answer to q-0"
