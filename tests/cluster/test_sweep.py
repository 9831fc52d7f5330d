"""Which sessions the sweep revives, and what it removes."""

from typing import Any

import pytest

from algocline_mcp.cluster import sweep as sweep_module
from algocline_mcp.cluster.connection import Database
from algocline_mcp.cluster.rows import SessionRows
from algocline_mcp.cluster.statements import Statements
from algocline_mcp.cluster.sweep import BATCH, KEPT_S, sweep
from algocline_mcp.errors import Refused
from algocline_mcp.pool.pool import Pool
from tests.rig.journals import header, prompt, sid_of

pytestmark = pytest.mark.anyio

LIVE, OVER = "host:1:aaaa", "host:2:bbbb"


class Revivals:
    """Stands for the pools: which session was asked for its status, in whose pool."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, database: Database) -> None:
        self.asked: list[tuple[str, str]] = []
        self.refused: set[str] = set()
        self._database = database
        monkeypatch.setattr(sweep_module, "pool_of", lambda pool, owner: owner)
        monkeypatch.setattr(sweep_module, "status_via_pool", self._status)

    async def _status(self, pool: Any, sid: str, *, wait_s: float) -> None:
        if sid in self.refused:
            raise Refused("no room", code="busy")
        self.asked.append((pool, sid))

    async def sweep(self) -> int:
        statements = Statements(self._database, connections=1)
        try:
            return await sweep(statements, Pool.__new__(Pool))
        finally:
            statements.close()


@pytest.fixture
def revivals(monkeypatch: pytest.MonkeyPatch, database: Database) -> Revivals:
    return Revivals(monkeypatch, database)


@pytest.fixture
def rows(database: Database) -> Any:
    rows = SessionRows(database)
    for node, lease_s in ((LIVE, 600.0), (OVER, -1.0)):
        sql = "INSERT INTO alc.nodes VALUES (%s, clock_timestamp() + make_interval(secs => %s))"
        rows.query(sql, (node, lease_s))
    yield rows
    rows.close()


def _session(rows: SessionRows, number: int, *, held_by: str = "", is_paused: bool = False, owner: str = "") -> str:
    sid = sid_of(number, created_s=1e9)
    journal = rows.create(header(sid, owner=owner))
    if is_paused:
        journal.append(prompt("q-0"))
    journal.flush()
    journal.close()
    rows.query("UPDATE alc.sessions SET held_by = %s WHERE sid = %s", (held_by, sid))
    return sid


async def test_what_runs_and_nobody_holds_is_revived_in_the_pool_of_its_owner(
    rows: SessionRows, revivals: Revivals
) -> None:
    free = _session(rows, 1, owner="anna")
    orphan = _session(rows, 2, held_by=OVER)
    removed = _session(rows, 3, held_by="host:3:cccc")
    _session(rows, 4, held_by=LIVE)
    _session(rows, 5, is_paused=True)
    _session(rows, 6, held_by=OVER, is_paused=True)

    count = await revivals.sweep()

    assert sorted(revivals.asked) == sorted([("anna", free), ("", orphan), ("", removed)])
    assert count == 3


async def test_what_is_being_exported_is_left_alone(rows: SessionRows, revivals: Revivals) -> None:
    rows.create(header(sid_of(1))).flush()  # and not closed: its lease holds

    assert await revivals.sweep() == 0


async def test_a_batch_is_bounded_and_begins_with_what_waits_longest(rows: SessionRows, revivals: Revivals) -> None:
    sids = [_session(rows, number) for number in range(BATCH + 3)]

    assert await revivals.sweep() == BATCH
    assert sorted(sid for _, sid in revivals.asked) == sids[:BATCH]


async def test_one_that_cannot_be_revived_hinders_no_other(rows: SessionRows, revivals: Revivals) -> None:
    first, second = _session(rows, 1), _session(rows, 2)
    revivals.refused.add(first)

    assert await revivals.sweep() == 1
    assert revivals.asked == [("", second)]


async def test_requests_nodes_and_counts_of_prompts_that_are_over_are_removed(
    rows: SessionRows, revivals: Revivals
) -> None:
    for name, age_s in (("old", KEPT_S + 60), ("young", KEPT_S / 2)):
        age = "clock_timestamp() - make_interval(secs => %s)"
        rows.query(f"INSERT INTO alc.requests VALUES (%s, 's', '', 'n', '{{}}', NULL, {age})", (name, age_s))
        rows.query(f"INSERT INTO alc.nodes VALUES (%s, {age})", (name, age_s))

    for days in (0, 1):
        day = "(clock_timestamp() AT TIME ZONE 'UTC')::date - %s::integer"
        rows.query(f"INSERT INTO alc.prompts VALUES ({day}, 'ann', 9)", (days,))

    await revivals.sweep()

    assert rows.query("SELECT count(*) FROM alc.prompts") == [(1,)]
    assert rows.query("SELECT id FROM alc.requests") == [("young",)]
    assert sorted(rows.query("SELECT node FROM alc.nodes")) == [(LIVE,), (OVER,), ("young",)]
