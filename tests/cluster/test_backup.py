"""Backup of docs/cluster.md: its dump while nodes serve, and its restore, after which sessions go on from the dump."""

import os
import signal
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.nodes import Cluster, Node
from tests.cluster.postgres import Postgres, programs
from tests.docs.page_commands import blocks_of, outputs_of
from tests.fault.expected_session import ExpectedSession
from tests.rig.stdio_home import ROOT

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

BLOCKS = blocks_of((ROOT / "docs" / "cluster.md").read_text())
(DUMP,) = [block.text for block in BLOCKS if "pg_dump" in block.text]
(RESTORE,) = [block.text for block in BLOCKS if (block.comment, block.value) == ("command", "restore")]
WAIT_S = 45.0  # of a call that may have to wait for the end of a lease
LIMIT_S = 120.0  # of one command; it takes less than a second


class Host:
    """Plays one session. A copy goes on from where the first one was."""

    def __init__(self, kind: str) -> None:
        self.expected = ExpectedSession(kind, kind, 3)
        self.pending: list[str] = []

    async def begin(self, node: Node) -> None:
        await self._call(node, "alc_run", code=self.expected.code, language="lua")

    async def answer(self, node: Node) -> None:
        query_id = self.pending[0]
        await self._call(node, "alc_continue", query_id=query_id, response=self.expected.answer(query_id))
        self.expected.record_acknowledged([query_id])

    async def see(self, node: Node) -> None:
        await self._call(node, "alc_status")

    async def finish(self, node: Node) -> None:
        while not self.expected.is_over:
            await self.answer(node)

    async def _call(self, node: Node, tool: str, **arguments: Any) -> None:
        if self.expected.sid:
            arguments["session_id"] = self.expected.sid
        reply = await node.ask(tool, wait_s=WAIT_S, **arguments)
        assert not reply.error, reply
        self.expected.sid = reply.result["session_id"]
        if reply.result["status"] == "completed":
            self.expected.result, self.expected.is_over = reply.result["result"], True
            return
        queries = reply.result.get("queries") or [reply.result]
        if reply.result["status"] == "needs_response":
            self.pending = [query["query_id"] for query in queries]
        else:  # another one of the batch was answered
            self.pending = reply.result["pending"]


async def test_after_a_restore_a_session_goes_on_from_the_last_answer_of_the_dump(
    postgres: Postgres, tmp_path: Path
) -> None:
    with Cluster(postgres, count=2) as cluster:
        a, b = cluster.nodes
        environment = {"ALC_DATABASE": cluster.database._url, "PATH": f"{programs()}:{os.environ['PATH']}"}
        cluster.start()
        hosts = [Host(kind) for kind in ("single", "batch", "shared")]
        for host in hosts:
            await host.begin(a)
            await host.answer(b)
        outputs_of([DUMP], tmp_path, environment, LIMIT_S)
        at_dump, later = deepcopy(hosts), Host("chance")
        await hosts[0].finish(b)
        await hosts[1].answer(a)
        await a.ask("alc_stop", session_id=hosts[2].expected.sid, mode="delete")
        await later.begin(b)
        for node in cluster.nodes:
            assert node.end(signal.SIGTERM) == 0

        outputs_of([RESTORE], tmp_path, environment, LIMIT_S)
        cluster.restore()

        for host in at_dump:
            before, epochs = host.pending, cluster.epochs(host.expected.sid)
            await host.see(b)
            assert host.pending == before
            await host.finish(b)
            host.expected.check(cluster.records(host.expected.sid))
            after = cluster.epochs(host.expected.sid)
            assert after[: len(epochs)] == epochs
            assert after[-1] > epochs[-1]  # nobody gets an epoch twice
        assert (await b.ask("alc_status", session_id=later.expected.sid)).code == "not_found"


async def test_a_dump_restores_into_a_database_without_tables(postgres: Postgres, tmp_path: Path) -> None:
    with Cluster(postgres, count=1) as cluster:
        (node,) = cluster.nodes
        environment = {"ALC_DATABASE": cluster.database._url, "PATH": f"{programs()}:{os.environ['PATH']}"}
        cluster.start()
        host = Host("single")
        await host.begin(node)
        await host.answer(node)
        outputs_of([DUMP], tmp_path, environment, LIMIT_S)
        assert node.end(signal.SIGTERM) == 0
        postgres.emptied()

        outputs_of([RESTORE], tmp_path, environment, LIMIT_S)
        cluster.restore()

        await host.see(node)
        await host.finish(node)
        host.expected.check(cluster.records(host.expected.sid))
