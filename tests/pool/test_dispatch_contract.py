"""Contract of `algocline_mcp.pool.dispatch`, which the real module and the fake of the tests keep alike: signatures,
the shape of each result, and the code of each refusal."""

import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import HomeUnusable, Refused
from algocline_mcp.pool import dispatch
from algocline_mcp.pool.dispatch import Pool
from tests.rig.fake import fake_dispatch
from tests.rig.rig import Rig
from tests.rig.subject import Subject

pytestmark = pytest.mark.anyio

SID = "p-1-0123456789abcdef"  # of no session

# ── signatures ────────────────────────────────────────────────────────────────────────────────────────────


def _parameters(function: Any) -> list[tuple[str, Any, Any]]:
    return [(one.name, one.kind, one.default) for one in inspect.signature(function).parameters.values()]


def test_fake_has_the_signatures_of_the_real_functions() -> None:
    assert set(fake_dispatch.__all__) <= set(dispatch.__all__)
    functions = [name for name in fake_dispatch.__all__ if name.endswith("_via_pool")]
    assert len(functions) == 6
    for name in functions:
        assert _parameters(getattr(fake_dispatch, name)) == _parameters(getattr(dispatch, name)), name
    assert _parameters(fake_dispatch.Pool) == _parameters(Pool)
    assert fake_dispatch.StopMode == dispatch.StopMode
    assert (fake_dispatch.Strategy, fake_dispatch.PoolReply) == (dispatch.Strategy, dispatch.PoolReply)


# ── results ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_pool_has_its_home_its_limits_and_a_limiter_for_threads(subject: Subject, rig: Rig) -> None:
    async with subject.pool() as pool:
        assert (pool.home, type(pool.limits)) == (rig.home, Limits)
        assert pool.files.total_tokens >= 1


async def test_home_that_cannot_hold_sessions_is_refused_on_entry(subject: Subject) -> None:
    with pytest.raises(HomeUnusable, match="/dev/null/home cannot hold sessions"):
        async with subject.module.Pool(Home(Path("/dev/null/home")), Limits()):
            pytest.fail("entered")


async def test_run_returns_the_prompt_of_the_first_pause(subject: Subject) -> None:
    async with subject.pool() as pool:
        paused = await subject.run(pool, subject.asking([["first"]]))
        same = await subject.status(pool, paused["session_id"])

    assert paused.keys() - {"system"} == {"status", "session_id", "query_id", "prompt"}
    assert (paused["status"], paused["query_id"], paused["prompt"]) == ("needs_response", "q-0", "first")
    assert same == paused


async def test_run_returns_a_list_of_several_prompts(subject: Subject) -> None:
    async with subject.pool() as pool:
        paused = await subject.run(pool, subject.asking([["a", "b"]]))

    assert paused.keys() == {"status", "session_id", "queries"}
    assert [query["prompt"] for query in paused["queries"]] == ["a", "b"]
    for number, query in enumerate(paused["queries"]):
        assert query.keys() - {"system"} == {"query_id", "prompt"}
        assert query["query_id"] == f"q-{number}"


async def test_run_returns_the_result_of_a_strategy_that_asks_nothing(subject: Subject) -> None:
    async with subject.pool() as pool:
        end = await subject.run(pool, subject.completing)
        same = await subject.status(pool, end["session_id"])

    assert end.keys() == {"status", "session_id", "result", "stats"}
    assert end["status"] == "completed"
    assert end["stats"].keys() == {"auto", "custom"}
    assert same == end


async def test_run_returns_the_error_of_a_strategy_that_fails(subject: Subject) -> None:
    async with subject.pool() as pool:
        end = await subject.run(pool, subject.failing)

    assert end.keys() == {"status", "session_id", "error", "next"}
    assert end["status"] == "error"
    assert "on purpose" in end["error"]


async def test_continue_returns_the_next_pause_and_the_end(subject: Subject) -> None:
    async with subject.pool() as pool:
        sid = (await subject.run(pool, subject.asking([["a"], ["b"]])))["session_id"]
        paused = await subject.answer(pool, sid, (None, "A"))
        end = await subject.answer(pool, sid, ("q-1", "B"))
        same = await subject.answer(pool, sid, ("q-1", "B"))

    assert (paused["status"], paused["query_id"], paused["prompt"]) == ("needs_response", "q-1", "b")
    assert (end["status"], len(end["result"])) == ("completed", 2)
    assert same == end


async def test_continue_accepts_a_part_of_the_answers(subject: Subject) -> None:
    async with subject.pool() as pool:
        sid = (await subject.run(pool, subject.asking([["a", "b", "c"]])))["session_id"]
        accepted = await subject.answer(pool, sid, ("q-1", "B"))
        rest = await subject.status(pool, sid)
        end = await subject.answer(pool, sid, ("q-2", "C"), ("q-9", "?"), ("q-0", "A"))

    assert "alc_status" in accepted.pop("next")
    assert accepted == {"status": "accepted", "session_id": sid, "remaining": 2, "pending": ["q-0", "q-2"]}
    assert [query["query_id"] for query in rest["queries"]] == ["q-0", "q-2"]
    assert (end["status"], [refused.keys() for refused in end["refused"]]) == ("completed", [{"query_id", "reason"}])
    assert end["refused"][0]["query_id"] == "q-9"


async def test_answer_without_query_id_is_not_taken_after_the_first_prompt(subject: Subject) -> None:
    async with subject.pool() as pool:
        sid = (await subject.run(pool, subject.asking([["a"], ["b"]])))["session_id"]
        paused = await subject.answer(pool, sid, ("q-0", "A"))
        again = await subject.answer(pool, sid, (None, "B"))

    ((refused, *others),) = [again.pop("refused")]
    assert (refused["query_id"], others) == (None, [])
    assert "needs its query_id" in refused["reason"]
    assert {key: again[key] for key in paused} == paused


@pytest.mark.slow
async def test_answer_sent_twice_returns_the_current_state(subject: Subject) -> None:
    async with subject.pool() as pool:
        sid = (await subject.run(pool, subject.asking([["a"], ["b"]])))["session_id"]
        paused = await subject.answer(pool, sid, ("q-0", "A"))
        same = await subject.answer(pool, sid, ("q-0", "A"))

    assert same == paused


async def test_list_shows_the_unfinished_sessions_newest_first(subject: Subject) -> None:
    async with subject.pool() as pool:
        empty = await subject.module.list_via_pool(pool)
        sids = [(await subject.run(pool, subject.asking([["a"]])))["session_id"] for _ in range(2)]
        await subject.run(pool, subject.completing)
        listing = await subject.module.list_via_pool(pool, limit=1)

    assert empty == {"active_sessions": 0, "sessions": []}
    assert listing.keys() == {"active_sessions", "sessions", "counts", "sandbox", "cursor"}
    assert (listing["active_sessions"], listing["counts"]["unfinished"]) == (2, 2)
    assert listing["counts"].keys() == {"unfinished", "live", "finished"}
    (line,) = listing["sessions"]
    assert line.keys() == {
        "session_id", "title", "language", "status", "worker", "created_at", "last_activity_at", "pending", "prompt",
    }  # fmt: skip
    assert (line["session_id"], line["status"], line["pending"]) == (sids[1], "needs_response", ["q-0"])
    assert (line["title"], line["worker"], line["prompt"]) == ("a title", "live", "a")


_VIEWS = {
    "prompts": {"prompts", "total"},
    "history": {"history", "total"},
    "log": {"log", "total"},
    "result": {"next"},
    "code": {"code", "total", "chunk", "ctx", "modules"},
    "summary": {
        "title", "worker", "created_at", "last_activity_at", "pending", "stats", "chunk", "language", "version",
        "sandbox",
    },
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("view", _VIEWS)
async def test_view_has_the_fields_of_its_kind(subject: Subject, view: str) -> None:
    async with subject.pool() as pool:
        sid = (await subject.run(pool, subject.asking([["a"], ["b"]])))["session_id"]
        await subject.answer(pool, sid, ("q-0", "A"))
        shown = await subject.view(pool, sid, view)

    assert shown.keys() == {"status", "session_id", "view"} | _VIEWS[view]
    assert (shown["status"], shown["session_id"], shown["view"]) == ("needs_response", sid, view)


async def test_view_is_paged_by_limit_and_cursor(subject: Subject) -> None:
    async with subject.pool() as pool:
        sid = (await subject.run(pool, subject.asking([["a"], ["b"], ["c"]])))["session_id"]
        await subject.answer(pool, sid, ("q-0", "A"))
        await subject.answer(pool, sid, ("q-1", "B"))
        first = await subject.view(pool, sid, "history", limit=1)
        second = await subject.view(pool, sid, "history", limit=1, cursor=first["cursor"])
        last = await subject.view(pool, sid, "history", limit=1, cursor=second["cursor"])

    assert [turn["response"] for turn in first["history"] + second["history"]] == ["A", "B"]
    assert [shown["total"] for shown in (first, second, last)] == [3, 3, 3]
    assert "response" not in last["history"][0]
    assert "cursor" not in last


async def test_stop_hibernate_returns_the_state_and_keeps_the_session(subject: Subject) -> None:
    async with subject.pool() as pool:
        paused = await subject.run(pool, subject.asking([["a"]]))
        stopped = await subject.stop(pool, paused["session_id"], "hibernate")
        end = await subject.answer(pool, paused["session_id"], ("q-0", "A"))

    assert stopped == paused
    assert end["status"] == "completed"


async def test_stop_cancel_ends_the_session(subject: Subject) -> None:
    async with subject.pool() as pool:
        sid = (await subject.run(pool, subject.asking([["a"]])))["session_id"]
        cancelled = await subject.stop(pool, sid, "cancel")
        same = await subject.stop(pool, sid, "cancel")

    assert cancelled.keys() == {"status", "session_id", "stats"}
    assert cancelled["status"] == "cancelled"
    assert same == cancelled


async def test_stop_delete_removes_the_session(subject: Subject) -> None:
    async with subject.pool() as pool:
        sid = (await subject.run(pool, subject.asking([["a"]])))["session_id"]
        deleted = await subject.stop(pool, sid, "delete")
        with pytest.raises(Refused) as caught:
            await subject.status(pool, sid)

    assert deleted == {"status": "deleted", "session_id": sid}
    assert caught.value.code == "not_found"


# ── refusals ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("sid", [SID, "nonsense"])
async def test_unknown_session_is_not_found_by_any_call(subject: Subject, sid: str) -> None:
    async with subject.pool() as pool:
        calls: list[Callable[[], Awaitable[Any]]] = [
            partial(subject.answer, pool, sid, ("q-0", "A")),
            partial(subject.status, pool, sid),
            partial(subject.view, pool, sid, "summary"),
            *(partial(subject.stop, pool, sid, mode) for mode in ("hibernate", "cancel", "delete")),
        ]
        for call in calls:
            with pytest.raises(Refused, match=f"Session '?{sid}'? not found") as caught:
                await call()
            assert caught.value.code == "not_found"


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        ([("q-9", "?")], "unknown_query"),
        ([(None, "?")], "query_id_missing"),
        ([], "no_answer"),
    ],
)
async def test_answers_that_cannot_be_taken_are_refused_and_change_nothing(
    subject: Subject, answers: list[tuple[str | None, str]], code: str
) -> None:
    pauses = [["a", "b"]] if code == "query_id_missing" else [["a"], ["b"]]
    async with subject.pool() as pool:
        sid = (await subject.run(pool, subject.asking(pauses)))["session_id"]
        if code != "query_id_missing":
            await subject.answer(pool, sid, ("q-0", "A"))
        before = await subject.status(pool, sid)
        with pytest.raises(Refused) as caught:
            await subject.answer(pool, sid, *answers)
        after = await subject.status(pool, sid)

    assert caught.value.code == code
    assert after == before


async def test_second_of_two_answers_gets_the_current_prompt(subject: Subject) -> None:
    async with subject.pool() as pool:
        sid = (await subject.run(pool, subject.asking([["a"], ["b"]])))["session_id"]
        first = await subject.answer(pool, sid, ("q-0", "A"))
        second = await subject.answer(pool, sid, ("q-0", "another"))

    assert [item["query_id"] for item in second.pop("refused")] == ["q-0"]
    assert second == first
    assert (second["status"], second["query_id"], second["prompt"]) == ("needs_response", "q-1", "b")


async def test_answer_to_a_finished_session_is_refused(subject: Subject) -> None:
    async with subject.pool() as pool:
        sid = (await subject.run(pool, subject.completing))["session_id"]
        with pytest.raises(Refused) as caught:
            await subject.answer(pool, sid, ("q-0", "A"))

    assert caught.value.code == "unknown_query"


async def test_code_over_its_limit_is_refused(subject: Subject) -> None:
    async with subject.pool() as pool:
        with pytest.raises(Refused) as caught:
            await subject.run(pool, "-" * (pool.limits.code_bytes + 1))

    assert caught.value.code == "too_large"


async def test_cursor_that_is_not_one_is_refused(subject: Subject) -> None:
    async with subject.pool() as pool:
        sid = (await subject.run(pool, subject.asking([["a"]])))["session_id"]
        with pytest.raises(Refused, match="cursor 'x'"):
            await subject.view(pool, sid, "history", cursor="x")
