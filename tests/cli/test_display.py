"""What a person reads while prompts are being answered."""

import pytest

from algocline_mcp.answering.prompts import Answer, Prompt
from algocline_mcp.cli.display import Display, Notes, view_for


@pytest.mark.parametrize(
    ("label", "note"),
    [
        (None, "… answering q-0 (1 of 2)\n"),
        ("", "… answering q-0 (1 of 2)\n"),
        ("the  draft\n", "… answering q-0, the draft (1 of 2)\n"),
        ("x" * 50, f"… answering q-0, {'x' * 39}… (1 of 2)\n"),
        (7, "… answering q-0 (1 of 2)\n"),
    ],
)
def test_a_prompt_is_named_by_its_label(capsys: pytest.CaptureFixture[str], label: object, note: str) -> None:
    Notes().begin(Prompt(text="?", options={} if label is None else {"label": label}), "1 of 2")

    assert capsys.readouterr().err == note


@pytest.mark.parametrize("is_slow", [True, False])
def test_quiet_shows_no_progress_and_still_what_is_wrong_with_an_answer(
    capsys: pytest.CaptureFixture[str], is_slow: bool
) -> None:
    prompt = Prompt(text="?")

    with view_for(is_slow=is_slow, is_quiet=True) as view:
        view.asked(1)
        view.begin(prompt, "1 of 1")
        view.progress("… running")
        view.end_progress()
        view.ended(prompt, Answer(text="a", warning="the answer to q-0 was cut"))

    assert capsys.readouterr().err == "alc: the answer to q-0 was cut\n"


def test_prompts_that_are_being_answered_stand_on_a_line_until_their_answer() -> None:
    view = Display()
    prompts = [Prompt(text="?", query_id="q-0", options={"label": "what is wrong"}), Prompt(text="?", query_id="q-1")]

    for prompt in prompts:
        view.begin(prompt, "")
    assert view._drawn().plain.endswith("\n  answering what is wrong, q-1")
    view.ended(prompts[0], Answer(text="a"))
    assert view._drawn().plain.endswith("\n  answering q-1")
