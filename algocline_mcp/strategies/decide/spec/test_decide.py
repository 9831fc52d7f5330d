import json

import decide


def opinion(choice, reason):
    return json.dumps({"reason": reason, "risk": "none", "choice": choice, "objection": "late"})


def test_the_judge_decides_by_reasons_that_have_no_role(model):
    model.answers = {
        "Advisers who": opinion("wait", "It is Friday."),
        "role: nurse": opinion("Wait", "Nobody is there at weekends."),
        "role: seller": opinion("ship", "They ask for it."),
    }

    result = decide.run({"task": "Ship?", "options": ["ship", "wait"], "panel": ["nurse", "seller"], "facts": "Friday"})

    assert (result["decision"], result["reason"], result["objection"]) == ("wait", "It is Friday.", "late")
    assert [(item["role"], item["choice"]) for item in result["opinions"]] == [("nurse", "wait"), ("seller", "ship")]
    assert result["agreement"] == 0.5
    assert "nurse" not in model.prompts[2]
    assert "Because: They ask for it." in model.prompts[2]


def test_a_choice_that_is_no_option_is_asked_for_again(model):
    model.answers = {"could not be read": opinion("ship", "r"), "role: a": opinion("sell", "r"), "Advisers": "?"}

    result = decide.run({"task": "Ship?", "options": ["ship", "wait"], "panel": ["a"]})

    assert [item["choice"] for item in result["opinions"]] == ["ship"]
    assert result["decision"] == "ship"


def test_without_a_judge_there_is_no_decision(model):
    model.answers = {"role: ": opinion("ship", "r")}
    model.default = "hm"

    result = decide.run({"task": "Ship?"})

    assert (result["decision"], len(result["opinions"]), result["agreement"]) == (None, 3, 0)
    assert result["warnings"] == ["the decision: 1 of 1 could not be used, and are missing from the result"]
