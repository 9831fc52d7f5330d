"""The calls of a host: run, then an answer to each prompt, until the session is over."""

import json
from typing import Any

import anyio
import pytest

from algocline_mcp.errors import Refused
from algocline_mcp.pool.dispatch import continue_via_pool, list_via_pool
from algocline_mcp.pool.dispatch import status_via_pool as status
from algocline_mcp.session.events import Answer
from tests.rig.fixtures import on_both_storages
from tests.rig.rig import ASK_ONCE, ASK_TWICE, WAIT_S, Rig, ended, finish, kill, run, say, until

pytestmark = pytest.mark.anyio

BATCH = """
local said = alc.llm_batch({{prompt = "p0"}, {prompt = "p1"}, {prompt = "p2"}})
return table.concat(said, ",")
"""


@on_both_storages
@pytest.mark.slow
async def test_strategy_pauses_at_its_prompt_and_goes_on_with_the_answer(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid, first, error = await run(pool, ASK_TWICE)
        second = (await say(pool, sid, "q-0", "A")).result
        end = (await say(pool, sid, "q-1", "B")).result

    query = {"status": "needs_response", "session_id": sid}
    assert first == query | {"query_id": "q-0", "prompt": "first"}
    assert second == query | {"query_id": "q-1", "prompt": "second after A"}
    assert (end["status"], end["result"], error) == ("completed", "A+B", None)


async def test_first_answer_needs_no_query_id_and_later_ones_do(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        second = (await say(pool, sid, None, "A")).result
        again = (await say(pool, sid, None, "A")).result

    assert second["query_id"] == again["query_id"] == "q-1"
    assert "query_id" in again["refused"][0]["reason"]
    assert rig.answers(sid) == [("q-0", "A")]


@on_both_storages
@pytest.mark.slow
async def test_batch_is_answered_in_any_order_and_each_part_is_kept(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid, first, _ = await run(pool, BATCH)
        part = (await say(pool, sid, "q-2", "C")).result
        seen = (await status(pool, sid)).result
        more = (await say(pool, sid, "q-0", "A")).result
        end = (await say(pool, sid, "q-1", "B")).result

    assert [query["query_id"] for query in first["queries"]] == ["q-0", "q-1", "q-2"]
    assert "alc_status with this session_id shows their prompts again" in part.pop("next")
    assert part == {"status": "accepted", "session_id": sid, "remaining": 2, "pending": ["q-0", "q-1"]}
    assert [query["query_id"] for query in seen["queries"]] == ["q-0", "q-1"]
    assert more["pending"] == ["q-1"]
    assert end["result"] == "A,B,C"


@on_both_storages
async def test_one_bad_item_among_good_ones_is_refused_alone(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, BATCH)
        texts = [("q-0", "A"), ("q-9", "?"), ("q-1", "B"), ("q-1", "other"), ("q-2", "C")]
        answers = [Answer(query_id, text) for query_id, text in texts]
        end = (await continue_via_pool(pool, sid, answers, wait_s=WAIT_S)).result

    assert end["result"] == "A,B,C"
    assert [(item["query_id"], item["reason"].split(";")[0]) for item in end["refused"]] == [
        ("q-9", "unknown query_id: q-9"),
        ("q-1", "already responded to query_id: q-1 with another text"),
    ]


async def test_call_without_one_good_item_is_refused_and_changes_nothing(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid, first, _ = await run(pool, BATCH)
        before = rig.records(sid)
        with pytest.raises(Refused, match=r"unknown query_id: q-9; pending: q-0, q-1, q-2"):
            await say(pool, sid, "q-9", "?")

        assert rig.records(sid) == before
        assert (await status(pool, sid)).result == first


@on_both_storages
async def test_refusal_is_an_error_that_the_strategy_may_catch(rig: Rig) -> None:
    caught = 'local ok, why = pcall(alc.llm, "x") return {ok = ok, why = why}'
    async with rig.pool() as pool:
        ends = []
        for code in (caught, ASK_ONCE):
            sid, *_ = await run(pool, code)
            refused = [Answer("q-0", refuse="too vague")]
            ends.append((await continue_via_pool(pool, sid, refused, wait_s=WAIT_S)).result)

    assert ends[0]["result"]["ok"] is False
    assert "too vague" in ends[0]["result"]["why"]
    assert ends[1]["status"] == "error"
    assert ends[1]["error"].startswith("strategy:1:")
    assert "too vague" in ends[1]["error"]


@on_both_storages
async def test_answer_sent_twice_is_taken_once_and_another_text_is_refused(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        second = (await say(pool, sid, "q-0", "A")).result
        again = (await say(pool, sid, "q-0", "A")).result
        other = (await say(pool, sid, "q-0", "another")).result

    assert "the first answer stands" in other.pop("refused")[0]["reason"]
    assert again == second == other
    assert rig.answers(sid) == [("q-0", "A")]


@on_both_storages
async def test_finished_session_returns_its_result_again(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, ASK_ONCE)
        end = (await say(pool, sid, "q-0", "A")).result
        seen = (await status(pool, sid)).result
        again = (await say(pool, sid, "q-0", "A")).result
        other = (await say(pool, sid, "q-0", "B")).result

    assert "the first answer stands" in other.pop("refused")[0]["reason"]
    assert end == seen == again == other


@on_both_storages
async def test_two_sessions_take_turns_and_keep_their_answers_apart(rig: Rig) -> None:
    async with rig.pool() as pool:
        one, *_ = await run(pool, ASK_TWICE)
        two, *_ = await run(pool, ASK_TWICE)
        await say(pool, two, "q-0", "2a")
        await say(pool, one, "q-0", "1a")
        end_one = (await say(pool, one, "q-1", "1b")).result
        end_two = (await say(pool, two, "q-1", "2b")).result

    assert (end_one["result"], end_two["result"]) == ("1a+1b", "2a+2b")


@on_both_storages
@pytest.mark.slow
async def test_twenty_runs_at_once_all_come_to_their_own_end(rig: Rig) -> None:
    results: dict[int, Any] = {}

    async with rig.pool() as pool:

        async def whole(number: int) -> None:
            reply = await run(pool, ASK_TWICE)
            results[number] = await finish(pool, reply, str(number))

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(whole, number)

    assert {number: end["result"] for number, end in results.items()} == {n: f"{n}+{n}" for n in range(20)}


async def test_strategy_that_ends_at_once_leaves_only_its_journal(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid, end, error = await run(pool, "return {1, 2}")
        for pid in rig.keepers(sid):
            await ended(pid)

        assert (end["status"], end["result"], error) == ("completed", [1, 2], None)
        assert rig.workers() == []
        assert not rig.home.socket(sid).exists()
        await until(lambda: rig.registered() == set())
        assert await list_via_pool(pool) == {"active_sessions": 0, "sessions": []}
    left = [path.name for path in rig.home.root.rglob("*") if path.is_file()]
    assert sorted(left) == sorted([f"{sid}.journal", "registry.json", "registry.lock"])
    assert rig.home.finished_journal(sid).exists()


async def test_error_of_the_code_names_chunk_and_line(rig: Rig) -> None:
    async with rig.pool() as pool:
        failed = (await run(pool, "\nlocal x = nil\nreturn x.y", chunk="panel.lua")).result
        wrong = (await run(pool, "return return", chunk="panel.lua")).result

    assert (failed["status"], wrong["status"]) == ("error", "error")
    assert failed["error"].startswith("panel.lua:3: attempt to index a nil value")
    assert "panel.lua:1:" in wrong["error"]


async def test_options_of_a_prompt_are_passed_through_and_hide_nothing(rig: Rig) -> None:
    code = """return alc.llm("p", {system = "role", max_tokens = 7, grounded = true, underspecified = false,
        temperature = 0.5, tag = "x", status = "mine", query_id = "mine"})"""
    async with rig.pool() as pool:
        sid, first, _ = await run(pool, code)

    assert first == {
        "status": "needs_response",
        "session_id": sid,
        "query_id": "q-0",
        "prompt": "p",
        "system": "role",
        "max_tokens": 7,
        "grounded": True,
        "temperature": 0.5,
        "tag": "x",
    }


async def test_ctx_reaches_the_strategy_as_it_was_given(rig: Rig) -> None:
    ctx: dict[str, Any] = {"name": "Zoë \u2028 \x00", "list": [1, 2.5, None, True, {"deep": []}], "empty": {}}
    async with rig.pool() as pool:
        end = (await run(pool, "return ctx", ctx=ctx)).result

    assert json.dumps(end["result"], sort_keys=True) == json.dumps(ctx, sort_keys=True)


@pytest.mark.parametrize("size", [100_000, 400_000, 1_900_000])
async def test_start_longer_than_a_sockets_buffer_reaches_the_engine(rig: Rig, size: int) -> None:
    code = "-- " + "c" * (size // 2) + "\nreturn #ctx.text"
    async with rig.pool() as pool:
        end = (await run(pool, code, ctx={"text": "x" * size})).result

    assert (end["status"], end.get("result")) == ("completed", size)


@pytest.mark.slow
async def test_usage_of_the_host_replaces_the_estimate_in_the_stats(rig: Rig) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 50}
    async with rig.pool() as pool:
        counted, *_ = await run(pool, ASK_ONCE)
        answer = Answer("q-0", "yes", usage=usage, by="model-x")
        provided = (await continue_via_pool(pool, counted, [answer], wait_s=WAIT_S)).result["stats"]["auto"]
        uncounted, *_ = await run(pool, ASK_ONCE)
        estimated = (await say(pool, uncounted, "q-0", "yes")).result["stats"]["auto"]

    assert provided["prompt_tokens"] == {"tokens": 100, "source": "provided"}
    assert provided["total_tokens"] == {"tokens": 150, "source": "provided"}
    assert estimated["total_tokens"]["source"] == "estimated"
    assert (provided["llm_calls"], provided["pauses"], provided["rounds"]) == (1, 1, 1)
    assert rig.records(counted, "answer")[0]["answers"][0]["by"] == "model-x"


async def test_list_shows_the_unfinished_newest_first(rig: Rig) -> None:
    async with rig.pool() as pool:
        one, *_ = await run(pool, ASK_ONCE, title="older")
        two, *_ = await run(pool, ASK_ONCE)
        await run(pool, "return 1")
        listed = await list_via_pool(pool)

    assert listed["active_sessions"] == 2
    assert [(line["session_id"], line["title"]) for line in listed["sessions"]] == [(two, ASK_ONCE), (one, "older")]
    assert {line["status"] for line in listed["sessions"]} == {"needs_response"}
    assert {line["worker"] for line in listed["sessions"]} == {"live"}
    assert listed["sessions"][0]["pending"] == ["q-0"]


async def test_code_and_ctx_over_their_limits_are_refused_and_leave_nothing(rig: Rig) -> None:
    deep: Any = {}
    for _ in range(200):
        deep = {"d": deep}
    async with rig.pool(code_bytes=100, ctx_bytes=1000 * 10) as pool:
        with pytest.raises(Refused, match="code has 101 bytes, at most 100"):
            await run(pool, "-" * 101)
        with pytest.raises(Refused, match="ctx has"):
            await run(pool, "return 1", ctx={"x": "y" * 10_000})
        with pytest.raises(Refused, match="nested over"):
            await run(pool, "return 1", ctx=deep)

    assert list(rig.home.sessions.glob("**/*.journal")) == []


@pytest.mark.slow
@pytest.mark.parametrize("char", ["x", "\n", '"', "\0", "é", "語"])
async def test_ctx_is_measured_as_it_was_given(rig: Rig, char: str) -> None:
    limit = 2 * 1024 * 1024
    text = char * ((limit - len('{"t":""}')) // len(char.encode()))
    async with rig.pool() as pool:
        end = (await run(pool, "return #ctx.t", ctx={"t": text})).result
        with pytest.raises(Refused, match=r"ctx has 209715[3-5] bytes, at most 2097152"):
            await run(pool, "return 1", ctx={"t": text + char})

    assert end["result"] == len(text.encode())


@pytest.mark.slow
async def test_answers_longer_than_a_sockets_buffer_reach_the_strategy(rig: Rig) -> None:
    # The keeper cannot write such a reply at once, and nothing else happens that would make it write the rest.
    long = "x1 " * 700_000
    async with rig.pool() as pool:
        sid, *_ = await run(pool, "local a = alc.llm('p') local b = alc.llm(a) return {#a, #b}")
        second = (await say(pool, sid, "q-0", long)).result
        end = (await say(pool, sid, "q-1", long)).result

    assert second["prompt"] == long
    assert end["result"] == [len(long), len(long)]


async def test_error_of_a_strategy_says_how_its_paid_answers_are_kept(rig: Rig) -> None:
    async with rig.pool() as pool:
        _, unpaid, _ = await run(pool, "error('early')")
        sid, _, _ = await run(pool, "local x = alc.llm('a', {sytem = 's'}) error('late')")
        paid = (await say(pool, sid, "q-0", "A")).result

    assert "alc_run" in unpaid["next"]
    assert "alc_branch" not in unpaid["next"]
    assert "alc_branch with this session_id and code=" in paid["next"]
    assert "was system meant?" in paid["warnings"][0]


async def test_a_warning_stands_in_the_pause_that_follows_and_in_the_result(rig: Rig) -> None:
    code = "alc.log('warn', 'mine') local a = alc.llm('one', {sytem = 's'}) return a .. alc.llm('two', {sytem = 's'})"
    async with rig.pool() as pool:
        sid, first, _ = await run(pool, code)
        await kill(rig.keeper(sid))
        again = (await status(pool, sid, wait_s=WAIT_S)).result
        second = (await say(pool, sid, "q-0", "A")).result
        end = (await say(pool, sid, "q-1", "B")).result

    assert first["warnings"] == again["warnings"] == end["warnings"]
    (warning,) = first["warnings"]
    assert "the option sytem is not known, was system meant?" in warning
    assert "warnings" not in second
    assert end["result"] == "AB"
