"""Upstream's tools for evaluations and scenarios, through a real server and without the package evalframe."""

import re
from pathlib import Path
from typing import Any

import pytest

from algocline_mcp.cli.demo import Server
from tests.rig.full_server import refusal_of_call

ASK = 'return { meta = { version = "1" }, run = function(ctx) return { result = alc.llm(ctx.task) } end }'
SCENARIO = """
local ef = require("evalframe")
return { ef.bind({ ef.graders.contains }), name = "sums", cases = {
  ef.case({ name = "one", input = "1+1?", expected = "2" }), ef.case({ input = "2+2?", expected = { "4", "four" } }) } }
"""
ANSWERS = {"1+1?": "It is 2.", "2+2?": "It is 5."}


def answered(host: Server, state: dict[str, Any], answers: dict[str, str] = ANSWERS) -> dict[str, Any]:
    while state["status"] == "needs_response":
        answer = answers[state["prompt"]]
        state = host.call("alc_continue", session_id=state["session_id"], query_id=state["query_id"], response=answer)
    return state


@pytest.fixture
def installed(host: Server, tmp_path: Path) -> Server:
    (tmp_path / "ask").mkdir()
    (tmp_path / "ask" / "init.lua").write_text(ASK)
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios" / "sums.lua").write_text(SCENARIO)
    host.call("alc_pkg_install", url=str(tmp_path / "ask"), force=True)
    host.call("alc_scenario_install", url=str(tmp_path))
    return host


@pytest.mark.slow
def test_an_evaluation_pauses_as_any_run_and_is_kept_and_compared(installed: Server, tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    host = installed
    begun = host.call("alc_eval", scenario_name="sums", strategy="ask", auto_card=True)
    assert host.call("alc_eval_history")["evals"][0]["status"] == "partial"

    report = answered(host, begun)["result"]

    assert (report["name"], report["aggregated"]["passed"], report["aggregated"]["total"]) == ("ask:sums", 1, 2)
    line = host.call("alc_eval_history", strategy="ask")["evals"][0]
    assert (line["eval_id"], line["status"], line["pass_rate"]) == (begun["eval_id"], "completed", 0.5)
    assert (line["passed"], line["total_cases"], line["llm_calls"]) == (1, 2, 2)
    detail = host.call("alc_eval_detail", eval_id=begun["eval_id"])
    assert [(row["case"], row["pass"], row["output"]) for row in detail["rows"]] == [
        ("one", True, "It is 2."), ("2: 2+2?", False, "It is 5."),
    ]  # fmt: skip
    assert host.call("alc_card_get", card_id=detail["cards"][0])["stats"]["pass_rate"] == 0.5

    better = answered(host, host.call("alc_eval", scenario=SCENARIO, strategy="ask"), {"1+1?": "2", "2+2?": "four"})
    newest = host.call("alc_eval_history", limit=1)["evals"][0]
    (compared,) = host.call("alc_eval_compare", eval_id_a=begun["eval_id"], eval_id_b=newest["eval_id"])["comparisons"]

    assert better["result"]["aggregated"]["pass_rate"] == 1.0
    assert (compared["better"], compared["worse"], compared["test"]) == (1, 0, "McNemar's exact test")
    assert host.call("alc_eval_history", strategy="other") == {"evals": []}


@pytest.mark.slow
def test_a_scenario_is_an_object_too_and_its_strategy_gets_options(installed: Server) -> None:
    cases = {"cases": [{"input": "1+1?", "expected": "It is 2."}]}

    state = installed.call("alc_eval", scenario=cases, strategy="ask", strategy_opts={"quote": "']] \\ "})

    assert answered(installed, state)["result"]["aggregated"]["pass_rate"] == 1.0


@pytest.mark.slow
def test_misuse_is_one_sentence(installed: Server) -> None:
    calls: list[tuple[dict[str, Any], str]] = [
        ({}, "Provide one of: scenario, scenario_file, or scenario_name."),
        ({"scenario": {"cases": []}, "scenario_name": "a"}, "Provide only one of: .* \\(not multiple\\)\\."),
        ({"scenario_name": "sums", "strategy": "nowhere"}, "Strategy 'nowhere' is not installed"),
    ]
    for arguments, sentence in calls:
        assert re.match(sentence, refusal_of_call(installed, "alc_eval", **{"strategy": "ask"} | arguments))
    assert "Eval result not found: x" in refusal_of_call(installed, "alc_eval_detail", eval_id="x")
    assert "Scenario 'sum' not found" in refusal_of_call(installed, "alc_scenario_show", name="sum")
    assert "Scenario '../x' not found" in refusal_of_call(installed, "alc_scenario_show", name="../x")
    failed = installed.call("alc_eval", scenario_name="nowhere", strategy="ask")
    assert "could not resolve scenario 'nowhere'" in failed["error"]
    assert installed.call("alc_eval_history", limit=1)["evals"][0]["status"] == "error"


def test_scenarios_are_installed_once_listed_and_shown(host: Server, tmp_path: Path) -> None:
    assert "the source has no scenario" in refusal_of_call(host, "alc_scenario_install", url=str(tmp_path))
    (tmp_path / "good.lua").write_text(SCENARIO)
    (tmp_path / "bad name.lua").write_text(SCENARIO)

    first = host.call("alc_scenario_install", url=str(tmp_path))
    second = host.call("alc_scenario_install", url=str(tmp_path))

    assert (first["installed"], first["failures"][0]["name"]) == (["good"], "bad name")
    assert (second["installed"], second["skipped"]) == ([], ["good"])
    sizes = {line["name"]: line["size_bytes"] for line in host.call("alc_scenario_list")["scenarios"]}
    assert sizes["good"] == len(SCENARIO)
    assert host.call("alc_scenario_show", name="good")["content"] == SCENARIO
