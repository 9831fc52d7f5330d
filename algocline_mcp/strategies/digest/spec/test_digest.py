import digest

TEXT = "\n\n".join(f"Chapter {n}. " + f"In year {1900 + n} the town had {n} mills. " * 4 for n in range(1, 7))


def notes(prompt):
    number = prompt.partition("Piece ")[2].split()[0]
    return f"[{number}] a note"


def test_each_piece_is_read_once_and_one_prompt_answers_from_the_notes(model):
    model.answers = {"Piece 2": "NOTHING", "Piece": notes, "Notes on the text": "Mills [1]."}

    result = digest.run({"text": TEXT, "task": "How many mills?", "chars": 400})

    assert result == {"answer": "Mills [1].", "pieces": 3, "unread": []}
    assert len(model.prompts) == 4
    assert "[1] a note\n[3] a note" in model.prompts[-1]
    assert all("How many mills?" in prompt for prompt in model.prompts)


def test_a_short_text_needs_one_prompt(model):
    model.default = "Short."

    assert digest.run({"text": "A text."}) == {"answer": "Short.", "pieces": 1, "unread": []}
    assert model.prompts == ["Summarise the text.\n\n<text>\nA text.\n</text>\n\nUse this text alone."]


def test_notes_that_are_too_long_are_merged_in_groups(model):
    model.answers = {"Piece": "x" * 300, "Merge": "[1-3] merged", "Notes on the text": "All."}

    result = digest.run({"text": TEXT + TEXT, "chars": 400})

    merges = [prompt for prompt in model.prompts if "Merge" in prompt]
    assert result["answer"] == "All."
    assert len(merges) == 2
    assert "[1-3] merged\n[1-3] merged" in model.prompts[-1]


def test_a_piece_without_an_answer_is_named(model):
    model.answers = {"Piece 2": "", "Piece": notes, "Notes on the text": "Two of three."}

    result = digest.run({"text": TEXT, "chars": 400})

    assert result["unread"] == [2]
    assert result["warnings"] == ["notes on pieces: 1 of 3 could not be used, and are missing from the result"]


def test_without_the_last_answer_the_notes_are_returned(model):
    model.answers = {"Piece": notes, "Notes on the text": ""}

    result = digest.run({"text": TEXT, "chars": 400})

    assert result["answer"] == "[1] a note\n[2] a note\n[3] a note"


def test_nothing_about_the_task_is_an_answer_and_no_answer_is_none(model):
    model.default = "**NOTHING.**"
    assert digest.run({"text": TEXT, "chars": 400})["answer"] == "The text says nothing about the task."

    model.answers = {"Piece 2": " "}
    assert (
        digest.run({"text": TEXT, "chars": 400})["answer"] == "What was read of the text says nothing about the task."
    )

    model.answers, model.default = {}, " "
    result = digest.run({"text": TEXT, "chars": 400})
    assert (result["answer"], result["unread"]) == (None, [1, 2, 3])


def test_notes_are_grouped_up_to_the_limit():
    assert digest.groups_of(["aaaa", "bbbb", "cc", "d"], 9) == ["aaaa\nbbbb", "cc\nd"]
    assert digest.groups_of(["a" * 20, "b"], 9) == ["a" * 20, "b"]
    assert digest.groups_of([], 9) == []
