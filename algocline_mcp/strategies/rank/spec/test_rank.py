import re

import alc
import rank


def judge(prompt):
    """Prefers the larger number."""
    a, b = (int(re.search(rf"<{name}>\nitem (\d+)", prompt)[1]) for name in "AB")
    return f"The number decides.\nVerdict: {'A' if a > b else 'B'}"


def items(count):
    return [f"item {(7 * n + 3) % count}" for n in range(count)]


def test_few_items_are_all_compared_with_each_other_in_both_positions(model):
    model.default = judge

    result = rank.run({"items": items(4), "task": "Which is larger?"})

    assert result["answer"] == ["item 3", "item 2", "item 1", "item 0"]
    assert len(model.prompts) == 4 * 3
    assert result["order_bias"] == 0
    assert [entry["games"] for entry in result["ranking"]] == [3] * 4
    scores = [entry["score"] for entry in result["ranking"]]
    assert scores == sorted(scores, reverse=True)
    assert all(entry["low"] < entry["score"] < entry["high"] for entry in result["ranking"])
    assert all(entry["beats_next"] > 0.5 for entry in result["ranking"][:-1])


def test_many_items_need_few_comparisons(model):
    model.default = judge

    result = rank.run({"items": items(20)})

    places = [int(item.split()[1]) for item in result["answer"]]
    assert len(model.prompts) <= 2 * 20 * 6 // 2
    assert sum(abs(19 - place - number) for place, number in enumerate(places)) / 20 < 2.5
    assert places[0] >= 17
    assert places[-1] <= 2


def test_a_judge_who_prefers_a_position_decides_nothing(model):
    model.default = "Verdict: A"

    result = rank.run({"items": ["x", "y", "z"]})

    assert [entry["score"] for entry in result["ranking"]] == [0, 0, 0]
    assert result["order_bias"] == 1
    assert result["warnings"] == ["in 3 of 3 pairs the position decided and not the item: each counts as a tie"]


def test_a_pair_without_both_verdicts_does_not_count(model):
    model.answers = {"<A>\nitem 0": alc.Refused("no", "no"), "<": judge}

    result = rank.run({"items": items(3)})

    assert result["answer"][0] == "item 2"
    assert sorted(entry["games"] for entry in result["ranking"]) == [0, 1, 1]
    assert result["warnings"] == ["comparisons: 2 of 6 could not be used, and are missing from the result"]


def test_items_may_be_json_and_come_back_as_they_are(model):
    model.default = "Verdict: equal"

    assert rank.run({"items": [{"a": 1}, 2]})["answer"] == [{"a": 1}, 2]
    assert '{"a": 1}' in model.prompts[0]


def test_each_round_pairs_neighbours_that_did_not_meet():
    assert rank.next_pairs([0, 1, 2], set(), 2) == [(0, 1), (0, 2), (1, 2)]
    assert rank.next_pairs([3, 1, 0, 2, 4, 5], set(), 2) == [(1, 3), (0, 2), (4, 5)]
    assert rank.next_pairs([3, 1, 0, 2, 4, 5], {(1, 3), (0, 2), (4, 5)}, 2) == [(0, 3), (1, 2)]
    assert rank.next_pairs([0, 1, 2, 3], {(0, 1), (2, 3)}, 1) == []


def test_one_item_is_an_error():
    try:
        error = rank.run({"items": ["x"]})
    except ValueError as exc:
        error = str(exc)

    assert error == "rank: items must be from 2 to 100; there are 1"
