"""Branches of real sessions: shared prompts are not asked again, and the parent stays unchanged."""

import json
import os
from typing import Any

import pytest

from algocline_mcp.errors import JournalCorrupt, Refused
from algocline_mcp.pool.branch import Branch, branch_via_pool
from algocline_mcp.pool.dispatch import (
    Pool,
    PoolReply,
    continue_via_pool,
    list_via_pool,
    status_via_pool,
    stop_via_pool,
    view_via_pool,
)
from algocline_mcp.session.events import Answer
from algocline_mcp.storage import journal, journal_lines
from tests.rig.fixtures import on_both_storages
from tests.rig.journals import sid_of
from tests.rig.rig import ASK_TWICE, SOON_S, WAIT_S, Rig, finish, kill, run, say, until

pytestmark = pytest.mark.anyio

SID = sid_of(1, created_s=1.7e9)
THREE = (
    'local a = alc.llm("one") local b = alc.llm("two after " .. a) local c = alc.llm("three after " .. b) '
    'return a .. "+" .. b .. "+" .. c'
)
BATCH = (
    'local t = alc.llm_batch({{prompt="a"}, {prompt="b"}, {prompt="c"}}) '
    'return table.concat(t, ",") .. alc.llm("last after " .. t[2])'
)


BAD_RESULTS = {
    "return {rows = ('x'):rep(17 << 20)}": "result of 17825815 bytes as JSON in ASCII, at most 16777216 (",
    "return ('x'):rep(33 << 20)": "result of 34603032 bytes as JSON, at most 33554432 (ALC_LINE_BYTES)",
    "return {rows = {a, print}}": "result.rows[2] is a function: JSON has no such value",
    "local t = {} t.next = t return t": "result.next contains itself",
    "return {1, 2, name = a}": 'result has list items and also the named field "name"',
    "local t = {} for _ = 1, 200 do t = {t} end return t": "is nested deeper than 128 levels",
    "return {('x'):rep(60 << 20), ('y'):rep(60 << 20)}": "out of memory: a strategy may use 128 MiB",
}


async def played(pool: Pool, code: str, *texts: str) -> PoolReply:
    reply = await run(pool, code)
    for n, text in enumerate(texts):
        reply = await say(pool, reply.session_id, f"q-{n}", text)
    return reply


async def branched(pool: Pool, sid: str, n: int = 1, is_dry: bool = False, **change: Any) -> dict[str, Any]:
    return (await branch_via_pool(pool, sid, Branch(**change), n=n, is_dry=is_dry, wait_s=WAIT_S)).result


@pytest.mark.parametrize(
    ("change", "shared"),
    [({"at": "q-1"}, 1), ({"at": "q-1", "response": "b"}, 1), ({"code": THREE + " .. 1"}, 2), ({}, 2)],
    ids=["exact", "exact with an answer", "by prompt", "all"],
)
async def test_session_of_several_megabytes_is_branched_as_a_short_one(
    rig: Rig, change: dict[str, Any], shared: int
) -> None:
    async with rig.pool() as pool:
        parent = await played(pool, THREE, "a" * 1_500_000, "b" * 1_500_000)
        branch = await branched(pool, parent.session_id, **change)
        dry = await branched(pool, parent.session_id, is_dry=True, **change)

    assert branch["status"] == "needs_response"
    assert branch["branch"]["shared"] == dry["shared"] == shared


@on_both_storages
@pytest.mark.slow
@pytest.mark.parametrize("is_finished", [True, False])
async def test_another_answer_at_one_prompt(rig: Rig, is_finished: bool) -> None:
    async with rig.pool() as pool:
        reply = await played(pool, THREE, "A", "B", *(["C"] if is_finished else []))
        if is_finished:
            await pool.wait_for_exit(reply.session_id, SOON_S)  # then the worker has archived the journal
        parent = rig.records(reply.session_id)
        branch = await branched(pool, reply.session_id, at="q-1", response="X")
        end = await finish(pool, PoolReply(branch["session_id"], branch, None), "Y")
        unchanged = rig.records(reply.session_id) == parent

    assert (branch["prompt"], branch["query_id"]) == ("three after X", "q-2")
    assert branch["branch"] == {"session_id": reply.session_id, "at": "q-1", "shared": 1}
    assert end["result"] == "A+X+Y"
    assert unchanged


@on_both_storages
@pytest.mark.slow
async def test_several_branches_of_one_session_each_ask_the_query_again(rig: Rig) -> None:
    async with rig.pool() as pool:
        reply = await played(pool, THREE, "A", "B")
        made = await branched(pool, reply.session_id, n=3, at="q-1")
        branches = made["branches"]
        ends = [
            await finish(pool, await say(pool, branch["session_id"], "q-1", f"B{n}"), "C")
            for n, branch in enumerate(branches)
        ]

    assert made["status"] == "branched"
    assert [branch["prompt"] for branch in branches] == ["two after A"] * 3
    assert [end["result"] for end in ends] == ["A+B0+C", "A+B1+C", "A+B2+C"]


@on_both_storages
@pytest.mark.slow
async def test_one_answer_of_a_batch_is_replaced_and_the_others_stay(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, BATCH)
        await continue_via_pool(pool, sid, [Answer(f"q-{n}", str(n)) for n in range(3)], wait_s=WAIT_S)
        branch = await branched(pool, sid, at="q-1", response="X")
        end = await finish(pool, PoolReply(branch["session_id"], branch, None), "!")

    assert branch["prompt"] == "last after X"
    assert end["result"] == "0,X,2!"


@on_both_storages
@pytest.mark.slow
async def test_corrected_code_asks_only_what_changed(rig: Rig) -> None:
    async with rig.pool() as pool:
        reply = await played(pool, THREE, "A", "B", "C")
        same = await branched(pool, reply.session_id, code=f"-- a comment\n{THREE}")
        changed = await branched(pool, reply.session_id, code=THREE.replace("three after", "finally after"))

    assert (same["status"], same["result"], same["branch"]["shared"]) == ("completed", "A+B+C", 3)
    assert (changed["prompt"], changed["query_id"], changed["branch"]["shared"]) == ("finally after B", "q-2", 2)


@on_both_storages
async def test_change_that_the_parent_made_is_not_made_twice(rig: Rig) -> None:
    code = 'local n = alc.state.incr("runs") return n .. alc.llm("ask " .. n)'
    async with rig.pool() as pool:
        reply = await played(pool, code, "A")
        branch = await branched(pool, reply.session_id, code=f"{code} .. '!'")
        count = (await run(pool, 'return alc.state.get("runs")')).result["result"]

    assert (branch["status"], branch["result"]) == ("completed", "1.0A!")
    assert count == 1.0


async def test_another_ctx_asks_only_what_changed(rig: Rig) -> None:
    code = 'local r = {} for i, x in ipairs(ctx.items) do r[i] = alc.llm("do " .. x) end return r'
    async with rig.pool() as pool:
        reply = await run(pool, code, ctx={"items": ["a", "b", "a"]})
        for n, text in enumerate("123"):
            reply = await say(pool, reply.session_id, f"q-{n}", text)
        branch = await branched(pool, reply.session_id, ctx={"items": ["b", "a", "c", "a", "a"]})
        third = await say(pool, branch["session_id"], "q-2", "new")
        end = (await say(pool, third.session_id, "q-4", "newer")).result

    assert branch["prompt"] == "do c"
    assert (third.result["prompt"], third.result["query_id"]) == ("do a", "q-4")  # asked once more than the parent did
    assert end["result"] == ["2", "1", "new", "3", "newer"]


async def test_results_of_effects_are_shared_as_well(rig: Rig) -> None:
    code = 'local t = alc.time() local a = alc.llm("at " .. t) return alc.llm("then " .. alc.time() .. a)'
    async with rig.pool() as pool:
        reply = await played(pool, code, "A", "B")
        branch = await branched(pool, reply.session_id, code=f"{code} -- the same")

    assert reply.result["status"] == "completed"
    assert branch["result"] == "B"


@pytest.mark.slow
async def test_views_of_a_branch_hide_values_of_the_environment(rig: Rig) -> None:
    code = """
    local t, key = alc.time(), os.getenv("BRANCH_KEY")
    alc.state.incr("runs")
    local a = alc.llm("with " .. key) return alc.llm("then " .. key .. a)
    """
    environ = {**os.environ, "ALC_ENV_ALLOW": "BRANCH_KEY", "BRANCH_KEY": "hunter2-hunter2"}
    async with rig.pool(environ=environ) as pool:
        reply = await played(pool, code, "A")
        dry = await branched(pool, reply.session_id, code=code.replace("then", "now"), is_dry=True)
        branch = await branched(pool, reply.session_id, code=code.replace("then", "now"))
        listed = (await list_via_pool(pool))["sessions"]
        history = await view_via_pool(pool, branch["session_id"], "history")

    assert branch["prompt"] == "now hunter2-hunter2A"  # in the reply it is not hidden
    assert dry["asks"][0]["prompt"] == "now [hidden]A"
    assert {line["session_id"]: line["prompt"] for line in listed} == {
        reply.session_id: "then [hidden]A",
        branch["session_id"]: "now [hidden]A",
    }
    assert [turn["prompt"] for turn in history["history"]] == ["with [hidden]", "now [hidden]A"]


@on_both_storages
async def test_killed_branch_continues_with_its_shared_answers(rig: Rig) -> None:
    code = 'local r = {} for i = 1, 4 do r[i] = alc.llm("same") end return table.concat(r)'
    async with rig.pool() as pool:
        reply = await played(pool, code, "1", "2", "3", "4")
        branch = await branched(pool, reply.session_id, code=f'alc.llm("first") {code}')
        sid = branch["session_id"]
        await kill(rig.keeper(sid))
        await until(lambda: not rig.workers())
        end = (await say(pool, sid, "q-0", "go")).result

        assert (branch["prompt"], end["result"]) == ("first", "1234")
        assert [text for _, text in rig.answers(sid)] == ["go", "1", "2", "3", "4"]


@pytest.mark.slow
async def test_prompt_that_a_killed_keeper_had_recorded_is_answered_from_the_parent(rig: Rig) -> None:
    async with rig.pool() as pool:
        reply = await played(pool, THREE, "A", "B")
        branch = await branched(pool, reply.session_id, code=f"{THREE} -- edited")
        sid = branch["session_id"]
        await stop_via_pool(pool, sid, "hibernate")
        path = rig.journal(sid)
        records = journal.read(path)
        first = next(n for n, record in enumerate(records) if record["kind"] == "prompt")
        path.write_bytes(
            b"".join(journal_lines.encode(record, 0) for record in records[: first + 1])
        )  # as killed just then
        with pytest.raises(Refused):
            await say(pool, sid, "q-9", "revives it")
        after = (await status_via_pool(pool, sid, wait_s=WAIT_S)).result

    assert after["prompt"] == "three after B"


async def test_a_branch_is_the_way_out_of_diverged(rig: Rig) -> None:
    async with rig.pool() as pool:
        reply = await played(pool, THREE, "A", "B")
        sid = reply.session_id
        await stop_via_pool(pool, sid, "hibernate")
        head, *rest = journal.read(rig.journal(sid))
        head["code"] = THREE.replace("two after", "second after")  # as a changed engine might
        rig.journal(sid).write_bytes(b"".join(journal_lines.encode(record, 0) for record in (head, *rest)))
        stuck = (await say(pool, sid, "q-2", "C")).result
        branch = await branched(pool, sid)

    assert stuck["error_code"] == "diverged"
    assert "alc_branch" in stuck["next"]
    assert (branch["prompt"], branch["branch"]["shared"]) == ("second after A", 1)


async def test_damaged_session_shows_the_records_before_the_damage_and_can_be_branched_there(rig: Rig) -> None:
    async with rig.pool() as pool:
        reply = await played(pool, THREE, "A", "B")
        sid = reply.session_id
        await stop_via_pool(pool, sid, "hibernate")
        await until(lambda: not rig.workers())
        damaged = bytearray(rig.journal(sid).read_bytes())
        damaged[damaged.rindex(b'"kind":"answer"') + 3] ^= 1
        rig.journal(sid).write_bytes(damaged)
        history = await view_via_pool(pool, sid, "history")
        branch = await branched(pool, sid)
        end = await finish(pool, PoolReply(branch["session_id"], branch, None), "Y")
        unchanged = rig.journal(sid).read_bytes() == damaged

    assert (history["status"], history["error_code"]) == ("error", "corrupt")
    assert "is damaged in line" in history["warnings"][0]
    assert [(turn["prompt"], turn.get("response")) for turn in history["history"]] == [
        ("one", "A"),
        ("two after A", None),
    ]
    assert branch["prompt"] == "two after A"
    assert end["result"] == "A+Y+Y"
    assert unchanged


async def test_session_with_a_damaged_header_shows_nothing_and_cannot_be_branched(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid = (await played(pool, THREE, "A")).session_id
        await stop_via_pool(pool, sid, "hibernate")
        await until(lambda: not rig.workers())
        damaged = rig.journal(sid).read_bytes().replace(b'"kind"', b'"kint"', 1)
        rig.journal(sid).write_bytes(damaged)
        with pytest.raises(JournalCorrupt, match=r"line 1, .*start the strategy again with alc_run"):
            await view_via_pool(pool, sid, "history")
        with pytest.raises(JournalCorrupt):
            await branched(pool, sid)

    assert rig.journal(sid).read_bytes() == damaged


@pytest.mark.slow
async def test_dry_run_says_what_would_be_asked_and_starts_nothing(rig: Rig) -> None:
    async with rig.pool() as pool:
        reply = await played(pool, THREE, "A", "B", "C")
        before = sorted(path.name for path in rig.home.sessions.rglob("*.journal"))
        asks = await branched(pool, reply.session_id, is_dry=True, code=THREE.replace("three", "3"))
        ends = await branched(pool, reply.session_id, is_dry=True)
        after = sorted(path.name for path in rig.home.sessions.rglob("*.journal"))

    query = {"query_id": "q-2", "prompt": "3 after B"}
    assert asks == {"status": "dry_run", "session_id": reply.session_id, "shared": 2, "asks": [query]}
    assert ends["ends"] == {"status": "completed", "result": "A+B+C"}
    assert after == before


@on_both_storages
async def test_a_branch_can_be_branched_and_names_its_parent(rig: Rig) -> None:
    async with rig.pool() as pool:
        reply = await played(pool, ASK_TWICE, "A", "B")
        child = await branched(pool, reply.session_id, at="q-1")
        grandchild = await branched(pool, child["session_id"], at="q-0", response="Z")

        assert grandchild["prompt"] == "second after Z"
        head = rig.records(grandchild["session_id"], "header")[0]
        assert json.loads(json.dumps(head["parent"])) == {"session_id": child["session_id"], "at": "q-0"}


async def test_too_many_branches_and_unknown_sessions_are_refused(rig: Rig) -> None:
    async with rig.pool() as pool:
        reply = await played(pool, ASK_TWICE)
        with pytest.raises(Refused, match="at most 16"):
            await branched(pool, reply.session_id, n=17)
        with pytest.raises(Refused, match="not found"):
            await branched(pool, SID)


@pytest.mark.slow
@pytest.mark.parametrize("last", BAD_RESULTS)
async def test_a_result_that_cannot_be_kept_costs_no_answer(rig: Rig, last: str) -> None:
    asks = 'local a, b = alc.llm("one"), alc.llm("two") '
    async with rig.pool() as pool:
        end = await played(pool, asks + last, "A", "B")
        branch = await branched(pool, end.session_id, code=asks + "return a .. b")

    assert BAD_RESULTS[last] in end.result["error"]
    assert "alc_branch" in end.result["next"]
    assert "stack traceback:\n\t..." not in end.result["error"]
    assert (branch["status"], branch["result"]) == ("completed", "AB")
    assert branch["branch"]["shared"] == 2


async def test_a_strategy_finds_out_before_its_end_what_is_wrong_with_its_result(rig: Rig) -> None:
    code = (
        'local ok, why = pcall(alc.json_encode, {rows = {print}}) local size = #alc.json_encode(("x"):rep(17 << 20)) '
        'return alc.llm(why .. " / " .. size)'
    )
    async with rig.pool() as pool:
        reply = await run(pool, code)

    assert reply.result["prompt"].endswith("the value.rows[1] is a function: JSON has no such value / 17825794")
