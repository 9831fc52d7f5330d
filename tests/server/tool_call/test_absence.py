"""What hosts send for *not given* is absent: by table, for every optional argument of every tool."""

from typing import Any

import pytest

from algocline_mcp.server.app import tools_of
from algocline_mcp.server.tool_call.absence import VERBATIM, given
from tests.rig.hosts import Tools
from tests.rig.tool_replies import ONE, SID, refusal_of, result_of

EMPTY: list[Any] = [None, "", " \n", "null", [], {}, "[]", "{}"]
TOOLS = {tool.name: tool.fn_metadata.arg_model for tool in tools_of({"ALC_TOOLS": "full"})}
OPTIONAL = [
    (tool, name)
    for tool, model in TOOLS.items()
    for name, field in model.model_fields.items()
    if not field.is_required()
]


@pytest.mark.parametrize(("tool", "name"), OPTIONAL)
def test_an_empty_value_is_not_given(tool: str, name: str) -> None:
    fields = TOOLS[tool].model_fields
    is_answer = VERBATIM in fields[name].metadata

    left = [value for value in EMPTY if given(fields, {name: value})]

    assert left == (EMPTY[3:] if is_answer else [])
    assert is_answer == ((tool, name) == ("alc_continue", "response"))


@pytest.mark.parametrize("tool", TOOLS)
def test_required_arguments_values_and_unknown_names_stay(tool: str) -> None:
    fields = TOOLS[tool].model_fields
    arguments = {name: "" if field.is_required() else "x" for name, field in fields.items()} | {"unknown": ""}
    zeros = dict(zip(fields, [0, False, "0", "false", [0], {"a": None}] * 3, strict=False))

    assert given(fields, arguments) == arguments
    assert given(fields, zeros) == zeros


@pytest.mark.parametrize("empty", EMPTY)
def test_alc_run_ignores_arguments_without_content(tools: Tools, empty: Any) -> None:
    names = ("code_file", "strategy", "task", "opts", "title", "project_root", "wait_s")

    reply = tools.call("alc_run", code="x", ctx={"task": "kept"}, **dict.fromkeys(names, empty))
    plain = tools.call("alc_run", code="x", ctx={"task": "kept"})
    assert result_of(reply)["result"] == result_of(plain)["result"]


@pytest.mark.parametrize("empty", EMPTY)
@pytest.mark.parametrize(
    "given", [{"response": "a"}, {"refuse": "b"}, {"responses": [{"query_id": "q-0", "response": "c"}]}]
)
def test_alc_continue_ignores_arguments_without_content(tools: Tools, given: dict[str, Any], empty: Any) -> None:
    names = {"response", "responses", "refuse", "query_id", "usage", "by", "wait_s"} - set(given)

    filled = {"session_id": SID, **given, **dict.fromkeys(names, empty)}
    replies = tools.calls(("alc_run", {"code": ONE}), ("alc_continue", filled))
    plain = tools.calls(("alc_run", {"code": ONE}), ("alc_continue", {"session_id": SID, **given}))
    assert result_of(replies[1])["result"] == result_of(plain[1])["result"]


@pytest.mark.parametrize("empty", ["", " ", None])
def test_an_empty_answer_is_no_answer(tools: Tools, empty: Any) -> None:
    item = {"query_id": "q-0", "response": empty}

    started, single, several, after = tools.calls(
        ("alc_run", {"code": ONE}),
        ("alc_continue", {"session_id": SID, "response": empty}),
        ("alc_continue", {"session_id": SID, "responses": [item]}),
        ("alc_status", {"session_id": SID}),
    )

    assert "an empty response is no answer" in refusal_of(single)
    assert "a response, which is not empty, or refuse" in refusal_of(several)
    assert result_of(after) == result_of(started)


@pytest.mark.parametrize("empty", EMPTY)
def test_an_item_ignores_fields_without_content(tools: Tools, empty: Any) -> None:
    item = {"query_id": "q-0", "response": "x", "refuse": empty, "usage": empty, "by": empty}

    replies = tools.calls(("alc_run", {"code": ONE}), ("alc_continue", {"session_id": SID, "responses": [item]}))
    assert result_of(replies[1])["result"] == [{"id": "q-0", "response": "x"}]
