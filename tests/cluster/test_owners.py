"""A session of somebody else in the database is looked up by the same statements as one that is not there."""

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import pytest

from algocline_mcp.cluster.statements import Statements
from algocline_mcp.errors import Refused
from algocline_mcp.pool.branch import Branch, branch_via_pool
from algocline_mcp.pool.dispatch import Pool, gen_pool_sid, status_via_pool, stop_via_pool, view_via_pool
from algocline_mcp.pool.owned import pool_of
from tests.rig.rig import ASK_ONCE, Rig, finish, run, say

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("rig", ["database"], indirect=True)]

CALLS: dict[str, Callable[[Pool, str], Awaitable[Any]]] = {
    "status": lambda pool, sid: status_via_pool(pool, sid),
    "wait": lambda pool, sid: status_via_pool(pool, sid, wait_s=1.0),
    "answer": lambda pool, sid: say(pool, sid, "q-0", "A"),
    "hibernate": lambda pool, sid: stop_via_pool(pool, sid, "hibernate"),
    "cancel": lambda pool, sid: stop_via_pool(pool, sid, "cancel"),
    "delete": lambda pool, sid: stop_via_pool(pool, sid, "delete"),
    "view": lambda pool, sid: view_via_pool(pool, sid, "history"),
    "branch": lambda pool, sid: branch_via_pool(pool, sid, Branch(at="q-0"), wait_s=1.0),
}


@pytest.fixture
def elsewhere(rig: Rig) -> Iterator[Rig]:
    """Another node of the same database."""
    other = Rig(rig.database)
    try:
        yield other
    finally:
        leaks = other.end()
    assert not leaks


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the statements that calls have sent."""
    sent = list[str]()
    run_on = Statements._run

    def note(self: Statements, work: Any, limit_s: float) -> Any:
        if (name := getattr(work.func if isinstance(work, partial) else work, "__name__", "")) not in _IN_BACKGROUND:
            sent.append(name)
        return run_on(self, work, limit_s)

    monkeypatch.setattr(Statements, "_run", note)
    return sent


_IN_BACKGROUND = ("renew", "register", "fetch", "leave", "give_back")  # of the lease, the sweep, the user's own session


async def test_a_session_of_somebody_else_takes_the_statements_of_one_that_is_not_there(
    rig: Rig, statements: list[str]
) -> None:
    async with rig.pool() as pool:
        ann, ben = pool_of(pool, "ann"), pool_of(pool, "ben")
        live = (await run(pool, ASK_ONCE)).session_id
        resting = (await run(ann, ASK_ONCE)).session_id
        await stop_via_pool(ann, resting, "hibernate")
        ended = (await run(ann, "return 1")).session_id
        outcomes = dict[tuple[str, str], tuple[str, list[str]]]()
        for name, call in CALLS.items():
            for what, sid in (("nothing", gen_pool_sid()), ("live", live), ("resting", resting), ("ended", ended)):
                statements.clear()
                with pytest.raises(Refused) as caught:
                    await call(ben, sid)
                outcomes[name, what] = (f"{caught.value} [{caught.value.code}]".replace(sid, "SID"), list(statements))
        mine = await finish(ann, await status_via_pool(ann, resting))

    for name in CALLS:
        assert "SID" in outcomes[name, "nothing"][0]
        for what in ("live", "resting", "ended"):
            assert outcomes[name, what] == outcomes[name, "nothing"], (name, what)
    assert outcomes["status", "nothing"][1], "no statement was noted"
    assert mine["result"] == "got end"


async def test_prompts_of_a_day_count_at_all_nodes(rig: Rig, elsewhere: Rig) -> None:
    async with rig.pool(owner_prompts=2) as pool, elsewhere.pool(owner_prompts=2) as other:
        here, there = pool_of(pool, "ann"), pool_of(other, "ann")
        first = await run(here, ASK_ONCE)
        second = await run(there, ASK_ONCE)
        for refused in (run(here, ASK_ONCE), run(there, ASK_ONCE), say(here, first.session_id, "q-0", "A")):
            with pytest.raises(Refused, match="have asked 2 prompts today, at most 2 in a day") as caught:
                await refused
        bens = await run(pool_of(other, "ben"), ASK_ONCE)

    assert caught.value.code == "quota"
    assert [reply.result["status"] for reply in (first, second, bens)] == ["needs_response"] * 3
