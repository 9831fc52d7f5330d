"""The original's conformance cases whose subject is a session: combinators, caches, pipes, state and counts.

The pure ones are in tests/lua, those of budgets and of one namespace in test_budget and test_state.
"""

from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from algocline_mcp.pool.dispatch import Pool, continue_via_pool
from algocline_mcp.session import Answer

from .rig import WAIT_S, Rig, run

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
    "F20": ("alc.pipe({'absent'}, {task = 't'}, {on_error = 'skip'})", [],
            Seen("strategy:1: alc.pipe: failed to load strategy 'absent'")),
    "P17 valid": (ASK_JSON, ['{"a":1}'], Seen([{"a": 1}, '{"a":1}'], 1)),
    "P17 fenced": (ASK_JSON, ['```json\n{"a":1}\n```'], Seen([{"a": 1}, '```json\n{"a":1}\n```'], 1)),
    "P17 repaired": (ASK_JSON, ["sorry", '{"a":1}'], Seen([{"a": 1}, '{"a":1}'], 2, 1)),
    "P17 bad twice": (ASK_JSON, ["sorry", "again"], Seen(["nil", "again"], 2, 2)),
    "P18": (SPARE, [None], Seen(["spare", "nil"], 2, 2)),
    "cut inside a character": ("return alc.llm(('é'):sub(1, 1) .. 'x')", ["a"], Seen("a", 1)),
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
