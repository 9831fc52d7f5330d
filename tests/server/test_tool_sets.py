"""The tools that each value of ALC_TOOLS lists."""

from pathlib import Path
from typing import Any

import pytest

from algocline_mcp.server import app
from tests.rig.hosts import Tools

CORE = ["alc_run", "alc_continue", "alc_status", "alc_stop", "alc_branch", "alc_catalog"]


UPSTREAM = {
    *("alc_advice", "alc_info", "alc_log_view", "alc_note", "alc_stats"),
    *("alc_pool_status", "alc_pool_ensure", "alc_pool_stop"),
    *("alc_pkg_list", "alc_pkg_install", "alc_pkg_remove", "alc_pkg_link", "alc_pkg_unlink", "alc_pkg_doctor"),
    *("alc_pkg_repair", "alc_pkg_scaffold", "alc_pkg_test", "alc_card_install"),
    *("alc_state_list", "alc_state_show", "alc_state_set", "alc_state_delete", "alc_state_reset"),
    *("alc_card_list", "alc_card_get", "alc_card_find", "alc_card_append", "alc_card_samples", "alc_card_lineage"),
    *("alc_card_alias_set", "alc_card_alias_list", "alc_card_get_by_alias", "alc_card_sink_backfill"),
    *("alc_eval", "alc_eval_history", "alc_eval_detail", "alc_eval_compare"),
    *("alc_scenario_list", "alc_scenario_show", "alc_scenario_install"),
}


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    def list_tools(tool_set: str) -> dict[str, dict[str, Any]]:
        monkeypatch.setenv("ALC_TOOLS", tool_set)
        monkeypatch.setenv("ALC_HOME", str(tmp_path / "h"))
        return Tools(app.build()).listed()

    return list_tools


def test_each_set_holds_the_smaller_one(listed: Any) -> None:
    assert list(listed("")) == list(listed("core")) == CORE
    assert list(listed("author")) == [*CORE, "alc_package"]
    full = listed("full")
    assert list(full)[:7] == [*CORE, "alc_package"]
    assert set(list(full)[7:]) == UPSTREAM


def test_with_a_database_what_lies_in_a_home_is_left_out() -> None:
    with_home, with_database = (
        {tool.name for tool in app.tools_of({"ALC_TOOLS": "full"}, has_database=has_database)}
        for has_database in (False, True)
    )

    assert with_home - with_database == {
        *("alc_log_view", "alc_note", "alc_stats", "alc_card_install", "alc_card_sink_backfill"),
        *("alc_eval", "alc_eval_history", "alc_eval_detail", "alc_eval_compare"),
    }
    assert with_database < with_home


def test_full_adds_the_arguments_of_upstream(listed: Any) -> None:
    core, full = listed("core"), listed("full")
    for name, more in (("alc_run", {"host_mode"}), ("alc_status", {"pending_filter", "include_history"})):
        ours, both = core[name]["inputSchema"]["properties"], full[name]["inputSchema"]["properties"]
        assert {name: schema for name, schema in both.items() if name not in more} == ours
        assert more < set(both)
        assert full[name]["description"] == core[name]["description"]
        assert full[name]["annotations"] == core[name]["annotations"]
    for name in CORE[1:2] + CORE[3:]:
        assert full[name] == core[name]


def test_every_tool_has_a_description_and_refuses_unknown_arguments(listed: Any) -> None:
    for name, tool in listed("full").items():
        assert tool["inputSchema"]["additionalProperties"] is False, name
        assert tool["outputSchema"]["additionalProperties"] is True, name
        assert tool["description"].strip(), name
        is_open = name in ("alc_package", "alc_pkg_repair") or name.endswith("_install")
        assert tool["annotations"]["openWorldHint"] is is_open, name


def test_an_unknown_set_is_reported_by_every_call(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tools: Tools
) -> None:
    monkeypatch.setenv("ALC_TOOLS", "all")
    unknown = Tools(app.build())

    assert list(unknown.listed()) == CORE
    sentence = unknown.call("alc_status").content[0].text
    assert "ALC_TOOLS='all' is not a set of tools: set it to one of core, author, full" in sentence
