"""Steps that the tests of the state database share: run a strategy, look into the database from outside."""

import contextlib
import os
import sqlite3
from typing import Any

from algocline_mcp.pool.dispatch import Pool
from tests.rig.rig import SOON_S, Rig, finish, run

# Tries to change something, and pauses whether it could or not.
TRY_TO_SET = "local ok, e = pcall(alc.state.set, 'x', 1) alc.llm('p') return {ok, e or 0}"
# Makes one change of each kind of alc.card, then pauses.
ALL_CARD_CHANGES = """
local made = alc.card.create({ pkg = { name = "p" } })
alc.card.append(made.card_id, { note = "n" })
alc.card.write_samples(made.card_id, { 1, 2 })
alc.card.alias_set("best", made.card_id)
alc.llm("p")
return made.card_id
"""


def failing(point: str) -> dict[str, str]:
    return {**os.environ, "ALC_FAILPOINT": point}


async def result_of(pool: Pool, code: str, **fields: Any) -> Any:
    ended = await finish(pool, await run(pool, code, **fields))
    return ended.get("result", ended.get("error"))


def rows(rig: Rig, query: str, *values: Any) -> list[Any]:
    """The rows of a query. It may also change the database: no worker uses it at that time."""
    with contextlib.closing(sqlite3.connect(rig.home.state_database, timeout=SOON_S)) as connection, connection:
        return connection.execute(query, values).fetchall()


def stored(rig: Rig) -> dict[str, str]:
    return dict(rows(rig, "SELECT key, value FROM state"))


def marks(rig: Rig) -> int:
    (row,) = rows(rig, "SELECT count(*) FROM marks")
    return int(row[0])


def only_session(rig: Rig) -> str:
    (path,) = [*rig.home.sessions.glob("p-*.journal"), *rig.home.finished.glob("p-*.journal")]
    return path.stem
