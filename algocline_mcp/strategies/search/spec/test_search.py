import json
import math

import search
from search import Node, add, select, ucb


def test_ucb_is_the_mean_and_what_may_be_missing():
    assert ucb(0.5, 4, 16, 0) == 0.5
    assert ucb(0.5, 4, 16, 1) == 0.5 + math.sqrt(2 * math.log(16) / 4)
    assert ucb(0.25, 2, 10, 0.5) == 0.25 + 0.5 * math.sqrt(2 * math.log(10) / 2)
    assert ucb(0, 0, 10, 1) == math.inf
    assert ucb(0.5, 1, 1, 1) == 0.5


def tree(*grades):
    root = Node()
    for grade in grades:
        add(root, Node(attempt=str(grade), grade=grade))
    return root


def test_a_grade_counts_for_all_attempts_above():
    root = tree(4, 8)
    add(root.children[1], Node(grade=10))

    assert (root.visits, root.total) == (3, 2.2)
    assert (root.children[1].visits, root.children[1].total) == (2, 1.8)
    assert (root.children[0].visits, root.children[0].total) == (1, 0.4)


def test_without_curiosity_the_best_branch_is_chosen_and_with_much_the_one_tried_least():
    root = tree(6, 8)
    for _ in range(3):
        add(root.children[1], Node(grade=7))

    assert select(root, 0).parent is root.children[1]
    assert select(root, 5) is root.children[0]


def attempts(*texts):
    return json.dumps([{"approach": f"by {text}", "attempt": text} for text in texts])


def grade(prompt):
    """The length of the attempt."""
    attempt = prompt.partition("<attempt>\n")[2].partition("\n</attempt>")[0]
    return json.dumps({"weakness": f"{attempt} is short", "grade": len(attempt)})


def test_the_best_attempt_is_improved_and_the_best_of_all_returned(model):
    model.answers = {
        "Then grade it": grade,
        "better attempts": attempts("abcd", "abc"),
        "by another": attempts("a", "ab"),
    }

    result = search.run({"task": "Write", "steps": 2, "breadth": 2})

    assert result["answer"] == "abcd"
    assert result["grade"] == 4
    assert result["path"] == ["by ab", "by abcd"]
    assert [entry["parent"] for entry in result["attempts"]] == [None, None, 1, 1]
    assert [entry["visits"] for entry in result["attempts"]] == [1, 3, 1, 1]
    assert "ab is short" in next(prompt for prompt in model.prompts if "better attempts" in prompt)
    assert len(model.prompts) == 6


def test_the_search_ends_with_an_attempt_that_is_good_enough(model):
    model.answers = {"Then grade it": grade, "by another": attempts("a", "abcdef")}

    result = search.run({"task": "Write", "enough": 6})

    assert result["answer"] == "abcdef"
    assert len(model.prompts) == 3


def test_an_attempt_without_a_grade_is_left_out(model):
    model.answers = {"<attempt>\na\n": "nine", "Then grade it": grade, "by another": attempts("a", "ab")}

    result = search.run({"task": "Write", "steps": 1})

    assert [entry["approach"] for entry in result["attempts"]] == ["by ab"]
    assert result["warnings"] == ["grades: 1 of 2 could not be used, and are missing from the result"]


def test_no_attempt_is_no_answer(model):
    model.default = "sorry"

    result = search.run({"task": "Write"})

    assert (result["answer"], result["grade"], result["attempts"]) == (None, None, [])
