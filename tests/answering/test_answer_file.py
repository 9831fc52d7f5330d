"""Answers that a person wrote into a file."""

from pathlib import Path

import anyio
import pytest

from algocline_mcp.answering.answer_file import AnswerFile
from algocline_mcp.answering.prompts import NoAnswer, Numbering
from algocline_mcp.errors import Refused


def test_a_list_of_answers_belongs_to_the_prompts_of_the_session_in_order(tmp_path: Path) -> None:
    file = tmp_path / "answers.json"
    file.write_text('["zero", "one", 2, "three"]')
    answers = AnswerFile(str(file))
    numbering = Numbering()
    numbering.begin({"id": key, "prompt": key} for key in ("q-0", "fork/q-0", "q-1"))  # alc continue: q-1 is pending

    first = anyio.run(answers.answer, numbering.prompt({"query_id": "q-1", "prompt": ""}))
    second = anyio.run(answers.answer, numbering.prompt({"query_id": "q-2", "prompt": ""}))
    with pytest.raises(NoAnswer) as raised:
        anyio.run(answers.answer, numbering.prompt({"query_id": "q-3", "prompt": "Why?"}))

    assert (first.text, second.text) == ("2", "three")
    assert str(raised.value) == f"{file} has no answer to q-3: Why?"
    assert answers.leftover() is None


def test_answers_that_no_prompt_asked_for_are_named(tmp_path: Path) -> None:
    file = tmp_path / "answers.json"
    file.write_text('["zero", "one", "two"]')
    answers = AnswerFile(str(file))

    anyio.run(answers.answer, Numbering().prompt({"query_id": "q-0", "prompt": ""}))

    assert answers.leftover() == f"2 of the 3 answers in {file} were not asked for"


def test_an_empty_answer_is_named(tmp_path: Path) -> None:
    file = tmp_path / "answers.json"
    file.write_text('{"q-0": "a", "q-1": "", "q-9": "b"}')
    answers, numbering = AnswerFile(str(file)), Numbering()

    answer = anyio.run(answers.answer, numbering.prompt({"query_id": "q-0", "prompt": "prompt 0"}))
    with pytest.raises(NoAnswer, match="to q-1 is empty: prompt 1"):
        anyio.run(answers.answer, numbering.prompt({"query_id": "q-1", "prompt": "prompt 1"}))

    assert answer.text == "a"
    assert answers.leftover() == f"2 of the 3 answers in {file} were not asked for: q-1, q-9"


@pytest.mark.parametrize("content", ["7", "{", "[" * 100_000])
def test_a_file_that_holds_no_answers_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "answers.json"
    file.write_text(content)

    with pytest.raises(Refused, match="cannot be used for --answers"):
        AnswerFile(str(file))
