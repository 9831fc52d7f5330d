import json

import review

TEXT = "Water boils at 50 degrees.\nIt is   wet."


def finding(quote, problem, severity="low"):
    return {"quote": quote, "problem": problem, "severity": severity, "fix": "mend it"}


def test_a_finding_counts_if_its_quotation_is_there_and_no_refutation_succeeds(model):
    model.answers = {
        "one thing alone: facts": json.dumps([finding("It is wet.", "vague"), finding("at 50", "false", "high")]),
        "one thing alone: gaps": json.dumps([finding("Ice is cold.", "invented")]),
        "<finding>\nvague": '{"reason": "It is clear enough.", "stands": false}',
        "<finding>\nfalse": '{"reason": "It is 100.", "stands": true}',
    }

    result = review.run({"file": TEXT, "lenses": ["facts", "gaps"]})

    kept = {"severity": "high", "problem": "false", "quote": "at 50", "fix": "mend it", "lens": "facts"}
    assert result["findings"] == [kept | {"checked": True}]
    assert [(item["problem"], item["reason"]) for item in result["refuted"]] == [
        ("invented", "its quotation is not in the text"),
        ("vague", "It is clear enough."),
    ]
    assert "warnings" not in result
    assert len(model.prompts) == 4


def test_nothing_found_is_a_result_without_refutations(model):
    model.default = "[]"

    assert review.run({"file": TEXT}) == {"findings": [], "refuted": []}
    assert len(model.prompts) == 3


def test_one_finding_of_two_lenses_is_one(model):
    model.answers = {"one thing": json.dumps([finding("It is wet.", "vague")])}
    model.default = '{"reason": "yes", "stands": true}'

    assert len(review.run({"file": TEXT, "lenses": ["a", "b"]})["findings"]) == 1


def test_a_finding_that_nobody_could_check_is_marked(model):
    model.answers = {"one thing": json.dumps([finding("", "no units")])}
    model.default = "perhaps"

    result = review.run({"file": TEXT, "lenses": ["a"]})

    assert [item["checked"] for item in result["findings"]] == [False]
    assert result["warnings"] == ["refutations: 1 of 1 could not be used, and are missing from the result"]
