"""Logs of inspect_ai: its own reader gives the run back. Needs the extra `inspect`, which .ci/run installs last."""

from pathlib import Path
from typing import Any

import pytest

from algocline_mcp.errors import Refused
from algocline_mcp.evaluation import inspect_log
from algocline_mcp.evaluation.inspect_log import write_logs
from algocline_mcp.session.records import Record
from tests.evaluation.test_report import CASES, PRICES, a_plan, a_report

RECORDS: list[Record] = [
    {"kind": "prompt", "queries": [{"id": "q-0", "prompt": "Why?", "system": "Be brief."}]},
    {"kind": "answer", "answers": [{"id": "q-0", "response": "So."}]},
]


def records_of(sid: str) -> list[Record]:
    if sid.endswith("0"):
        raise Refused("session not found", code="not_found")
    return RECORDS


def test_a_log_that_inspect_reads_equals_the_run(tmp_path: Path) -> None:
    log_module: Any = pytest.importorskip("inspect_ai.log")
    plan = a_plan(2, prices=PRICES)
    report = a_report(2, plan=plan)

    names = write_logs(plan, report, tmp_path, records_of)

    logs = [log_module.read_eval_log(str(tmp_path / name)) for name in names]
    for log, entry in zip(logs, report["strategies"], strict=True):
        assert (log.status, log.eval.solver, log.eval.config.epochs) == ("success", entry["strategy"], 2)
        assert log.results.scores[0].metrics["mean"].value == entry["score"]
        assert log.results.scores[0].metrics["ci_low"].value == entry["low"]
        assert log.results.completed_samples == entry["runs"]
        (usage,) = log.stats.model_usage.values()
        assert (usage.total_tokens, usage.total_cost) == (entry["tokens"], entry["cost"])
        samples = {(sample.id, sample.epoch - 1): sample for sample in log.samples}
        for row in (row for row in report["rows"] if row["strategy"] == entry["strategy"]):
            sample = samples.pop((row["case"], row["epoch"]))
            assert sample.scores["exact"].value == row["score"]
            assert sample.output.completion == row["output"]
            assert sample.target == [CASES[0].expected]
            assert [message.role for message in sample.messages] in (["system", "user", "assistant"], [])
        assert samples == {}


def test_without_the_library_the_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect_log, "find_spec", lambda name: None)

    with pytest.raises(Refused, match=r"algocline-mcp\[inspect\]"):
        write_logs(a_plan(1), a_report(1), tmp_path, records_of)
