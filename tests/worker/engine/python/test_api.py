"""The package alc: its names, its keywords and their types, and what it remembers of a session."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import alc
from algocline_mcp.worker.engine.process import Start
from algocline_mcp.worker.engine.python.api.refused import assert_refusals_seen
from algocline_mcp.worker.engine.python.runtime import prepare
from algocline_mcp.worker.engine.python.session import Session, running
from tests.worker.engine.conformance.keeper import ScriptedKeeper
from tests.worker.engine.conformance.languages import LIMITS, session_of
from tests.worker.engine.lua.in_process import play

LUA_NAMES = """
local names = {}
for name, value in pairs(alc) do
  names[#names + 1] = name
  for inner in pairs(name ~= "env" and type(value) == "table" and value or {}) do
    names[#names + 1] = name .. "." .. inner
  end
end
return names
"""


def session(*answers: Any) -> Session:
    return session_of("", ScriptedKeeper(answers))


def test_every_name_of_lua_is_there() -> None:
    def is_there(name: str) -> bool:
        outer, _, inner = name.partition(".")
        return hasattr(getattr(alc, outer, None), inner) if inner else hasattr(alc, outer)

    assert [name for name in play(LUA_NAMES).result if not is_there(name)] == []


UNKNOWN: list[tuple[str, dict[str, Any], str]] = [
    ("llm", {"sytem": "s"}, "alc.llm: there is no keyword sytem: was system meant?"),
    ("llm", {"maxTokens": 5}, "alc.llm: there is no keyword maxTokens: was max_tokens meant?"),
    ("llm", {"temperature": 1}, "an option of the host is given by options={'temperature': …}"),
    ("llm", {"post_fn": str}, "alc.llm: there is no keyword post_fn"),
    ("ground", {"schemas": {}}, "alc.ground: there is no keyword schemas: was schema meant?"),
    ("llm_json", {"max_token": 5}, "alc.llm: there is no keyword max_token: was max_tokens meant?"),
    ("cache", {"cachekey": 5}, "alc.cache: there is no keyword cachekey: was cache_key meant?"),
    ("llm", {"options": {"system": "s"}}, "alc.llm: system is a keyword and not an option of the host: write system=…"),
]


@pytest.mark.parametrize(("name", "keywords", "sentence"), UNKNOWN)
def test_keyword_that_there_is_not_is_an_error_with_the_nearest_one(
    name: str, keywords: dict[str, Any], sentence: str
) -> None:
    with running(session()), pytest.raises(TypeError, match=r".") as raised:
        getattr(alc, name)("p", **keywords)

    assert sentence in str(raised.value)


def test_keywords_of_parallel_and_of_items_are_checked_too() -> None:
    item: Any = {"prompt": "p", "sistem": "s"}
    misspelt: Any = {"postfn": str}
    with running(session()):
        with pytest.raises(TypeError, match="was post_fn meant"):
            alc.parallel(["a"], str, **misspelt)
        with pytest.raises(TypeError, match="item 1: there is no keyword sistem: was system meant"):
            alc.llm_batch([item])


def test_items_may_come_from_anything_that_holds_some() -> None:
    with running(session()):
        assert alc.parallel((word for word in ["a", "b"]), str) == ["<a>", "<b>"]
        assert alc.parallel({"x": 1}.values(), str) == ["<1>"]
        assert alc.llm_batch({"prompt": word} for word in "ab") == ["<a>", "<b>"]
        assert alc.vote(range(2))["total"] == 2


@pytest.mark.parametrize("items", ["text", {"a": 1}, 5])
def test_a_text_or_a_dict_is_no_list_of_items(items: Any) -> None:
    with running(session()), pytest.raises(alc.Error, match="must be a non-empty list"):
        alc.parallel(items, str)


def test_what_alc_remembers_belongs_to_one_session() -> None:
    first, second = session(), session()
    with running(first):
        alc.cache("p")
        alc.stats.record("k", 1)
    with running(second):
        assert alc.cache_info()["entries"] == 0
        assert alc.stats.get("k") is None
    assert first.stats == {"k": 1}


def test_refusal_that_nobody_has_looked_at_names_the_line_that_asked() -> None:
    with running(session({"refuse": "no"})):
        alc.llm_batch([{"prompt": "a"}])
        with pytest.raises(alc.Refused, match=r"test_api\.py:\d+: alc\.llm_batch refused: item 1: no") as raised:
            assert_refusals_seen()

    assert raised.value.reason == "no"


ENDS = [
    ("return answers[0]", {"error": "alc.Refused: panel.py:1: alc.llm_batch refused: item 2: no (alc.refused("}),
    ("return answers", {"error": "alc.llm_batch refused: item 2: no (alc.refused("}),
    ("return [alc.refused(answers[1]), answers]", {"result": ["no", ["A", {"refused": "no"}]]}),
]


@pytest.mark.parametrize(("code", "end"), ENDS)
def test_session_ends_in_a_refusal_that_nobody_has_looked_at(code: str, end: dict[str, Any]) -> None:
    code = f'answers = alc.llm_batch([{{"prompt": "a"}}, {{"prompt": "b"}}])\n{code}'
    start = Start(code=code, chunk="panel.py", ctx="{}", seed=1, created_s=1790000000.0)

    line = json.loads(prepare(**LIMITS).run(start, ScriptedKeeper(["A", {"refuse": "no"}])))

    assert line.get("result") == end.get("result")
    assert end.get("error", "") in line.get("error", "")


def test_refused_item_is_nothing_to_wait_for() -> None:
    with running(session({"refuse": "no"}, "b")):
        refusal, answer = asyncio.run(alc.aio.parallel(["a", "b"], str))

        assert (alc.refused(refusal), answer) == ("no", "b")


def test_budget_that_is_used_up_is_an_exception_of_its_own() -> None:
    refusal = {"error": "budget_exceeded: max_llm_calls (1) reached (1 used)"}
    keeper = ScriptedKeeper(replies={"ask": [refusal]})
    with running(session_of("", keeper)), pytest.raises(alc.BudgetExceeded, match="max_llm_calls"):
        alc.llm("p")


def test_whole_numbers_that_the_keeper_cannot_hold_do_not_reach_it() -> None:
    keeper = ScriptedKeeper()
    with running(session_of("", keeper)):
        alc.llm("p", options={"n": 1 << 70})
        with pytest.raises(alc.Error, match="whole number"):
            alc.progress(1 << 70, 0)

    assert [message["op"] for message in keeper.messages] == ["log", "ask"]


TYPED = """
import alc
from typing import assert_type

text: str = alc.llm("p", system="s", max_tokens=5, schema={"enum": ["a"]}, options={"temperature": 0.5})
answers: list[str] = alc.llm_batch([{"prompt": "p", "system": "s"}])
assert_type(alc.llm_safe("p"), str | None)
assert_type(alc.llm_safe("p", 5), str | int)
assert_type(alc.llm_json("p", details=True), alc.JsonAnswer)
assert_type(alc.env.HOME, str | None)
assert_type(alc.match_bool("yes"), bool | None)
assert_type(alc.vote(answers)["winner"], str | None)
assert_type(alc.math.wilson_ci(1, 2)["lower"], float)
winner = alc.parallel(["a"], lambda item, i: f"{item} {i}", post_fn=alc.parse_score, max_tokens=5)
result = alc.pipe(["a", lambda ctx: ctx], {"task": text}, on_error="skip")

async def run(ctx: dict[str, str]) -> str:
    return await alc.aio.llm(ctx["task"])
"""
WRONG = {
    'alc.llm("p", sytem="s")': 'Unexpected keyword argument "sytem" for "llm"; did you mean "system"?',
    'alc.llm("p", max_tokens="5")': "incompatible type",
    'alc.llm("p", grounded="yes")': "incompatible type",
    'alc.llm("p", temperature=0.5)': 'Unexpected keyword argument "temperature"',
    'alc.llm_safe("p", sytem="s")': 'did you mean "system"?',
    'alc.llm_json("p", detail=True)': '"detail"',
    'alc.cache("p", cache_kye="k")': 'did you mean "cache_key"?',
    'alc.aio.llm("p", sytem="s")': 'did you mean "system"?',
    "alc.llm(None)": "incompatible type",
    'alc.llm_batch([{"prompt": "p", "sistem": "s"}])': 'Extra key "sistem"',
    'alc.parallel(["a"], str, postfn=str)': "postfn",
    'alc.fork(["a"], {}, on_error="ignore")': "incompatible type",
    "alc.lmm": "no attribute",
}


@pytest.mark.slow
def test_mypy_accepts_a_strategy_and_sees_its_mistakes(tmp_path: Path) -> None:
    (tmp_path / "typed.py").write_text(TYPED)
    (tmp_path / "wrong.py").write_text("import alc\n" + "\n".join(WRONG))
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "typed.py", "wrong.py"]

    output = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout

    assert "typed.py" not in output
    for number, (code, problem) in enumerate(WRONG.items(), 2):
        reports = [line for line in output.splitlines() if line.startswith(f"wrong.py:{number}:")]
        assert any(problem in report for report in reports), (code, reports)
