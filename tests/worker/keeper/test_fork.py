"""alc.fork with real workers: children side by side, each an engine of its own."""

from collections.abc import Mapping
from typing import Any

import pytest

from algocline_mcp.errors import AlcError
from algocline_mcp.pool.branch import Branch, branch_via_pool
from algocline_mcp.pool.dispatch import (
    Pool,
    PoolReply,
    continue_via_pool,
    status_via_pool,
    view_via_pool,
)
from algocline_mcp.session.events import Answer
from tests.rig.fixtures import on_both_storages
from tests.rig.rig import WAIT_S, Rig, kill, run, say, until

pytestmark = pytest.mark.anyio

ASKS = "return {run = function(ctx) return alc.llm('%s: ' .. ctx.task) end}"
ASKS_TWICE = "return {run = function() local x = alc.llm('%s 1') return x .. alc.llm('%s 2 after ' .. x) end}"
FAILS = "return {run = function() error('%s is broken', 0) end}"
FAILS_LATER = "return {run = function() alc.llm('%s') error('%s is broken', 0) end}"
ENDLESS = "return {run = function() while true do end end}"
FORKS = "return {run = function(ctx) return alc.fork({'x', 'x'}, ctx) end}"
TELLS = """
return {run = function(ctx)
  alc.log('warn', 'careful')
  alc.progress(1, 2, 'half')
  alc.stats.record('tried', 3)
  alc.state.set('mark', 'of %s')
  return {alc.llm('%s'), alc.state.get('mark'), math.random(1000000000), ctx}
end}
"""
FORK = "return alc.fork(ctx.names, ctx, {on_error = ctx.on_error})"


def install(rig: Rig, **packages: str) -> None:
    rig.home.packages.mkdir(parents=True, exist_ok=True)
    for name, code in packages.items():
        (rig.home.packages / f"{name}.lua").write_text(code.replace("%s", name))


async def fork(pool: Pool, *names: str, wait_s: float = WAIT_S, **ctx: Any) -> PoolReply:
    return await run(pool, FORK, ctx={"names": list(names), "task": "T", **ctx}, wait_s=wait_s)


def asked(reply: PoolReply) -> dict[str, str]:
    """The prompts that wait, by query id."""
    queries = reply.result.get("queries") or [reply.result]
    return {query["query_id"]: query["prompt"] for query in queries if "prompt" in query}


async def answer(pool: Pool, sid: str, *query_ids: str) -> PoolReply:
    """Answers each query with its own id as the text."""
    answers = [Answer(query_id, f"<{query_id}>") for query_id in query_ids]
    return await continue_via_pool(pool, sid, answers, wait_s=WAIT_S)


async def end_of(pool: Pool, reply: PoolReply) -> Mapping[str, Any]:
    while asked(reply):
        reply = await answer(pool, reply.session_id, *asked(reply))
    return reply.result


def entry(strategy: str, result: Any) -> dict[str, Any]:
    return {"strategy": strategy, "ok": True, "result": result}


@on_both_storages
async def test_each_child_goes_on_with_its_own_answer_and_results_keep_the_order_of_the_names(rig: Rig) -> None:
    install(rig, a=ASKS_TWICE, b=ASKS)
    async with rig.pool() as pool:
        first = await fork(pool, "a", "b")
        shown = await status_via_pool(pool, first.session_id)
        second = await answer(pool, first.session_id, "f-0-0")
        third = await answer(pool, first.session_id, "f-1-0")
        last = await answer(pool, first.session_id, "f-0-1")

    assert asked(shown) == {"f-0-0": "a 1", "f-1-0": "b: T"}
    assert asked(second) == {"f-1-0": "b: T", "f-0-1": "a 2 after <f-0-0>"}
    assert asked(third) == {"f-0-1": "a 2 after <f-0-0>"}
    assert last.result["result"] == [entry("a", "<f-0-0><f-0-1>"), entry("b", "<f-1-0>")]


async def test_children_are_numbered_through_the_session_also_those_of_children(rig: Rig) -> None:
    install(rig, x=ASKS, forks=FORKS)
    code = "local one = alc.fork({'forks', 'x'}, ctx) return {one, alc.fork({'x'}, ctx), alc.llm('main')}"
    async with rig.pool() as pool:
        first = await run(pool, code, ctx={"task": "T"})
        result = (await end_of(pool, first))["result"]
        sid = first.session_id

    assert set(asked(first)) == {"f-1-0", "f-2-0", "f-3-0"}
    inner = [entry("x", "<f-2-0>"), entry("x", "<f-3-0>")]
    assert result == [[entry("forks", inner), entry("x", "<f-1-0>")], [entry("x", "<f-4-0>")], "<q-0>"]
    assert len({each["id"] for record in rig.records(sid, "prompt") for each in record["queries"]}) == 5


@on_both_storages
async def test_child_that_fails_is_an_entry_and_the_others_go_on(rig: Rig) -> None:
    install(rig, a=ASKS, b=FAILS, c="return {}")
    async with rig.pool() as pool:
        first = await fork(pool, "b", "a", "none", "c")
        result = (await end_of(pool, first))["result"]

    assert [each["ok"] for each in result] == [False, True, False, False]
    assert result[1] == entry("a", "<f-1-0>")
    assert "b is broken" in result[0]["error"]
    assert "module 'none' not found" in result[2]["error"]
    assert "does not export run(ctx)" in result[3]["error"]


@on_both_storages
@pytest.mark.slow
@pytest.mark.parametrize("mode", ["fail", "abort"])
async def test_fork_that_shall_fail_with_a_child_drops_the_others_at_once(rig: Rig, mode: str) -> None:
    install(rig, a=ASKS, b=FAILS_LATER, forks=FORKS, x=ASKS)
    code = """
    local ok, e = pcall(alc.fork, {'a', 'b', 'forks'}, ctx, {on_error = ctx.mode})
    return {ok, e, alc.llm('main')}
    """
    async with rig.pool() as pool:
        first = await run(pool, code, ctx={"task": "T", "mode": mode})
        sid = first.session_id
        then = await answer(pool, sid, "f-1-0")
        engines = len(rig.engines(sid))
        with pytest.raises(AlcError, match=r"f-0-0 is no longer asked: .* pending: q-0") as refused:
            await answer(pool, sid, "f-0-0")
        branch = await branch_via_pool(pool, sid, Branch(at="f-0-0", response="x"), wait_s=WAIT_S)
        await kill(rig.keeper(sid))
        end = (await say(pool, sid, "q-0", "A")).result

    assert set(asked(first)) == {"f-0-0", "f-1-0", "f-3-0", "f-4-0"}
    assert asked(then) == {"q-0": "main"}
    assert asked(branch) == {"q-0": "main"}  # before the fork had failed; then it fails here too
    assert engines == 1
    assert refused.value.code == "unknown_query"
    ok, error, answered = end["result"]
    assert (ok, answered) == (False, "A")
    assert "alc.fork: strategy 'b' failed: " in error
    assert "b is broken" in error


@pytest.mark.slow
async def test_children_beyond_the_limit_wait_for_their_turn_and_a_fork_within_a_fork_never_lacks_one(rig: Rig) -> None:
    install(rig, a=ASKS, x=ASKS, forks=FORKS)
    # The strategy, the child that waits for its own, and the one that has its turn; one that has ended is yet to go.
    engines = {1: 2, 2: 3, 3: 3, 4: 2}
    async with rig.pool(children=1) as pool:
        reply = await fork(pool, "a", "forks", "a")
        sid, rounds = reply.session_id, []
        while asked(reply):
            rounds.append(list(asked(reply)))
            await until(lambda: len(rig.engines(sid)) == engines[len(rounds)])
            await kill(rig.keeper(sid))
            reply = await answer(pool, sid, *asked(reply))

    assert rounds == [["f-0-0"], ["f-3-0"], ["f-4-0"], ["f-2-0"]]
    assert [each["ok"] for each in reply.result["result"]] == [True] * 3


@pytest.mark.slow
async def test_forks_over_a_limit_raise_an_error_that_a_revival_raises_again(rig: Rig) -> None:
    install(rig, a=ASKS, deep="return {run = function(ctx) return alc.fork({'deep'}, ctx) end}")
    code = """
    local errors = {}
    for i, names in ipairs({{'a', 'a', 'a', 'a'}, {'deep'}}) do
      local ok, result = pcall(alc.fork, names, ctx)
      errors[i] = ok and result[1].result[1].error or result
    end
    return {errors, alc.llm('p')}
    """
    async with rig.pool(children_max=3, children_depth=2) as pool:
        sid, *_ = await run(pool, code, ctx={"task": "T"})
        await kill(rig.keeper(sid))
        (many, deep), said = (await say(pool, sid, "q-0", "A")).result["result"]

    assert "alc.fork: 4 children beside the 0 of this session before, at most 3: fork fewer" in many
    assert "alc.fork: forks may be nested 2 deep, not deeper" in deep
    assert said == "A"


@on_both_storages
async def test_budget_is_shared_and_its_verdicts_are_replayed(rig: Rig) -> None:
    install(rig, a=ASKS, b=ASKS, c=ASKS)
    async with rig.pool() as pool:
        first = await fork(pool, "a", "b", "c", budget={"max_llm_calls": 2})
        sid = first.session_id
        await kill(rig.keeper(sid))
        result = (await end_of(pool, first))["result"]

    assert len(asked(first)) == 2
    (refused,) = [each for each in result if not each["ok"]]
    assert "budget_exceeded: max_llm_calls (2) reached (2 used)" in refused["error"]
    assert len(rig.records(sid, "effect")) == 1


@pytest.mark.slow
async def test_what_children_say_and_count_is_kept_and_shown_as_theirs(rig: Rig) -> None:
    install(rig, a=TELLS, b=TELLS)
    async with rig.pool() as pool:
        first = await fork(pool, "a", "b")
        sid = first.session_id
        summary = await view_via_pool(pool, sid, "summary")
        end = await end_of(pool, first)
        history = (await view_via_pool(pool, sid, "history"))["history"]
        log = (await view_via_pool(pool, sid, "log"))["log"]
        marks = await run(pool, "return alc.state.get('mark')", ctx={"_ns": "fork-1"})

    (a, b) = [each["result"] for each in end["result"]]
    assert (a[:2], b[:2]) == (["<f-0-0>", "of a"], ["<f-1-0>", "of b"])
    assert a[2] != b[2]  # each draws numbers of its own
    assert a[3] == {"names": ["a", "b"], "task": "T"}
    assert marks.result["result"] == "of b"
    assert summary["children"] == [
        {"child": "0", "strategy": "a", "status": "needs_response"},
        {"child": "1", "strategy": "b", "status": "needs_response"},
    ]
    assert summary["progress"]["message"] == "half"
    assert summary["progress"]["strategy"] in ("a", "b")
    assert end["stats"]["children"] == {
        "0": {"strategy": "a", "custom": {"tried": 3}},
        "1": {"strategy": "b", "custom": {"tried": 3}},
    }
    assert {(each["query_id"], each["strategy"]) for each in history} == {("f-0-0", "a"), ("f-1-0", "b")}
    kinds = [(each["kind"], each.get("strategy")) for each in log]
    assert kinds[0] == ("fork", None)
    for name in ("a", "b"):
        assert [kind for kind, whose in kinds if whose == name] == ["log", "progress", "child"]


@on_both_storages
async def test_branch_at_a_childs_prompt_shares_what_was_answered_before(rig: Rig) -> None:
    install(rig, a=ASKS, b=ASKS_TWICE)
    async with rig.pool() as pool:
        first = await fork(pool, "a", "b")
        await end_of(pool, first)
        branch = await branch_via_pool(pool, first.session_id, Branch(at="f-1-1", response="other"), wait_s=WAIT_S)
        edited = Branch(code="alc.log('info', 'edited') " + FORK)
        again = await branch_via_pool(pool, first.session_id, edited, wait_s=WAIT_S)

    assert branch.result["result"] == [entry("a", "<f-0-0>"), entry("b", "<f-1-0>other")]
    assert again.result["result"] == [entry("a", "<f-0-0>"), entry("b", "<f-1-0><f-1-1>")]
