"""The budget of ctx.budget and alc.stats with real workers, and that a replay takes the same way."""

import os
from typing import Any

import pytest

from algocline_mcp.errors import AlcError, Refused
from algocline_mcp.pool.dispatch import Pool, continue_via_pool, status_via_pool, stop_via_pool
from algocline_mcp.session.events import Answer
from tests.rig.rig import WAIT_S, Rig, finish, kill, run, say

pytestmark = pytest.mark.anyio

TWO = "alc.llm('a') return alc.llm('b')"
BATCH = "return alc.llm_batch{{prompt = 'a'}, {prompt = 'b'}, {prompt = 'c'}}"
CAUGHT = "alc.llm('a') local ok, e = pcall(alc.llm, 'b') return {ok, e}"


async def ended(pool: Pool, code: str, budget: Any) -> dict[str, Any]:
    return await finish(pool, await run(pool, code, ctx={"budget": budget}))


# Code, budget, what is raised, and how many prompts there were before.
EXCEEDED: dict[str, tuple[str, Any, str, int]] = {
    "calls": (TWO, {"max_llm_calls": 1}, "budget_exceeded: max_llm_calls (1) reached (1 used)", 1),
    "no calls": (TWO, {"max_llm_calls": 0}, "budget_exceeded: max_llm_calls (0) reached (0 used)", 0),
    "tokens": (TWO, {"max_tokens": 1}, "budget_exceeded: max_tokens (1) reached (2 used)", 1),
    "batch": (BATCH, {"max_llm_calls": 1}, "budget_exceeded: max_llm_calls (1) reached (0 used), and 3 more", 0),
    "elapsed": (TWO, {"max_elapsed_ms": 0}, "budget_exceeded: max_elapsed_ms (0ms) reached (", 0),
    "order": (TWO, {"max_tokens": 0, "max_elapsed_ms": 0, "max_llm_calls": 0}, "budget_exceeded: max_llm_calls", 0),
}


@pytest.mark.slow
@pytest.mark.parametrize(("code", "budget", "sentence", "asked"), EXCEEDED.values(), ids=EXCEEDED.keys())
async def test_prompt_over_the_budget_fails_with_upstreams_sentence(
    rig: Rig, code: str, budget: Any, sentence: str, asked: int
) -> None:
    async with rig.pool() as pool:
        result = await ended(pool, code, budget)

    assert result["status"] == "error"
    assert sentence in result["error"]
    assert len(rig.records(result["session_id"], "prompt")) == asked


async def test_exceeded_budget_can_be_caught(rig: Rig) -> None:
    async with rig.pool() as pool:
        result = await ended(pool, CAUGHT, {"max_llm_calls": 1})

    ok, error = result["result"]
    assert not ok
    assert error == "strategy:1: budget_exceeded: max_llm_calls (1) reached (1 used)"
    assert result["stats"]["auto"]["llm_calls"] == 1


NONE = [{}, {"max_llm_calls": None}, None]


@pytest.mark.slow
@pytest.mark.parametrize("budget", NONE, ids=repr)
async def test_budget_without_a_valid_limit_is_not_a_limit_and_ctx_keeps_it(rig: Rig, budget: Any) -> None:
    code = "alc.llm('a') return {ctx.budget, alc.budget_remaining() == nil, alc.budget_check(), alc.llm('b')}"
    async with rig.pool() as pool:
        result = await ended(pool, code, budget)

    assert result["result"] == [budget, True, True, "end"]
    assert "budget" not in result["stats"]["auto"]


@pytest.mark.parametrize("budget", [{"max_calls": 2}, 6])
async def test_budget_of_another_form_starts_no_session(rig: Rig, budget: Any) -> None:
    async with rig.pool() as pool:
        with pytest.raises(Refused, match=r"ctx\.budget .* give an object such as"):
            await run(pool, "return 1", ctx={"budget": budget})

    assert list(rig.home.sessions.glob("p-*")) == []


async def test_stats_name_the_limits_that_were_set(rig: Rig) -> None:
    budget = {"max_llm_calls": 10, "max_elapsed_ms": 60000, "max_tokens": None}
    async with rig.pool() as pool:
        result = await ended(pool, "return 1", budget)

    assert result["stats"]["auto"]["budget"] == {"max_llm_calls": 10, "max_elapsed_ms": 60000}


async def test_remaining_budget_counts_down_and_is_never_below_zero(rig: Rig) -> None:
    code = """
    local before = alc.budget_remaining()
    alc.llm('a')
    local after, check = alc.budget_remaining(), alc.budget_check()
    alc.llm('b')
    return {before, after, check, alc.budget_remaining(), alc.budget_check()}
    """
    async with rig.pool() as pool:
        result = await ended(pool, code, {"max_llm_calls": 5, "max_tokens": 3})

    four = {"llm_calls": 4, "tokens": 1}
    assert result["result"] == [{"llm_calls": 5, "tokens": 3}, four, True, {"llm_calls": 3, "tokens": 0}, False]


async def test_refused_ask_is_a_record_and_no_prompt_and_is_replayed(rig: Rig) -> None:
    code = """
    local ok = pcall(alc.llm_batch, {{prompt = 'x'}, {prompt = 'y'}, {prompt = 'z'}})
    return {ok, alc.llm('a'), alc.budget_remaining().llm_calls}
    """
    async with rig.pool() as pool:
        sid, *_ = await run(pool, code, ctx={"budget": {"max_llm_calls": 2}})
        recorded = [(each["name"], len(each["args"])) for each in rig.records(sid, "effect")]
        await kill(rig.keeper(sid))
        result = (await say(pool, sid, "q-0", "A")).result

    assert recorded == [("llm", 3)]
    assert result["result"] == [False, "A", 1]


@pytest.mark.slow
async def test_elapsed_verdict_stands_although_the_revived_session_is_faster(rig: Rig) -> None:
    """The engine computes beyond the limit, is refused, and its keeper dies: the replay needs no time to get there."""
    code = """
    local from = alc.time()
    while alc.time() - from < 0.1 do end
    local ok, e = pcall(alc.llm, 'a')
    return {ok, e, (alc.state.incr('c'))}
    """
    environ = {**os.environ, "ALC_FAILPOINT": "effect.committed:kill:1"}
    async with rig.pool(environ=environ, resends=0) as pool:
        with pytest.raises(AlcError):
            await run(pool, code, ctx={"budget": {"max_elapsed_ms": 80}})
    (path,) = rig.home.sessions.glob("p-*.journal")
    rig.expected_reports.add(path.stem)
    (refused,) = [each for each in rig.records(path.stem, "effect") if each["name"] == "llm"]
    async with rig.pool() as pool:
        result = (await status_via_pool(pool, path.stem, wait_s=WAIT_S)).result

    ok, error, count = result["result"]
    assert (ok, count) == (False, 1.0)
    assert error == "strategy:4: " + refused["error"]


async def test_usage_that_the_host_reports_counts_against_the_budget(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, CAUGHT, ctx={"budget": {"max_tokens": 1000}})
        answer = Answer("q-0", "A", usage={"prompt_tokens": 900, "completion_tokens": 100})
        result = (await continue_via_pool(pool, sid, [answer], wait_s=WAIT_S)).result

    assert result["result"][1].endswith("budget_exceeded: max_tokens (1000) reached (1000 used)")


# ── alc.stats ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_custom_stats_are_rebuilt_by_a_replay_and_stand_in_the_result(rig: Rig) -> None:
    code = """
    alc.stats.record('k', 0) alc.stats.record('k', 1) alc.stats.record('list', {1, 'é'})
    alc.llm('a')
    alc.stats.record('gone', 1) alc.stats.record('gone', nil)
    return {alc.stats.get('k'), alc.stats.get('list'), alc.stats.get('none') == nil}
    """
    async with rig.pool() as pool:
        sid, *_ = await run(pool, code)
        await kill(rig.keeper(sid))
        result = (await say(pool, sid, "q-0", "A")).result
        again = (await status_via_pool(pool, sid)).result

    assert result["result"] == [1, [1, "é"], True]
    assert result["stats"]["custom"] == {"k": 1, "list": [1, "é"]}
    assert again == result


async def test_session_that_records_nothing_has_empty_custom_stats(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, "alc.llm('a')")
        result = (await stop_via_pool(pool, sid, "cancel")).result

    assert result["stats"]["custom"] == {}
