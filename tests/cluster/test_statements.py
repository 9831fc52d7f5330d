"""Statements of a node that the database did not answer a moment ago."""

import time
from typing import Any

import pytest

from algocline_mcp.cluster.connection import Connection, fetch
from algocline_mcp.errors import StorageFailed
from tests.rig.rig import Rig

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("rig", ["database"], indirect=True)]


def one(connection: Connection) -> list[tuple[object, ...]]:
    return fetch(connection, "SELECT 1")


async def test_who_is_told_that_a_node_is_ready_is_not_refused_for_a_failure_before(rig: Rig) -> None:
    async with rig.pool() as pool:
        node: Any = pool.node
        await node._lease.renew()
        node._calls._failed = time.monotonic() + 60, "the database does not answer"
        with pytest.raises(StorageFailed, match="does not answer"):
            await node._calls.run(one)

        assert await node.is_ready()
        assert await node._calls.run(one) == [(1,)]
