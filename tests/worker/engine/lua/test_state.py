"""alc.state, alc.budget_* and alc.stats in Lua: the calls that they send, and the results of the replies."""

import json
from typing import Any

import pytest

from algocline_mcp.worker.engine.messages import Call, parse
from tests.worker.engine.lua.in_process import FakeChannel, play


class Keeper(FakeChannel):
    """Answers calls in order from a script."""

    def __init__(self, *replies: Any) -> None:
        super().__init__()
        self._replies = list(replies)

    def _called(self, name: str, *args: Any) -> dict[str, Any]:
        reply = self._replies.pop(0)
        return reply if isinstance(reply, dict) and "error" in reply else {"result": reply}


SENT: dict[str, tuple[str, Any, list[Any]]] = {
    "get": ("alc.state.get('k')", [1], ["state.get", "k"]),
    "get with default": ("alc.state.get('k', print)", [1], ["state.get", "k"]),
    "a number as key": ("alc.state.get(7)", [1], ["state.get", "7"]),
    "has": ("alc.state.has('k')", True, ["state.has", "k"]),
    "keys": ("alc.state.keys()", ["k"], ["state.keys"]),
    "set": ("alc.state.set('k', {a = 1})", None, ["state.set", "k", {"a": 1}]),
    "set false": ("alc.state.set('k', false)", None, ["state.set", "k", False]),
    "set nil": ("alc.state.set('k', nil)", True, ["state.delete", "k"]),
    "set null": ("alc.state.set('k', ctx.null)", None, ["state.set", "k", None]),
    "set_nx": ("alc.state.set_nx('k', 1.5)", True, ["state.set_nx", "k", 1.5]),
    "delete": ("alc.state.delete('k')", True, ["state.delete", "k"]),
    "incr": ("alc.state.incr('k')", 1.0, ["state.incr", "k", 1, 0]),
    "incr by": ("alc.state.incr('k', -2.5, 100)", 1.0, ["state.incr", "k", -2.5, 100]),
    "budget": ("alc.budget_remaining()", None, ["budget"]),
}


@pytest.mark.parametrize(("code", "reply", "call"), SENT.values(), ids=SENT.keys())
def test_call_goes_to_the_keeper(code: str, reply: Any, call: list[Any]) -> None:
    channel = Keeper(reply)

    play(code, channel, ctx='{"null":null}')

    assert channel.calls == [call]


MADE: dict[str, tuple[str, list[Any], Any]] = {
    "a value": ("alc.state.get('k', 'd')", [[5]], 5),
    "false is a value": ("alc.state.get('k', 'd')", [[False]], False),
    "null is a value": ("alc.state.get('k', 'd') == ctx.null", [[None]], True),
    "the default": ("alc.state.get('k', 'd')", [[]], "d"),
    "no default": ("alc.state.get('k') == nil", [[]], True),
    "the default is the strategy's own": ("alc.state.get('k', print) == print", [[]], True),
    "a float": ("math.type(alc.state.incr('k'))", [3.0], "float"),
    "keys are an array": ("alc.state.keys()", [[]], []),
    "set says nothing": ("select('#', alc.state.set('k', 1))", [None], 0),
    "remaining": ("alc.budget_remaining()", [{"llm_calls": 2, "elapsed_ms": None, "tokens": 0}],
                  {"llm_calls": 2, "tokens": 0}),
    "no budget": ("alc.budget_remaining() == nil", [None], True),
    "no budget to check": ("alc.budget_check()", [None], True),
    "enough": ("alc.budget_check()", [{"llm_calls": 1, "elapsed_ms": None, "tokens": None}], True),
    "no tokens left": ("alc.budget_check()", [{"llm_calls": 1, "elapsed_ms": None, "tokens": 0}], False),
}  # fmt: skip


@pytest.mark.parametrize(("code", "replies", "result"), MADE.values(), ids=MADE.keys())
def test_reply_becomes_the_result(code: str, replies: list[Any], result: Any) -> None:
    assert play(f"return ({code})", Keeper(*replies), ctx='{"null":null}').result == result


MISUSED = [
    ("alc.state.get()", "alc.state.get: a key is a string and not a nil"),
    ("alc.state.set({}, 1)", "alc.state.set: a key is a string and not a table"),
    ("alc.state.set('k', print)", "alc.state.set: the value is a function: JSON has no such value"),
    ("alc.state.set('k', {f = {print}})", "alc.state.set: the value.f[1] is a function"),
    ("alc.state.set_nx('k')", "alc.state.set_nx: the value is missing"),
    ("alc.state.incr('k', '1')", "alc.state.incr: delta must be a number and not 1"),
    ("alc.state.incr('k', 0/0)", "alc.state.incr: delta must be a number and not"),
    ("alc.state.incr('k', 1, {})", "alc.state.incr: default must be a number and not table"),
    ("alc.state.update('k', 5)", "alc.state.update: a function was expected and not a number"),
    ("alc.stats.record()", "alc.stats.record: a key is a string and not a nil"),
    ("alc.stats.record('k', print)", "alc.stats.record: the value is a function"),
    ("alc.stats.record('k', ('x'):rep(70000))", "alc.stats.record: 70003 bytes in all: at most 65536"),
]


@pytest.mark.parametrize(("call", "problem"), MISUSED)
def test_misuse_is_an_error_with_its_line_and_sends_no_call(call: str, problem: str) -> None:
    channel = Keeper()

    ended = play(f"local ok, problem = pcall(function()\n {call}\n end)\n return problem", channel)

    assert ended.result.startswith(f"panel.lua:2: {problem}")
    assert channel.calls == []


def test_error_of_the_keeper_is_raised_where_the_strategy_called() -> None:
    ended = play("local ok, e = pcall(function()\n alc.state.get('k')\n end)\n return e", Keeper({"error": "gone"}))

    assert ended.result == "panel.lua:2: gone"


def test_update_compares_with_the_stored_value_even_if_its_copy_was_modified() -> None:
    channel = Keeper([{"n": 1}], True)

    ended = play("return alc.state.update('k', function(t) t.n = 2 return t end)", channel)

    assert ended.result == {"n": 2}
    assert channel.calls == [["state.get", "k"], ["state.swap", "k", [{"n": 1}], [{"n": 2}]]]


def test_update_tries_again_where_another_session_was_faster() -> None:
    channel = Keeper([], False, [5], True)

    ended = play("return alc.state.update('k', function(n) return n + 1 end, 0)", channel)

    assert ended.result == 6
    assert channel.calls[1::2] == [["state.swap", "k", [], [1]], ["state.swap", "k", [5], [6]]]


def test_update_gives_up_after_many_tries() -> None:
    channel = Keeper(*[[], False] * 100)

    ended = play("return alc.state.update('k', function() return 1 end)", channel)

    assert 'alc.state.update: others changed "k" 100 times meanwhile: try again' in ended.error


STATS: dict[str, tuple[str, Any]] = {
    "last write wins": ("alc.stats.record('k', 1) alc.stats.record('k', 2)", {"k": 2}),
    "sorted": ("alc.stats.record('b', 1) alc.stats.record('a', {x = true})", {"a": {"x": True}, "b": 1}),
    "removed": ("alc.stats.record('k', 1) alc.stats.record('k', nil)", None),
    "a copy": ("local t = {1} alc.stats.record('k', t) t[1] = 2", {"k": [1]}),
    "null": ("alc.stats.record('k', ctx.null)", {"k": None}),
    "replaced again and again": ("for _ = 1, 10 do alc.stats.record('k', ('x'):rep(20000)) end", {"k": "x" * 20000}),
    "a quote": ("alc.stats.record('\"', 1)", {'"': 1}),
}


@pytest.mark.parametrize(("code", "stats"), STATS.values(), ids=STATS.keys())
def test_stats_are_a_part_of_the_last_line(code: str, stats: Any) -> None:
    message = play(f"{code} return 1", ctx='{"null":null}').message

    assert message.get("stats") == stats
    assert json.dumps(message["result"]) == "1"


def test_recorded_stat_can_be_read_and_a_missing_one_is_nil() -> None:
    code = "alc.stats.record('k', {1}) local t = alc.stats.get('k') t[1] = 2"

    assert play(f"{code} return {{alc.stats.get('k'), alc.stats.get('n') == nil}}").result == [[1], True]


def test_what_can_be_set_can_be_got_and_updated_at_any_depth() -> None:
    value: Any = 1
    for _ in range(128):
        value = [value]
    code = (
        "alc.state.set('k', ctx.v[1]) alc.state.set('k', {ctx.v[1][1]}) local v = alc.state.get('k') "
        "alc.state.update('k', function(old) return old end) return v[1][1] ~= nil"
    )

    result = play(code, Keeper(None, None, [value], [value], True), ctx=json.dumps({"v": value[0]})).result

    assert result is True


def test_a_call_may_carry_a_value_of_the_full_depth() -> None:
    value: Any = 1
    for _ in range(128):
        value = [value]

    message = parse(
        json.dumps({"op": "call", "name": "state.swap", "args": ["k", [value], [value]]}).encode(), json_depth=128
    )

    assert isinstance(message, Call)
