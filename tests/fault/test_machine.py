"""Faults of a machine: everything is killed at once, a resource is used up, thousands of sessions are on the disk."""

import os
import resource
from collections.abc import Mapping
from typing import Any

import anyio
import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import AlcError, Refused, Unreachable
from algocline_mcp.pool import pool, spawn
from algocline_mcp.pool.dispatch import Pool, list_via_pool, status_via_pool, stop_via_pool
from algocline_mcp.pool.registry import PoolRegistry
from algocline_mcp.pool.spawn import WorkerSpawner
from algocline_mcp.protocol import messages
from algocline_mcp.storage.sockets import live_sessions
from tests.rig.journals import header, prompt, sid_of, write
from tests.rig.rig import ASK_ONCE, ASK_TWICE, SOON_S, WAIT_S, Program, Rig, ended, kill, run, say, until
from tests.storage.disk import file_size_limit

pytestmark = pytest.mark.anyio

_IS_THOROUGH = os.environ.get("ALC_THOROUGH") == "1"
_MANY = 10_000  # sessions on the disk, and as many empty journals
_RUNS = 1_000 if _IS_THOROUGH else 200
_ROOM = 8
_AT_ONCE = 4  # calls of each server


async def test_workers_that_are_all_killed_at_once_leave_hibernated_sessions_that_continue(rig: Rig) -> None:
    """As the kernel does when memory runs out, or the end of a container."""
    async with rig.pool() as pool:
        sids = [(await run(pool, ASK_TWICE)).session_id for _ in range(5)]
        for pid in (*rig.keepers(), *rig.engines()):
            await kill(pid)
        await until(lambda: not list(rig.home.pool.glob("*.sock")))
        listed = (await list_via_pool(pool))["sessions"]
        prompts = [(await say(pool, sid, "q-0", "A")).result["prompt"] for sid in sids]

    assert [(line["status"], line["worker"]) for line in listed] == [("needs_response", "none")] * 5
    assert prompts == ["second after A"] * 5


@pytest.mark.slow
async def test_server_without_a_free_descriptor_refuses_and_leaves_no_partial_session(rig: Rig) -> None:
    replies: list[dict[str, Any]] = []
    with Program(rig, "server.py", ALC_GRACE_S="1") as server:
        server.ask("run", code="return 1")
        held = len(os.listdir(f"/proc/{server.pid}/fd"))
        before = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        for free in range(7):
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (held + free, before[1]))
            replies.append(server.ask("run", code=ASK_ONCE, wait_s=1.0))
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, before)
        unfinished = [path.stem for path in rig.home.sessions.glob("p-*.journal")]
        for sid in unfinished:
            server.ask("status", sid=sid)
        ends = [server.ask("continue", sid=sid, answer=["q-0", "A"])["result"]["result"] for sid in unfinished]

    assert "Too many open files" in replies[0]["error"]
    assert all("error" in reply or reply["result"]["status"] in ("running", "needs_response") for reply in replies)
    assert ends == ["got A"] * len(unfinished)


async def test_registry_on_a_full_disk_stays_unchanged(rig: Rig) -> None:
    async with rig.pool() as pool:
        await run(pool, ASK_ONCE)
        await until(lambda: rig.registry())
    registry, before = PoolRegistry.load(rig.home.registry), rig.home.registry.read_bytes()
    with file_size_limit(len(before) // 2), pytest.raises(OSError, match=r"File too large|No space left"):
        registry.save(rig.home.registry)

    assert rig.home.registry.read_bytes() == before
    assert list(rig.home.pool.glob(".*")) == []


@pytest.mark.slow
async def test_server_that_starts_in_a_home_full_of_sessions_revives_none(rig: Rig) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        await stop_via_pool(pool, sid, "hibernate")
        await until(lambda: not rig.workers())
    paused = [sid_of(number, created_s=1.7e9) for number in range(_MANY)]
    for paused_sid in paused:
        write(rig.home.journal(paused_sid), [header(paused_sid), prompt("q-0")])
    empty = write(rig.home.journal(sid_of(_MANY, created_s=1.7e9)), [], age_s=86400.0)
    for number in range(_MANY + 1, 2 * _MANY):  # servers died before the first line, a day ago
        os.link(empty, rig.home.journal(sid_of(number, created_s=1.7e9)))
    began = anyio.current_time()
    async with Pool(rig.home, Limits()) as pool:
        started_s = anyio.current_time() - began
        second = (await say(pool, sid, "q-0", "A")).result
        continued_s = anyio.current_time() - began - started_s
        live = rig.keepers()
        # What stays: the paused sessions, this session, and the directory finished/.
        await until(lambda: len(os.listdir(rig.home.sessions)) == _MANY + 2, 30.0)
        counts = (await list_via_pool(pool))["counts"]

    assert started_s < SOON_S / 2
    assert continued_s < SOON_S / 2  # 100 ms on an idle machine: bench/many.py measures it
    assert second["prompt"] == "second after A"
    assert len(live) == 1
    assert counts == {"unfinished": _MANY + 1, "live": 1, "finished": 0}


@pytest.mark.slow
async def test_more_runs_than_the_cap_each_get_a_prompt_or_busy_and_none_is_lost(rig: Rig) -> None:
    """By two servers at once. A run that was refused as busy leaves no session."""
    prompts: dict[str, str] = {}
    refused: list[str] = []
    live_max = 0

    async with rig.pool(pool_max=_ROOM) as here, rig.pool(pool_max=_ROOM) as there:
        numbers = list(range(_RUNS))

        async def work(pool: Pool) -> None:
            nonlocal live_max
            while numbers:
                number = numbers.pop()
                try:
                    reply = await run(pool, f'return alc.llm("run {number}")')
                    prompts[reply.session_id] = reply.result["prompt"]
                except Refused as exc:
                    refused.append(exc.code)
                live_max = max(live_max, len(live_sessions(rig.home)))

        async with anyio.create_task_group() as tasks:
            for pool in [here, there] * _AT_ONCE:
                tasks.start_soon(work, pool)
        kept = {path.stem for path in rig.home.sessions.glob("p-*.journal")}
        sample = sorted(prompts)[:: max(1, len(prompts) // 10)]
        ends = [(await say(here, sid, "q-0", f"answer to {prompts[sid]}")).result["result"] for sid in sample]

    assert kept == set(prompts)
    assert len(prompts) + len(refused) == _RUNS
    assert set(refused) <= {"busy"}
    assert len(set(prompts.values())) == len(prompts) > _RUNS // 2
    assert live_max <= _ROOM + 2 * _AT_ONCE  # workers that start at the same moment may exceed the cap
    assert ends == [f"answer to {prompts[sid]}" for sid in sample]


async def test_failed_launch_removes_no_socket_name_of_the_next_launcher(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is free as soon as the spawn has failed: another launcher may bind before the clean-up."""
    seen: list[dict[str, Any]] = []

    async def fail(
        home: Home, sid: str, *, journal_fd: int, listener: Any, environ: Mapping[str, str], fork_server: WorkerSpawner
    ) -> int:
        os.close(journal_fd)
        listener.close()
        monkeypatch.setattr(pool, "spawn_worker", spawn.spawn_worker)
        seen.append((await status_via_pool(there, sid, wait_s=WAIT_S)).result)
        raise OSError(11, "Resource temporarily unavailable")

    async with rig.pool() as here, rig.pool() as there:
        monkeypatch.setattr(pool, "spawn_worker", fail)
        with pytest.raises(AlcError, match="cannot start a worker"):
            await run(here, ASK_ONCE)
        sid = seen[0]["session_id"]
        keeper = rig.keeper(sid)
        end = (await say(there, sid, "q-0", "A")).result
        await ended(keeper)

    assert seen[0]["prompt"] == "question"
    assert end["result"] == "got A"


async def test_worker_of_another_protocol_is_replaced_and_the_session_continues(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        await until(lambda: sid in rig.registered())
        old = rig.keeper(sid)
        with monkeypatch.context() as later:
            later.setattr(messages, "PROTOCOL", 99)  # of this server; the worker that it starts uses the old one again
            with pytest.raises(Unreachable):
                await say(pool, sid, "q-0", "A", wait_s=0.1)
        await ended(old)
        second = (await say(pool, sid, "q-0", "A")).result

    assert second["prompt"] == "second after A"
    assert rig.answers(sid) == [("q-0", "A")]
