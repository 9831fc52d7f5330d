import alc
from alc_rounds import Rounds, cut, json_of, list_of, text_of, texts_of

META = {
    "name": "s",
    "inputs": {
        "task": {"type": "string", "description": "the question"},
        "n": {"type": "integer", "default": 5, "minimum": 1, "maximum": 9, "description": "how many"},
        "items": {"type": "array", "default": [], "description": "the items"},
        "strict": {"type": "boolean", "default": False, "description": "whether"},
    },
}


def error_of(ctx):
    try:
        Rounds(META, ctx)
    except ValueError as exc:
        return str(exc)
    return None


def test_inputs_have_the_defaults_of_meta():
    assert Rounds(META, {"task": "T"}).inputs == {"task": "T", "n": 5, "items": [], "strict": False}
    assert Rounds(META, {"task": "T", "n": 2, "items": " "}).inputs["items"] == []


def test_an_input_that_is_missing_is_named_in_one_sentence():
    assert error_of({"task": " "}) == "s needs task (the question)"


def test_json_is_read_with_its_fields():
    assert json_of("a")('so: {"a": 1, "b": 2}') == {"a": 1, "b": 2}
    assert json_of("a")('{"b": 2}') is None
    assert list_of("a")('{"findings": [{"a": 1}]}') == [{"a": 1}]
    assert list_of("a")("[]") == []
    assert list_of("a")("[1]") is None


def test_a_long_text_keeps_its_beginning_and_its_end():
    assert cut("a" * 10 + "b" * 10, 20) == "a" * 10 + "b" * 10
    assert cut("a" * 50 + "b" * 50, 20) == "a" * 10 + "\n[… 80 characters left out …]\n" + "b" * 10


def test_what_is_missing_after_the_second_attempt_is_none(model):
    model.answers = {"one": "1", "two": ["", "2"], "three": ""}
    rounds = Rounds(META, {"task": "T"})

    values = rounds.ask_all(["one", "two", "three"], lambda answer: answer or None, "numbers")

    assert values == ["1", "2", None]
    assert rounds.warnings == [
        "numbers: 1 of 3 could not be used, and were usable when asked for again",
        "numbers: 1 of 3 could not be used, and are missing from the result",
    ]


def test_the_second_prompt_says_what_was_wrong_in_lines_that_begin_with_a_word(model):
    model.answers = {"one": "", "two": alc.Refused("refused", "no"), "three": "?"}
    rounds = Rounds(META, {"task": "T"})

    rounds.ask_all(["one", "two", "three"], lambda answer: None)

    end = "\n\nAnswer the request above, in the form that it asks for."
    assert model.prompts[3:] == [
        "one\n\nThe first answer to this was empty." + end,
        "two\n\nThe first answer to this was a refusal: no." + end,
        "three\n\nThe first answer to this could not be read. It was:\n<answer>\n?\n</answer>" + end,
    ]


def test_a_text_is_what_is_visible():
    assert text_of(" a b\n") == "a b"
    assert text_of("\u200b\n\x00") is None


def test_fields_may_have_a_type():
    assert json_of(a=float)('{"a": 1}') == {"a": 1}
    assert json_of(a=float)('{"a": "1"}') is None
    assert json_of(a=float)('{"a": true}') is None
    assert list_of(a=str)('[{"a": "x"}, {"a": null}]') is None
    assert texts_of('Here: ["a", "b"]') == ["a", "b"]
    assert texts_of('["a", 1, " "]') == ["a"]
    assert texts_of("[]") is None


def test_an_answer_that_is_far_too_long_loses_its_middle(model):
    model.default = "begin" + "x" * 200_000 + "end"
    rounds = Rounds(META, {"task": "T"})

    answer = rounds.ask("p", text_of)

    assert len(answer) < 101_000
    assert answer.startswith("begin")
    assert rounds.warnings == ["of an answer that is longer than 100000 characters the middle was left out"]


def test_a_text_is_read_without_the_thinking_before_it():
    assert text_of("<think>\nShort?\n</think>\n\nA line.") == "A line."
    assert text_of("<Thinking>What could I say?</Thinking>") is None
