"""Pools of principals with real workers: quotas, the cap that all owners share, and what a worker keeps apart."""

import os
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.errors import HomeUnusable, Refused, Unreachable
from algocline_mcp.history import retention
from algocline_mcp.history.new_session import header_of
from algocline_mcp.history.retention import apply_retention, usage_of
from algocline_mcp.pool import owned
from algocline_mcp.pool.dispatch import Pool, Strategy, begin_via_pool, gen_pool_sid, run_via_pool, stop_via_pool
from algocline_mcp.pool.owned import OwnedPool, pool_of
from algocline_mcp.pool.reach import find_entry
from algocline_mcp.session.owner import calling_as
from algocline_mcp.storage.owners import name_part, owners_of
from algocline_mcp.storage.sockets import live_sessions, live_workers
from tests.pool.test_admission import age
from tests.rig.fixtures import on_both_storages
from tests.rig.rig import ASK_ONCE, ASK_TWICE, ENDLESS, WAIT_S, Rig, finish, kill, run, say, until

pytestmark = pytest.mark.anyio
WHO = "return alc.state.get('k', 'nothing')"


async def _refusal(pool: Pool, code: str = ASK_ONCE) -> str:
    with pytest.raises(Refused) as caught:
        await run_via_pool(pool, Strategy(code), wait_s=0.0)
    return f"{caught.value} [{caught.value.code}]"


async def test_over_its_workers_a_principal_makes_room_among_its_own(rig: Rig) -> None:
    async with rig.pool(owner_workers=1) as pool:
        ann, ben = pool_of(pool, "ann"), pool_of(pool, "ben")
        users = (await run(pool, ASK_ONCE)).session_id
        bens = (await run(ben, ASK_ONCE)).session_id
        first = (await run(ann, ASK_TWICE)).session_id
        second = (await run(ann, ASK_ONCE)).session_id
        live = [live_sessions(part) for part in (pool.home, ann.home, ben.home)]
        end = await finish(ann, await say(ann, first, "q-0", "A"), "B")

    assert live == [{users}, {second}, {bens}]
    assert end["result"] == "A+B"


@pytest.mark.slow
async def test_over_its_workers_and_all_busy_a_principal_is_refused_and_others_are_not(rig: Rig) -> None:
    async with rig.pool(owner_workers=1) as pool:
        ann, ben = pool_of(pool, "ann"), pool_of(pool, "ben")
        busy = (await run_via_pool(ann, Strategy(ENDLESS), wait_s=0.2)).session_id
        refusal = await _refusal(ann)
        others = await run(ben, ASK_ONCE)
        await stop_via_pool(ann, busy, "cancel")

    assert refusal == (
        "1 of your sessions are busy, at most 1 may be at once: wait for one to pause, or stop one with alc_stop "
        "[quota]"
    )
    assert others.result["status"] == "needs_response"


async def test_the_cap_of_the_home_counts_all_owners_and_any_of_them_makes_room(rig: Rig) -> None:
    async with rig.pool(pool_max=2) as pool:
        ann = pool_of(pool, "ann")
        users = (await run(pool, ASK_TWICE)).session_id
        anns = (await run(ann, ASK_TWICE)).session_id
        os.utime(ann.home.journal(anns), (1, 1))
        newest = (await run(pool, ASK_ONCE)).session_id
        after_users_run = live_workers(rig.home)
        age(rig, users, 100)
        end = await finish(ann, await say(ann, anns, "q-0", "A"), "B")

    assert after_users_run == {users, newest}
    assert end["result"] == "A+B"


async def test_over_its_sessions_or_bytes_a_principal_starts_none_until_one_is_deleted(rig: Rig) -> None:
    async with rig.pool(owner_sessions=2) as pool:
        ann, ben = pool_of(pool, "ann"), pool_of(pool, "ben")
        sid = (await run(ann, ASK_ONCE)).session_id
        await run(ann, "return 1")
        refusal = await _refusal(ann)
        others = await run(ben, "return 2")
        await stop_via_pool(ann, sid, "delete")
        again = await run(ann, "return 3")
    async with rig.pool(owner_bytes=100) as pool:
        too_long = await _refusal(pool_of(pool, "ann"))
        users = await run(pool, "return 4")

    assert refusal.startswith("your sessions are 2, at most 2 are kept: delete some")
    assert too_long.startswith("your sessions and what they keep take 0.0 MiB, at most 0.0 are kept: delete some")
    assert [reply.result["result"] for reply in (others, again, users)] == [2, 3, 4]


async def test_runs_that_begin_at_once_share_what_is_left_of_a_quota(rig: Rig) -> None:
    replies: list[str] = []
    async with rig.pool(owner_sessions=2) as pool:
        ann = pool_of(pool, "ann")

        async def begin() -> None:
            try:
                replies.append((await run(ann, ASK_ONCE)).result["status"])
            except Refused as exc:
                replies.append(exc.code)

        async with anyio.create_task_group() as tasks:
            for _ in range(12):
                tasks.start_soon(begin)
        kept = usage_of(ann.home).sessions

    assert sorted(replies) == ["needs_response"] * 2 + ["quota"] * 10
    assert kept == 2


async def test_a_session_that_could_not_begin_gives_its_place_back(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(sid: str, journal_fd: int) -> None:
        os.close(journal_fd)
        raise Unreachable("no process can be started", code="no_process")

    async with rig.pool(owner_sessions=1) as pool:
        ann = pool_of(pool, "ann")
        with monkeypatch.context() as patch:
            patch.setattr(ann, "launch", fail)
            with pytest.raises(Unreachable):
                await run(ann, ASK_ONCE)
        begun = await run(ann, ASK_ONCE)
        refusal = await _refusal(ann)

    assert begun.result["status"] == "needs_response"
    assert refusal.startswith("your sessions are 1, at most 1 are kept")


async def test_two_owners_with_sessions_of_one_id_do_not_meet(rig: Rig) -> None:
    """Ids are random, and alc import refuses one that is in the home: so it takes files that were copied by hand."""
    async with rig.pool() as pool:
        ann, ben = pool_of(pool, "ann"), pool_of(pool, "ben")
        sid = gen_pool_sid()
        for own in (ann, ben):
            with calling_as(own.owner):
                header = header_of(pool.limits, Strategy(ASK_TWICE), sid=sid)
            await begin_via_pool(own, header, wait_s=WAIT_S)
        anns, bens = (pool.registry.known[own.home.worker_key(sid)] for own in (ann, ben))
        await until(lambda: len(rig.registry()) == 2)
        await kill(anns.pid)
        await ann.wait_for_status(sid, WAIT_S)
        exits = [pool.exits.get(own.home.worker_key(sid)) for own in (ann, ben)]
        found = await find_entry(ben, sid)
        second = await say(ben, sid, "q-0", "B")
        ends = [
            (await finish(ann, await say(ann, sid, "q-0", "A"), "A"))["result"],
            (await finish(ben, second, "B"))["result"],
        ]

    assert anns.pid != bens.pid
    assert exits == ["SIGKILL", None]
    assert found == bens
    assert ends == ["A+A", "B+B"]


async def test_a_call_about_the_live_session_of_another_waits_for_nothing(rig: Rig) -> None:
    """One that waited for the worker to leave would tell by its time that there is one."""
    async with rig.pool(leave_s=10 * WAIT_S) as pool:
        ann, ben = pool_of(pool, "ann"), pool_of(pool, "ben")
        sid = (await run(ann, ASK_ONCE)).session_id
        with anyio.fail_after(WAIT_S):
            for mode in ("hibernate", "cancel", "delete"):
                with pytest.raises(Refused, match="not"):
                    await stop_via_pool(ben, sid, mode)
        end = await say(ann, sid, "q-0", "A")

    assert end.result["result"] == "got A"


@pytest.mark.slow
@on_both_storages
async def test_values_count_as_bytes_and_over_the_quota_none_is_added(rig: Rig) -> None:
    code = """
    local stored, e = 0
    for i = 1, 40 do
      local ok, refusal = pcall(alc.state.set, "k" .. i, ("v"):rep(50000))
      if not ok then e = refusal break end
      stored = i
    end
    alc.state.delete("k1")
    local again = pcall(alc.state.set, "small", 1)
    return {stored, e, again}
    """
    async with rig.pool(owner_bytes=1 << 20) as pool:
        ann = pool_of(pool, "ann")
        stored, refusal, again = (await run(ann, code)).result["result"]
        users = (await run(pool, code)).result["result"]
    async with rig.pool(owner_bytes=1 << 19) as pool:
        no_session = await _refusal(pool_of(pool, "ann"))

    assert 5 < stored <= 20
    took = "1.0" if rig.database is None else "2.0"  # rows of the run itself are summed again before a refusal
    assert f"alc.state.set: your sessions and what they keep take {took} MiB with it, at most 1.0 are allow" in refusal
    assert again is (rig.database is None)
    assert users[0] == 40
    assert no_session.startswith("your sessions and what they keep take")


async def test_sessions_are_not_counted_for_each_run(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[str] = []

    def count(home: Home, *more: Any) -> object:
        counted.append(home.part)
        return usage_of(home, *more)

    async with rig.pool(owner_sessions=10) as pool:
        ann = pool_of(pool, "ann")
        monkeypatch.setattr(retention, "usage_of", count)
        for _ in range(3):
            await run(ann, "return 1")

    assert counted.count(ann.home.part) == 1


@on_both_storages
async def test_prompts_of_a_day_are_counted_whatever_dies_and_over_them_nothing_is_accepted(rig: Rig) -> None:
    asks_three = 'return #alc.parallel({"a", "b"}, function(x) return x end) .. alc.llm("third")'
    async with rig.pool(owner_prompts=3) as pool:
        ann = pool_of(pool, "ann")
        first = await run(ann, asks_three)
        two = await cast(OwnedPool, ann).prompts_today()
        await kill(rig.keeper(first.session_id))
        second = await say(ann, first.session_id, "q-0", "A")
        third = await say(ann, first.session_id, "q-1", "B")
        with pytest.raises(Refused, match="have asked 3 prompts today, at most 3 in a day: go on after 00:00 UTC"):
            await say(ann, first.session_id, "q-2", "C")
        refusal = await _refusal(ann)
        users = await run(pool, ASK_ONCE)
    async with rig.pool(owner_prompts=4) as pool:
        ended = await say(pool_of(pool, "ann"), first.session_id, "q-2", "C")

    assert (two, second.result["status"], third.result["prompt"]) == (2, "accepted", "third")
    assert refusal.endswith("[quota]")
    assert users.result["status"] == "needs_response"
    assert ended.result["result"] == "2C"


async def test_state_is_that_of_the_owner_by_fork_and_by_exec(rig: Rig) -> None:
    seen = {}
    for way in ("fork", "exec"):
        async with rig.pool(environ=dict(os.environ, ALC_SPAWN=way)) as pool:
            for name in ("", "ann", "ben"):
                own = pool_of(pool, name)
                await run(own, f"alc.state.set('k', '{way} {name}')")
                seen[way, name] = own
            for (other, name), own in seen.items():
                if other == way:
                    assert (await run(own, WHO)).result["result"] == f"{way} {name}"

    assert rig.home.state_database.exists()
    assert rig.home.of("ann").state_database.parent != rig.home.state_database.parent


async def test_a_strategy_of_a_principal_reads_no_variable_and_no_file_of_the_operator(rig: Rig) -> None:
    file = rig.root / "secrets.env"
    file.write_text("A=from-the-file\n")
    environ = {**os.environ, "ALC_ENV_ALLOW": "A", "A": "from-the-server"}
    codes: dict[str, tuple[dict[str, Any], str]] = {
        "server": ({}, "nil"),
        "dotenv": ({"env": {"dotenv": str(file)}}, "nil"),
        "inject": ({"env": {"inject": {"A": "its own"}}}, "its own"),
    }
    async with rig.pool(environ=environ) as pool:
        ann = pool_of(pool, "ann")
        for ctx, expected in codes.values():
            reply = await run_via_pool(ann, Strategy("return tostring(alc.env.A)", ctx=ctx), wait_s=WAIT_S)
            assert reply.result["result"] == expected
        users = await run(pool, "return alc.env.A")
        with calling_as("ann"), pytest.raises(Refused, match=r"ctx.env.dotenv names a file of the server's machine"):
            await run_via_pool(ann, Strategy("return 1", ctx={"env": {"dotenv": str(file)}}), wait_s=WAIT_S)

    assert users.result["result"] == "from-the-server"


async def test_retention_and_the_sum_of_a_home_are_of_all_owners(rig: Rig) -> None:
    async with rig.pool() as pool:
        ann = pool_of(pool, "ann")
        for own in (pool, ann):
            reply = await run(own, "return 1")
            await own.wait_for_exit(reply.session_id, WAIT_S)
        sizes = [usage_of(part).sessions for part in (rig.home, ann.home)]
        for path in [*rig.home.finished.iterdir(), *ann.home.finished.iterdir()]:
            os.utime(path, (1, 1))
            path.rename(path.with_name("p-1-0123456789abcdef.journal"))
        apply_retention(rig.home, days=1, keep="all")

    assert sizes == [2, 1]
    assert usage_of(rig.home).sessions == 0


def test_a_part_names_its_owner_and_is_not_taken_for_another(tmp_path: Path) -> None:
    home = Home(tmp_path)
    names = ["ann", "Ann", "a/../b", "ü" * 300, "\udcff", " "]
    parts = [home.of(name) for name in names]
    for part, name in zip(parts, names, strict=True):
        part.own.mkdir(parents=True)
        name_part(part, name)
        name_part(part, name)

    with pytest.raises(HomeUnusable, match="belongs to another name"):
        name_part(parts[0], "ben")
    assert len({part.part for part in parts}) == len(names)
    assert all(part.own.parent == home.owners for part in parts)
    assert {name for name, _ in owners_of(home)} >= {"", "ann", "Ann", " "}
    assert home.of("") == home
    assert home.own == tmp_path


async def test_cards_of_a_principal_are_copied_to_no_sink(rig: Rig) -> None:
    sink = rig.root / "sink"
    code = 'alc.card.create({pkg = {name = "p"}, card_id = "c"})'
    async with rig.pool(environ={**os.environ, "ALC_CARD_SINKS": f"file://{sink}"}) as pool:
        await run(pool_of(pool, "ann"), code)
        copied = sink.exists()
        await run(pool, code)

    assert not copied
    assert (sink / "p" / "c.toml").exists()
    assert (rig.home.of("ann").cards / "p" / "c.toml").exists()


async def test_pools_that_are_kept_are_bounded_and_one_that_was_dropped_goes_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owned, "_POOLS_KEPT", 1)
    async with rig.pool() as pool:
        ann = pool_of(pool, "ann")
        sid = (await run(ann, ASK_ONCE)).session_id
        pool_of(pool, "ben")
        again = pool_of(pool, "ann")
        end = await say(again, sid, "q-0", "A")

    assert again is not ann
    assert len(pool.owned) == 1
    assert end.result["result"] == "got A"


async def test_in_a_full_home_a_principal_gets_a_sentence_without_paths_and_numbers_of_others(rig: Rig) -> None:
    async with rig.pool(home_sessions=1) as pool:
        await run(pool, ASK_ONCE)
        pool.usage = usage_of(rig.home)
        refusal = await _refusal(pool_of(pool, "ann"))

    assert refusal == "this server has no room for another session: tell its operator [home_full]"
