"""Cards: fields that are filled in, names that are refused, the line of a list."""

from typing import Any

import pytest

from algocline_mcp.cards.card import Card, extended, new_card, summary

NOW_S = 1_775_974_500.0  # 2026-04-12 06:15:00 UTC
CARD: Card = {"card_id": "c", "pkg": {"name": "cot"}, "stats": {"pass_rate": 0.8, "n": 30}}


def make(fields: Any, *taken: str) -> Card:
    return new_card(fields, identity="p-1  0", now_s=NOW_S, version="1.2.3", is_taken=lambda card_id: card_id in taken)


def test_missing_fields_of_a_card_are_filled_in() -> None:
    assert make({"pkg": {"name": "cot"}, "stats": {"n": 3}}) == {
        "schema_version": "card/v0",
        "card_id": "cot_model_20260412T061500_16f239",
        "created_at": "2026-04-12T06:15:00Z",
        "created_by": "algocline-mcp@1.2.3",
        "pkg": {"name": "cot"},
        "stats": {"n": 3},
    }


def test_fields_of_the_strategy_stay() -> None:
    own = {"pkg": {"name": "cot"}, "card_id": "mine", "created_at": "2025", "created_by": "me", "schema_version": "x"}

    assert make(own) == own


def test_argument_is_not_changed_and_null_is_left_out() -> None:
    fields = {"pkg": {"name": "cot", "version": None}, "list": [1, None, {"a": None}]}

    card = make(fields)

    assert card["pkg"] == {"name": "cot"}
    assert card["list"] == [1, {}]
    assert fields == {"pkg": {"name": "cot", "version": None}, "list": [1, None, {"a": None}]}


MODELS = [
    ({"id": "claude-opus-4-6"}, "opus46"), ({"id": "gpt-4o"}, "4o"), ({"id": ""}, "model"), ({}, "model"),
    ({"id": 5}, "model"), ({"id": "···"}, "model"), ("gpt-4o", "model"), ({"id": "Qwen/3 B"}, "Qwen3B"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "short"), MODELS, ids=repr)
def test_id_names_package_model_time_and_call(model: Any, short: str) -> None:
    card_id = make({"pkg": {"name": "cot"}, "model": model})["card_id"]

    assert card_id.startswith(f"cot_{short}_20260412T061500_")


def test_id_is_longer_if_another_call_has_the_same_digits() -> None:
    first = make({"pkg": {"name": "cot"}})["card_id"]
    second = make({"pkg": {"name": "cot"}}, first)["card_id"]

    assert second == f"{first}3"
    assert make({"pkg": {"name": "cot"}}, first, second)["card_id"].startswith(second)


def test_fingerprint_of_params_ignores_the_order_of_their_keys() -> None:
    one, two, other = (
        make({"pkg": {"name": "p"}, "params": params}) for params in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {})
    )

    assert one["param_fingerprint"] == two["param_fingerprint"] != other["param_fingerprint"]
    assert len(one["param_fingerprint"]) == 16


UNMADE: list[tuple[Any, str]] = [
    ([1], "the card must be a table"),
    ({}, "the card must have a text pkg.name"),
    ({"pkg": "cot"}, "the card must have a text pkg.name"),
    ({"pkg": {"name": 5}}, "the card must have a text pkg.name"),
    *(({"pkg": {"name": name}}, f"Invalid pkg name: '{name}'") for name in ("", "a/b", "..", "a\\b", "\0", ".hidden")),
    ({"pkg": {"name": "é" * 101}}, "Invalid pkg name: '"),
    ({"pkg": {"name": "cot"}, "card_id": "../x"}, "Invalid card_id name: '../x'"),
    ({"pkg": {"name": "cot"}, "card_id": "old"}, "card 'old' already exists (immutable)"),
]


@pytest.mark.parametrize(("fields", "sentence"), UNMADE, ids=repr)
def test_unusable_fields_are_refused(fields: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        make(fields, "old")

    assert sentence in str(caught.value)


def test_fields_are_added_and_none_is_changed() -> None:
    card = {"card_id": "c", "stats": {"n": 1}}

    assert extended(card, {"caveats": {"a": 1, "b": None}}) == {**card, "caveats": {"a": 1}}
    for more, sentence in (({"x": 1, "stats": {}}, "key 'stats' already set on card 'c'"), ([], "must be a table")):
        with pytest.raises(ValueError, match=sentence):
            extended(card, more)
    assert card == {"card_id": "c", "stats": {"n": 1}}


def test_summary_says_what_the_card_says() -> None:
    card = CARD | {"created_at": "2026", "model": {"id": "m"}, "scenario": {"name": "s"}}
    assert summary(card, "cot") == {
        "card_id": "c",
        "pkg": "cot",
        "created_at": "2026",
        "model": "m",
        "scenario": "s",
        "pass_rate": 0.8,
    }
    assert summary({"card_id": "c", "model": "m", "stats": {"pass_rate": "0.8"}}, "p") == {
        "card_id": "c",
        "pkg": "p",
    }
