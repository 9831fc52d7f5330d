"""Recorded answers belong to their prompts by digest and occurrence."""

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from algocline_mcp.answering.prompts import Answer, Answerer, NoAnswer, Numbering, Prompt
from algocline_mcp.answering.recordings import Recorded, Recording, Remembering
from algocline_mcp.errors import Refused
from algocline_mcp.session.digests import digest_with_label, query_digest


class Counting:
    def __init__(self) -> None:
        self.count = 0

    async def answer(self, prompt: Prompt) -> Answer:
        self.count += 1
        if "refuse" in prompt.text:
            return Answer(refusal="no")
        return Answer(text=f"{self.count}", usage={"prompt_tokens": 5, "completion_tokens": 1}, cost=0.5, by="m")


def _play(answerer: Answerer, *texts: str, session: str = "p-1", epoch: int | None = None) -> list[str | None]:
    async def play() -> list[str | None]:
        numbering = Numbering(session, epoch)
        prompts = [numbering.prompt({"query_id": f"q-{n}", "prompt": text}) for n, text in enumerate(texts)]
        answers = [await answerer.answer(prompt) for prompt in prompts]
        return [answer.text or answer.refusal for answer in answers]

    return anyio.run(play)


def test_the_nth_time_that_a_prompt_is_asked_it_gets_its_nth_answer_and_none_serves_twice(tmp_path: Path) -> None:
    file = str(tmp_path / "a.jsonl")
    assert _play(Remembering(Counting(), None, file), "a", "b", "a", "refuse") == ["1", "2", "3", "no"]

    again = Recorded(Recording.read(file), None, file)
    assert _play(again, "a", "a", "refuse", "b") == ["1", "3", "no", "2"]
    with pytest.raises(NoAnswer, match=r"a\.jsonl has no answer to q-2, asked for the 3\. time: a"):
        _play(again, "a", "a", "a")
    with pytest.raises(NoAnswer, match="has no answer to q-0: c"):
        _play(again, "c")


def test_each_epoch_gets_the_answers_of_another_recorded_session(tmp_path: Path) -> None:
    file = str(tmp_path / "a.jsonl")
    recorder = Remembering(Counting(), None, file)
    assert _play(recorder, "a", "a", session="p-1") == ["1", "2"]
    assert _play(recorder, "a", "b", session="p-2") == ["3", "4"]

    again = Recorded(Recording.read(file), None, file)
    assert _play(again, "a", epoch=1) == ["3"]
    assert _play(again, "b", "a", "a", epoch=0) == ["4", "1", "2"]
    with pytest.raises(NoAnswer, match=r"no answer to q-1, asked for the 2\. time in epoch 2: a"):
        _play(again, "a", "a", epoch=1)
    with pytest.raises(NoAnswer, match="no answer to q-0 in epoch 3: a"):
        _play(again, "a", epoch=2)


def test_what_is_not_recorded_is_asked(tmp_path: Path) -> None:
    recording, model = Recording(), Counting()
    chain = Recorded(recording, Remembering(model, recording, None), "the run before")

    assert _play(chain, "a", "b") == ["1", "2"]
    assert _play(chain, "b", "new", "a") == ["2", "3", "1"]
    assert model.count == 3


@pytest.mark.parametrize("is_of_a_file", [True, False])
def test_an_answer_that_is_used_again_costs_nothing_and_says_where_it_comes_from(
    tmp_path: Path, is_of_a_file: bool
) -> None:
    path, recording = str(tmp_path / "a.jsonl"), Recording()
    prompt = Numbering("p-1").prompt({"query_id": "q-0", "prompt": "a"})
    asked = anyio.run(Remembering(Counting(), recording, path).answer, prompt)
    again = Recorded(Recording.read(path) if is_of_a_file else recording, None, "the run before")

    used = anyio.run(again.answer, prompt)

    assert (asked.text, asked.by, asked.cost) == ("1", "m", 0.5)
    assert (used.text, used.by, used.cost) == ("1", "recording", None)


def test_a_record_has_the_prompt_the_answer_and_who_gave_it_and_is_for_the_user_alone(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    _play(Remembering(Counting(), None, str(file)), "a")

    record = json.loads(file.read_text())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(record.pop("digest")) == 32
    assert record == {
        "session_id": "p-1",
        "query_id": "q-0",
        "prompt": "a",
        "system": None,
        "max_tokens": 1024,
        "response": "1",
        "usage": {"prompt_tokens": 5, "completion_tokens": 1},
        "cost": 0.5,
        "by": "m",
    }


def test_a_line_that_was_cut_by_a_kill_is_passed_over_and_the_next_one_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    _play(Remembering(Counting(), None, str(file)), "a", "b")
    file.write_bytes(file.read_bytes()[:-9])

    assert _play(Recorded(Recording.read(str(file)), Counting(), "f"), "a", "b") == ["1", "1"]
    _play(Remembering(Counting(), None, str(file)), "c")
    assert json.loads(file.read_text().splitlines()[-1])["prompt"] == "c"


@pytest.mark.parametrize("content", ["[1]\n", "{}\n", '{"digest": "a", "response": 1}\n', "text\n"])
def test_a_file_that_is_no_recording_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(content)

    with pytest.raises(Refused, match="line 1 is no record"):
        Recording.read(str(file))


def test_a_file_that_cannot_be_written_is_refused_before_the_first_prompt(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot be used for --record: No such file"):
        Remembering(Counting(), None, str(tmp_path / "none" / "a.jsonl"))


@pytest.mark.parametrize("digest_of", [query_digest, digest_with_label])
def test_another_label_gets_the_recorded_answer(tmp_path: Path, digest_of: Callable[[dict[str, Any]], str]) -> None:
    file = tmp_path / "a.jsonl"
    asked = {"prompt": "p", "system": None, "max_tokens": 1024, "label": "one"}
    record = {"digest": digest_of(asked), **asked, "options": {"label": "one"}, "response": "x"}
    file.write_text(json.dumps(record) + "\n")
    renamed = Numbering("p-1").prompt({"query_id": "q-0", "prompt": "p", "label": "two"})

    assert Recording.read(str(file)).get(renamed) == Answer(text="x", by="recording")
