"""Functions of alc that only compute give the results that upstream gives, each in a real session."""

from typing import Any

import pytest

from tests.rig.rig import Rig, run

pytestmark = pytest.mark.anyio

IN_FENCE = "'Sure:\\n```%s\\n{\"a\":1}\\n```\\nDone'"
REDUCE_INDICES = "(function() local n = {} alc.reduce({7, 8, 9}, function(_, _, i) n[#n + 1] = i end%s) return n end)()"
JAPANESE = "('あいうえお', {mode = 'chars', size = 2})"
BLOCKED = "{'PASS', 'BLOCKED'}"
ADDED = '(function() local t = alc.json_decode(\'{"a":1,"b":"two"}\') t.c = true return alc.json_encode(t) end)()'

# Case -> calls, each with its result.
HELPERS: dict[str, list[tuple[str, Any]]] = {
    "vote": [("alc.vote{'yes', 'yes', 'no', 'yes'}", {"winner": "yes", "count": 3, "total": 4})],
    "vote with a tie": [("alc.vote{'a', 'b', 'a', 'b'}", {"winner": "a", "count": 2, "total": 4})],
    "vote trims and converts": [
        ("alc.vote{'  yes ', 'yes', ' yes'}", {"winner": "yes", "count": 3, "total": 3}),
        ("alc.vote{1, 1, 2}", {"winner": "1", "count": 2, "total": 3}),
        ("alc.vote{}", {"count": 0, "total": 0}),
    ],
    "map": [("alc.map({42}, function(x) return x + 1 end)", [43]), ("#alc.map({}, error)", 0)],
    "reduce": [
        ("alc.reduce({1, 2, 3}, function(a, b) return a + b end, 0)", 6),
        ("alc.reduce({10, 20, 30}, function(a, b) return a + b end)", 60),
        ("alc.reduce({42}, error)", 42),
        ("alc.reduce({5}, function(a, b) return a * b end, 10)", 50),
    ],
    "reduce passes indices": [(REDUCE_INDICES % ", 0", [1, 2, 3]), (REDUCE_INDICES % "", [2, 3])],
    "filter": [("alc.filter({'a', 'b', 'c', 'd'}, function(_, i) return i % 2 == 0 end)", ["b", "d"])],
    "json_extract": [
        ("alc.json_extract('{\"a\":1}')", {"a": 1}),
        (f"alc.json_extract({IN_FENCE % 'json'})", {"a": 1}),
        (f"alc.json_extract({IN_FENCE % ''})", {"a": 1}),
        ('alc.json_extract(\'I think {"a":{"b":1}} fits\')', {"a": {"b": 1}}),
        ("alc.json_extract('The list is [1, 2, 3].')", [1, 2, 3]),
        ("alc.json_extract('text {not json} then {\"real\": true} end')", {"real": True}),
        ("alc.json_extract('no JSON at all')", None),
        ("alc.json_extract(42)", None),
        ("alc.json_extract('42')", None),
    ],
    "json_extract of an array of objects": [
        ('alc.json_extract(\'Here: [{"a":1},{"b":2}] end\')', [{"a": 1}, {"b": 2}])
    ],
    "parse_number": [
        ("alc.parse_number('Found 3 subtasks')", 3),
        ("alc.parse_number('Score: 7.5/10')", 7.5),
        ("alc.parse_number('Temperature: -5 degrees')", -5),
        ("alc.parse_number('a 1 b 3', 'b (%d+)')", 3),
        ("alc.parse_number(3)", None),
        ("alc.parse_number('none')", None),
    ],
    "parse_number reads richer syntax, unlike upstream": [
        ("alc.parse_number('1,234.5')", 1234.5),
        ("alc.parse_number('v1.2.3')", None),
        ("alc.parse_number('1e5')", 100000),
    ],
    "parse_score": [
        ("alc.parse_score('-3')", 5),
        ("alc.parse_score('7.5')", 7),
        ("alc.parse_score('2024-01')", 5),
        ("alc.parse_score('none')", 5),
        ("alc.parse_score('x', 3)", 3),
    ],
    "fingerprint normalizes": [
        ("alc.fingerprint('  Fix  the  Login   Bug  ') == alc.fingerprint('fix the login bug')", True),
        ("alc.fingerprint(42) == alc.fingerprint('42')", True),
    ],
    "fingerprint values": [
        ("alc.fingerprint('hello')", "0f923099"),
        ("alc.fingerprint('Hello  World')", "3551c8c1"),
        ("alc.fingerprint('')", "00001505"),
    ],
    "tuning": [
        ("alc.tuning({a = 1, b = 2}, {a = 5})", {"a": 5, "b": 2}),
        ("alc.tuning({n = {x = 1, y = 2}}, {n = {x = 9}})", {"n": {"x": 9, "y": 2}}),
        ("alc.tuning({list = {1, 2, 3}}, {list = {9}})", {"list": [9]}),
        ("alc.tuning({a = 1, _schema = {a = 'number'}}, {_schema = 2})", {"a": 1}),
        ("alc.tuning({a = 1}, {mine = {a = 3}}, {prefix = 'mine'})", {"a": 3}),
        ("alc.tuning({a = 1}, {a = 7, mine = {}}, {prefix = 'mine'})", {"a": 1}),
        ("alc.tuning({a = 1}, nil)", {"a": 1}),
        ("alc.tuning({a = true}, {a = false})", {"a": False}),
        ("alc.tuning({a = 1}, {b = 2})", {"a": 1}),
        ("alc.tuning({a = 1}, {a = 'text'})", {"a": "text"}),
        ("alc.tuning(5, {a = 1})", 5),
    ],
    "tuning without the prefix's table": [("alc.tuning({a = 1}, {a = 7}, {prefix = 'mine'})", {"a": 7})],
    "chunk by lines": [
        ("alc.chunk('a\\nb\\nc\\nd', {size = 2})", ["a\nb", "c\nd"]),
        ("alc.chunk('a\\nb\\nc\\nd\\ne', {size = 3, overlap = 1})", ["a\nb\nc", "c\nd\ne"]),
        ("alc.chunk('a\\nb\\nc', {size = 2, overlap = 5})", ["a\nb", "b\nc"]),
        ("#alc.chunk('a', {size = 0})", 0),
        ("#alc.chunk('')", 0),
    ],
    "chunk by characters": [
        ("alc.chunk('abcdef', {mode = 'chars', size = 3})", ["abc", "def"]),
        ("alc.chunk('abcdef', {mode = 'chars', size = 4, overlap = 2})", ["abcd", "cdef"]),
        (f"alc.chunk{JAPANESE}", ["あい", "うえ", "お"]),
        ("alc.chunk('abc', {mode = 'chars', size = 2, overlap = 3})", ["ab", "bc"]),
    ],
    "match_enum": [
        (f"alc.match_enum('Initially BLOCKED, but after review: PASS', {BLOCKED})", "PASS"),
        (f"alc.match_enum('BLOKED', {BLOCKED})", "BLOCKED"),
        (f"alc.match_enum('After a long look at every part, the verdict is: BLCKED.', {BLOCKED})", "BLOCKED"),
        (f"alc.match_enum('The weather is nice today', {BLOCKED})", None),
    ],
    "match_enum prefers the longest": [("alc.match_enum('PASSED', {'PASS', 'PASSED'})", "PASSED")],
    "match_bool": [
        ("alc.match_bool('Approved. The change is fine.')", True),
        ("alc.match_bool('rejected: too risky')", False),
        ("alc.match_bool('I need more information before I can decide')", None),
        ("alc.match_bool('No issues found. Approved.')", True),
        ("alc.match_bool('broken token')", None),
        ("alc.match_bool('bypass')", None),
        ("alc.match_bool('innovation')", None),
        ("alc.match_bool('yes, that works')", True),
        ("alc.match_bool('process failed gracefully')", None),
    ],
    "json_encode": [
        ("alc.json_encode(42)", "42"),
        ("alc.json_encode('hello')", '"hello"'),
        ("alc.json_encode(true)", "true"),
        ("alc.json_encode(nil)", "null"),
        ("alc.json_encode({1, 2, 3})", "[1,2,3]"),
    ],
    "json_encode of a decoded object": [(ADDED, '{"a":1,"b":"two","c":true}')],
    "fmt": [
        ("alc.fmt('%d', 1.5)", "2"),
        ("alc.fmt('revenue=$%d', 1234.5)", "revenue=$1235"),
        ("alc.fmt('%s', nil)", "<nil>"),
        ("alc.fmt('%d', 0/0)", "NaN"),
    ],
    "math": [
        ("alc.math.mean{1, 2, 3}", 2),
        ("alc.math.median{1, 2, 3, 4}", 2.5),
        ("alc.math.percentile({1, 2, 3, 4}, 50)", 2.5),
    ],
}


@pytest.mark.slow
async def test_helpers_return_what_upstreams_return(rig: Rig) -> None:
    """One session per case."""
    results: dict[str, list[Any]] = {}
    async with rig.pool() as pool:
        for name, calls in HELPERS.items():
            values = ", ".join(f"or_null({call})" for call, _ in calls)
            code = f"local function or_null(v) if v == nil then return ctx.null end return v end return {{{values}}}"
            result: list[Any] = (await run(pool, code, ctx={"null": None})).result["result"]
            results[name] = result

    assert results == {name: [value for _, value in calls] for name, calls in HELPERS.items()}
