import verify


def test_the_claims_are_checked_without_the_draft_and_the_answer_is_corrected(model):
    model.answers = {
        "List the 2 facts": '["When?", "Where?", "Why?"]',
        "Write the answer again": "In 1901, in Rome.",
        "When?": "1901",
        "Where?": "Rome",
        "Who?": "In 1900, in Rome.",
    }

    result = verify.run({"task": "Who?", "n": 2})

    assert result == {
        "answer": "In 1901, in Rome.",
        "draft": "In 1900, in Rome.",
        "checks": [{"question": "When?", "answer": "1901"}, {"question": "Where?", "answer": "Rome"}],
    }
    assert model.prompts[2:4] == ["When?", "Where?"]
    assert "- When?\n  1901\n- Where?\n  Rome" in model.prompts[4]


def test_a_given_draft_is_not_written_again(model):
    model.answers = {"List the": '["When?"]', "Write the answer again": "1901", "When?": "1901"}

    assert verify.run({"task": "Who?", "draft": "In 1900."})["draft"] == "In 1900."
    assert len(model.prompts) == 3


def test_without_questions_the_draft_is_the_answer_and_the_result_says_so(model):
    model.answers = {"List the": "none", "Who?": "In 1900."}

    result = verify.run({"task": "Who?"})

    assert (result["answer"], result["checks"]) == ("In 1900.", [])
    assert result["warnings"] == [
        "the questions: 1 of 1 could not be used, and are missing from the result",
        "the answer is the draft: it was not verified",
    ]
