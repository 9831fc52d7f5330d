"""The original's conformance cases, each through a real session: forks, combinators, helpers and counts.

Those of the state are in test_key_value, of budgets in test_budget, of alc_status in test_status_rows; a test here sees
that none is missing. What tests/worker/engine/lua asserts of the same functions goes further, in process.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from algocline_mcp.pool.dispatch import Pool, continue_via_pool
from algocline_mcp.session.events import Answer
from tests.rig.rig import WAIT_S, Rig, finish, run
from tests.worker.engine.lua.test_alc import CONTEXTS

pytestmark = pytest.mark.anyio

INFO = "local i = alc.cache_info() return {i.entries, i.hits, i.misses, i.max_entries}"
STAGES = """
local function append(text) return function(c) c.result = c.task .. text return c end end
local function fail() error("broken") end
local function shape(c)
  local kinds = {}
  for i, stage in ipairs(c.pipe_history) do kinds[i] = stage.error and "error" or "result" end
  return { c.result or false, c.task, table.concat(kinds, " ") }
end
"""
PIPE = STAGES + "return shape(alc.pipe({append('1'), fail, append('2')}, {task = '%s'}, {on_error = '%s'}))"
MAKE = "function(c) c.result = {a = {1}} return c end"
FRUIT = "{'apple', 'banana'}, function(item, i) return item .. i end"
WHY = "local ok, why = pcall(alc.parallel, %s) return why"
ASK_JSON = "local v, raw = alc.llm_json('Give a', {max_tokens = 9}) return {v or 'nil', raw}"
SPARE = "return {alc.llm_safe('p', nil, 'spare'), tostring(alc.llm_safe('p'))}"


@dataclass(frozen=True)
class Seen:
    """`warnings`: log lines of that level."""

    end: Any
    pauses: int = 0
    warnings: int = 0


# Case -> code, answers in turn (the last one again and again; None refuses), what is seen. An error is its text.
ROWS: dict[str, tuple[str, list[str | None], Seen]] = {
    "F07": (f"alc.cache('p') alc.cache('p') {INFO}", ["a"], Seen([1, 1, 1, 256], 1)),
    "F08": (INFO, [], Seen([0, 0, 0, 256])),
    "F09": (f"alc.cache('p') alc.cache_clear() {INFO}", ["a"], Seen([0, 0, 0, 256], 1)),
    "F10": (f"alc.cache('A b') alc.cache('a  B') {INFO}", ["a"], Seen([2, 0, 2, 256], 2)),
    "F11": (f"for _ = 1, 2 do alc.cache('p', {{cache_skip = true}}) end {INFO}", ["a"], Seen([0, 0, 0, 256], 2)),
    "F12": (f"return alc.parallel({FRUIT})", ["a"], Seen(["a apple1", "a banana2"], 1)),
    "F13 items": (WHY % "{}, print", [], Seen("strategy:1: alc.parallel: items must be a non-empty array")),
    "F13 function": (WHY % "{1}, 5", [], Seen("strategy:1: alc.parallel: prompt_fn must be a function")),
    "F13 type": (WHY % "{1}, function() return 1 end", [],
                 Seen("strategy:1: alc.parallel: prompt_fn must return string or table, got number at index 1")),
    "F13 prompt": (WHY % "{1}, function() return {} end", [],
                   Seen("strategy:1: alc.parallel: prompt_fn returned table without .prompt at index 1")),
    "F14": ("return alc.parallel({1, 2}, function(n) return 'of 10' end, {post_fn = alc.parse_score})", ["7"],
            Seen([7, 7], 1)),
    "F15": (PIPE % ("a", "skip"), [], Seen(["a12", "a1", "result error result"], 0, 1)),
    "F16": (PIPE % ("b", "continue"), [], Seen(["b12", "b1", "result error result"], 0, 1)),
    "F17": (STAGES + "return shape(alc.pipe({fail, fail}, {task = 't'}, {on_error = 'skip'}))", [],
            Seen([False, "t", "error error"], 0, 2)),
    "F18": (STAGES + "alc.pipe({fail}, {task = 't'})", [], Seen("strategy:3: broken")),
    "F18 abort": (STAGES + "alc.pipe({fail}, {task = 't'}, {on_error = 'abort'})", [], Seen("strategy:3: broken")),
    "F19": (STAGES + f"return alc.pipe({{{MAKE}, append('!')}}, {{task = 't'}}).result", [], Seen('{"a":[1]}!')),
    **{
        f"F20 {mode}": (f"alc.pipe({{'absent'}}, {{task = 't'}}, {{on_error = '{mode}'}})", [],
                        Seen("strategy:1: alc.pipe: failed to load strategy 'absent'"))
        for mode in ("abort", "skip", "continue")
    },
    "P15 no table": ("return alc.tuning({a = 1}, {a = 7, mine = 5}, {prefix = 'mine'})", [], Seen({"a": 1}, 0, 1)),
    "P17 valid": (ASK_JSON, ['{"a":1}'], Seen([{"a": 1}, '{"a":1}'], 1)),
    "P17 fenced": (ASK_JSON, ['```json\n{"a":1}\n```'], Seen([{"a": 1}, '```json\n{"a":1}\n```'], 1)),
    "P17 repaired": (ASK_JSON, ["sorry", '{"a":1}'], Seen([{"a": 1}, '{"a":1}'], 2, 1)),
    "P17 bad twice": (ASK_JSON, ["sorry", "again"], Seen(["nil", "again"], 2, 2)),
    "P18": (SPARE, [None], Seen(["spare", "nil"], 2, 2)),
    "cut inside a character": ("return alc.llm(('é'):sub(1, 1) .. 'x')", ["a"], Seen("a", 1)),
}  # fmt: skip


IN_FENCE = "'Sure:\\n```%s\\n{\"a\":1}\\n```\\nDone'"
SEEN_INDICES = "(function() local n = {} alc.reduce({7, 8, 9}, function(_, _, i) n[#n + 1] = i end%s) return n end)()"
JAPANESE = "('あいうえお', {mode = 'chars', size = 2})"
BLOCKED = "{'PASS', 'BLOCKED'}"
ADDED = '(function() local t = alc.json_decode(\'{"a":1,"b":"two"}\') t.c = true return alc.json_encode(t) end)()'

# Case -> what is called, and what comes of it.
HELPERS: dict[str, list[tuple[str, Any]]] = {
    "P01": [("alc.vote{'yes', 'yes', 'no', 'yes'}", {"winner": "yes", "count": 3, "total": 4})],
    "P02": [("alc.vote{'a', 'b', 'a', 'b'}", {"winner": "a", "count": 2, "total": 4})],
    "P03": [("alc.vote{'  yes ', 'yes', ' yes'}", {"winner": "yes", "count": 3, "total": 3}),
            ("alc.vote{1, 1, 2}", {"winner": "1", "count": 2, "total": 3}),
            ("alc.vote{}", {"count": 0, "total": 0})],
    "P04": [("alc.map({42}, function(x) return x + 1 end)", [43]), ("#alc.map({}, error)", 0)],
    "P05": [("alc.reduce({1, 2, 3}, function(a, b) return a + b end, 0)", 6),
            ("alc.reduce({10, 20, 30}, function(a, b) return a + b end)", 60),
            ("alc.reduce({42}, error)", 42),
            ("alc.reduce({5}, function(a, b) return a * b end, 10)", 50)],
    "P06": [(SEEN_INDICES % ", 0", [1, 2, 3]), (SEEN_INDICES % "", [2, 3])],
    "P07": [("alc.filter({'a', 'b', 'c', 'd'}, function(_, i) return i % 2 == 0 end)", ["b", "d"])],
    "P08": [("alc.json_extract('{\"a\":1}')", {"a": 1}),
            (f"alc.json_extract({IN_FENCE % 'json'})", {"a": 1}),
            (f"alc.json_extract({IN_FENCE % ''})", {"a": 1}),
            ("alc.json_extract('I think {\"a\":{\"b\":1}} fits')", {"a": {"b": 1}}),
            ("alc.json_extract('The list is [1, 2, 3].')", [1, 2, 3]),
            ("alc.json_extract('text {not json} then {\"real\": true} end')", {"real": True}),
            ("alc.json_extract('no JSON at all')", None),
            ("alc.json_extract(42)", None),
            ("alc.json_extract('42')", None)],
    "P09": [("alc.json_extract('Here: [{\"a\":1},{\"b\":2}] end')", [{"a": 1}, {"b": 2}])],
    "P10": [("alc.parse_number('Found 3 subtasks')", 3),
            ("alc.parse_number('Score: 7.5/10')", 7.5),
            ("alc.parse_number('Temperature: -5 degrees')", -5),
            ("alc.parse_number('a 1 b 3', 'b (%d+)')", 3),
            ("alc.parse_number(3)", None),
            ("alc.parse_number('none')", None)],
    "P11": [("alc.parse_number('1,234.5')", 1), ("alc.parse_number('v1.2.3')", 1.2), ("alc.parse_number('1e5')", 1)],
    "P12": [("alc.parse_score('-3')", 3), ("alc.parse_score('7.5')", 7), ("alc.parse_score('2024-01')", 10),
            ("alc.parse_score('none')", 5), ("alc.parse_score('x', 3)", 3)],
    "P13": [("alc.fingerprint('  Fix  the  Login   Bug  ') == alc.fingerprint('fix the login bug')", True),
            ("alc.fingerprint(42) == alc.fingerprint('42')", True)],
    "P14": [("alc.fingerprint('hello')", "0f923099"), ("alc.fingerprint('Hello  World')", "3551c8c1"),
            ("alc.fingerprint('')", "00001505")],
    "P15": [("alc.tuning({a = 1, b = 2}, {a = 5})", {"a": 5, "b": 2}),
            ("alc.tuning({n = {x = 1, y = 2}}, {n = {x = 9}})", {"n": {"x": 9, "y": 2}}),
            ("alc.tuning({list = {1, 2, 3}}, {list = {9}})", {"list": [9]}),
            ("alc.tuning({a = 1, _schema = {a = 'number'}}, {_schema = 2})", {"a": 1}),
            ("alc.tuning({a = 1}, {mine = {a = 3}}, {prefix = 'mine'})", {"a": 3}),
            ("alc.tuning({a = 1}, {a = 7, mine = {}}, {prefix = 'mine'})", {"a": 1}),
            ("alc.tuning({a = 1}, nil)", {"a": 1}),
            ("alc.tuning({a = true}, {a = false})", {"a": False}),
            ("alc.tuning({a = 1}, {b = 2})", {"a": 1}),
            ("alc.tuning({a = 1}, {a = 'text'})", {"a": "text"}),
            ("alc.tuning(5, {a = 1})", 5)],
    "P16": [("alc.tuning({a = 1}, {a = 7}, {prefix = 'mine'})", {"a": 7})],
    "P19": [("alc.chunk('a\\nb\\nc\\nd', {size = 2})", ["a\nb", "c\nd"]),
            ("alc.chunk('a\\nb\\nc\\nd\\ne', {size = 3, overlap = 1})", ["a\nb\nc", "c\nd\ne"]),
            ("alc.chunk('a\\nb\\nc', {size = 2, overlap = 5})", ["a\nb", "b\nc"]),
            ("#alc.chunk('a', {size = 0})", 0),
            ("#alc.chunk('')", 0)],
    "P20": [("alc.chunk('abcdef', {mode = 'chars', size = 3})", ["abc", "def"]),
            ("alc.chunk('abcdef', {mode = 'chars', size = 4, overlap = 2})", ["abcd", "cdef"]),
            (f"alc.chunk{JAPANESE}", ["あい", "うえ", "お"]),
            ("alc.chunk('abc', {mode = 'chars', size = 2, overlap = 3})", ["ab", "bc"])],
    "P21": [(f"alc.match_enum('Initially BLOCKED, but after review: PASS', {BLOCKED})", "PASS"),
            (f"alc.match_enum('BLOKED', {BLOCKED})", "BLOCKED"),
            (f"alc.match_enum('After a long look at every part, the verdict is: BLCKED.', {BLOCKED})", "BLOCKED"),
            (f"alc.match_enum('The weather is nice today', {BLOCKED})", None)],
    "P22": [("alc.match_enum('PASSED', {'PASS', 'PASSED'})", "PASSED")],
    "P23": [("alc.match_bool('Approved. The change is fine.')", True),
            ("alc.match_bool('rejected: too risky')", False),
            ("alc.match_bool('I need more information before I can decide')", None),
            ("alc.match_bool('No issues found. Approved.')", True),
            ("alc.match_bool('broken token')", None),
            ("alc.match_bool('bypass')", None),
            ("alc.match_bool('innovation')", None),
            ("alc.match_bool('yes, that works')", True),
            ("alc.match_bool('process failed gracefully')", None)],
    "P24": [("alc.json_encode(42)", "42"), ("alc.json_encode('hello')", '"hello"'), ("alc.json_encode(true)", "true"),
            ("alc.json_encode(nil)", "null"), ("alc.json_encode({1, 2, 3})", "[1,2,3]")],
    "P25": [(ADDED, '{"a":1,"b":"two","c":true}')],
    "P26": [("alc.fmt('%d', 1.5)", "2"), ("alc.fmt('revenue=$%d', 1234.5)", "revenue=$1235"),
            ("alc.fmt('%s', nil)", "<nil>"), ("alc.fmt('%d', 0/0)", "NaN")],
    "P27": [("alc.math.mean{1, 2, 3}", 2), ("alc.math.median{1, 2, 3, 4}", 2.5),
            ("alc.math.percentile({1, 2, 3, 4}, 50)", 2.5)],
}  # fmt: skip


async def played(pool: Pool, code: str, answers: list[str | None]) -> tuple[str, dict[str, Any]]:
    reply, turn = await run(pool, code), 0
    while reply.result["status"] == "needs_response":
        text = answers[min(turn, len(answers) - 1)]
        turn += 1
        queries = reply.result.get("queries")
        if queries:  # what was asked is told in the answer: their order can be seen
            given = [Answer(each["query_id"], f"{text} {each['prompt']}") for each in queries]
        else:
            given = [Answer(reply.result["query_id"], text, refuse=None if text is not None else "no")]
        reply = await continue_via_pool(pool, reply.session_id, given, wait_s=WAIT_S)
    return reply.session_id, reply.result


async def test_cases_of_the_original(rig: Rig) -> None:
    seen: dict[str, Seen] = {}
    async with rig.pool() as pool:
        for name, (code, answers, expected) in ROWS.items():
            sid, result = await played(pool, code, answers)
            end = result["result"] if "result" in result else str(result["error"])[: len(expected.end)]
            warnings = sum(note.get("level") == "warn" for note in rig.records(sid, "note"))
            seen[name] = Seen(end, len(rig.records(sid, "prompt")), warnings)

    assert seen == {name: expected for name, (_, _, expected) in ROWS.items()}


async def test_helpers_of_the_original(rig: Rig) -> None:
    """One session for each case: what it computes is the same in a process of its own."""
    seen: dict[str, list[Any]] = {}
    async with rig.pool() as pool:
        for name, calls in HELPERS.items():
            values = ", ".join(f"told({call})" for call, _ in calls)
            code = f"local function told(v) if v == nil then return ctx.null end return v end return {{{values}}}"
            result: list[Any] = (await run(pool, code, ctx={"null": None})).result["result"]
            seen[name] = result

    assert seen == {name: [value for _, value in calls] for name, calls in HELPERS.items()}


async def test_p17_repair_repeats_the_request_and_shows_what_was_wrong(rig: Rig) -> None:
    async with rig.pool() as pool:
        first = (await run(pool, ASK_JSON)).result
        second = (await continue_via_pool(pool, first["session_id"], [Answer("q-0", "sorry")], wait_s=WAIT_S)).result
        await finish(pool, await continue_via_pool(pool, first["session_id"], [Answer("q-1", "{}")], wait_s=WAIT_S))

    assert (first["max_tokens"], second["max_tokens"]) == (9, 9)
    assert first["system"] is None
    assert second["system"] == "Output ONLY valid JSON. No markdown fences, no explanation."
    assert "sorry" in second["prompt"]
    assert "Give a" in second["prompt"]


async def test_llm_works_wherever_lua_calls_a_function(rig: Rig) -> None:
    """tests/lua asserts it in process; here the answer comes from a host."""
    rig.home.packages.mkdir(parents=True)
    (rig.home.packages / "asking.lua").write_text("return alc.llm('x')")
    ends = {}
    async with rig.pool() as pool:
        for name, code in CONTEXTS.items():
            ends[name] = (await finish(pool, await run(pool, code), "<x>")).get("result")

    assert ends == dict.fromkeys(CONTEXTS, "<x>")


# ── forks ─────────────────────────────────────────────────────────────────────────────────────────────────

PACKAGES = {
    "a": "return {run = function(ctx) return alc.llm('Fork A: ' .. ctx.task) end}",
    "b": "return {run = function(ctx) return alc.llm('Fork B: ' .. ctx.task) end}",
    "broken": "return {run = function() error('intentional') end}",
}


async def forked(rig: Rig, names: str, options: str = "nil") -> tuple[dict[str, Any], list[str]]:
    """How it ends, and the ids of what was asked. Each answer names the letter of its prompt."""
    rig.home.packages.mkdir(parents=True, exist_ok=True)
    for name, code in PACKAGES.items():
        (rig.home.packages / f"{name}.lua").write_text(code)
    asked: list[str] = []
    async with rig.pool() as pool:
        reply = await run(pool, f"return alc.fork({names}, ctx, {options})", ctx={"task": "T"})
        while reply.result["status"] == "needs_response":
            queries = reply.result.get("queries") or [reply.result]
            asked += [each["query_id"] for each in queries]
            answers = [Answer(each["query_id"], "Answer " + each["prompt"][5]) for each in queries]
            reply = await continue_via_pool(pool, reply.session_id, answers, wait_s=WAIT_S)
    return reply.result, asked


ANSWERED = [{"strategy": "a", "ok": True, "result": "Answer A"}, {"strategy": "b", "ok": True, "result": "Answer B"}]


async def test_f01_f06_children_end_in_the_order_of_their_names_and_their_queries_have_ids_of_their_own(
    rig: Rig,
) -> None:
    end, asked = await forked(rig, "{'a', 'b'}")

    assert (end["status"], end["result"]) == ("completed", ANSWERED)
    assert len(set(asked)) == len(asked) == 2
    assert all(re.fullmatch(r"f-\d+-\d+", each) for each in asked)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ("{'a-b'}", "alc.fork: invalid strategy name 'a-b'"),
        ('{"x\'y"}', "alc.fork: invalid strategy name 'x'y'"),
        ("{}", "alc.fork: strategies must be a non-empty array"),
    ],
)
async def test_f02_f03_what_cannot_be_forked_is_an_error_that_says_so(rig: Rig, names: str, sentence: str) -> None:
    end, asked = await forked(rig, names)

    assert (end["status"], asked) == ("error", [])
    assert sentence in end["error"]


async def test_f04_child_that_raises_is_an_entry_and_the_others_are_unaffected(rig: Rig) -> None:
    end, _ = await forked(rig, "{'a', 'broken', 'b'}")

    first, broken, last = end["result"]
    assert [first, last] == ANSWERED
    assert (broken["strategy"], broken["ok"], "result" in broken) == ("broken", False, False)
    assert "intentional" in broken["error"]


async def test_f05_child_that_raises_ends_a_fork_that_shall_abort(rig: Rig) -> None:
    end, _ = await forked(rig, "{'a', 'broken'}", "{on_error = 'abort'}")

    assert end["status"] == "error"
    assert "alc.fork: strategy 'broken' failed: " in end["error"]
    assert "intentional" in end["error"]


# ── counts ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_s09_two_sessions_at_once_count_one_after_the_other(rig: Rig) -> None:
    counts: list[float] = []
    async with rig.pool() as pool, anyio.create_task_group() as tasks:

        async def count() -> None:
            counts.append((await run(pool, "return alc.state.incr('c')")).result["result"])

        tasks.start_soon(count)
        tasks.start_soon(count)

    assert sorted(counts) == [1.0, 2.0]


async def test_m04_three_rounds_are_three_of_each(rig: Rig) -> None:
    code = "for i = 1, 3 do alc.llm('p' .. i) end return alc.stats.llm_calls()"
    async with rig.pool() as pool:
        _, result = await played(pool, code, ["a"])

    assert result["result"] == 3
    assert [result["stats"]["auto"][name] for name in ("rounds", "pauses", "llm_calls")] == [3, 3, 3]


async def counted(pool: Pool, code: str, *answers: str, **ctx: Any) -> dict[str, Any]:
    """`stats` of a session of one pause."""
    reply = await run(pool, code, ctx=ctx)
    ids = [each["query_id"] for each in reply.result.get("queries") or [reply.result]]
    given = [Answer(each, text) for each, text in zip(ids, answers, strict=True)]
    stats: dict[str, Any] = (await continue_via_pool(pool, reply.session_id, given, wait_s=WAIT_S)).result["stats"]
    return stats


def tokens(stats: dict[str, Any]) -> list[tuple[int, str]]:
    counts = [stats["auto"][name] for name in ("prompt_tokens", "response_tokens", "total_tokens")]
    return [(each["tokens"], each["source"]) for each in counts]


async def test_m01_tokens_are_estimated_from_prompt_system_and_answer(rig: Rig) -> None:
    async with rig.pool() as pool:
        stats = await counted(pool, "return alc.llm('What is 2+2?', {system = 'terse, x'})", "4")

    assert tokens(stats) == [(3 + 2, "estimated"), (1, "estimated"), (6, "estimated")]


async def test_m02_estimates_are_those_of_the_original(rig: Rig) -> None:
    texts = ["", "hello world", "あいう", "hello あ"]
    async with rig.pool() as pool:
        found = [tokens(await counted(pool, "return alc.llm(ctx.p)", text, p=text)) for text in texts]

    assert [(prompt, response) for (prompt, _), (response, _), _ in found] == [(0, 0), (3, 3), (2, 2), (3, 3)]


async def test_m03_batch_counts_its_bytes_and_one_round(rig: Rig) -> None:
    batch = "return alc.llm_batch{{prompt = 'ppppp'}, {prompt = 'ppppp', system = 'sss'}}"
    async with rig.pool() as pool:
        auto = (await counted(pool, batch, "x" * 42, "y" * 58))["auto"]

    assert (auto["total_prompt_chars"], auto["total_response_chars"]) == (13, 100)
    assert (auto["rounds"], auto["llm_calls"], auto["pauses"]) == (1, 2, 1)


async def test_m05_last_recorded_value_stands_and_a_missing_one_is_nil(rig: Rig) -> None:
    code = "alc.stats.record('k', 0) alc.stats.record('k', 1) return alc.stats.get('missing') == nil"
    async with rig.pool() as pool:
        end = (await run(pool, code)).result

    assert (end["result"], end["stats"]["custom"]) == (True, {"k": 1})


# ── all of them ───────────────────────────────────────────────────────────────────────────────────────────

CASES = {"F": 20, "P": 27, "S": 12, "B": 9, "M": 8, "T": 12}  # of the original's tables, each numbered from 1
FILES = (
    *("server/compat/test_upstream_rows.py", "server/compat/test_status_rows.py"),
    *("worker/database/test_key_value.py", "worker/keeper/test_budget.py"),
)


def test_no_case_of_the_original_is_without_its_test() -> None:
    tests = Path(__file__).parents[2]
    text = "\n".join((tests / name).read_text() for name in FILES)
    named = set(re.findall(r'(?:^|[{ ])f?"([FPSBMT]\d\d)[ "]', text, re.MULTILINE))
    for name in re.findall(r"^(?:async )?def test_((?:[fpsbmt]\d\d_)+)", text, re.MULTILINE):
        named.update(part.upper() for part in name.split("_") if part)

    assert named == {f"{letter}{number:02}" for letter, count in CASES.items() for number in range(1, count + 1)}
