"""alc.env, and the module std for evalframe."""

import pytest

from tests.worker.engine.lua.in_process import NOW_S, FakeChannel, play

ENVIRON = {"A": "1", "B": ""}


@pytest.mark.parametrize(
    ("code", "result"),
    [
        ("alc.env.A", "1"),
        ("alc.env.B", ""),
        ("tostring(alc.env.C)", "nil"),
        ("alc.env:get('A', 'x')", "1"),
        ("alc.env:get('C', 'x')", "x"),
        ("alc.env:use{'A', 'B'}", {"A": "1", "B": ""}),
    ],
)
def test_env(code: str, result: object) -> None:
    channel = FakeChannel(environ=ENVIRON)

    assert play(f"return {code}", channel).result == result
    assert channel.calls[0][0] == "env"


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("alc.env.A = 2", "alc.env is readonly"),
        ("alc.env:use{'A', 'C'}", "alc.env: C is not set, or its name is not in ALC_ENV_ALLOW"),
        ("alc.env:use('A')", "alc.env:use: the names must be an array of strings and not string"),
        ("alc.env:get()", "alc.env: a name must be a string and not nil"),
    ],
)
def test_misused_env(code: str, problem: str) -> None:
    channel = FakeChannel(environ=ENVIRON)

    assert f"panel.lua:1: {problem}" in play(code, channel).error


def test_std_has_what_evalframe_needs() -> None:
    channel = FakeChannel()

    ended = play("local ok, why = pcall(function() return (std.fs.read('a.txt')) end) return {"
                 "std.json.decode(std.json.encode({a = 1})).a, ok, why, std.fs.is_file('a.txt'), std.time.now()}",
                 channel)  # fmt: skip

    assert ended.result == [1, False, "panel.lua:1: a.txt: No such file: a strategy has none", False, NOW_S]
