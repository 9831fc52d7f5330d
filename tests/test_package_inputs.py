"""Inputs that a package declares, by table: what `run` finds, and the sentence for what it cannot use."""

from typing import Any

import pytest

from algocline_mcp.cli.wording import at_terminal
from algocline_mcp.package_inputs import InputError, changes, forms_in, how_to_give, unknown

FORMS = forms_in({
    "inputs": {
        "task": {"type": "string", "description": "the question"},
        "n": {"type": "integer", "default": 5, "minimum": 1, "maximum": 9, "description": "how many"},
        "items": {"type": "array", "default": []},
        "strict": {"type": "boolean", "default": False},
        "mode": {"enum": ["fast", "slow"], "type": "string", "default": "fast"},
        "share": {"type": "number", "minimum": 0, "default": 0.5},
        "fields": {"type": "object", "default": {}},
    }
})  # fmt: skip

READ: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"n": "2"}, {"n": 2}),
    ({"n": 2.0}, {"n": 2}),
    ({"n": None, "mode": " "}, {"n": 5, "mode": "fast"}),
    ({"items": "a\n b\n"}, {"items": ["a", "b"]}),
    ({"items": '["a"]'}, {"items": ["a"]}),
    ({"items": "one"}, {"items": ["one"]}),
    ({"strict": "True", "share": "1"}, {"strict": True, "share": 1}),
    ({"fields": '{"a": "b"}'}, {"fields": {"a": "b"}}),
    ({"task": 3}, {"task": "3"}),
]


@pytest.mark.parametrize(("ctx", "read"), READ, ids=str)
def test_run_finds_each_input_of_its_type(ctx: dict[str, Any], read: dict[str, Any]) -> None:
    defaults = {name: form["default"] for name, form in FORMS.items() if "default" in form}
    given = {"task": "T", "else": 1} | ctx

    assert given | changes("p", FORMS, given) == {"task": "T", "else": 1} | defaults | read


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"task": " "}, "p needs task (the question)"),
    ({"task": None, "tasks": "T", "x": 1}, "p needs task (the question), and has no input tasks"),
    ({"n": 10}, "p: n (how many) must be from 1 to 9, and is 10"),
    ({"n": "many"}, 'p: n (how many) must be a whole number, and is "many"'),
    ({"n": True}, "p: n (how many) must be a whole number, and is true"),
    ({"n": "2.5"}, "p: n (how many) must be a whole number, and is 2.5"),
    ({"items": 3}, "p: items must be a list, and is 3"),
    ({"mode": "quick"}, 'p: mode must be one of fast, slow, and is "quick"'),
    ({"strict": "perhaps"}, 'p: strict must be true or false, and is "perhaps"'),
    ({"share": -1}, "p: share must be at least 0, and is -1"),
    ({"fields": ["a" * 100]}, f'p: fields must be an object, and is ["{"a" * 77}…'),
    ({"task": {"a": 1}}, 'p: task (the question) must be a text, and is {"a": 1}'),
]


@pytest.mark.parametrize(("ctx", "sentence"), WRONG, ids=str)
def test_what_cannot_be_used_is_named_in_one_sentence(ctx: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as error:
        changes("p", FORMS, {"task": "T"} | ctx)

    assert str(error.value) == sentence


@pytest.mark.parametrize(
    "meta",
    [
        None, [], {"inputs": None}, {"inputs": ["a"]}, {"inputs": {"a": "a text"}}, {"inputs": {1: {"type": "string"}}},
        {"inputs": {"a": {"type": ["string", "null"], "default": None}}},
        {"inputs": {"a": {"type": "text", "default": 1, "minimum": "x", "enum": 3}}},
        {"inputs": {"a": {"type": "integer", "minimum": "x", "enum": 3}}},
    ],
    ids=str,
)  # fmt: skip
def test_a_form_of_another_kind_checks_nothing(meta: Any) -> None:
    assert changes("p", forms_in(meta), {"a": 7}) == {}


def test_a_name_that_is_no_input_gets_the_nearest_one_or_all() -> None:
    ctx = {"item": ["a"], "colour": "red", "n": 1, "budget": {}, "_ns": "x"}

    nearest = ["p has no input item: was items meant?"]
    names = ", ".join(FORMS)
    others = [f"p has no input colour, and leaves it alone: its inputs are {names}"]
    assert unknown("p", FORMS, ctx) == others + nearest
    assert unknown("p", FORMS, ctx, is_near=True) == nearest
    assert unknown("p", {}, ctx) == []


WAYS = [
    ("task", 'task="…"', "task=…"),
    ("n", 'opts={"n": 5}', "n=5"),
    ("items", 'opts={"items": ["…"]}', "items:='[\"…\"]'"),
    ("fields", 'opts={"fields": {"…": "…"}}', 'fields:=\'{"…": "…"}\''),
    ("strict", 'opts={"strict": true}', "strict=true"),
    (
        "mode",
        'opts={"mode": "fast"}, or the text of a file by ctx_files={"mode": "PATH"}',
        "mode=fast, or the text of a file by mode=@PATH",
    ),
]


@pytest.mark.parametrize(("name", "over_mcp", "in_a_shell"), WAYS)
def test_an_example_says_how_to_give_it(name: str, over_mcp: str, in_a_shell: str) -> None:
    assert how_to_give({name: FORMS[name]}) == over_mcp
    assert at_terminal(over_mcp) == in_a_shell
