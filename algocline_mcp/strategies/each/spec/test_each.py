import each

OK, WRONG = '{"problem": "", "ok": true}', '{"problem": "not a colour", "ok": false}'


def test_every_item_is_done_and_checked_in_order(model):
    model.answers = {"Check the result": OK, "\nsky\n": "blue", "\ngrass\n": "green", '{"n": 1}': "red"}

    result = each.run({"items": ["sky", "grass", {"n": 1}], "task": "Name its colour.", "at_once": 2})

    assert result == {
        "done": [
            {"item": "sky", "result": "blue", "attempts": 1, "checked": True},
            {"item": "grass", "result": "green", "attempts": 1, "checked": True},
            {"item": {"n": 1}, "result": "red", "attempts": 1, "checked": True},
        ],
        "failed": [],
    }
    assert len(model.prompts) == 6


def test_a_wrong_result_is_done_again_with_what_the_check_said(model):
    model.answers = {"Check the result": [WRONG, OK], "not a colour": "blue", "sky": "up"}

    (done,) = each.run({"items": ["sky"], "task": "Name its colour."})["done"]

    assert done == {"item": "sky", "result": "blue", "attempts": 2, "checked": True}


def test_what_stays_wrong_has_failed(model):
    model.answers = {"Check the result": WRONG}
    model.default = "up"

    result = each.run({"items": ["sky"], "task": "Name its colour."})

    assert result == {"done": [], "failed": [{"item": "sky", "result": "up", "why": "not a colour"}]}


def test_a_check_that_cannot_be_read_leaves_the_result_unchecked_and_says_so(model):
    model.answers = {"Check the result": "hm"}
    model.default = "blue"

    result = each.run({"items": ["sky"], "task": "Name its colour."})

    assert result["done"] == [{"item": "sky", "result": "blue", "attempts": 1, "checked": False}]
    assert result["warnings"] == ["checks: 1 of 1 could not be used, and are missing from the result"]
