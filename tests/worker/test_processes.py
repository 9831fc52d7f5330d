"""Keeper, engine and fork server as processes: descriptors, environment, and cost while they wait."""

import os
import signal

import anyio
import pytest

from algocline_mcp.pool.dispatch import stop_via_pool
from algocline_mcp.storage import journal
from tests.rig.processes import READABLE
from tests.rig.rig import (
    ASK_ONCE,
    ASK_TWICE,
    ENDLESS,
    KEEPER_DESCRIPTORS,
    SOON_S,
    RawClient,
    Rig,
    descriptors,
    kill,
    open_pidfd,
    run,
    say,
    until,
)

pytestmark = pytest.mark.anyio

WATCH_S = 5.0  # for how long paused sessions are open_pidfd
REST_S = 0.3  # far below what a worker that looks again and again would sleep
ways = pytest.mark.parametrize("way", ["fork", "exec"])


@ways
async def test_keeper_and_engine_hold_exactly_the_descriptors_of_their_contracts(rig: Rig, way: str) -> None:
    async with rig.pool(environ={**os.environ, **READABLE, "ALC_SPAWN": way}) as pool:
        others = [(await run(pool, ASK_ONCE)).session_id for _ in range(3)]
        sid, *_ = await run(pool, ASK_TWICE)
        await say(pool, sid, "q-0", "A")
        await until(lambda: len(descriptors(rig.keeper(sid))) == KEEPER_DESCRIPTORS)
        log = str(rig.home.stderr(sid))
        keeper, engine = descriptors(rig.keeper(sid)), descriptors(rig.engine(sid))

    assert len(others) == 3
    assert keeper[:3] == ["/dev/null", "/dev/null", log]
    rest = sorted(["socket", "socket", "pipe", "pipe", str(rig.home.journal(sid))])
    assert sorted(keeper[3:]) == rest  # listener and engine, both ends of the wake-up pipe, journal
    assert engine == ["/dev/null", "/dev/null", log, "socket"]


async def test_fork_server_keeps_nothing_of_the_workers_it_made(rig: Rig) -> None:
    async with rig.readable_pool() as pool:
        for _ in range(3):
            await run(pool, ASK_ONCE)
        assert pool.fork_server.pid is not None
        server = pool.fork_server.pid
        # the control socket and the way to the worker that stands by; epoll, three pidfds, and that one's
        await until(lambda: (descriptors(server).count("socket"), len(descriptors(server))) == (2, 3 + 2 + 5))
        held = descriptors(server)

    assert [each for each in held if "journal" in each or each.endswith(".err")] == []
    assert len([each for each in held if "anon_inode" in each or "pidfd" in each]) == 5


@pytest.mark.slow
@ways
async def test_dead_worker_frees_lock_and_socket_at_once_whatever_siblings_live(rig: Rig, way: str) -> None:
    async with rig.pool(environ={**os.environ, "ALC_SPAWN": way}) as pool:
        sids = [(await run(pool, ASK_TWICE)).session_id for _ in range(11)]
        await kill(rig.keeper(sids[0]))
        fd = journal.lock(rig.journal(sids[0]))
        assert fd is not None
        with pytest.raises((ConnectionRefusedError, FileNotFoundError)):
            RawClient(rig.home.socket(sids[0]))
        os.close(fd)
        second = (await say(pool, sids[0], "q-0", "A")).result

    assert second["prompt"] == "second after A"


@pytest.mark.parametrize("code", [ASK_ONCE, ENDLESS], ids=["waiting", "computing"])
async def test_engine_whose_keeper_is_killed_goes_with_it(rig: Rig, code: str) -> None:
    async with rig.pool() as pool:
        sid, *_ = await run(pool, code, wait_s=0.1)
        await until(lambda: rig.engines(sid))
        with open_pidfd(rig.engine(sid)) as engine:
            assert engine is not None
            os.kill(rig.keeper(sid), signal.SIGKILL)
            with anyio.fail_after(SOON_S):
                await anyio.wait_readable(engine)
        await until(lambda: not rig.home.socket(sid).exists())


@ways
async def test_worker_knows_only_what_was_meant_for_it_of_the_servers_environment(rig: Rig, way: str) -> None:
    environ = {"PATH": os.environ["PATH"], "HOME": "/nowhere", "SECRET": "s", "ALC_X": "x", "ALLOWED": "a", "TZ": "X-9"}
    code = 'return {os.getenv("ALLOWED"), os.getenv("SECRET") == nil, os.getenv("ALC_X") == nil, alc.llm("p")}'
    async with rig.pool(environ={**environ, **READABLE, "ALC_ENV_ALLOW": "ALLOWED, NONE", "ALC_SPAWN": way}) as pool:
        sid, *_ = await run(pool, code)
        known = [rig.environment(pid) for pid in (rig.keeper(sid), rig.engine(sid))]
        end = (await say(pool, sid, "q-0", "A")).result

    for names in known:
        named = {name for name in names if not name.startswith("ALC_")}
        assert named == {"PATH", "HOME", "LC_ALL", "PYTHONHASHSEED", "ALLOWED"}
        assert (names["ALC_X"], names["ALC_HOME"], names["PYTHONHASHSEED"]) == ("x", str(rig.home.root), "0")
    assert end["result"] == ["a", True, True, "A"]


async def test_worker_is_in_a_process_session_of_its_own_and_in_the_root_directory(rig: Rig) -> None:
    async with rig.readable_pool() as pool:
        sid, *_ = await run(pool, ASK_ONCE)
        keeper, engine = rig.keeper(sid), rig.engine(sid)

        assert os.getsid(keeper) == os.getsid(engine) == keeper != os.getsid(0)
        assert os.readlink(f"/proc/{keeper}/cwd") == "/"
        assert len(os.listdir(f"/proc/{keeper}/task")) == len(os.listdir(f"/proc/{engine}/task")) == 1


def switches(pid: int) -> int:
    with open(f"/proc/{pid}/status") as file:
        return sum(int(line.split()[1]) for line in file if "ctxt_switches" in line)


async def at_rest(pids: list[int]) -> dict[int, int]:
    """Their switches, when none has had a turn for a while: the reply may be out before a process has gone to sleep."""
    before: dict[int, int] = {}
    with anyio.fail_after(SOON_S):
        while (now := {pid: switches(pid) for pid in pids}) != before:
            before = now
            await anyio.sleep(REST_S)
    return before


@pytest.mark.slow
async def test_paused_sessions_wake_no_process(rig: Rig) -> None:
    async with rig.readable_pool() as pool:
        for _ in range(20):
            await run(pool, ASK_ONCE)
        pids = [each.pid for each in rig.workers()]
        await until(lambda: all(len(descriptors(pid)) == KEEPER_DESCRIPTORS for pid in rig.keepers()))
        before = await at_rest(pids)
        await anyio.sleep(WATCH_S)  # the time is what is measured
        after = {pid: switches(pid) for pid in pids}

    assert len(pids) == 40
    assert after == before


async def test_worker_of_a_server_that_is_gone_keeps_no_end_of_its_pipes(rig: Rig) -> None:
    """A host waits for the end of its server's output: a worker that held it open would keep the host waiting."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    async with rig.pool() as pool:
        sid, *_ = await run(pool, ASK_ONCE)
        os.close(writer)
        os.set_blocking(reader, False)
        with anyio.fail_after(SOON_S):
            await anyio.wait_readable(reader)
        end = os.read(reader, 1)
        os.close(reader)

        assert end == b""
        assert len(rig.keepers(sid)) == 1


@pytest.mark.slow
async def test_server_keeps_no_descriptor_of_what_is_over(rig: Rig) -> None:
    async with rig.pool() as pool:
        await run(pool, "return 1")
        await until(lambda: not rig.workers())
        before = len(descriptors(os.getpid()))
        for _ in range(3):
            await run(pool, "return 1")
            sid, *_ = await run(pool, ASK_TWICE)
            await kill(rig.keeper(sid))
            await say(pool, sid, "q-0", "A")
            await stop_via_pool(pool, sid, "hibernate")
            await say(pool, sid, "q-1", "B")
        await until(lambda: not rig.workers())
        await until(lambda: len(descriptors(os.getpid())) <= before)
