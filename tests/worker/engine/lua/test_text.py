"""Functions of alc.* that read answers, cut text and write text."""

from typing import Any

import pytest

from tests.worker.engine.lua.in_process import FakeChannel, play

NOTHING = "nil"
RESULTS: list[tuple[str, Any]] = [
    # json_extract
    ("alc.json_extract('{\"a\":1}')", {"a": 1}),
    ("alc.json_extract('Sure:\\n```json\\n{\"a\":1}\\n```\\nDone')", {"a": 1}),
    ("alc.json_extract('```\\n[1,2]\\n```')", [1, 2]),
    ("alc.json_extract('```lua\\n{}\\n```\\n```JSON\\n{\"b\":2}\\n```')", {"b": 2}),
    ("alc.json_extract('I think {\"a\":{\"b\":[1]}} fits')", {"a": {"b": [1]}}),
    ("alc.json_extract('The list is [1, 2, 3].')", [1, 2, 3]),
    ("alc.json_extract('text {not json} then {\"real\": true} end')", {"real": True}),
    ("alc.json_extract('Here: [{\"a\":1},{\"b\":2}] end')", [{"a": 1}, {"b": 2}]),
    ("alc.json_extract('as shown in [1], {\"a\":2}')", {"a": 2}),
    ("alc.json_extract('{\"text\":\"a } and a ] inside\"} tail')", {"text": "a } and a ] inside"}),
    ("alc.json_extract('{\"n\":12345678901234567890123, \"x\":1.5e3}').x", 1500.0),
    ("alc.json_extract('{}')", {}),
    ("alc.json_extract('no JSON at all')", NOTHING),
    ("alc.json_extract('{\"a\":NaN}')", NOTHING),
    ("alc.json_extract('\"text\"')", NOTHING),
    ("alc.json_extract('42')", NOTHING),
    ("alc.json_extract(42)", NOTHING),
    ("alc.json_extract()", NOTHING),
    ("alc.json_extract('{\"a\":null}').a == alc.json_decode('null')", True),
    # parse_number
    ("alc.parse_number('Found 3 subtasks')", 3),
    ("alc.parse_number('Score: 7.5/10')", 7.5),
    ("alc.parse_number('Temperature: -5 degrees')", -5),
    ("alc.parse_number('a 1 b 3', 'b (%d+)')", 3),
    ("alc.parse_number('a', 'b (%d+)')", NOTHING),
    ("alc.parse_number(3)", NOTHING),
    ("alc.parse_number('none')", NOTHING),
    ("alc.parse_number('1,234.5')", 1234.5),
    ("alc.parse_number('v1.2.3')", NOTHING),
    ("alc.parse_number('1e5')", 100000.0),
    ("alc.parse_number(('9'):rep(100000)) > 1e299", True),
    ("math.type(alc.parse_number('About 7. Then'))", "integer"),
    # parse_score
    ("alc.parse_score('-3')", 5),
    ("alc.parse_score('7.5')", 7),
    ("alc.parse_score('2024-01')", 5),
    ("alc.parse_score('Score: 0')", 1),
    ("alc.parse_score('none')", 5),
    ("alc.parse_score('x', 3)", 3),
    ("alc.parse_score(8)", 8),
    ("alc.parse_score(('9'):rep(100000))", 5),
    # fingerprint
    ("alc.fingerprint('hello')", "0f923099"),
    ("alc.fingerprint('Hello  World')", "3551c8c1"),
    ("alc.fingerprint('')", "00001505"),
    ("alc.fingerprint('  Fix  the  Login   Bug  ') == alc.fingerprint('fix the login bug')", True),
    ("alc.fingerprint(42) == alc.fingerprint('42')", True),
    # chunk
    ("alc.chunk('a\\nb\\nc\\nd', {size = 2})", ["a\nb", "c\nd"]),
    ("alc.chunk('a\\nb\\nc\\nd\\ne', {size = 3, overlap = 1})", ["a\nb\nc", "c\nd\ne"]),
    ("alc.chunk('a\\nb\\nc', {size = 2, overlap = 5})", ["a\nb", "b\nc"]),
    ("alc.chunk('a\\nb\\n', {size = 2})", ["a\nb"]),
    ("alc.chunk('a', {size = 0})", []),
    ("alc.chunk('')", []),
    ("#alc.chunk(('x\\n'):rep(101))", 3),
    ("alc.chunk('abcdef', {mode = 'chars', size = 3})", ["abc", "def"]),
    ("alc.chunk('abcdef', {mode = 'chars', size = 4, overlap = 2})", ["abcd", "cdef"]),
    ("alc.chunk('あいうえお', {mode = 'chars', size = 2})", ["あい", "うえ", "お"]),
    ("alc.chunk('abc', {mode = 'chars', size = 2, overlap = 3})", ["ab", "bc"]),
    ("alc.chunk('a\\nb', {mode = 'words', size = 1})", ["a", "b"]),
    # match_enum
    ("alc.match_enum('Initially BLOCKED, but after review: PASS', {'PASS', 'BLOCKED'})", "PASS"),
    ("alc.match_enum('BLOKED', {'PASS', 'BLOCKED'})", "BLOCKED"),
    ("alc.match_enum('After a long look at every part, the verdict is: BLCKED.', {'PASS', 'BLOCKED'})", "BLOCKED"),
    ("alc.match_enum('The weather is nice today', {'PASS', 'BLOCKED'})", NOTHING),
    ("alc.match_enum('PASSED', {'PASS', 'PASSED'})", "PASSED"),
    ("alc.match_enum('PASSED', {'PASSED', 'PASS'})", "PASSED"),
    ("alc.match_enum('it was unlocked', {'unlocked', 'locked'})", "unlocked"),
    ("alc.match_enum('принято', {'ПРИНЯТО', 'ОТКЛОНЕНО'})", "ПРИНЯТО"),
    ("alc.match_enum('BLOKED', {'BLOCKED'}, {threshold = 0.99})", NOTHING),
    ("alc.match_enum('x', {})", NOTHING),
    ("alc.match_enum('', {'a'})", NOTHING),
    # match_bool
    ("alc.match_bool('Approved. The change is fine.')", True),
    ("alc.match_bool('rejected: too risky')", False),
    ("alc.match_bool('I need more information before I can decide')", NOTHING),
    ("alc.match_bool('No issues found. Approved.')", True),
    ("alc.match_bool('broken token')", NOTHING),
    ("alc.match_bool('bypass')", NOTHING),
    ("alc.match_bool('innovation')", NOTHING),
    ("alc.match_bool('yes, that works')", True),
    ("alc.match_bool('process failed gracefully')", NOTHING),
    ("alc.match_bool('答えはyes。')", True),
    # json
    ("alc.json_encode(42)", "42"),
    ("alc.json_encode('hello')", '"hello"'),
    ("alc.json_encode(true)", "true"),
    ("alc.json_encode(nil)", "null"),
    ("alc.json_encode({1, 2, 3})", "[1,2,3]"),
    ("(function() local t = alc.json_decode('{\"a\":1,\"b\":\"two\"}') t.c = true return alc.json_encode(t) end)()",
     '{"a":1,"b":"two","c":true}'),
    # fmt
    ("alc.fmt('%d', 1.5)", "2"),
    ("alc.fmt('%d', -1.5)", "-2"),
    ("alc.fmt('%d', '7')", "7"),
    ("alc.fmt('revenue=$%d', 1234.5)", "revenue=$1235"),
    ("alc.fmt('%s', nil)", "<nil>"),
    ("alc.fmt('%d', 0/0)", "NaN"),
    ("alc.fmt('%d|%.2f|%x', 1/0, -1/0, 0/0)", "Inf|-Inf|NaN"),
    ("alc.fmt('%5d|%-5d|%05.1f', 0/0, 1/0, 2.25)", "  NaN|Inf  |002.2"),
    ("alc.fmt('%u of %i, %o %X %c%%', 3, 4.4, 8, 255, 65)", "3 of 4, 10 FF A%"),
    ("alc.fmt('%d', 1e300):sub(1, 4)", "1000"),
    ("alc.fmt('%s %q', true, 'a')", 'true "a"'),
    ("alc.fmt()", ""),
]  # fmt: skip


@pytest.mark.parametrize(("code", "result"), RESULTS)
def test_result(code: str, result: Any) -> None:
    channel = FakeChannel()

    value = play(f"local value = {code} if value == nil then return '{NOTHING}' end return value", channel).result

    assert value == result
    assert type(value) is type(result)
    assert channel.queries == []
    assert channel.calls == []  # nothing is recorded


MISUSED = [
    ("alc.fmt('%d %d', 1)", "bad argument #3 to 'fmt' (no value)"),
    ("alc.fmt('%d', 'many')", "bad argument #2 to 'fmt' (number expected, got string)"),
    ("alc.fmt({})", "alc.fmt: the text must be a string and not table"),
    ("alc.chunk()", "alc.chunk: the text must be a string and not nil"),
    ("alc.chunk('a', 5)", "alc.chunk: the last argument must be a table of options and not number"),
    ("alc.chunk('a', {size = 'many'})", "alc.chunk: size must be a whole number and not many"),
    ("alc.match_bool({})", "alc.match_bool: the text must be a string and not table"),
    ("alc.match_enum('a', 'b')", "alc.match_enum: the candidates must be an array of strings and not string"),
    ("alc.match_enum('a', {{}})", "alc.match_enum: the text must be a string and not table"),
    ("alc.parse_number('a', '%')", "malformed pattern"),
    ("alc.fingerprint(('x'):rep(9 << 20))", "at most 8388608 can be sent"),
    (
        "alc.chunk(('x'):rep(100000), {mode = 'chars', size = 5000, overlap = 4999})",
        "alc.chunk: chunks that overlap by 4999 of 5000 are too long together: make overlap smaller",
    ),
]


@pytest.mark.parametrize(("call", "problem"), MISUSED)
def test_misuse_is_a_catchable_error_with_its_line(call: str, problem: str) -> None:
    ended = play(f"local ok, problem = pcall(function()\n {call}\n end)\n return problem")

    assert ended.result.startswith("panel.lua:2: ")
    assert problem in ended.result


def test_log_fmt_is_a_log_line() -> None:
    channel = FakeChannel()

    play("alc.log_fmt('warn', '%d of %s', 2.5, nil)", channel)

    assert channel.logged == [("warn", "3 of <nil>")]


def test_log_is_a_function_and_names_that_packages_look_for_are_absent() -> None:
    code = "return {type(alc.log), tostring(alc.hash), tostring(alc.sleep), tostring(alc.tool)}"

    assert play(code).result == ["function", "nil", "nil", "nil"]
