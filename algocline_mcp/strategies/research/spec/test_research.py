import json

import research


def claims(*texts):
    return json.dumps([{"claim": text, "source": f"https://{text[0]}.example"} for text in texts])


def answers(model, **more):
    model.answers = more | {
        "Divide this": json.dumps(["Who?", "When?"]),
        "Confirmed claims": "It was Ada [1].",
        "Look this up": [claims("Ada did.", "Bob did."), claims("In 1843.", "ada did")],
        "Look this claim up": [
            "Yes.\nVerdict: confirmed",
            "Nobody says.\nVerdict: unclear",
            "No.\nVerdict: wrong",
        ],
    }


def test_the_report_rests_on_confirmed_claims_and_the_others_are_named(model):
    answers(model)

    result = research.run({"task": "Who wrote it, and when?"})

    assert result["answer"] == "It was Ada [1]."
    assert [item["claim"] for item in result["confirmed"]] == ["Ada did."]
    assert [item["claim"] for item in result["refuted"]] == ["Bob did."]
    assert [item["claim"] for item in result["unconfirmed"]] == ["In 1843."]
    assert result["open"] == []
    assert "[1] Ada did. (https://A.example)" in model.prompts[-1]
    assert "Bob" not in model.prompts[-1]
    assert len(model.prompts) == 1 + 2 + 3 + 1


def test_a_question_without_a_claim_stays_open(model):
    answers(model)
    model.answers["Look this up"] = [claims("Ada did."), "[]"]

    result = research.run({"task": "Who wrote it, and when?"})

    assert result["open"] == ["When?"]
    assert "No source was found for: When?" in model.prompts[-1]


def test_claims_of_all_questions_are_checked_in_turn_up_to_the_limit(model):
    answers(model)

    result = research.run({"task": "Who wrote it, and when?", "claims": 2})

    checked = [item["claim"] for name in ("confirmed", "refuted", "unconfirmed") for item in result[name]]
    assert sorted(checked) == ["Ada did.", "In 1843."]


def test_nothing_confirmed_is_no_report(model):
    answers(model)
    model.answers["Look this claim up"] = "Verdict: unclear"

    result = research.run({"task": "Who wrote it, and when?"})

    assert result["answer"] is None
    assert len(result["unconfirmed"]) == 3
    assert result["warnings"] == ["no claim was confirmed: there is no report"]


def test_without_the_report_the_confirmed_claims_are_returned(model):
    answers(model)
    model.answers["Confirmed claims"] = ""

    assert research.run({"task": "Who wrote it?"})["answer"] == "[1] Ada did. (https://A.example)"


def test_a_question_that_cannot_be_divided_is_looked_up_itself(model):
    answers(model)
    model.answers["Divide this"] = "no"
    model.answers["Look this up"] = claims("Ada did.")

    result = research.run({"task": "Who wrote it?"})

    assert [item["claim"] for item in result["confirmed"]] == ["Ada did."]
    assert result["warnings"] == ["the questions: 1 of 1 could not be used, and are missing from the result"]
