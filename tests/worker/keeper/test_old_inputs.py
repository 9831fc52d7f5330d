"""Sessions that began before the inputs of packages were read."""

from typing import Any

import pytest

from algocline_mcp import package_inputs
from algocline_mcp.worker.keeper import engine_start

HEADER: dict[str, Any] = {
    "sid": "p-1",
    "language": "lua",
    "utc_offset_s": 0,
    "code": "",
    "chunk": "",
    "ctx": "{}",
    "seed": 0,
    "t": 0.0,
    "limits": {"state_key_bytes": 1024, "json_depth": 128},
}


@pytest.mark.parametrize(("mark", "ignores"), [({}, True), ({"reads_inputs": True}, None)])
def test_engine_of_a_journal_without_the_mark_reads_no_inputs(mark: dict[str, Any], ignores: bool | None) -> None:
    assert engine_start.of_strategy(HEADER | mark).get("ignores_forms") is ignores


def test_forms_that_are_ignored_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(package_inputs._reading, "is_on", True)
    assert package_inputs.forms_of({"n": {"default": 1}})

    package_inputs.ignore_forms()

    assert package_inputs.forms_of({"n": {"default": 1}}) == {}
