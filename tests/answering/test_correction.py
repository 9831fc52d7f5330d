"""Answers that do not fit the schema of their prompt go back to whoever gave them, with the reason."""

from typing import Any

import anyio
import pytest

from algocline_mcp.answering.correction import Correcting
from algocline_mcp.answering.prompts import Answer, NoAnswer, Prompt
from algocline_mcp.session.misfits import CHECKED_BYTES, REFUSALS

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
GOOD, BAD = '{"a": 1}', '{"a": "one"}'


class Scripted:
    def __init__(self, *answers: Answer) -> None:
        self._answers = [*answers]
        self.prompts: list[Prompt] = []

    async def answer(self, prompt: Prompt) -> Answer:
        self.prompts.append(prompt)
        if not self._answers:
            raise NoAnswer("nobody is there")
        return self._answers.pop(0)


def ask(model: Scripted, **options: Any) -> Answer:
    return anyio.run(Correcting(model).answer, Prompt(text="Give a.", options={"schema": SCHEMA} | options))


@pytest.mark.parametrize("count", range(REFUSALS + 1))
def test_a_model_corrects_its_answer_and_is_told_what_is_wrong(count: int) -> None:
    model = Scripted(*count * [Answer(text=BAD)], Answer(text=GOOD))

    answer = ask(model)

    assert answer == Answer(text=GOOD)
    assert [prompt.query_id for prompt in model.prompts] == ["q-0"] * (count + 1)
    reason = 'It does not fit: answer.a is "one" and not of type integer. Answer the request above again, in the form'
    for prompt in model.prompts[1:]:
        assert prompt.text.startswith(f"Give a.\n\nYour answer to this was:\n<answer>\n{BAD}\n</answer>\n\n{reason}")
        assert prompt.text.count("Your answer") == 1


def test_what_never_fits_is_given_as_it_is_with_a_warning() -> None:
    model = Scripted(*(Answer(text=BAD, warning="it was cut" if number == REFUSALS else None)
                       for number in range(REFUSALS + 1)))  # fmt: skip

    answer = ask(model)

    assert answer.text == BAD
    assert answer.warning == (
        'it was cut; the answer to q-0 does not fit its schema, after 3 attempts: answer.a is "one" and not of type '
        "integer"
    )
    assert len(model.prompts) == REFUSALS + 1


def test_all_attempts_are_counted() -> None:
    first, last = {"prompt_tokens": 5, "completion_tokens": 2}, {"prompt_tokens": 7}
    answers = [
        Answer(text=BAD, usage=first, cost=0.5),
        Answer(text=BAD),
        Answer(text=GOOD, usage=last, cost=1),
    ]

    answer = ask(Scripted(*answers))

    assert (answer.usage, answer.cost) == ({"prompt_tokens": 12, "completion_tokens": 2}, 1.5)


@pytest.mark.parametrize(
    ("answer", "schema"),
    [
        (Answer(refusal="no"), SCHEMA),
        (Answer(text=BAD), None),
        (Answer(text="x" * (CHECKED_BYTES + 1)), SCHEMA),
        (Answer(text=BAD), {"type": "unknown"}),
    ],
)
def test_what_is_not_judged_is_given_at_once(answer: Answer, schema: Any) -> None:
    model = Scripted(answer)

    assert ask(model, schema=schema) == answer
    assert len(model.prompts) == 1


def test_a_refusal_instead_of_a_correction_is_the_answer() -> None:
    assert ask(Scripted(Answer(text=BAD), Answer(refusal="no"))).refusal == "no"


def test_an_attempt_without_an_answer_leaves_the_prompt_open() -> None:
    with pytest.raises(NoAnswer, match="nobody is there"):
        ask(Scripted(Answer(text=BAD)))
