"""Combinators: map, filter, reduce, vote, parallel, cache and the other forms of alc.llm."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.worker.engine.lua.in_process import Answer, FakeChannel, Query, echo, play

BUDGET = "alc.budget_remaining = function() return {%s} end "
RESULTS: list[tuple[str, Any]] = [
    ("alc.vote{'yes', 'yes', 'no', 'yes'}", {"winner": "yes", "count": 3, "total": 4}),
    ("alc.vote{'a', 'b', 'a', 'b'}", {"winner": "a", "count": 2, "total": 4}),
    ("alc.vote{'  yes ', 'yes', ' yes'}", {"winner": "yes", "count": 3, "total": 3}),
    ("alc.vote{1, 1, 2}", {"winner": "1", "count": 2, "total": 3}),
    ("alc.vote{}", {"count": 0, "total": 0}),
    ("alc.map({42}, function(x) return x + 1 end)", [43]),
    ("#alc.map({}, print)", 0),
    ("alc.map({'a', 'b'}, function(_, i) return i end)", [1, 2]),
    ("alc.reduce({1, 2, 3}, function(a, b) return a + b end, 0)", 6),
    ("alc.reduce({10, 20, 30}, function(a, b) return a + b end)", 60),
    ("alc.reduce({42}, error)", 42),
    ("alc.reduce({5}, function(a, b) return a * b end, 10)", 50),
    ("tostring(alc.reduce({}, error))", "nil"),
    ("(function() local n = {} alc.reduce({7, 8, 9}, function(_, _, i) n[#n + 1] = i end, 0) return n end)()",
     [1, 2, 3]),
    ("(function() local n = {} alc.reduce({7, 8, 9}, function(_, _, i) n[#n + 1] = i end) return n end)()", [2, 3]),
    ("alc.filter({'a', 'b', 'c', 'd'}, function(_, i) return i % 2 == 0 end)", ["b", "d"]),
    ("alc.budget_check()", True),
    (f"(function() {BUDGET % 'llm_calls = 1, tokens = 5'} return alc.budget_check() end)()", True),
    (f"(function() {BUDGET % 'llm_calls = 0'} return alc.budget_check() end)()", False),
    (f"(function() {BUDGET % 'elapsed_ms = 0'} return alc.budget_check() end)()", False),
    (f"(function() {BUDGET % 'tokens = 0'} return alc.budget_check() end)()", False),
    ("(function() alc.budget_remaining = function() end return alc.budget_check() end)()", True),
]  # fmt: skip


@pytest.mark.parametrize(("code", "result"), RESULTS)
def test_result(code: str, result: Any) -> None:
    assert play(f"return {code}").result == result


# ── parallel ──────────────────────────────────────────────────────────────────────────────────────────────


def test_parallel_is_one_pause_with_answers_in_order() -> None:
    channel = FakeChannel()

    ended = play(
        "return alc.parallel({'apple', 'banana'}, function(item, i) return item .. i end,"
        " {system = 's', max_tokens = 9, temperature = 0.5})",
        channel,
    )

    shared = {"system": "s", "max_tokens": 9, "temperature": 0.5}
    assert ended.result == ["<apple1>", "<banana2>"]
    assert channel.queries == [[{"prompt": "apple1"} | shared, {"prompt": "banana2"} | shared]]


def test_item_of_its_own_is_sent_as_it_is() -> None:
    channel = FakeChannel()

    play("alc.parallel({1}, function() return {prompt = 'p', max_tokens = 3} end, {system = 's'})", channel)

    assert channel.queries == [[{"prompt": "p", "system": None, "max_tokens": 3}]]


def test_post_fn_turns_answers_into_values() -> None:
    channel = FakeChannel(lambda query: {"response": f"{query['prompt']} out of 10"})

    ended = play("return alc.parallel({3, 8}, tostring, {post_fn = alc.parse_score})", channel)

    assert ended.result == [3, 8]


PARALLEL_MISUSED = [
    ("{}, print", "alc.parallel: items must be a non-empty array"),
    ("nil, print", "alc.parallel: items must be a non-empty array"),
    ("{1}, 5", "alc.parallel: prompt_fn must be a function"),
    ("{1}, function() return {} end", "alc.parallel: prompt_fn returned table without .prompt at index 1"),
    ("{1, 2}, function(i) return i == 1 and 'p' or 7 end",
     "alc.parallel: prompt_fn must return string or table, got number at index 2"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "problem"), PARALLEL_MISUSED)
def test_misused_parallel_asks_nothing(arguments: str, problem: str) -> None:
    channel = FakeChannel()

    ended = play(f"local ok, why = pcall(function()\n alc.parallel({arguments}) end) return why", channel)

    assert ended.result == f"panel.lua:2: {problem}"
    assert channel.queries == []


# ── forms of alc.llm ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("name", "flag"), [("ground", "grounded"), ("specify", "underspecified")])
def test_ground_and_specify_are_llm_with_a_flag(name: str, flag: str) -> None:
    channel = FakeChannel()

    assert play(f"return alc.{name}('p', {{max_tokens = 5}})", channel).result == "<p>"
    assert channel.queries == [[{"prompt": "p", "system": None, "max_tokens": 5, flag: True}]]


def test_llm_safe_gives_the_default_and_warns_once() -> None:
    channel = FakeChannel(lambda query: {"refuse": "no"})

    ended = play("return {alc.llm_safe('p', nil, 'spare'), tostring(alc.llm_safe('p'))}", channel)

    assert ended.result == ["spare", "nil"]
    assert [level for level, _ in channel.logged] == ["warn", "warn"]
    assert "refused: no" in channel.logged[0][1]


def test_llm_safe_that_works_warns_of_nothing() -> None:
    channel = FakeChannel()

    assert play("return alc.llm_safe('p', nil, 'spare')", channel).result == "<p>"
    assert channel.sent == []


def _in_turn(*texts: str) -> Callable[[Query], Answer]:
    rest = iter(texts)
    return lambda query: {"response": next(rest)}


JSON_ANSWERS: list[tuple[tuple[str, ...], Any, int]] = [
    (('{"a":1}',), {"a": 1}, 0),
    (('```json\n{"a":1}\n```',), {"a": 1}, 0),
    (("sorry", '{"a":1}'), {"a": 1}, 1),
    (("sorry", "again"), None, 2),
    # A part of a broken whole is not the whole.
    (('{"items": [{"a":1}, {"a":2}, {"a":', '{"a":1}'), {"a": 1}, 1),
    (('[{"a":1}, {"a":2', '[{"a":1}]'), [{"a": 1}], 1),
    (('```json\n{"a": {"b": 1}, "c": }\n```', '{"a":1}'), {"a": 1}, 1),
    (('<think>maybe {"a":0}', '{"a":1}'), {"a": 1}, 1),
    (('{"a":1}\n{"a":2}', '{"a":3}'), {"a": 3}, 1),
    (("{'a': {\"b\": 1}}", '{"a":1}'), {"a": 1}, 1),
    (('{"a": [1, 2', '{"a": [1, 2'), None, 2),
]


@pytest.mark.parametrize(("texts", "value", "warnings"), JSON_ANSWERS)
def test_llm_json_asks_once_more(texts: tuple[str, ...], value: Any, warnings: int) -> None:
    channel = FakeChannel(_in_turn(*texts))

    code = "local v, raw = alc.llm_json('Give a', {max_tokens = 9, system = 's'}) return {v = v, raw = raw}"
    ended = play(code, channel)

    assert ended.result.get("v") == value
    assert ended.result["raw"] == texts[-1]
    assert [level for level, _ in channel.logged] == ["warn"] * warnings
    queries = [query for batch in channel.queries for query in batch]
    assert queries[0] == {"prompt": "Give a", "system": "s", "max_tokens": 9}
    for query in queries[1:]:
        assert query["max_tokens"] == 9
        assert query["system"] == "Output ONLY valid JSON. No markdown fences, no explanation."
        assert texts[0] in query["prompt"]
        assert "Give a" in query["prompt"]
    assert len(queries) == len(texts)


LIST = "{type = 'array', items = {type = 'string'}}"
FORM = 'Answer with JSON only, of this form (JSON Schema): {"items": {"type": "string"}, "type": "array"}'


def test_llm_json_asks_again_with_the_path_of_what_does_not_fit_the_schema() -> None:
    channel = FakeChannel(_in_turn('["a", 2]', '["a", "b"]'))

    ended = play(f"return {{alc.llm_json('List', {{schema = {LIST}}})}}", channel)

    assert ended.result == [["a", "b"], '["a", "b"]']
    first, second = [query["prompt"] for batch in channel.queries for query in batch]
    assert first == f"List\n\n{FORM}"
    assert "answer[2] is 2 and not of type string" in second
    assert second.endswith(FORM)
    assert [level for level, _ in channel.logged] == ["warn"]


def test_llm_json_returns_nil_and_the_difference_where_no_answer_fits() -> None:
    channel = FakeChannel(_in_turn("[1]", '{"a": 1}'))

    ended = play(
        f"local v, raw, why = alc.llm_json('List', {{schema = {LIST}}}) return {{v == nil, raw, why}}", channel
    )

    assert ended.result == [True, '{"a": 1}', "answer is an object and not of type array"]


@pytest.mark.parametrize(
    "code",
    [
        "alc.llm('p', {schema = S})",
        "alc.llm_batch({{prompt = 'p', schema = S}})",
        "alc.parallel({1}, function() return 'p' end, {schema = S})",
        "alc.ground('p', {schema = S})",
        "alc.specify('p', {schema = S})",
        "alc.llm_safe('p', {schema = S})",
        "alc.cache('p', {schema = S})",
    ],
)
def test_schema_is_the_last_paragraph_of_a_prompt(code: str) -> None:
    channel = FakeChannel()

    ended = play(f"local S = {LIST} {code} return 1", channel)

    assert ended.message == {"result": 1}
    ((query,),) = channel.queries
    assert query["prompt"] == f"p\n\n{FORM}"
    assert query["schema"] == {"type": "array", "items": {"type": "string"}}


def test_a_schema_that_is_a_text_is_an_option_of_the_host_as_before() -> None:
    channel = FakeChannel()

    ended = play("alc.llm('p', {schema = 'mine'}) return 1", channel)

    assert ended.message == {"result": 1}
    assert channel.queries == [[{"prompt": "p", "schema": "mine", "system": None, "max_tokens": 1024}]]


BAD_SCHEMAS = [
    ("alc.llm('p', {schema = {tpye = 'array'}})", "panel.lua:1: alc.llm: schema.tpye is not checked by anything"),
    ("alc.llm('p', {schema = {type = print}})", "panel.lua:1: alc.llm: schema.type is a function"),
    ("alc.llm_json('p', {schema = {type = 'integer'}})", "other answers are read by alc.parse_number"),
    ("alc.llm_json('p', {schema = {enum = {'a'}}})", "other answers are read by alc.match_enum"),
]


@pytest.mark.parametrize(("code", "problem"), BAD_SCHEMAS)
def test_bad_schema_is_an_error_before_anything_is_asked(code: str, problem: str) -> None:
    channel = FakeChannel()

    ended = play(code, channel)

    assert problem in ended.message["error"]
    assert channel.queries == []


def test_a_strategy_that_replaces_llm_replaces_it_for_all() -> None:
    channel = FakeChannel()

    code = "alc.llm = function(p) return p .. '!' end return {alc.ground('g'), alc.cache('c'), alc.llm_safe('s')}"

    assert play(code, channel).result == ["g!", "c!", "s!"]
    assert channel.queries == []


# ── cache ─────────────────────────────────────────────────────────────────────────────────────────────────

INFO = "local i = alc.cache_info() return {i.entries, i.hits, i.misses, i.max_entries}"
CACHED = [
    ("", 0, [0, 0, 0, 256]),
    ("alc.cache('p') alc.cache('p')", 1, [1, 1, 1, 256]),
    ("alc.cache('A b') alc.cache('a  B')", 2, [2, 0, 2, 256]),
    ("alc.cache('p') alc.cache('p', {system = 's'}) alc.cache('p', {max_tokens = 5})", 3, [3, 0, 3, 256]),
    ("alc.cache('p') alc.cache('p', {grounded = true})", 2, [2, 0, 2, 256]),
    ("alc.cache('p', {cache_skip = true}) alc.cache('p', {cache_skip = true})", 2, [0, 0, 0, 256]),
    ("alc.cache('p', {cache_key = 'k'}) alc.cache('q', {cache_key = 'k'})", 1, [1, 1, 1, 256]),
    ("alc.cache('p') alc.cache_clear()", 1, [0, 0, 0, 256]),
    ("alc.cache('p') alc.cache_clear() alc.cache('p')", 2, [1, 0, 1, 256]),
    ("for i = 1, 257 do alc.cache('p' .. i) end alc.cache('p1') alc.cache('p257')", 258, [256, 1, 258, 256]),
]


@pytest.mark.parametrize(("code", "pauses", "info"), CACHED)
def test_cache(code: str, pauses: int, info: list[int]) -> None:
    channel = FakeChannel()

    assert play(f"{code} {INFO}", channel).result == info
    assert len(channel.queries) == pauses
    assert all("cache" not in option for batch in channel.queries for query in batch for option in query)


def test_refused_answer_is_not_kept() -> None:
    refuse_first = iter([{"refuse": "no"}])
    channel = FakeChannel(lambda query: next(refuse_first, None) or echo(query))

    ended = play("return {pcall(alc.cache, 'p') and 1 or 2, alc.cache('p')}", channel)

    assert ended.result == [2, "<p>"]
