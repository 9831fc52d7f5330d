"""Graders: a table of answers and their scores, and what is refused before anything is asked."""

import json
from typing import Any

import pytest

from algocline_mcp.errors import Refused
from algocline_mcp.evaluation.answer_text import text_of
from algocline_mcp.evaluation.cases import Case
from algocline_mcp.evaluation.graders import Grade, check, combined, grade, grade_of_value, parse_grader

SCHEMA = json.dumps({"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}})
COLOURS = ["red", "blue", "light green"]


def read_text(path: str) -> str:
    return {"n.json": SCHEMA, "bad.json": '{"type": 5}', "grade.py": "def grade(o, e, c): return True"}[path]


@pytest.mark.parametrize(
    ("grader", "expected", "output", "score"),
    [
        ("exact", "Tokyo", " Tokyo\n", 1),
        ("exact", "Tokyo", "tokyo", 0),
        ("exact:ignore_case=true", "Tokyo", "TOKYO", 1),
        ("exact", ["Tokyo", "東京"], "東京", 1),
        ("exact", "é", "e\u0301", 1),
        ("exact", 4, "4", 1),
        ("exact_match", "a", "b", 0),
        ("contains", "Tokyo", "It is Tokyo.", 1),
        ("contains", ["a", "b"], "only b", 1),
        ("contains:all=true", ["a", "b"], "only b", 0),
        ("regex", r"\bcat\b", "a cat", 1),
        ("regex", r"\bcat\b", "concatenate", 0),
        ("regex:pattern=^yes,ignore_case=true", None, "YES, it is", 1),
        ("number", "42", "The answer is 42, because 6*7 = 42 and not 43", 1),
        ("number", "42", "41 or 42", 0),
        ("number", "42", "**Answer:** $1,042", 0),
        ("number", 1042, "**Answer:** $1,042", 1),
        ("number", "18", "9 * 2\n#### 18", 1),
        ("number", "0.5", r"so \boxed{0.5} after 3 steps", 1),
        ("number", 0.3, "0.30000000000000004", 1),
        ("number", 3.14, "about 3.1", 0),
        ("number:tolerance=0.05", 3.14, "about 3.1", 1),
        ("number:relative=0.1", 100, "109", 1),
        ("number", -5, "It is −5 degrees", 1),
        ("number", 5, "none", 0),
        ("number", 2, "v1.2beta", 0),
        ("choice", "B", "B", 1),
        ("choice", "B", "(b)", 1),
        ("choice", "B", "The answer is (B), because A is wrong", 1),
        ("choice", "B", "A wise owl says nothing", 0),
        ("choice", "B", "I think it is blue", 1),
        ("choice", "blue", "Answer: B", 1),
        ("choice", "C", "either red or blue", 0),
        ("choice", "C", "Z", 0),
        ("choice", "B", "**B.** It is so", 1),
        ("choice", "B", "It is not red, it is blue", 1),
        ("choice", "B", "not blue", 0),
        ("choice", "B", "<think>A</think>\n#### B", 1),
        ("number", 1234568, "1234567", 0),
        ("schema:file=n.json", None, '{"n": 3}', 1),
        ("schema:file=n.json", None, 'Here:\n```json\n{"n": 3}\n```\nDone.', 1),
        ("schema:file=n.json", None, 'It is {"n": 3}.', 1),
        ("schema:file=n.json", None, '{"n": "3"}', 0),
        ("schema:file=n.json", None, "no JSON", 0),
    ],
)
def test_a_grader_scores_an_answer(grader: str, expected: Any, output: str, score: float) -> None:
    parsed = parse_grader(grader, read_text)
    case = Case("1", "?", expected, choices=COLOURS)

    check([parsed], [case])
    result = grade(parsed, output, case)

    assert result.score == score
    assert result.is_pass == (score == 1)
    assert bool(result.reason) == (score == 0)


@pytest.mark.parametrize(
    ("grader", "sentence"),
    [
        ("exakt", "there is no grader 'exakt': use exact, contains"),
        ("function", "there is no grader 'function'"),
        ("exact:tolerance=1", "the grader exact has no option 'tolerance': its options are ignore_case"),
        ("number:tolerance=-1", "tolerance is -1: it must be a number, 0 or more"),
        ("number:tolerance", "'tolerance' is not KEY=VALUE"),
        ("number:tolerance=1,tolerance=2", "tolerance is given twice"),
        ("regex:pattern=(", "pattern is '(', which is not a regular expression"),
        ("schema", "the grader schema needs a file"),
        ("schema:file=bad.json", "bad.json is not a JSON Schema"),
        (":x=1", "has no name before the colon"),
    ],
)
def test_an_unusable_grader_is_refused(grader: str, sentence: str) -> None:
    with pytest.raises(Refused, match=r"grader|pattern|Schema") as error:
        parse_grader(grader, read_text)

    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("grader", "expected", "sentence"),
    [
        ("exact", None, "case '7': the grader exact needs `expected`"),
        ("number", "four", "expected is 'four', in which the grader number finds no number"),
        ("choice", "pink", "expected is 'pink', which is neither a letter nor one of the 3 choices"),
        ("regex", "(", "expected of case '7' is '(', which is not a regular expression"),
        ("regex", None, "the grader regex needs `expected` or pattern="),
    ],
)
def test_a_case_that_cannot_be_graded_is_refused_before_anything_is_asked(
    grader: str, expected: Any, sentence: str
) -> None:
    with pytest.raises(Refused) as error:
        check([parse_grader(grader, read_text)], [Case("7", "?", expected, choices=COLOURS)])

    assert sentence in str(error.value)


def test_a_file_with_a_function_is_a_grader() -> None:
    grader = parse_grader("grade.py", read_text)

    assert (grader.kind, grader.language, grader.is_code) == ("function", "python", True)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (True, Grade(1, True)),
        (False, Grade(0, False)),
        (0.5, Grade(0.5, False)),
        (1, Grade(1, True)),
        ({"score": 0.5, "pass": True, "reason": "good"}, Grade(0.5, True, "good")),
        ({"pass": False}, Grade(0, False)),
    ],
)
def test_a_function_returns_a_grade(value: Any, wanted: Grade) -> None:
    assert grade_of_value(value, "grade") == wanted


@pytest.mark.parametrize("value", [None, "yes", 2, -1, [1], {"reason": "x"}, float("nan")])
def test_a_function_that_returns_no_grade_is_refused(value: Any) -> None:
    with pytest.raises(Refused, match="it must be true, false, a number from 0 to 1"):
        grade_of_value(value, "grade")


def test_several_grades_are_one() -> None:
    assert combined([Grade(1, True), Grade(0.5, False, "why")]) == Grade(0.75, False, "why")


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ("a", "a"),
        ({"result": "a"}, "a"),
        ({"result": {"answer": "a", "n": 1}}, "a"),
        ({"answer": "a"}, "a"),
        ({"n": 1}, '{"n": 1}'),
        (4, "4"),
        (None, "null"),
        ({"result": 4}, "4"),
    ],
)
def test_the_text_of_a_result(result: Any, text: str) -> None:
    assert text_of(result) == text
