"""Who answers `alc run` and `alc continue`: a person, or whatever answers without one, as chosen at the command line.

Contract: a person gets the pending queries of one pause and returns the answers. If some answers are missing, `problem`
says why in a sentence. The other answers are sent all the same, so no prompt is asked twice. Where answers are recorded
a person gets one prompt after the other.
"""

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from algocline_mcp.answering.answer_file import AnswerFile
from algocline_mcp.answering.choice import answerer_of, read_prices
from algocline_mcp.answering.command import Command
from algocline_mcp.answering.correction import Correcting
from algocline_mcp.answering.prompts import Answer, Answerer, NoAnswer, Prompt
from algocline_mcp.answering.recordings import Recorded, Recording, Remembering
from algocline_mcp.cli.answering_options import JOBS, Chosen
from algocline_mcp.errors import AlcError

if TYPE_CHECKING:
    from algocline_mcp.cli.person import Person

Query = dict[str, Any]  # {query_id, prompt, system, max_tokens, …}


@dataclass(slots=True)
class Answers:
    by_query: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    """Query id -> the reason."""
    problem: str | None = None
    is_interrupted: bool = False


@dataclass(frozen=True, slots=True)
class Answering:
    """`jobs`: how many prompts `answerer` answers at once. `is_slow`: the user is told which prompt is being answered.
    `file`: answers that the user may have given in vain."""

    answerer: Answerer
    jobs: int = 1
    is_slow: bool = True
    file: AnswerFile | None = None

    def leftover(self) -> str | None:
        return self.file.leftover() if self.file is not None else None


class OnePrompt:
    """A person as an Answerer."""

    def __init__(self, person: "Person") -> None:
        self._person = person

    async def answer(self, prompt: Prompt) -> Answer:
        query = {"query_id": prompt.query_id, "prompt": prompt.text, "system": prompt.system, **prompt.options}
        done = await self._person.answer([query])
        if done.is_interrupted:
            raise KeyboardInterrupt
        if (text := done.by_query.get(prompt.query_id)) is not None:
            return Answer(text=text)
        if (reason := done.refused.get(prompt.query_id)) is not None:
            return Answer(refusal=reason)
        raise NoAnswer(done.problem or f"no answer to {prompt.query_id}")


def choose_answerer(chosen: Chosen, recording: Recording | None = None) -> "Answering | Person":
    """Raises click.ClickException for what cannot be used."""
    try:
        return _chosen(chosen, recording)
    except AlcError as exc:
        raise click.ClickException(str(exc)) from exc


def _chosen(chosen: Chosen, recording: Recording | None) -> "Answering | Person":
    is_person = False
    file: AnswerFile | None = None
    answerer: Answerer | None = None
    if chosen.model is not None:
        prices = read_prices(chosen.prices) if chosen.prices is not None else None
        answerer = answerer_of(chosen.model, os.environ, base_url=chosen.base_url, prices=prices)
    elif chosen.command is not None:
        answerer = Correcting(Command(chosen.command))
    elif chosen.answer_file is not None and not chosen.is_recording:
        answerer = file = AnswerFile(chosen.answer_file)
    elif chosen.answer_file is None:
        from algocline_mcp.cli.person import Person  # only a person waits for what it imports

        if recording is None and chosen.record is None:
            return Person()
        answerer, is_person = Correcting(OnePrompt(Person())), True
    is_slow = not is_person and file is None and answerer is not None
    jobs = 1 if is_person else chosen.jobs or JOBS
    return Answering(_with_recordings(answerer, chosen, recording), jobs, is_slow, file)


def _with_recordings(answerer: Answerer | None, chosen: Chosen, recording: Recording | None) -> Answerer:
    """Answers of earlier runs first, then those of the file, then `answerer`. What comes from a file is not appended to
    the same file."""
    is_same = chosen.record is not None and chosen.answer_file is not None
    is_same = is_same and os.path.realpath(str(chosen.record)) == os.path.realpath(str(chosen.answer_file))
    if chosen.is_recording:
        assert chosen.answer_file is not None
        if answerer is not None and is_same:
            answerer = Remembering(answerer, None, chosen.record)
        recorded = Recording.read(chosen.answer_file)
        answerer = Recorded(recorded, answerer, chosen.answer_file)
    assert answerer is not None
    path = None if is_same else chosen.record
    if recording is not None:
        answerer = Recorded(recording, Remembering(answerer, recording, path), "the run before")
    elif path is not None:
        answerer = Remembering(answerer, None, path)
    return answerer
