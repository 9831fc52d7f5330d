"""Choices in answers: by their letter or their words, read as alc.match_enum reads candidates."""

import pytest

from algocline_mcp.evaluation.answer_text import choice_of

COLOURS = ("red", "blue", "green")
SAFETY = ("safe", "unsafe")
GIVEN = {
    "A": 0,
    "(b)": 1,
    "B:": 1,
    "B) blue": 1,
    "B, blue": 1,
    "B, because it is cold": 1,
    "B because A is warm": 1,
    "B\n\nReason: A is too warm.": 1,
    "Reasoning: A is warm; B is cold.\nB": 1,
    "Let me think. A) red is warm. B) blue is cold. So the answer is B.": 1,
    "The answer is (B), because A is wrong": 1,
    "The answer is A. Wait, it is B.": 1,
    "Option B is correct.": 1,
    "(B) is correct, (A) is not": 1,
    "Option A is wrong, so B": 1,
    "I would choose B": 1,
    r"\boxed{\text{B}}": 1,
    "#### B": 1,
    "<think>A</think>B": 1,
    "I think it is blue": 1,
    "The colour is blue, not red": 1,
    "red\nblue\nAnswer: red": 0,
    "If B is correct, then C": 2,
}
IN_DOUBT = (
    *("", "Z", "A or B", "A and B", "either red or blue", "A wise owl says nothing", "I", "not blue", "Is B correct?"),
    *("B is not correct", "A, B and C are all wrong", "None of them", "Answer: D", "bleu"),
)


@pytest.mark.parametrize(("text", "index"), GIVEN.items())
def test_the_choice_that_an_answer_gives(text: str, index: int) -> None:
    assert choice_of(text, COLOURS) == index


@pytest.mark.parametrize("text", IN_DOUBT)
def test_an_answer_without_one_clear_choice_has_none(text: str) -> None:
    assert choice_of(text, COLOURS) is None


@pytest.mark.parametrize(
    ("text", "choices", "index"),
    [
        ("unsafe", SAFETY, 1),
        ("It is safe.", SAFETY, 0),
        ("12 cm", ("12 cm", "2 cm"), 0),
        ("The answer is 3", ("1", "2", "3"), 2),
        ("A", ("B", "A"), 1),  # choices that are letters have no other letters
        ("B", ("True", "False"), 1),
        ("No, because yes would be wrong", ("yes", "no"), 1),
        ("n30", tuple(f"n{i}" for i in range(40)), 30),
        ("C", tuple(f"n{i}" for i in range(40)), 2),
        ("The answer is (D)", (), 3),
        ("I", (), 8),
        ("A dog", (), None),
    ],
)
def test_letters_and_words_of_other_choices(text: str, choices: tuple[str, ...], index: int | None) -> None:
    assert choice_of(text, choices) == index
