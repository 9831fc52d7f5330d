import refine


def test_the_text_is_written_again_until_the_critic_accepts_it(model):
    model.answers = {
        "Name the problems": ['{"problems": ["too long"]}', '{"problems": []}'],
        "- too long": "Short.",
        "Write a line": "A long line.",
    }

    result = refine.run({"task": "Write a line.", "criteria": "brevity"})

    assert result == {"answer": "Short.", "is_accepted": True, "critiques": [["too long"], []]}
    assert len(model.prompts) == 4
    assert all("criteria: brevity" in prompt for prompt in model.prompts)


def test_after_n_critiques_the_last_text_is_returned_as_not_accepted(model):
    model.answers = {"Name the problems": '{"problems": ["dull"]}'}
    model.default = "A line."

    result = refine.run({"task": "Write.", "n": 2, "draft": "L"})

    assert result == {"answer": "A line.", "is_accepted": False, "critiques": [["dull"], ["dull"]]}
    assert len(model.prompts) == 4


def test_a_critic_that_cannot_be_read_ends_the_loop(model):
    model.answers = {"Name the problems": "Nice!"}
    model.default = "A line."

    result = refine.run({"task": "Write."})

    assert (result["answer"], result["is_accepted"]) == ("A line.", False)
    assert result["warnings"] == ["the critique: 1 of 1 could not be used, and are missing from the result"]
