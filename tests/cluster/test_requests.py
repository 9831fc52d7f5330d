"""Requests between nodes: rings, leases that end, rings that got lost, errors, a node that leaves."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.abc
import pytest

from algocline_mcp.cluster import reports
from algocline_mcp.cluster.connection import Database
from algocline_mcp.cluster.requests import HolderGone, Requests, Serve, channel_of, token_of
from algocline_mcp.cluster.rows import SessionRows
from algocline_mcp.cluster.schema import MIGRATIONS, migrate
from algocline_mcp.cluster.statements import Statements
from algocline_mcp.errors import AlcError, JournalCorrupt, Refused, StorageFailed, Unreachable
from algocline_mcp.pool.replies import OnProgress, PoolReply, Progress
from tests.rig.processes import SOON_S, until

pytestmark = pytest.mark.anyio

LONG_S = 600.0  # a lease that ends in no test: what comes has been rung for
SID = "p-1-0123456789abcdef"
ASKER, HOLDER = "host:1:aaaa", "host:2:bbbb"
LONGEST = "😀" * (1 << 16)  # of a strategy; each takes 12 bytes of a payload


async def echo(owner: str, request: Mapping[str, Any], on_progress: OnProgress | None) -> PoolReply:
    return PoolReply(SID, {"owner": owner, **request}, None)


class Cluster:
    """Nodes of one process. `rows` sees what is in the database."""

    def __init__(self, database: Database, tasks: anyio.abc.TaskGroup) -> None:
        self.database = database
        self.rows = SessionRows(database)
        self._tasks = tasks
        self._scopes: dict[str, anyio.CancelScope] = {}

    def lease(self, node: str, lease_s: float) -> None:
        self.rows.query(
            "INSERT INTO alc.nodes (node, lease_until) VALUES (%s, clock_timestamp() + make_interval(secs => %s)) "
            "ON CONFLICT (node) DO UPDATE SET lease_until = EXCLUDED.lease_until",
            (node, lease_s),
        )

    async def start(self, node: str, serve: Serve = echo, *, lease_s: float = LONG_S) -> Requests:
        """On return it listens."""
        self.lease(node, lease_s)
        requests = Requests(self.database, node, serve, lease_s=lease_s)
        scope = self._scopes[node] = anyio.CancelScope()

        async def run() -> None:
            with scope:
                await requests.run()

        self._tasks.start_soon(run)
        await requests.is_listening.wait()
        return requests

    def stop(self, node: str) -> None:
        self._scopes[node].cancel()

    def requests(self) -> list[tuple[object, ...]]:
        return self.rows.query("SELECT node, response IS NULL FROM alc.requests")


@asynccontextmanager
async def _cluster(database: Database) -> AsyncIterator[Cluster]:
    with anyio.fail_after(4 * SOON_S):
        async with anyio.create_task_group() as tasks:
            cluster = Cluster(database, tasks)
            try:
                yield cluster
            finally:
                tasks.cancel_scope.cancel()
                cluster.rows.close()


async def test_a_request_runs_at_the_holder_and_its_row_is_removed(database: Database) -> None:
    async with _cluster(database) as cluster:
        await cluster.start(HOLDER)
        asker = await cluster.start(ASKER)

        reply = await asker.ask(HOLDER, SID, "anna", {"op": "status", "text": "\ud800 ä \0"})
        await until(lambda: cluster.requests() == [])

    assert reply == PoolReply(SID, {"owner": "anna", "op": "status", "text": "\ud800 ä \0"}, None)


async def test_progress_comes_to_the_one_who_asked_for_it_and_nobody_else_pays(database: Database) -> None:
    heard: list[Progress] = []
    is_heard, wanted = anyio.Event(), list[bool]()

    async def hear(progress: Progress) -> None:
        heard.append(progress)
        is_heard.set()

    async def work(owner: str, request: Mapping[str, Any], on_progress: OnProgress | None) -> PoolReply:
        wanted.append(on_progress is not None)
        if on_progress is not None:
            await on_progress(Progress(7, 9, LONGEST, 1.5))
            await is_heard.wait()
        return PoolReply(SID, {}, None)

    async with _cluster(database) as cluster:
        asker, _ = await cluster.start(ASKER), await cluster.start(HOLDER, work)
        await asker.ask(HOLDER, SID, "", {}, hear)
        await asker.ask(HOLDER, SID, "", {})

    (progress,) = heard
    assert (progress.step, progress.total, progress.elapsed_s) == (7, 9, 1.5)
    assert progress.message is not None
    assert progress.message.endswith("😀…")
    assert wanted == [True, False]


async def test_only_the_newest_report_of_each_request_is_sent_and_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "GAP_S", 0.0)
    sent, are_both_sent = list[list[str]](), anyio.Event()

    async def send(payloads: list[tuple[str, str]]) -> None:
        sent.append([payload for _, payload in payloads])
        if len(sent) == 1:
            raise StorageFailed("lost: the next one is sent all the same")
        are_both_sent.set()

    holder = reports.Reports(send)
    first, second = (holder.on_progress(name + reports.WANTED) for name in ("a-1", "a-2"))
    assert first is not None
    assert second is not None
    for step in (1, 2, 3):
        await first(Progress(step, 3, None))
    await second(Progress(10**4200, 10**4200, "too long for a payload"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(holder.run)
        await until(lambda: sent)
        await first(Progress(4, 0, "on"))
        await second(Progress(1, 0, "begun", 2.0))
        await are_both_sent.wait()
        tasks.cancel_scope.cancel()

    assert sent == [
        ["a-1-progress [3, 3, null, null]"],
        ['a-1-progress [4, 0, "on", null]', 'a-2-progress [1, 0, "begun", 2.0]'],
    ]


async def test_a_report_that_nobody_awaits_or_understands_does_no_harm(database: Database) -> None:
    async def hear(progress: Progress) -> None:
        raise AssertionError

    async def work(owner: str, request: Mapping[str, Any], on_progress: OnProgress | None) -> PoolReply:
        ((request_id,),) = cluster.rows.query("SELECT id FROM alc.requests")
        for payload in (f"{request_id} [1]", f"{request_id} {{", "a-0-progress [1, 2, null, null]"):
            cluster.rows.query("SELECT pg_notify(%s, %s)", (channel_of(token_of(ASKER)), payload))
        return PoolReply(SID, {}, None)

    async with _cluster(database) as cluster:
        asker, _ = await cluster.start(ASKER), await cluster.start(HOLDER, work)

        reply = await asker.ask(HOLDER, SID, "", {}, hear)

    assert reply == PoolReply(SID, {}, None)


async def test_many_at_once_get_their_own_replies(database: Database) -> None:
    replies: dict[int, object] = {}

    async with _cluster(database) as cluster:
        asker, _ = await cluster.start(ASKER), await cluster.start(HOLDER)

        async def ask(number: int) -> None:
            replies[number] = (await asker.ask(HOLDER, SID, "", {"number": number})).result["number"]

        async with anyio.create_task_group() as tasks:
            for number in range(300):  # more than run at a time
                tasks.start_soon(ask, number)

    assert replies == {number: number for number in range(300)}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Refused("no such session", code="not_found"), Refused),
        (Unreachable("ask again", code="timeout"), Unreachable),
        (StorageFailed("the disk is full", code="storage_failed"), StorageFailed),
        (JournalCorrupt("j", 3), AlcError),
    ],
)
async def test_an_error_of_the_holder_is_raised_at_the_asker(
    database: Database, error: AlcError, kind: type[AlcError]
) -> None:
    async def fail(owner: str, request: Mapping[str, Any], on_progress: OnProgress | None) -> PoolReply:
        raise error

    async with _cluster(database) as cluster:
        asker, _ = await cluster.start(ASKER), await cluster.start(HOLDER, fail)

        with pytest.raises(AlcError) as caught:
            await asker.ask(HOLDER, SID, "", {})

    assert (type(caught.value), str(caught.value), caught.value.code) == (kind, str(error), error.code)


async def test_a_failure_of_the_holder_ends_one_request_and_not_the_node(
    database: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    async def fail(owner: str, request: Mapping[str, Any], on_progress: OnProgress | None) -> PoolReply:
        return PoolReply(SID, {"is": 1 / int(request["by"])}, None)

    async with _cluster(database) as cluster:
        asker, _ = await cluster.start(ASKER), await cluster.start(HOLDER, fail)

        with pytest.raises(Unreachable, match="its log says why"):
            await asker.ask(HOLDER, SID, "", {"by": 0})
        assert (await asker.ask(HOLDER, SID, "", {"by": 1})).result == {"is": 1.0}

    assert "ZeroDivisionError" in capfd.readouterr().err


async def test_a_node_that_is_unknown_or_over_gets_no_request(database: Database) -> None:
    async with _cluster(database) as cluster:
        asker = await cluster.start(ASKER)
        cluster.lease(HOLDER, 0.0)

        for name in (HOLDER, "host:3:cccc"):
            with pytest.raises(HolderGone):
                await asker.ask(name, SID, "", {})

        assert cluster.requests() == []


async def test_where_the_lease_of_the_holder_ends_its_request_is_taken_back(database: Database) -> None:
    async with _cluster(database) as cluster:
        asker = await cluster.start(ASKER)
        cluster.lease(HOLDER, 0.5)  # a node that does nothing

        with pytest.raises(HolderGone):
            await asker.ask(HOLDER, SID, "", {})

        assert cluster.requests() == []


async def test_a_request_waits_on_while_the_holder_renews_its_lease(database: Database) -> None:
    is_asked, may_reply = anyio.Event(), anyio.Event()

    async def wait(owner: str, request: Mapping[str, Any], on_progress: OnProgress | None) -> PoolReply:
        is_asked.set()
        await may_reply.wait()
        return PoolReply(SID, {}, None)

    async with _cluster(database) as cluster:
        asker, _ = await cluster.start(ASKER), await cluster.start(HOLDER, wait)
        cluster.lease(HOLDER, 0.5)
        looks = _counted(asker)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(asker.ask, HOLDER, SID, "", {})
            await is_asked.wait()
            cluster.lease(HOLDER, LONG_S)
            await until(lambda: looks)  # when the first lease was to end
            may_reply.set()


def _counted(requests: Requests) -> list[str]:
    """Grows with each look of the asker at the lease of a holder."""
    looks: list[str] = []
    query = requests._query

    async def counted(sql: str, parameters: Sequence[object]) -> list[tuple[object, ...]]:
        rows = await query(sql, parameters)
        if sql.startswith("SELECT extract"):
            looks.append(sql)
        return rows

    requests._query = counted  # type: ignore[method-assign]  # of this one object
    return looks


async def test_a_holder_that_holds_no_more_says_so(database: Database) -> None:
    async def pass_on(owner: str, request: Mapping[str, Any], on_progress: OnProgress | None) -> PoolReply:
        raise HolderGone

    async with _cluster(database) as cluster:
        asker, _ = await cluster.start(ASKER), await cluster.start(HOLDER, pass_on)

        with pytest.raises(HolderGone):
            await asker.ask(HOLDER, SID, "", {})


async def test_a_node_whose_database_was_upgraded_under_it_does_not_end(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = list[str]()
    run = Statements.run

    async def noted(self: Statements, *arguments: Any, **more: Any) -> Any:
        try:
            return await run(self, *arguments, **more)
        except StorageFailed as exc:
            refused.append(str(exc))
            raise

    monkeypatch.setattr(Statements, "run", noted)
    async with _cluster(database) as cluster:
        await cluster.start(HOLDER)
        with database.connect() as connection:
            migrate(connection, database, begins=False, migrations=(*MIGRATIONS, "SELECT 1"))
            sql = "INSERT INTO alc.requests (id, sid, owner, node, request) VALUES ('aaaa-1', %s, '', %s, '{}')"
            connection.execute(sql, (SID, HOLDER))
            connection.execute("SELECT pg_notify(%s, 'aaaa-1')", (channel_of(token_of(HOLDER)),))
        await until(lambda: refused)

    assert "this program knows" in refused[0]


async def test_a_node_that_leaves_lets_those_go_who_wait_for_it(database: Database) -> None:
    is_asked = anyio.Event()

    async def hang(owner: str, request: Mapping[str, Any], on_progress: OnProgress | None) -> PoolReply:
        is_asked.set()
        await anyio.sleep_forever()
        raise AssertionError

    async def stop(cluster: Cluster) -> None:
        await is_asked.wait()
        cluster.stop(HOLDER)

    async with _cluster(database) as cluster:
        asker, _ = await cluster.start(ASKER), await cluster.start(HOLDER, hang)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stop, cluster)
            with pytest.raises(HolderGone):
                await asker.ask(HOLDER, SID, "", {})


async def test_a_request_that_was_not_rung_for_is_found_at_the_start(database: Database) -> None:
    async with _cluster(database) as cluster:
        asker = await cluster.start(ASKER)
        cluster.lease(HOLDER, LONG_S)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(asker.ask, HOLDER, SID, "", {})
            await until(lambda: cluster.requests() == [(HOLDER, True)])  # its ring has nobody to hear it
            await cluster.start(HOLDER)

        await until(lambda: cluster.requests() == [])


async def test_connections_that_are_lost_lose_no_ring(database: Database) -> None:
    is_asked, may_reply = anyio.Event(), anyio.Event()

    async def wait(owner: str, request: Mapping[str, Any], on_progress: OnProgress | None) -> PoolReply:
        is_asked.set()
        await may_reply.wait()
        return PoolReply(SID, {}, None)

    async with _cluster(database) as cluster:
        asker, _ = await cluster.start(ASKER), await cluster.start(HOLDER, wait)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(asker.ask, HOLDER, SID, "", {})
            await is_asked.wait()
            _end_listeners(cluster)
            may_reply.set()

        may_reply, is_asked = anyio.Event(), anyio.Event()
        may_reply.set()
        await asker.ask(HOLDER, SID, "", {})


def _end_listeners(cluster: Cluster) -> None:
    ended = cluster.rows.query(
        "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query LIKE %s",
        ("SELECT id FROM alc.requests%",),
    )
    assert ended == [(True,), (True,)]


async def test_a_call_that_is_cancelled_leaves_its_request_to_the_holder(database: Database) -> None:
    served: list[Mapping[str, Any]] = []

    async def note(owner: str, request: Mapping[str, Any], on_progress: OnProgress | None) -> PoolReply:
        served.append(request)
        return PoolReply(SID, {}, None)

    async with _cluster(database) as cluster:
        asker = await cluster.start(ASKER)
        cluster.lease(HOLDER, LONG_S)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(asker.ask, HOLDER, SID, "", {"answer": 1})
            await until(lambda: cluster.requests() == [(HOLDER, True)])
            tasks.cancel_scope.cancel()
        await cluster.start(HOLDER, note)
        await until(lambda: cluster.requests() == [(HOLDER, False)])

    assert served == [{"answer": 1}]


async def test_a_request_that_was_taken_back_is_not_carried_out(database: Database) -> None:
    """As by a holder that was frozen: the ring still waits in its connection when it goes on."""
    served: list[str] = []

    async def note(owner: str, request: Mapping[str, Any], on_progress: OnProgress | None) -> PoolReply:
        served.append(str(request["text"]))
        return PoolReply(SID, {}, None)

    async with _cluster(database) as cluster:
        asker, holder = await cluster.start(ASKER), await cluster.start(HOLDER, note)
        with _deaf(holder) as hear:
            cluster.lease(HOLDER, 0.5)
            with pytest.raises(HolderGone):
                await asker.ask(HOLDER, SID, "", {"text": "first"})
        hear()
        cluster.lease(HOLDER, LONG_S)
        await asker.ask(HOLDER, SID, "", {"text": "second"})

    assert served == ["second"]


class _deaf:
    """Rings of a node wait until `hear` is called."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._kept: list[str] = []

    def __enter__(self) -> Callable[[], None]:
        def keep(ids: list[str]) -> None:
            self._kept += ids
            ids.clear()

        self._requests._take = keep  # type: ignore[method-assign]  # of this one object
        return self._hear

    def _hear(self) -> None:
        del self._requests._take
        self._requests._take(self._kept)

    def __exit__(self, *exc: object) -> None:
        pass
