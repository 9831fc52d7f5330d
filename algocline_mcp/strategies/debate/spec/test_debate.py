import json

import alc
import debate

SIDES = {"sides": ["Ship on Friday", "Wait for Monday"]}


def run(model, verdicts, **inputs):
    model.answers = {
        "Name the two positions": json.dumps({"a": "Ship", "b": "Wait"}),
        "has the better case": list(verdicts),
        "Write your reply": ["reply a", "reply b"],
        "Write your opening": ["opening a", "opening b"],
    }
    return debate.run({"task": "Ship on Friday?"} | inputs)


def test_the_side_that_wins_in_both_orders_is_the_answer(model):
    result = run(model, ["Because.\nVerdict: B", "Because.\nVerdict: A"], **SIDES)

    assert result["answer"] == "Wait for Monday"
    assert [verdict["position"] for verdict in result["verdicts"]] == ["Wait for Monday"] * 2
    assert [speech["text"] for speech in result["debate"]] == ["opening a", "opening b", "reply a", "reply b"]
    assert "warnings" not in result
    assert len(model.prompts) == 6


def test_a_side_sees_both_openings_and_not_the_reply_of_the_same_round(model):
    run(model, ["Verdict: A", "Verdict: B"], **SIDES)

    replies = [prompt for prompt in model.prompts if "Write your reply" in prompt]
    assert "You, round 1:\nopening a\n\nThey, round 1:\nopening b" in replies[0]
    assert "They, round 1:\nopening a\n\nYou, round 1:\nopening b" in replies[1]
    judged = [prompt for prompt in model.prompts if "has the better case" in prompt]
    assert "A, round 1:\nopening a\n\nB, round 1:\nopening b" in judged[0]
    assert "A, round 1:\nopening b\n\nB, round 1:\nopening a" in judged[1]


def test_a_verdict_that_changes_with_the_order_decides_nothing(model):
    result = run(model, ["Verdict: A", "Verdict: A"], **SIDES)

    assert result["answer"] is None
    assert result["warnings"] == ["the verdict changed with the order of the sides: the debate decides nothing"]


def test_an_undecided_judge_is_no_answer(model):
    assert run(model, ["Verdict: undecided", "Verdict: undecided"], **SIDES)["answer"] is None


def test_without_sides_a_prompt_names_them(model):
    result = run(model, ["Verdict: A", "Verdict: B"])

    assert result["answer"] == "Ship"
    assert len(model.prompts) == 7


def test_one_verdict_alone_decides_nothing(model):
    result = run(model, ["Verdict: A", alc.Refused("no", "no"), alc.Refused("no", "no")], **SIDES)

    assert result["answer"] is None
    assert result["warnings"] == ["verdicts: 1 of 2 could not be used, and are missing from the result"]


def test_sides_that_are_not_two_are_an_error():
    try:
        error = debate.run({"task": "T", "sides": ["one"]})
    except ValueError as exc:
        error = str(exc)

    assert error == "debate: sides must be two positions; there are 1"
