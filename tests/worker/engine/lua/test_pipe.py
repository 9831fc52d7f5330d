"""alc.pipe and alc.tuning."""

from typing import Any

import pytest

from tests.worker.engine.lua.in_process import FakeChannel, play

# ── tuning ────────────────────────────────────────────────────────────────────────────────────────────────

TUNED: list[tuple[str, Any]] = [
    ("{a = 1, b = 2}, {a = 5}", {"a": 5, "b": 2}),
    ("{n = {x = 1, y = 2}}, {n = {x = 9}}", {"n": {"x": 9, "y": 2}}),
    ("{list = {1, 2, 3}}, {list = {9}}", {"list": [9]}),
    ("{a = 1, _schema = {a = 'number'}}, {_schema = 2}", {"a": 1}),
    ("{a = 1}, {mine = {a = 3}}, {prefix = 'mine'}", {"a": 3}),
    ("{a = 1}, {a = 7, mine = {}}, {prefix = 'mine'}", {"a": 1}),
    ("{a = 1}, nil", {"a": 1}),
    ("{a = true}, {a = false}", {"a": False}),
    ("{a = 1}, {b = 2}", {"a": 1}),
    ("{a = 1}, {a = 'text'}", {"a": "text"}),
    ("{a = {x = 1}}, {a = 5}", {"a": 5}),
    ("5, {a = 1}", 5),
    ("{a = 1}, {a = 7}, {prefix = 'mine'}", {"a": 7}),
]


@pytest.mark.parametrize(("arguments", "result"), TUNED)
def test_tuning(arguments: str, result: Any) -> None:
    channel = FakeChannel()

    assert play(f"return alc.tuning({arguments})", channel).result == result
    assert channel.sent == []


@pytest.mark.parametrize("given", ["5", "false", "'text'"])
def test_tuning_with_a_prefix_that_is_not_a_table_warns_and_takes_the_defaults(given: str) -> None:
    channel = FakeChannel()

    ended = play(f"return alc.tuning({{a = 1}}, {{a = 7, mine = {given}}}, {{prefix = 'mine'}})", channel)

    assert ended.result == {"a": 1}
    ((level, message),) = channel.logged
    assert level == "warn"
    assert "alc.tuning: ctx.mine is a" in message


# ── pipe ──────────────────────────────────────────────────────────────────────────────────────────────────


def _append(text: str) -> str:
    return f"function(c) c.result = c.task .. '{text}' return c end"


FAIL = "function() error('broken') end"


@pytest.mark.parametrize(("mode", "task"), [("skip", "a"), ("continue", "b")])
def test_tolerant_pipe_goes_on_after_a_failing_stage(mode: str, task: str) -> None:
    channel = FakeChannel()

    ended = play(
        f"return alc.pipe({{{_append('1')}, {FAIL}, {_append('2')}}}, {{task = '{task}'}}, {{on_error = '{mode}'}})",
        channel,
    )

    first, second, third = ended.result["pipe_history"]
    assert ended.result["result"] == f"{task}12"
    assert first == {"strategy": "(inline-1)", "result": f"{task}1"}
    assert second["strategy"] == "(inline-2)"
    assert "broken" in second["error"]
    assert third == {"strategy": "(inline-3)", "result": f"{task}12"}
    assert [level for level, _ in channel.logged] == ["warn"]


def test_pipe_whose_stages_all_fail_keeps_the_task() -> None:
    ended = play(f"return alc.pipe({{{FAIL}, {FAIL}}}, {{task = 't'}}, {{on_error = 'skip'}})")

    assert ended.result["task"] == "t"
    assert ["error" in entry for entry in ended.result["pipe_history"]] == [True, True]


@pytest.mark.parametrize("options", ["nil", "{on_error = 'abort'}"])
def test_failing_stage_ends_the_pipe(options: str) -> None:
    assert "broken" in play(f"return alc.pipe({{{FAIL}}}, {{}}, {options})").error


def test_packages_run_in_order_and_on_stage_gets_each() -> None:
    channel = FakeChannel(modules={"one": "return {run = function(c) c.result = alc.llm(c.task) return c end}"})

    ended = play(
        "local seen = {} local out = alc.pipe({'one', 'one'}, {task = 't'},"
        " {on_stage = function(i, name) seen[i] = name end}) out.seen = seen return out",
        channel,
    )

    assert ended.result["result"] == "<<t>>"
    assert ended.result["seen"] == ["one", "one"]


def test_table_between_stages_becomes_json_and_ctx_of_the_caller_stays() -> None:
    make = "function(c) c.result = {a = {1}} return c end"

    ended = play(f"local original = {{task = 't'}} local out = alc.pipe({{{make}, {_append('!')}}}, original)"
                 " return {out.result, original.task, original.pipe_history == nil}")  # fmt: skip

    assert ended.result == ['{"a":[1]}!', "t", True]


def test_stage_may_return_another_table() -> None:
    ended = play(f"return alc.pipe({{function() return {{result = 'new'}} end, {_append('!')}}}, {{task = 't'}})")

    assert ended.result["result"] == "new!"
    assert len(ended.result["pipe_history"]) == 2


PIPE_MISUSED = [
    ("{}, {}", "alc.pipe: strategies must be a non-empty array"),
    ("{print}, 5", "alc.pipe: ctx must be a table"),
    ("{5}, {}", "alc.pipe: strategy[1] must be a string or function"),
    ("{'absent'}, {}", "alc.pipe: failed to load strategy 'absent': "),
    ("{'absent'}, {}, {on_error = 'skip'}", "alc.pipe: failed to load strategy 'absent': "),
    ("{'norun'}, {}, {on_error = 'skip'}", "alc.pipe: strategy 'norun' must export run(ctx)"),
    ("{function() return 5 end}, {}", "alc.pipe: strategy '(inline-1)' must return a table (ctx)"),
    ("{function() end}, {}, {on_error = 'skip'}", "alc.pipe: strategy '(inline-1)' must return a table (ctx)"),
    ("{print}, {}, {on_error = 'fail'}", "alc.pipe: on_error must be 'abort', 'skip' or 'continue' and not fail"),
]


@pytest.mark.parametrize(("arguments", "problem"), PIPE_MISUSED)
def test_misused_pipe_names_the_cure(arguments: str, problem: str) -> None:
    channel = FakeChannel(modules={"norun": "return {}"})

    assert f"panel.lua:1: {problem}" in play(f"return (alc.pipe({arguments}))", channel).error


# ── memory ────────────────────────────────────────────────────────────────────────────────────────────────

EXHAUST = "function() local t = {} while true do t[#t + 1] = ('x'):rep(1 << 20) .. #t end end"


def test_lack_of_memory_ends_the_pipe() -> None:
    ended = play(f"return alc.pipe({{{EXHAUST}}}, {{}}, {{on_error = 'skip'}})")

    assert "out of memory" in ended.error
