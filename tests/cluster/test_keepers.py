"""Real workers that commit through a node: killed, frozen out, without a database, without a node."""

import contextlib
import signal
from collections.abc import Iterator

import anyio
import anyio.to_thread
import pytest

from algocline_mcp.cluster import commit_service
from algocline_mcp.cluster.connection import Database
from algocline_mcp.errors import AlcError
from algocline_mcp.pool.dispatch import Pool, PoolReply, status_via_pool
from algocline_mcp.protocol.messages import PoolRequest
from algocline_mcp.session.records import Record
from tests.cluster.postgres import Postgres
from tests.cluster.small_node import SmallNode, small_node, taken
from tests.rig.rig import ASK_TWICE, WAIT_S, RawClient, Rig, finish, kill, run, say, until, wait_until_ended

pytestmark = pytest.mark.anyio

POINTS = (
    "prompt.recorded", "answer.recorded", "commit.due", "commit.done", "reply.flushed", "final.recorded",
    "archive.moved", "reply.sent",
)  # fmt: skip


@pytest.fixture
def node(database: Database, rig: Rig) -> Iterator[SmallNode]:
    with small_node(database, rig.home.pool / "node.socket") as started:
        yield started


def stored(rig: Rig, sid: str) -> list[Record]:
    """Of the file, without marks and what they say."""
    records = [record for record in rig.records(sid) if record["kind"] != "flushed"]
    return [{**record, "s": 0} for record in records]


def restore(rig: Rig, node: SmallNode, sid: str) -> None:
    """The file of a session that has no worker becomes what the database has."""
    with node.database.connect() as connection:
        sql = "SELECT line FROM alc.records WHERE sid = %s ORDER BY n"
        lines = [str(line) for (line,) in connection.execute(sql, (sid,)).fetchall()]
    rig.journal(sid).write_text("".join(f"{line}\n" for line in lines))


def only_session(rig: Rig) -> str:
    (path,) = [*rig.home.sessions.glob("p-*.journal"), *rig.home.finished.glob("p-*.journal")]
    return path.stem


async def test_at_each_reply_the_database_has_what_the_file_has(rig: Rig, node: SmallNode) -> None:
    async with rig.pool(environ=node.environ) as pool:
        reply = await run(pool, ASK_TWICE)
        sid = reply.session_id
        assert node.records(sid) == stored(rig, sid)
        assert (node.kinds(sid), node.column(sid, "phase")) == (["header", "prompt"], "paused")
        await say(pool, sid, "q-0", "A")
        assert node.records(sid) == stored(rig, sid)
        ended = await say(pool, sid, "q-1", "B")

    assert ended.result["result"] == "A+B"
    assert node.records(sid) == stored(rig, sid)
    assert node.column(sid, "phase") == "finished"
    with node.database.connect() as connection:  # no session of a warm-up was committed
        assert connection.execute("SELECT count(*) FROM alc.sessions").fetchone() == (1,)


@pytest.mark.parametrize("passage", ["", ":1", ":2"])
@pytest.mark.parametrize("point", POINTS)
async def test_a_keeper_that_is_killed_anywhere_loses_and_doubles_nothing(
    rig: Rig, node: SmallNode, point: str, passage: str
) -> None:
    environ = {**node.environ, "ALC_FAILPOINT": f"{point}:kill{passage}"}
    shown = list[tuple[str, str]]()
    async with rig.pool(environ=environ, resends=2) as pool:
        with contextlib.suppress(AlcError):
            await _finish(pool, node, await run(pool, ASK_TWICE), shown)
        await until(lambda: not rig.workers())
    sid = only_session(rig)
    rig.expected_reports.add(sid)
    if not node.records(sid):
        assert not shown
        rig.journal(sid).unlink()
        return
    restore(rig, node, sid)
    async with rig.pool(environ=node.environ) as pool:
        ended = await _finish(pool, node, await status_via_pool(pool, sid, wait_s=WAIT_S), shown)

    assert ended["result"] == "end+end"
    assert node.records(sid) == stored(rig, sid)
    assert rig.answers(sid) == [("q-0", "end"), ("q-1", "end")]
    assert set(shown) <= {("q-0", "first"), ("q-1", "second after end")}


async def _finish(pool: Pool, node: SmallNode, reply: PoolReply, shown: list[tuple[str, str]]) -> Record:
    """Answers each prompt with `end`. What a reply shows is in the database at that moment."""
    while reply.result["status"] == "needs_response":
        query = reply.result
        shown.append((query["query_id"], query["prompt"]))
        ids = [item["id"] for record in node.records(reply.session_id) for item in record.get("queries", ())]
        assert query["query_id"] in ids
        reply = await say(pool, reply.session_id, query["query_id"], "end")
    return reply.result


async def test_a_step_waits_for_a_database_that_crashes_and_goes_on(
    rig: Rig, node: SmallNode, postgres: Postgres
) -> None:
    async with rig.pool(environ=node.environ) as pool, anyio.create_task_group() as tasks:
        sid, *_ = await run(pool, ASK_TWICE)
        replies = list[PoolReply]()

        async def answer() -> None:
            replies.append(await say(pool, sid, "q-0", "A"))

        postgres.end(signal.SIGQUIT)
        tasks.start_soon(answer)
        await until(lambda: any(record["kind"] == "answer" for record in stored(rig, sid)))
        assert not replies
        await anyio.to_thread.run_sync(postgres.start)
        await until(lambda: replies)
        ended = await say(pool, sid, "q-1", "B")

    assert replies[0].result["prompt"] == "second after A"
    assert ended.result["result"] == "A+B"
    assert node.records(sid) == stored(rig, sid)


async def test_without_a_database_nothing_is_acknowledged(
    rig: Rig, node: SmallNode, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit_service, "RECONNECT_S", 0.1)
    async with rig.pool(environ=node.environ, resends=0) as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        rig.expected_reports.add(sid)
        postgres.end(signal.SIGQUIT)
        try:
            with pytest.raises(AlcError):
                await say(pool, sid, "q-0", "A")
            await until(lambda: not rig.workers_of(sid))
        finally:
            await anyio.to_thread.run_sync(postgres.start)
        ended = await finish(pool, await status_via_pool(pool, sid, wait_s=WAIT_S))

    assert "start it, or correct the URL" in rig.home.stderr(sid).read_text()
    assert ended["status"] == "completed"
    assert node.records(sid) == stored(rig, sid)


async def test_a_worker_whose_session_another_node_has_taken_acknowledges_nothing_and_ends(
    rig: Rig, node: SmallNode
) -> None:
    async with rig.pool(environ=node.environ, resends=0) as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        rig.expected_reports.add(sid)
        taken(node.database, sid, "other")
        node.holds.gives = False
        with pytest.raises(AlcError):
            await say(pool, sid, "q-0", "A")
        await until(lambda: not rig.workers_of(sid))

    assert "held by another server" in rig.home.stderr(sid).read_text()
    assert node.kinds(sid) == ["header", "prompt"]


async def test_a_worker_that_is_refused_leaves_no_socket_although_no_server_watches_it(
    rig: Rig, node: SmallNode
) -> None:
    async with rig.pool(environ=node.environ) as pool:
        sid, *_ = await run(pool, ASK_TWICE)
    pid = rig.keeper(sid)
    rig.expected_reports.add(sid)
    taken(node.database, sid, "other")
    node.holds.gives = False
    with RawClient(rig.home.socket(sid)) as client:
        client.send(PoolRequest("continue", 1, sid, WAIT_S, answers=[{"query_id": "q-0", "response": "A"}]))
        assert await anyio.to_thread.run_sync(wait_until_ended, pid, WAIT_S)

    assert "held by another server" in rig.home.stderr(sid).read_text()
    assert not rig.home.socket(sid).exists()


async def test_paused_workers_leave_when_their_node_goes(rig: Rig, database: Database) -> None:
    with small_node(database, rig.home.pool / "node.socket") as node:
        async with rig.pool(environ=node.environ) as pool:
            sids = [(await run(pool, ASK_TWICE)).session_id for _ in range(2)]
            pids = {sid: rig.keeper(sid) for sid in sids}
            node.service.end_keepers([sids[0]])
            await anyio.to_thread.run_sync(wait_until_ended, pids[sids[0]], WAIT_S)
            assert rig.workers_of(sids[1])
    wait_until_ended(pids[sids[1]], WAIT_S)

    assert not [sid for sid in sids if rig.workers_of(sid) or rig.home.socket(sid).exists()]
    assert [node.kinds(sid) for sid in sids] == [["header", "prompt"]] * 2


async def test_a_computing_worker_leaves_when_its_node_goes(rig: Rig, database: Database) -> None:
    with small_node(database, rig.home.pool / "node.socket") as node:
        async with rig.pool(environ=node.environ) as pool:
            sid = (await run(pool, "while true do end", wait_s=0.1)).session_id
            assert node.column(sid, "phase") == "running"
            pid = rig.keeper(sid)
    wait_until_ended(pid, WAIT_S)

    assert not rig.workers_of(sid)


async def test_a_session_goes_on_from_the_database_in_another_home(rig: Rig, node: SmallNode) -> None:
    """The file is a cache: what the rows say is enough."""
    async with rig.pool(environ=node.environ) as pool:
        sid, *_ = await run(pool, ASK_TWICE)
        await say(pool, sid, "q-0", "A")
        await kill(rig.keeper(sid))
        await until(lambda: not rig.workers_of(sid))
        restore(rig, node, sid)
        ended = await say(pool, sid, "q-1", "B")

    assert ended.result["result"] == "A+B"
    assert node.records(sid) == stored(rig, sid)
