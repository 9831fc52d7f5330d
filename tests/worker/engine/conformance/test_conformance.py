"""alc.* does the same in every language: results, errors, and what the keeper gets."""

from typing import Any

import pytest

from algocline_mcp import wording
from algocline_mcp.wording import in_words
from tests.worker.engine.conformance import asking_cases, effect_cases, math_cases, reading_cases, stage_cases
from tests.worker.engine.conformance.case import Case
from tests.worker.engine.conformance.keeper import ScriptedKeeper
from tests.worker.engine.conformance.languages import RUNNERS

TABLES = (asking_cases, reading_cases, effect_cases, stage_cases, math_cases)
CASES = [case for table in TABLES for case in table.CASES]
KINDS = {
    "lua": {"nil": "nil", "dict": "table", "list": "table", "str": "string", "int": "number", "bool": "boolean"},
    "python": {"nil": "None", "dict": "dict", "list": "list", "str": "str", "int": "int", "bool": "bool"},
}
WORDS = {"lua": wording.LUA | KINDS["lua"], "python": wording.PYTHON | KINDS["python"]}


def _about(value: Any) -> Any:
    """Equal floats may differ in the last digits: one language adds in another order, or has a function in C."""
    if isinstance(value, float):
        return pytest.approx(value, rel=1e-9, abs=1e-12)
    if isinstance(value, dict):
        return {key: _about(item) for key, item in value.items()}
    return [_about(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("language", RUNNERS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_language_does_what_the_table_says(case: Case, language: str) -> None:
    code = case.lua if language == "lua" else case.python
    keeper = ScriptedKeeper(case.answers, case.replies)

    outcome = RUNNERS[language](code, keeper)

    if case.error is None:
        assert outcome.error is None
        assert outcome.result == _about(case.result)
    else:
        assert in_words(case.error, WORDS[language]) in (outcome.error or "no error")
    sent = [message for message in outcome.messages if message["op"] != "log"]
    logged = [f"{message['level']}: {message['message']}" for message in outcome.messages if message["op"] == "log"]
    assert case.messages is None or sent == list(case.messages)
    assert [line[: len(start)] for line, start in zip(logged, case.logged, strict=True)] == list(case.logged)
