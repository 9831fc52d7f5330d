"""Tools as `tools/list` publishes them: texts within their budget, schemas, annotations."""

import inspect
import json

import pytest

from algocline_mcp.server.app import tools_of
from tests.rig.hosts import Tools


def test_the_list_of_tools_is_short_and_its_schemas_are_closed(tools: Tools) -> None:
    listed = tools.listed()

    assert list(listed) == ["alc_run", "alc_continue", "alc_status", "alc_stop", "alc_branch", "alc_catalog"]
    minified, core = (
        json.dumps({"tools": [*listed.values()][:count]}, ensure_ascii=False, separators=(",", ":")) for count in (6, 4)
    )
    # 300 bytes more than at first: alc_continue has to teach subagents, which get no instructions.
    # 200 more: strategies have two languages.
    assert (len(minified) < 7500, len(core) < 5380) == (True, True)
    assert '"title":"C' not in minified
    assert all(tool["inputSchema"]["additionalProperties"] is False for tool in listed.values())
    assert all(tool["outputSchema"]["additionalProperties"] is True for tool in listed.values())
    assert "outlive restarts" in listed["alc_run"]["description"]


@pytest.mark.parametrize(
    ("tool", "hints"),
    [
        ("alc_run", {"readOnlyHint": False, "destructiveHint": False, "idempotentHint": False}),
        ("alc_continue", {"readOnlyHint": False, "destructiveHint": False, "idempotentHint": True}),
        ("alc_status", {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True}),
        ("alc_stop", {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": True}),
        ("alc_branch", {"readOnlyHint": False, "destructiveHint": False, "idempotentHint": False}),
        ("alc_catalog", {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True}),
    ],
)
def test_annotations_are_accurate(tools: Tools, tool: str, hints: dict[str, bool]) -> None:
    assert tools.listed()[tool]["annotations"] == {**hints, "openWorldHint": False}


@pytest.mark.parametrize(
    ("tool", "arguments", "required"),
    [
        ("alc_run", "code code_file strategy task opts ctx ctx_files title project_root language wait_s", []),
        ("alc_continue", "session_id response responses refuse query_id usage by wait_s", ["session_id"]),
        ("alc_status", "session_id wait_s view limit cursor finished", []),
        ("alc_stop", "session_id mode", ["session_id"]),
        ("alc_branch", "session_id at response code code_file language ctx n dry_run wait_s", ["session_id"]),
        ("alc_catalog", "kind name query limit cursor", []),
    ],
)
def test_each_tool_has_its_arguments(tools: Tools, tool: str, arguments: str, required: list[str]) -> None:
    schema = tools.listed()[tool]["inputSchema"]

    assert list(schema["properties"]) == arguments.split()
    assert schema.get("required", []) == required


def test_every_tool_is_async_and_takes_no_thread_of_the_sdk() -> None:
    assert all(inspect.iscoroutinefunction(tool.fn) for tool in tools_of({}))


def test_texts_are_exactly_str_so_that_the_sdk_leaves_json_in_them_alone() -> None:
    for tool in tools_of({}):
        for name in ("code", "code_file", "session_id", "response", "refuse", "query_id", "title", "by", "at"):
            if name in tool.fn_metadata.arg_model.model_fields:
                assert tool.fn_metadata.arg_model.model_fields[name].annotation is str, f"{tool.name}.{name}"


def test_the_tools_of_the_loop_are_always_loaded(tools: Tools) -> None:
    loaded = [name for name, tool in tools.listed().items() if (tool.get("_meta") or {}).get("anthropic/alwaysLoad")]

    assert loaded == ["alc_run", "alc_continue", "alc_status"]


def test_alc_continue_says_how_to_answer_for_somebody_else(tools: Tools) -> None:
    description = tools.listed()["alc_continue"]["description"]

    assert "one prompt for somebody else, send it with wait_s=0, then stop" in description
