"""JSON to Lua and back: ctx and answers for the strategy, the result for the host."""

import json
import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worker.engine.lua.in_process import FakeChannel, last_line, play

RESULTS = [
    ("return nil", "null"),
    ("return 1 + 2", "3"),
    ("return 1, 2", "1"),
    ("return 3.0", "3.0"),
    ("return -0.0", "-0.0"),
    ("return 0.1 + 0.2", "0.30000000000000004"),
    ("return 1e100", "1e+100"),
    ("return 5e-324", "5e-324"),
    ("return 2^53", "9007199254740992.0"),
    ("return math.mininteger", "-9223372036854775808"),
    ("return 0/0", "null"),
    ("return {1/0, -1/0}", "[null,null]"),
    ("return {}", "{}"),
    ("return table.pack(1, 2)", "[1,2]"),
    ("return {1, nil, 3}", "[1,null,3]"),
    ("return {b = 1, a = {true, false}, B = 2}", '{"B":2,"a":[true,false],"b":1}'),
    ("return alc.json_decode('[]')", "[]"),
    ("return alc.json_decode('null')", "null"),
    ("local t = {} return {t, t}", "[{},{}]"),
    ("return setmetatable({1}, {__index = error, __len = error, __pairs = error})", "[1]"),
    (r"return 'a\0b\"\\\n\u{1F600}\127/'", '"a\\u0000b\\"\\\\\\n\U0001f600\x7f/"'),
    ("return ('日本'):sub(1, 5)", '"日�"'),
    (r"return 'a\xF0\x9F\x98b\xC0\xAF\xED\xA0\x80'", '"a�b�����"'),
]


@pytest.mark.parametrize(("code", "result"), RESULTS)
def test_result_in_json_is_exact(code: str, result: str) -> None:
    assert last_line(code).decode() == f'{{"op":"end","result":{result}}}'


REFUSED = [
    ("return {1, 2, x = 3}", 'result has list items and also the named field "x": JSON has arrays and objects'),
    ("return {a = {{1, 2, n = 3}}}", 'result.a[1] has list items and also the named field "n"'),
    ("return {1, 2, n = 2, x = 1}", 'result has list items and also the named field "x"'),
    ("return {1, 2, [1000] = 3}", "result has list items and also the key 1000"),
    ("return {1, [0] = 0}", "result has list items and also the key 0"),
    ("return {1, [1.5] = 0}", "result has list items and also the key 1.5"),
    ("return {1, [true] = 0}", "result has list items and also the key of type boolean"),
    ("local l = alc.json_decode('[]') l.name = 1 return l", 'result has list items and also the named field "name"'),
    ("return alc.json_encode({1, x = 2})", "panel.lua:1: alc.json_encode: the value has list items and also"),
    ("alc.state.set('k', {v = {1, x = 2}})", "panel.lua:1: alc.state.set: the value.v has list items and also"),
    ("alc.stats.record('k', {1, x = 2})", "panel.lua:1: alc.stats.record: the value has list items and also"),
    ("return {[5] = 'a'}", "result has a key of type number"),
    ("return {a = {[true] = 1}}", "result.a has a key of type boolean"),
    ("return {a = {1, {['x y'] = print}}}", 'result.a[2]["x y"] is a function'),
    ("return coroutine.create(print)", "result is a thread"),
    ("local t = {} t.me = {t} return t", "result.me[1] contains itself"),
    ("local t = {} for _ = 1, 128 do t = {t} end return t", "is nested deeper than 128 levels"),
    (
        "return ('x'):rep(9 << 20)",
        "result of 9437208 bytes as JSON, at most 8388608 (ALC_LINE_BYTES): return less of it",
    ),
]


@pytest.mark.parametrize(("code", "problem"), REFUSED)
def test_result_without_json_is_an_error_that_names_the_place(code: str, problem: str) -> None:
    ended = play(code)

    assert problem in ended.error


def test_values_nest_128_levels_both_ways() -> None:
    ctx = '{"a":' + "[" * 127 + "]" * 127 + "}"

    assert play("return ctx", ctx=ctx).result == json.loads(ctx)
    assert "nested deeper than 128 levels" in play("return ctx", ctx=f'{{"a":[{ctx}]}}').error


CTX = [
    ('{"a":[],"b":{}}', "return ctx", {"a": [], "b": {}}),
    ('{"a":null}', "return {ctx.a == nil, type(ctx.a), tostring(ctx.a), ctx.a and 'true'}",
     [False, "userdata", "null", "true"]),
    ('{"n":[3,3.0,9223372036854775807,9223372036854775808,-1e2,0]}',
     "local t = {} for i, v in ipairs(ctx.n) do t[i] = math.type(v) end return t",
     ["integer", "float", "integer", "float", "float", "integer"]),
    (r'{"s":"\ud83d\ude00 \ud800x \udc00 \\u0041 \u0041\u005c\u0001\/"}', "return ctx.s",
     "\U0001f600 �x � \\u0041 A\\\x01/"),
    (r'{"s":"\\\\\"\\n\n"}', "return ctx.s", '\\\\"\\n\n'),
    (' {\n"a" : [ 1 , 2 ] ,\t"b":{ } } ', "return ctx", {"a": [1, 2], "b": {}}),
    ('{"a":1,"a":2}', "return ctx.a", 2),
]  # fmt: skip


@pytest.mark.parametrize(("ctx", "code", "result"), CTX)
def test_ctx_in_lua_is_exact(ctx: str, code: str, result: Any) -> None:
    assert play(code, ctx=ctx).result == result


NO_JSON = [
    ("", "the text ends too early at byte 1"),
    ("x", "no JSON value at byte 1"),
    ("[1,]", "no JSON value at byte 4"),
    ("[1 2]", "expected ',' or ']' at byte 4"),
    ('{"a" 1}', "expected ':' at byte 6"),
    ("{a:1}", "expected a key in quotes at byte 2"),
    ('{"a":1,}', "expected a key in quotes at byte 8"),
    ('\n{"a":1 "b"}', "expected ',' or '}' at byte 9 (line 2)"),
    ('"abc', "a string without an end at byte 1"),
    ('"abc\\"', "a string without an end at byte 1"),
    ('"a\nb"', "a control character in a string, write it as an escape at byte 3"),
    (r'"\x"', r"invalid escape \x"),
    (r'"\u12"', r"invalid escape \u12"),
    ("01", "a number with a leading zero"),
    ("1.", "a number without digits after its point"),
    ("1.e5", "a number without digits after its point"),
    ("1e", "more after the end of the value"),
    ("1e999", "a number out of range"),
    ("-", "no JSON value"),
    ("+1", "no JSON value"),
    ("NaN", "no JSON value"),
    ("tru", "no JSON value"),
    ("[1] 2", "more after the end of the value at byte 5"),
    ("[" * 129 + "]" * 129, "nested deeper than 128 levels (ALC_JSON_DEPTH) at byte 129"),
]


@pytest.mark.parametrize(("text", "problem"), NO_JSON)
def test_text_that_is_not_json_is_refused_with_its_position(text: str, problem: str) -> None:
    ended = play("return select(2, pcall(alc.json_decode, ctx.text))", ctx=json.dumps({"text": text}))

    assert ended.result.startswith("panel.lua:1: alc.json_decode: ")
    assert problem in ended.result


ENCODED = [("42", "42"), ("'hello'", '"hello"'), ("true", "true"), ("nil", "null"), ("{1,2,3}", "[1,2,3]")]


@pytest.mark.parametrize(("value", "text"), ENCODED)
def test_json_encode_is_compact(value: str, text: str) -> None:
    assert play(f"return alc.json_encode({value})").result == text


def test_decoded_object_can_be_changed_and_encoded() -> None:
    code = """local t = alc.json_decode('{"a":1,"b":"two"}') t.c = true return alc.json_encode(t)"""

    assert play(code).result == '{"a":1,"b":"two","c":true}'


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=30,
)  # fmt: skip


@pytest.mark.slow
@given(JSON, st.booleans())
def test_any_json_is_unchanged_after_both_ways(value: Any, is_ascii: bool) -> None:
    ended = play("return ctx.value", ctx=json.dumps({"value": value}, ensure_ascii=is_ascii))

    assert repr(ended.result) == repr(_sorted(value))


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value, key=str.encode)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


@given(st.binary())
def test_bytes_that_are_not_utf8_are_replaced_as_python_does(raw: bytes) -> None:
    literal = "".join(f"\\x{byte:02x}" for byte in raw)

    assert play(f'return "{literal}"').result == raw.decode("utf-8", "replace")


@given(st.text(st.sampled_from('a\\"nu0d8c/\n\t{}[]:,1.eE-+ é'), max_size=12))
def test_decoder_accepts_exactly_what_python_accepts(text: str) -> None:
    try:
        expected = [True, json.loads(text)]
    except ValueError:
        expected = [False, None]

    decoded = play("return {pcall(alc.json_decode, ctx.text)}", ctx=json.dumps({"text": text})).result

    if not decoded[0]:
        decoded, expected = [False], expected[:1] if abs(expected[1] or 0) != math.inf else [False]
    assert json.dumps(decoded, sort_keys=True) == _SURROGATE.sub(r"\\ufffd", json.dumps(expected, sort_keys=True))


_SURROGATE = re.compile(r"\\ud[89a-f][0-9a-f]{2}")


def test_a_megabyte_of_text_survives_both_ways() -> None:
    text = 'Zeile "eins"\n\U0001f600 日本語\\ \x00' * 40_000
    channel = FakeChannel(lambda query: {"response": query["prompt"] + "!"})

    ended = play("return alc.llm(ctx.text)", channel, ctx=json.dumps({"text": text}))

    assert channel.queries[0][0]["prompt"] == text
    assert ended.result == text + "!"
