"""alc.fork in Lua: refused arguments, the message to the keeper, and the result of its reply."""

import json
from typing import Any

import pytest

from algocline_mcp.config.limits import MIB
from algocline_mcp.languages import LUA
from algocline_mcp.worker.engine.lua.runtime import prepare
from algocline_mcp.worker.engine.process import Start
from tests.worker.engine.lua.in_process import CREATED_S, FakeChannel, play

ENTRIES = [{"strategy": "a", "ok": True, "result": {"x": [1]}}, {"strategy": "b", "ok": False, "error": "boom"}]


class Forking(FakeChannel):
    def __init__(self, reply: dict[str, Any]) -> None:
        super().__init__()
        self.forked: list[dict[str, Any]] = []
        self._reply = reply

    def ask(self, line: bytes) -> bytes:
        message = json.loads(line)
        if message["op"] != "fork":
            return super().ask(line)
        self.forked.append(message)
        return json.dumps(self._reply).encode()


def test_names_ctx_and_mode_go_to_the_keeper_and_the_entries_come_back() -> None:
    channel = Forking({"entries": ENTRIES})

    result = play("return alc.fork({'a', 'b'}, {task = 't', n = {1, 2}})", channel).result

    assert result == ENTRIES
    assert channel.forked == [
        {"op": "fork", "strategies": ["a", "b"], "ctx": {"task": "t", "n": [1, 2]}, "on_error": "skip"}
    ]


@pytest.mark.parametrize(("mode", "sent"), [("skip", "skip"), ("fail", "fail"), ("abort", "fail")])
def test_fail_and_abort_are_the_same_mode(mode: str, sent: str) -> None:
    channel = Forking({"entries": []})

    play(f"return alc.fork({{'a'}}, {{}}, {{on_error = '{mode}'}})", channel)

    assert [fork["on_error"] for fork in channel.forked] == [sent]
    assert channel.forked[0]["ctx"] == {}


def test_failed_child_is_an_error_at_the_strategys_line() -> None:
    channel = Forking({"failed": {"strategy": "b", "error": "boom"}})

    error = play("\nlocal x = alc.fork({'a', 'b'}, {}, {on_error = 'fail'}) return x", channel).error

    assert error.startswith("panel.lua:2: alc.fork: strategy 'b' failed: boom")


REFUSED = [
    ("alc.fork({}, {})", "alc.fork: strategies must be a non-empty array"),
    ("alc.fork('a', {})", "alc.fork: strategies must be a non-empty array"),
    ("alc.fork({'a-b'}, {})", "alc.fork: invalid strategy name 'a-b' (only alphanumeric and underscore allowed)"),
    ('alc.fork({"x\'y"}, {})', "alc.fork: invalid strategy name 'x'y'"),
    ("alc.fork({'a.b'}, {})", "alc.fork: invalid strategy name 'a.b'"),
    ("alc.fork({'a', 7}, {})", "alc.fork: invalid strategy name '7'"),
    ("alc.fork({'a'})", "alc.fork: ctx must be a table"),
    ("alc.fork({'a'}, {1, 2})", "alc.fork: ctx must be a table"),
    ("alc.fork({'a'}, {f = print})", "alc.fork: ctx.f is a function"),
    ("alc.fork({'a'}, {}, {on_error = 'stop'})", "alc.fork: on_error must be 'skip', 'fail' or 'abort' and not stop"),
]


@pytest.mark.parametrize(("call", "problem"), REFUSED)
def test_invalid_fork_is_refused_without_a_message_to_the_keeper(call: str, problem: str) -> None:
    channel = Forking({"entries": []})

    error = play(f"return {call}", channel).error

    assert problem in error
    assert channel.forked == []


def child(package: str, *, heap_bytes: int = 8 * MIB) -> dict[str, Any]:
    """The last line of a child that runs this package."""
    channel = FakeChannel(modules={"it": package})
    runtime = prepare(heap_bytes=64 * MIB, headroom_bytes=16 * MIB, line_bytes=8 * MIB)
    start = Start(LUA.child.format("it"), "fork of it", '{"task":"t"}', 1, CREATED_S, heap_bytes)
    message: dict[str, Any] = json.loads(runtime.run(start, channel))
    return message


def test_child_runs_its_package_with_its_ctx() -> None:
    assert child("return {run = function(ctx) return ctx.task .. alc.llm('p') end}")["result"] == "t<p>"


def test_child_has_less_memory_and_its_error_names_the_setting() -> None:
    greedy = "return {run = function() local t = {} for i = 1, 1e9 do t[i] = {} end end}"

    error = child(greedy)["error"]

    assert error.startswith("out of memory: a child of alc.fork may use 8 MiB")
    assert "ALC_CHILD_HEAP_BYTES" in error


def test_child_of_a_package_without_run_is_an_error() -> None:
    assert "the package does not export run(ctx)" in child("return {}")["error"]


def test_child_of_a_package_whose_input_is_missing_is_one_sentence() -> None:
    source = "return {meta = {inputs = {q = {type = 'string', description = 'a question'}}}, run = print}"

    assert child(source)["error"] == "it needs q (a question)"


# ── one package, and packages in Python ───────────────────────────────────────────────────────────────────


def test_call_runs_one_package_and_returns_its_result() -> None:
    channel = Forking({"entries": [{"strategy": "a", "ok": True, "result": {"x": [1]}}]})

    assert play("return alc.call('a', {task = 't'})", channel).result == {"x": [1]}
    assert channel.forked == [{"op": "fork", "strategies": ["a"], "ctx": {"task": "t"}, "on_error": "fail"}]


def test_call_needs_no_ctx_and_null_is_nil() -> None:
    channel = Forking({"entries": [{"strategy": "a", "ok": True, "result": None}]})

    assert play("return alc.call('a') == nil", channel).result is True
    assert channel.forked[0]["ctx"] == {}


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("alc.call('a')", "alc.call: strategy 'a' failed: boom"),
        ("alc.call('a b')", "alc.call: invalid strategy name 'a b'"),
        ("alc.call(nil)", "alc.call: invalid strategy name 'nil'"),
        ("alc.call('a', 5)", "alc.call: ctx must be a table"),
        ("alc.call('a', {1})", "alc.call: ctx must be a table"),
        ("alc.call('a', {x = print})", "alc.call: "),
    ],
)
def test_call_that_fails_is_an_error_at_the_strategys_line(code: str, error: str) -> None:
    channel = Forking({"failed": {"strategy": "a", "error": "boom"}})

    assert play(f"\nlocal x = {code} return x", channel).error.startswith(f"panel.lua:2: {error}")


PYTHON_SOURCE = 'meta = {"version": "1", "tags": ["a"]}\n\n\ndef run(ctx):\n    return 1\n'


class Mixed(Forking):
    def ask(self, line: bytes) -> bytes:
        message = json.loads(line)
        if message.get("name") != "module":
            return super().ask(line)
        module = {"source": PYTHON_SOURCE, "chunk": "vote/__init__.py", "language": "python"}
        return json.dumps({"result": module}).encode()


def test_require_of_a_package_in_python_gives_its_meta_and_a_run_that_calls_it() -> None:
    channel = Mixed({"entries": [{"strategy": "vote", "ok": True, "result": 7}]})

    result = play(
        "local v = require('vote') return {v.meta, v.run({task = 't'}), v == require('vote')}", channel
    ).result

    assert result == [{"version": "1", "tags": ["a"]}, 7, True]
    assert channel.forked == [{"op": "fork", "strategies": ["vote"], "ctx": {"task": "t"}, "on_error": "fail"}]


def test_failure_of_a_package_in_python_stands_at_the_line_that_runs_it() -> None:
    channel = Mixed({"failed": {"strategy": "vote", "error": "boom"}})

    error = play("local v = require('vote')\nlocal x = v.run({}) return x", channel).error

    assert error.startswith("panel.lua:2: alc.call: strategy 'vote' failed: boom")
