"""Redaction: values that a strategy read from the environment are in no text that leaves the journal."""

import json
from typing import Any

import pytest

from algocline_mcp.history.redaction import HIDDEN, Redaction
from algocline_mcp.session.records import Record

SECRET, SHORT = "token-0123456789", "prod"


def header(ctx: dict[str, Any], **fields: Any) -> Record:
    return {"kind": "header", "sid": "p-1", "ctx": json.dumps(ctx), **fields}


EFFECT: Record = {"kind": "effect", "name": "env", "args": ["TOKEN"], "result": SECRET}
SOURCES: list[list[Record]] = [
    [header({"env": {"inject": {"TOKEN": SECRET}}})],
    [header({}), EFFECT],
    [header({}), {"kind": "fork", "ctx": {"env": {"inject": {"TOKEN": SECRET}}}, "strategies": ["a"]}],
    [header({}, carried={"effects": [["env", ["TOKEN"], {"result": SECRET}, None]]})],
]


@pytest.mark.parametrize("records", SOURCES, ids=["ctx.env", "effect", "fork", "inherited"])
def test_value_of_the_environment_is_hidden_inside_other_texts(records: list[Record]) -> None:
    redaction = Redaction.of(records)

    assert redaction.text(f"with {SECRET}!") == f"with {HIDDEN}!"
    assert redaction.value({"a": [SECRET, 1, None]}) == {"a": [HIDDEN, 1, None]}


def test_longer_secret_is_hidden_before_one_that_is_part_of_it() -> None:
    redaction = Redaction.of([header({"env": {"inject": {"A": SECRET, "B": SECRET + "-and-more"}}})])

    assert redaction.text(SECRET + "-and-more") == HIDDEN


def test_short_value_is_hidden_in_its_own_field_only() -> None:
    redaction = Redaction.of([header({"env": {"inject": {"STAGE": SHORT}}})])

    assert redaction.text("a product") == "a product"
    assert redaction.ctx(json.dumps({"env": {"inject": {"STAGE": SHORT}}})) == {"env": {"inject": {"STAGE": HIDDEN}}}
    assert redaction.record({**EFFECT, "result": SHORT})["result"] == HIDDEN
