"""Sessions that stalled are found and revived, by each node every half of a lease; what nobody reads is removed.

Contract. A session is stalled where its phase is `running` and nobody holds it: its node was killed, cut off or frozen
beyond its lease. One statement finds at most BATCH of them, those that wait longest first; each is revived as by a
status call, and goes on by itself after it. Several nodes may find the same one: the hold decides. After a batch in
which all were revived comes the next one at once. The same statement removes requests and nodes that have been over
for KEPT_S, long after anybody would look at them, and the prompts counted on earlier days.
"""

import random
from contextlib import suppress
from functools import partial

import anyio

from algocline_mcp.cluster.connection import Database, fetch
from algocline_mcp.cluster.statements import Statements
from algocline_mcp.errors import AlcError
from algocline_mcp.pool.dispatch import status_via_pool
from algocline_mcp.pool.owned import pool_of
from algocline_mcp.pool.pool import Pool

BATCH = 8  # sessions that are revived at a time: a fork server makes them one after the other
KEPT_S = 600.0
_PART = 2  # of a lease, between two sweeps
_REVIVE_S = 1.0  # of a status call; the session goes on after it
_SWEEP = """
WITH requests AS (DELETE FROM alc.requests WHERE created_at < clock_timestamp() - make_interval(secs => %(kept)s)),
nodes AS (DELETE FROM alc.nodes WHERE lease_until < clock_timestamp() - make_interval(secs => %(kept)s)),
prompts AS (DELETE FROM alc.prompts WHERE day < (clock_timestamp() AT TIME ZONE 'UTC')::date)
SELECT sid, owner FROM alc.sessions WHERE phase = 'running' AND length > 0 AND lease_until < clock_timestamp()
AND NOT EXISTS (SELECT 1 FROM alc.nodes WHERE node = held_by AND alc.nodes.lease_until > clock_timestamp())
ORDER BY changed_at LIMIT %(batch)s
"""


async def sweep_forever(database: Database, pool: Pool, *, lease_s: float) -> None:
    """`pool`: that of the user. A database that is away is asked again the next time."""
    statements = Statements(database, connections=1)
    try:
        while True:
            await anyio.sleep(lease_s / _PART * random.uniform(0.8, 1.2))  # nodes that started together part
            with suppress(AlcError):
                while await sweep(statements, pool) == BATCH:
                    pass
    finally:
        statements.close()


async def sweep(statements: Statements, pool: Pool) -> int:
    """How many sessions were revived. Raises StorageFailed."""
    work = partial(fetch, sql=_SWEEP, parameters={"kept": KEPT_S, "batch": BATCH})
    rows = await statements.run(work, is_left_alone=True)
    revived = 0

    async def revive(sid: str, owner: str) -> None:
        nonlocal revived
        with suppress(AlcError):  # no room here, or another node was faster: the next sweep sees
            await status_via_pool(pool_of(pool, owner), sid, wait_s=_REVIVE_S)
            revived += 1

    async with anyio.create_task_group() as tasks:
        for sid, owner in rows:
            tasks.start_soon(revive, str(sid), str(owner))
    return revived
