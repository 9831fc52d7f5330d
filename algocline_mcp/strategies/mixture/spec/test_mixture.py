import mixture


def test_proposals_improve_on_each_other_and_one_prompt_combines_the_last(model):
    model.answers = {
        "Write the one best answer": "combined",
        "Write your own answer": ["second a", "second b"],
        "Name": ["first a", "first b"],
    }

    result = mixture.run({"task": "Name it", "n": 2})

    assert result == {"answer": "combined", "proposals": ["second a", "second b"]}
    assert model.prompts[:2] == ["Name it", "Name it"]
    assert "<proposal 2>\nfirst b\n</proposal 2>" in model.prompts[2]
    assert "<proposal 2>\nsecond b\n</proposal 2>" in model.prompts[4]


def test_one_proposal_that_is_missing_is_named(model):
    model.answers = {
        "Write the one best": "combined",
        "Write your own": "second",
        "first answer": "",
        "Name": ["a", "b", ""],
    }

    result = mixture.run({"task": "Name it", "n": 3})

    assert result["answer"] == "combined"
    assert result["warnings"] == ["proposals of layer 1: 1 of 3 could not be used, and are missing from the result"]


def test_a_layer_without_answers_keeps_the_proposals_before(model):
    model.answers = {"Write the one best": "", "Write your own": "", "Name": ["a", "b"]}

    result = mixture.run({"task": "Name it", "n": 2})

    assert (result["answer"], result["proposals"]) == ("a", ["a", "b"])


def test_no_proposal_is_no_answer(model):
    model.default = ""

    assert mixture.run({"task": "Name it", "n": 2})["answer"] is None
