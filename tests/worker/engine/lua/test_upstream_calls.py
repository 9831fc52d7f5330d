"""Functions of alc that ask prompts give the results that upstream gives, each in a real session: cache, combinators,
forks, and the counts of a session.

The other modules of this directory test the same functions in process and in more detail.
"""

import re
from dataclasses import dataclass
from typing import Any

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
PARALLEL_ERROR = "local ok, e = pcall(alc.parallel, %s) return e"
ASK_JSON = "local v, raw = alc.llm_json('Give a', {max_tokens = 9}) return {v or 'nil', raw}"
SPARE = "return {alc.llm_safe('p', nil, 'spare'), tostring(alc.llm_safe('p'))}"


@dataclass(frozen=True)
class Outcome:
    """`result`: its beginning if it is an error. `pauses`: prompt records. `warnings`: log lines of that level."""

    result: Any
    pauses: int = 0
    warnings: int = 0


# Case -> code, answers in turn (the last one is repeated; None refuses), outcome.
CALLS: dict[str, tuple[str, list[str | None], Outcome]] = {
    "cache hit": (f"alc.cache('p') alc.cache('p') {INFO}", ["a"], Outcome([1, 1, 1, 256], 1)),
    "empty cache": (INFO, [], Outcome([0, 0, 0, 256])),
    "cleared cache": (f"alc.cache('p') alc.cache_clear() {INFO}", ["a"], Outcome([0, 0, 0, 256], 1)),
    "cache key is the exact prompt": (f"alc.cache('A b') alc.cache('a  B') {INFO}", ["a"], Outcome([2, 0, 2, 256], 2)),
    "cache_skip": (
        f"for _ = 1, 2 do alc.cache('p', {{cache_skip = true}}) end {INFO}",
        ["a"],
        Outcome([0, 0, 0, 256], 2),
    ),
    "parallel": (f"return alc.parallel({FRUIT})", ["a"], Outcome(["a apple1", "a banana2"], 1)),
    "parallel without items": (
        PARALLEL_ERROR % "{}, print",
        [],
        Outcome("strategy:1: alc.parallel: items must be a non-empty array"),
    ),
    "parallel without a function": (
        PARALLEL_ERROR % "{1}, 5",
        [],
        Outcome("strategy:1: alc.parallel: prompt_fn must be a function"),
    ),
    "parallel with a function that returns a number": (
        PARALLEL_ERROR % "{1}, function() return 1 end",
        [],
        Outcome("strategy:1: alc.parallel: prompt_fn must return string or table, got number at index 1"),
    ),
    "parallel with a table without a prompt": (
        PARALLEL_ERROR % "{1}, function() return {} end",
        [],
        Outcome("strategy:1: alc.parallel: prompt_fn returned table without .prompt at index 1"),
    ),
    "parallel with post_fn": (
        "return alc.parallel({1, 2}, function(n) return 'of 10' end, {post_fn = alc.parse_score})",
        ["7"],
        Outcome([7, 7], 1),
    ),
    "pipe skips a failed stage": (PIPE % ("a", "skip"), [], Outcome(["a12", "a1", "result error result"], 0, 1)),
    "pipe continues after a failed stage": (
        PIPE % ("b", "continue"),
        [],
        Outcome(["b12", "b1", "result error result"], 0, 1),
    ),
    "pipe skips every stage": (
        STAGES + "return shape(alc.pipe({fail, fail}, {task = 't'}, {on_error = 'skip'}))",
        [],
        Outcome([False, "t", "error error"], 0, 2),
    ),
    "pipe raises by default": (STAGES + "alc.pipe({fail}, {task = 't'})", [], Outcome("strategy:3: broken")),
    "pipe aborts": (STAGES + "alc.pipe({fail}, {task = 't'}, {on_error = 'abort'})", [], Outcome("strategy:3: broken")),
    "pipe encodes a table result": (
        STAGES + f"return alc.pipe({{{MAKE}, append('!')}}, {{task = 't'}}).result",
        [],
        Outcome('{"a":[1]}!'),
    ),
    **{
        f"pipe without its strategy, {mode}": (
            f"alc.pipe({{'absent'}}, {{task = 't'}}, {{on_error = '{mode}'}})",
            [],
            Outcome("strategy:1: alc.pipe: failed to load strategy 'absent'"),
        )
        for mode in ("abort", "skip", "continue")
    },
    "tuning with a value where the prefix needs a table": (
        "return alc.tuning({a = 1}, {a = 7, mine = 5}, {prefix = 'mine'})",
        [],
        Outcome({"a": 1}, 0, 1),
    ),
    "llm_json valid": (ASK_JSON, ['{"a":1}'], Outcome([{"a": 1}, '{"a":1}'], 1)),
    "llm_json fenced": (ASK_JSON, ['```json\n{"a":1}\n```'], Outcome([{"a": 1}, '```json\n{"a":1}\n```'], 1)),
    "llm_json repaired": (ASK_JSON, ["sorry", '{"a":1}'], Outcome([{"a": 1}, '{"a":1}'], 2, 1)),
    "llm_json bad twice": (ASK_JSON, ["sorry", "again"], Outcome(["nil", "again"], 2, 2)),
    "llm_safe": (SPARE, [None], Outcome(["spare", "nil"], 2, 2)),
    "cut inside a character": ("return alc.llm(('é'):sub(1, 1) .. 'x')", ["a"], Outcome("a", 1)),
}


async def play(pool: Pool, code: str, answers: list[str | None]) -> tuple[str, dict[str, Any]]:
    reply, turn = await run(pool, code), 0
    while reply.result["status"] == "needs_response":
        text = answers[min(turn, len(answers) - 1)]
        turn += 1
        queries = reply.result.get("queries")
        if queries:  # the answer repeats the prompt, so that the result shows the order
            given = [Answer(query["query_id"], f"{text} {query['prompt']}") for query in queries]
        else:
            given = [Answer(reply.result["query_id"], text, refuse=None if text is not None else "no")]
        reply = await continue_via_pool(pool, reply.session_id, given, wait_s=WAIT_S)
    return reply.session_id, reply.result


@pytest.mark.slow
async def test_calls_end_as_upstreams(rig: Rig) -> None:
    outcomes: dict[str, Outcome] = {}
    async with rig.pool() as pool:
        for name, (code, answers, expected) in CALLS.items():
            sid, view = await play(pool, code, answers)
            result = view["result"] if "result" in view else str(view["error"])[: len(expected.result)]
            warnings = sum(record.get("level") == "warn" for record in rig.records(sid, "note"))
            outcomes[name] = Outcome(result, len(rig.records(sid, "prompt")), warnings)

    assert outcomes == {name: expected for name, (_, _, expected) in CALLS.items()}


async def test_json_repair_repeats_the_request_and_shows_the_bad_answer(rig: Rig) -> None:
    async with rig.pool() as pool:
        first = (await run(pool, ASK_JSON)).result
        second = (await continue_via_pool(pool, first["session_id"], [Answer("q-0", "sorry")], wait_s=WAIT_S)).result
        await finish(pool, await continue_via_pool(pool, first["session_id"], [Answer("q-1", "{}")], wait_s=WAIT_S))

    assert (first["max_tokens"], second["max_tokens"]) == (9, 9)
    assert "system" not in first
    assert second["system"] == "Output ONLY valid JSON. No markdown fences, no explanation."
    assert "sorry" in second["prompt"]
    assert "Give a" in second["prompt"]


@pytest.mark.slow
async def test_llm_works_wherever_lua_calls_a_function(rig: Rig) -> None:
    """As test_alc in process; here the answer comes from a host."""
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
    """The final result, and the ids of all queries. Each answer repeats the letter of its prompt."""
    rig.home.packages.mkdir(parents=True, exist_ok=True)
    for name, code in PACKAGES.items():
        (rig.home.packages / f"{name}.lua").write_text(code)
    asked: list[str] = []
    async with rig.pool() as pool:
        reply = await run(pool, f"return alc.fork({names}, ctx, {options})", ctx={"task": "T"})
        while reply.result["status"] == "needs_response":
            queries = reply.result.get("queries") or [reply.result]
            asked += [query["query_id"] for query in queries]
            answers = [Answer(query["query_id"], "Answer " + query["prompt"][5]) for query in queries]
            reply = await continue_via_pool(pool, reply.session_id, answers, wait_s=WAIT_S)
    return reply.result, asked


ANSWERED = [{"strategy": "a", "ok": True, "result": "Answer A"}, {"strategy": "b", "ok": True, "result": "Answer B"}]


@pytest.mark.slow
async def test_fork_returns_children_in_the_order_of_their_names_and_their_query_ids_are_unique(
    rig: Rig,
) -> None:
    end, asked = await forked(rig, "{'a', 'b'}")

    assert (end["status"], end["result"]) == ("completed", ANSWERED)
    assert len(set(asked)) == len(asked) == 2
    assert all(re.fullmatch(r"f-\d+-\d+", query_id) for query_id in asked)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ("{'a-b'}", "alc.fork: invalid strategy name 'a-b'"),
        ('{"x\'y"}', "alc.fork: invalid strategy name 'x'y'"),
        ("{}", "alc.fork: strategies must be a non-empty array"),
    ],
)
async def test_fork_of_an_invalid_name_or_an_empty_list_is_an_error(rig: Rig, names: str, sentence: str) -> None:
    end, asked = await forked(rig, names)

    assert (end["status"], asked) == ("error", [])
    assert sentence in end["error"]


async def test_child_that_raises_is_an_entry_and_the_others_are_unaffected(rig: Rig) -> None:
    end, _ = await forked(rig, "{'a', 'broken', 'b'}")

    first, broken, last = end["result"]
    assert [first, last] == ANSWERED
    assert (broken["strategy"], broken["ok"], "result" in broken) == ("broken", False, False)
    assert "intentional" in broken["error"]


async def test_child_that_raises_ends_a_fork_with_on_error_abort(rig: Rig) -> None:
    end, _ = await forked(rig, "{'a', 'broken'}", "{on_error = 'abort'}")

    assert end["status"] == "error"
    assert "alc.fork: strategy 'broken' failed: " in end["error"]
    assert "intentional" in end["error"]


# ── counts ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_three_prompts_count_three_rounds_pauses_and_calls(rig: Rig) -> None:
    code = "for i = 1, 3 do alc.llm('p' .. i) end return alc.stats.llm_calls()"
    async with rig.pool() as pool:
        _, result = await play(pool, code, ["a"])

    assert result["result"] == 3
    assert [result["stats"]["auto"][name] for name in ("rounds", "pauses", "llm_calls")] == [3, 3, 3]


async def counted(pool: Pool, code: str, *answers: str, **ctx: Any) -> dict[str, Any]:
    """The stats of a session with one pause."""
    reply = await run(pool, code, ctx=ctx)
    ids = [query["query_id"] for query in reply.result.get("queries") or [reply.result]]
    given = [Answer(query_id, text) for query_id, text in zip(ids, answers, strict=True)]
    stats: dict[str, Any] = (await continue_via_pool(pool, reply.session_id, given, wait_s=WAIT_S)).result["stats"]
    return stats


def tokens(stats: dict[str, Any]) -> list[tuple[int, str]]:
    counts = [stats["auto"][name] for name in ("prompt_tokens", "response_tokens", "total_tokens")]
    return [(count["tokens"], count["source"]) for count in counts]


@pytest.mark.slow
async def test_tokens_are_estimated_from_prompt_system_and_answer(rig: Rig) -> None:
    async with rig.pool() as pool:
        stats = await counted(pool, "return alc.llm('What is 2+2?', {system = 'terse, x'})", "4")

    assert tokens(stats) == [(3 + 2, "estimated"), (1, "estimated"), (6, "estimated")]


async def test_token_estimates_equal_upstreams(rig: Rig) -> None:
    texts = ["a", "hello world", "あいう", "hello あ"]
    async with rig.pool() as pool:
        counts = [tokens(await counted(pool, "return alc.llm(ctx.p)", text, p=text)) for text in texts]

    assert [(prompt, response) for (prompt, _), (response, _), _ in counts] == [(1, 1), (3, 3), (2, 2), (3, 3)]


async def test_batch_counts_its_bytes_and_one_round(rig: Rig) -> None:
    batch = "return alc.llm_batch{{prompt = 'ppppp'}, {prompt = 'ppppp', system = 'sss'}}"
    async with rig.pool() as pool:
        auto = (await counted(pool, batch, "x" * 42, "y" * 58))["auto"]

    assert (auto["total_prompt_chars"], auto["total_response_chars"]) == (13, 100)
    assert (auto["rounds"], auto["llm_calls"], auto["pauses"]) == (1, 2, 1)


async def test_last_recorded_stat_wins_and_a_missing_one_is_nil(rig: Rig) -> None:
    code = "alc.stats.record('k', 0) alc.stats.record('k', 1) return alc.stats.get('missing') == nil"
    async with rig.pool() as pool:
        end = (await run(pool, code)).result

    assert (end["result"], end["stats"]["custom"]) == (True, {"k": 1})
