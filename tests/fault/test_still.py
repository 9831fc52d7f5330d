"""Each kind of process is stopped during every tool at once: each tool replies in time, and nothing is lost.

tests/pool/test_stopped_processes.py checks the content of the replies.
"""

import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import pytest

from algocline_mcp.errors import AlcError
from algocline_mcp.packages.catalog import CatalogQuery, PackageContext, catalog
from algocline_mcp.pool.branch import Branch, branch_via_pool
from algocline_mcp.pool.dispatch import Pool, list_via_pool, status_via_pool, stop_via_pool, view_via_pool
from tests.rig.rig import Program, Rig, run, say, stopped, until

pytestmark = pytest.mark.anyio

WAIT_S = 0.2
LIMITS: dict[str, Any] = {"grace_s": 8.0, "reach_s": 0.5, "leave_s": 0.3, "fork_s": 0.3, "state_busy_s": 0.3}
SOON_S = 30.0  # wait_s, grace_s, some leave_s, and a slow machine
CODE = """
local a = alc.llm("first")
pcall(alc.state.incr, "n")
local b = alc.llm("second after " .. a)
return a .. "+" .. b
"""


async def _catalog(pool: Pool, sid: str) -> Any:
    read = partial(catalog, PackageContext(pool.home, pool.limits, os.environ), "state", CatalogQuery())
    return await anyio.to_thread.run_sync(read)


async def _branch(pool: Pool, sid: str) -> Any:
    return await branch_via_pool(pool, sid, Branch(at="q-0", response="A"), wait_s=WAIT_S)


TOOLS: dict[str, Callable[[Pool, str], Any]] = {
    "run": lambda pool, sid: run(pool, CODE, wait_s=WAIT_S),
    "continue": lambda pool, sid: say(pool, sid, "q-0", "A", wait_s=WAIT_S),
    "status": lambda pool, sid: status_via_pool(pool, sid, wait_s=WAIT_S),
    "list": lambda pool, sid: list_via_pool(pool),
    "history": lambda pool, sid: view_via_pool(pool, sid, "history"),
    "hibernate": lambda pool, sid: stop_via_pool(pool, sid, "hibernate"),
    "cancel": lambda pool, sid: stop_via_pool(pool, sid, "cancel"),
    "delete": lambda pool, sid: stop_via_pool(pool, sid, "delete"),
    "branch": _branch,
    "catalog": _catalog,
}


@contextmanager
def _all_stopped(pids: list[int]) -> Iterator[None]:
    with ExitStack() as stack:
        for pid in pids:
            stack.enter_context(stopped(pid))
        yield


@asynccontextmanager
async def _locks(rig: Rig, pool: Pool, sids: list[str]) -> AsyncIterator[None]:
    """Stopped processes that the registry does not list hold the journals."""
    for sid in sids:
        await stop_via_pool(pool, sid, "hibernate")
        await until(lambda: not rig.workers_of(sid))  # noqa: B023  awaited before the next round
    with ExitStack() as stack:
        holders = [stack.enter_context(Program(rig, "lock_holder.py", rig.home.journal(sid))) for sid in sids]
        with _all_stopped([holder.pid for holder in holders]):
            yield


@asynccontextmanager
async def _writer(rig: Rig) -> AsyncIterator[None]:
    """A keeper is stopped in the middle of a change of the state, with the database locked."""
    async with AsyncExitStack() as stack:
        environ = {**os.environ, "ALC_FAILPOINT": "effect.written:stop"}
        pool = await stack.enter_async_context(rig.pool(environ=environ))
        tasks = await stack.enter_async_context(anyio.create_task_group())
        tasks.start_soon(partial(run, pool, "return alc.state.incr('n')"))
        await until(lambda: [process for process in rig.processes() if process.is_keeper and process.state == "T"])
        (keeper,) = [process.pid for process in rig.processes() if process.is_keeper and process.state == "T"]
        try:
            yield
        finally:
            os.kill(keeper, signal.SIGCONT)


@asynccontextmanager
async def _victim_stopped(rig: Rig, pool: Pool, victim: str, sids: list[str]) -> AsyncIterator[None]:
    match victim:
        case "keeper":
            with _all_stopped([rig.keeper(sid) for sid in sids]):
                yield
        case "engine":
            with _all_stopped([rig.engine(sid) for sid in sids]):
                yield
        case "fork server":
            assert pool.fork_server.pid is not None
            with _all_stopped([pool.fork_server.pid]):
                yield
        case "lock holder":
            async with _locks(rig, pool, sids):
                yield
        case "state writer":
            async with _writer(rig):
                yield


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["keeper", "engine", "fork server", "lock holder", "state writer"])
async def test_each_tool_replies_in_time_while_a_process_is_stopped_and_nothing_is_lost(rig: Rig, victim: str) -> None:
    took_s: dict[str, float] = {}
    refused: dict[str, str] = {}

    async def ask(pool: Pool, tool: str, sid: str) -> None:
        began = anyio.current_time()
        try:
            await TOOLS[tool](pool, sid)
        except AlcError as exc:
            refused[tool] = str(exc)
        took_s[tool] = anyio.current_time() - began

    async with rig.pool(**LIMITS) as pool:
        sids = {tool: (await run(pool, CODE)).session_id for tool in TOOLS}
        other, *_ = await run(pool, CODE)
        async with _victim_stopped(rig, pool, victim, list(sids.values())), anyio.create_task_group() as tasks:
            for tool, sid in sids.items():
                tasks.start_soon(ask, pool, tool, sid)
            second = (await say(pool, other, "q-0", "A")).result
        for tool, sid in sids.items():
            if tool not in ("cancel", "delete") or tool in refused:
                assert (await say(pool, sid, "q-0", "A")).result.get("prompt") == "second after A", tool
                assert rig.answers(sid) == [("q-0", "A")], tool
        if "cancel" not in refused:  # the worker archives the journal after its reply
            await until(lambda: rig.home.finished_journal(sids["cancel"]).exists())
        ended = {tool: rig.home.finished_journal(sids[tool]).exists() for tool in ("cancel", "delete")}

    assert {tool: s for tool, s in took_s.items() if s > SOON_S} == {}
    assert second["prompt"] == "second after A"
    if victim == "lock holder":  # only a registered worker of the session may be signalled
        assert set(refused) == {"continue", "hibernate", "cancel", "delete"}
        assert all("unknown process" in sentence for sentence in refused.values()), refused
    else:
        assert set(refused) <= {"continue"}
        assert ended == {"cancel": True, "delete": False}
        assert not rig.home.journal(sids["delete"]).exists()
