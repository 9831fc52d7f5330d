"""Requests of a node to the node that holds a session: a row, a NOTIFY, and the response in the same row.

The asker inserts a row of alc.requests and rings at the channel of the holder; both happen with one commit. The holder
runs the request, writes the response into the row and rings at the channel of the asker, whose token begins the id of
the row. Nobody polls: a node waits for its descriptor, the asker for a ring or for the end of the holder's lease.

Contract.
  - `ask` returns the response, or raises HolderGone: the lease of the holder has ended, it holds the session no more,
    or it is leaving. Its row is removed then, so a holder that was frozen finds nothing to do when it goes on. Other
    errors are those of the holder, with their codes. A call that is cancelled leaves its row, because the holder may be
    about to carry it out; the sweep removes it.
  - A ring that got lost costs a delay: the holder looks for rows of its own when it has connected and after each
    CHECK_PART of a lease, the asker looks at its row when the lease of the holder was to end.
  - A request may run twice, after a lost connection or when its holder has changed meanwhile. So `serve` must be
    idempotent, as are answers by their query id.
  - What waits for a slot is bounded: beyond _KEPT_IDS a row waits in its table for the next look.
  - Progress of a request comes as in reports.py, where the asker wants it.
"""

import json
import secrets
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from algocline_mcp.cluster.connection import Connection, Database, bounded, fetch
from algocline_mcp.cluster.reports import SEND, WANTED, Reports, progress_of
from algocline_mcp.cluster.statements import Statements
from algocline_mcp.errors import AlcError, HomeUnusable, Refused, StorageFailed, Unreachable
from algocline_mcp.pool.replies import OnProgress, PoolReply

CHECK_PART = 3  # of a lease, between two looks at what no ring announced
UNDER_WAY = 200  # requests of other nodes that run at a time
_KEPT_IDS = 10_000  # of requests that wait for one of them to end
_LOOK_S = 5.0  # for a look on the listening connection; it takes a millisecond
_LATE_S = 0.2  # after the end of a lease: the clock of the database decides, not this timer
_RECONNECT_PAUSE_S = (0.05, 1.0)  # the first, the longest: nothing announces that a database is back
_RESPOND_S = 60.0  # as long as a commit is tried again
_CONNECTIONS = 2  # beside the one that listens
_LEAVE_S = 2.0  # for the last statement of a node that ends

_SEND = """
WITH holder AS (SELECT node, lease_until FROM alc.nodes WHERE node = %s AND lease_until > clock_timestamp()),
sent AS (
    INSERT INTO alc.requests (id, sid, owner, node, request) SELECT %s, %s, %s, node, %s FROM holder
    ON CONFLICT (id) DO NOTHING
)
SELECT pg_notify(%s, %s), extract(epoch FROM lease_until - clock_timestamp())::float8 FROM holder
"""
_RESPOND = """
WITH done AS (UPDATE alc.requests SET response = %s WHERE id = %s RETURNING id)
SELECT pg_notify(%s, id) FROM done
"""
_LEAVE = """
WITH left_over AS (UPDATE alc.requests SET response = %s WHERE node = %s AND response IS NULL RETURNING id)
SELECT pg_notify('alc_node_' || split_part(id, '-', 1), id) FROM left_over
"""
_GONE = json.dumps({"gone": True})
_KINDS: dict[str, type[AlcError]] = {
    kind.__name__: kind for kind in (Refused, HomeUnusable, Unreachable, StorageFailed)
}

# owner, request and what takes its progress -> reply; raises HolderGone where this node does not hold the session
Serve = Callable[[str, Mapping[str, Any], OnProgress | None], Awaitable[PoolReply]]


class HolderGone(Exception):
    """The node that was asked does not hold the session any more: take hold, or ask the next holder."""


def token_of(node: str) -> str:
    """Of the name of a node, HOST:PID:TOKEN."""
    return node.rpartition(":")[2]


def channel_of(token: str) -> str:
    return f"alc_node_{token}"


def _channel_of_asker(request_id: str) -> str:
    return channel_of(request_id.partition("-")[0])


@dataclass(slots=True)
class _Waiting:
    on_progress: OnProgress | None
    rung: anyio.Event = field(default_factory=anyio.Event)

    async def tell(self, report: str) -> None:
        progress = progress_of(report)
        if self.on_progress is not None and progress is not None:
            await self.on_progress(progress)


class Requests:
    """Both sides of one node. `lease_s`: of all nodes."""

    def __init__(self, database: Database, node: str, serve: Serve, *, lease_s: float) -> None:
        self._database = database
        self._node = node
        self._serve = serve
        self._lease_s = lease_s
        self._statements = Statements(database, connections=_CONNECTIONS)
        self._asked: dict[str, _Waiting] = {}  # own requests, by id
        self._taken: set[str] = set()  # ids of requests of other nodes that run or wait for a slot
        self._slots = anyio.Semaphore(UNDER_WAY)
        self._reports = Reports(self._report)
        self._tasks: TaskGroup
        self.is_listening = anyio.Event()

    # ── the asker ─────────────────────────────────────────────────────────────────────────────────────────

    async def ask(
        self,
        holder: str,
        sid: str,
        owner: str,
        request: Mapping[str, Any],
        on_progress: OnProgress | None = None,
    ) -> PoolReply:
        """Waits as long as the caller lets it. `request`: JSON. Raises HolderGone, StorageFailed, and what the holder
        raises."""
        request_id = f"{token_of(self._node)}-{secrets.token_hex(16)}{WANTED if on_progress else ''}"
        waiting = self._asked[request_id] = _Waiting(on_progress)
        try:
            left_s = await self._send(holder, request_id, sid, owner, json.dumps(dict(request)))
            response = await self._response(holder, request_id, waiting, left_s)
        finally:
            del self._asked[request_id]
        return _decoded(response)

    async def _send(self, holder: str, request_id: str, sid: str, owner: str, request: str) -> float:
        """For how many seconds the holder's lease lasts."""
        channel = channel_of(token_of(holder))
        rows = await self._query(_SEND, (holder, request_id, sid, owner, request, channel, request_id))
        if not rows:
            raise HolderGone
        return float(str(rows[0][1]))

    async def _response(self, holder: str, request_id: str, waiting: _Waiting, left_s: float) -> str:
        while True:
            with anyio.move_on_after(left_s + _LATE_S):
                await waiting.rung.wait()
            waiting.rung = anyio.Event()
            rows = await self._query("SELECT response FROM alc.requests WHERE id = %s", (request_id,))
            if not rows:
                raise HolderGone  # somebody has removed the row: nobody carries it out
            if rows[0][0] is not None:
                self._tasks.start_soon(self._remove, request_id)
                return str(rows[0][0])
            rows = await self._query(
                "SELECT extract(epoch FROM lease_until - clock_timestamp())::float8 FROM alc.nodes WHERE node = %s",
                (holder,),
            )
            left_s = float(str(rows[0][0])) if rows else 0.0
            if left_s <= 0:
                return await self._taken_back(request_id)

    async def _taken_back(self, request_id: str) -> str:
        """The response, if it came in the last moment."""
        rows = await self._query("DELETE FROM alc.requests WHERE id = %s RETURNING response", (request_id,))
        if not rows or rows[0][0] is None:
            raise HolderGone
        return str(rows[0][0])

    async def _remove(self, request_id: str) -> None:
        with suppress(StorageFailed):  # then the sweep does
            await self._query("DELETE FROM alc.requests WHERE id = %s", (request_id,))

    async def _query(self, sql: str, parameters: Sequence[object]) -> list[tuple[object, ...]]:
        work = partial(fetch, sql=sql, parameters=parameters)
        return await self._statements.run(work, is_left_alone=True)

    # ── the holder ────────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Listens until it is cancelled; then all who wait for this node learn that it has gone."""
        try:
            async with anyio.create_task_group() as self._tasks:
                self._tasks.start_soon(self._reports.run)
                pause_s, longest_s = _RECONNECT_PAUSE_S
                while True:
                    began = anyio.current_time()
                    with suppress(StorageFailed):
                        await self._listen()
                    is_flapping = anyio.current_time() - began < self._lease_s
                    pause_s = min(2 * pause_s, longest_s) if is_flapping else _RECONNECT_PAUSE_S[0]
                    await anyio.sleep(pause_s)
        finally:
            with anyio.move_on_after(_LEAVE_S, shield=True), suppress(AlcError):
                await self._leave()
            self._statements.close()

    async def _listen(self) -> None:
        """Until the connection is lost. Raises StorageFailed."""
        ids: list[str] = []
        connection = await anyio.to_thread.run_sync(self._connect, ids.append)
        try:
            self.is_listening.set()
            for waiting in self._asked.values():  # their rings may have been lost
                waiting.rung.set()
            while True:
                ids += await anyio.to_thread.run_sync(self._waiting_ids, connection)
                self._take(ids)
                with anyio.move_on_after(self._lease_s / CHECK_PART):
                    while True:
                        await anyio.wait_readable(connection.fileno())
                        with self._database.sentences():
                            _read_rings(connection, ids)
                        self._take(ids)
        finally:
            connection.close()

    def _connect(self, on_ring: Callable[[str], None]) -> Connection:
        connection = self._database.connect()
        connection.add_notify_handler(lambda ring: on_ring(ring.payload))  # rings that come with another reply
        try:
            with self._database.sentences(), bounded(connection, _LOOK_S):
                connection.execute(f'LISTEN "{channel_of(token_of(self._node))}"'.encode())
        except BaseException:
            connection.close()
            raise
        return connection

    def _waiting_ids(self, connection: Connection) -> list[str]:
        with self._database.sentences(), bounded(connection, _LOOK_S):
            rows = connection.execute(
                "SELECT id FROM alc.requests WHERE node = %s AND response IS NULL ORDER BY created_at LIMIT %s",
                (self._node, _KEPT_IDS),
            ).fetchall()
        return [str(request_id) for (request_id,) in rows]

    def _take(self, ids: list[str]) -> None:
        """Empties `ids`."""
        for ring in ids:
            request_id, _, report = ring.partition(" ")
            waiting = self._asked.get(request_id)
            if report:
                if waiting is not None:
                    self._tasks.start_soon(waiting.tell, report)
            elif waiting is not None:
                waiting.rung.set()
            elif request_id not in self._taken and len(self._taken) < _KEPT_IDS:
                self._taken.add(request_id)
                self._tasks.start_soon(self._carry_out, request_id)
        ids.clear()

    async def _carry_out(self, request_id: str) -> None:
        try:
            async with self._slots:
                rows = await self._query(
                    "SELECT owner, request FROM alc.requests WHERE id = %s AND node = %s AND response IS NULL",
                    (request_id, self._node),
                )
                on_progress = self._reports.on_progress(request_id)
                for owner, request in rows:
                    outcome = await self._outcome(str(owner), json.loads(str(request)), on_progress)
                    await self._respond(request_id, outcome)
        except StorageFailed:
            return  # the next look finds the row again
        finally:
            self._taken.discard(request_id)

    async def _respond(self, request_id: str, response: str) -> None:
        """Tries again while the database is away: to carry the request out again would cost more. Raises
        StorageFailed."""
        deadline = anyio.current_time() + _RESPOND_S
        pause_s, longest_s = _RECONNECT_PAUSE_S
        while True:
            try:
                await self._query(_RESPOND, (response, request_id, _channel_of_asker(request_id)))
            except StorageFailed:
                if anyio.current_time() > deadline:
                    raise
            else:
                return
            await anyio.sleep(pause_s)
            pause_s = min(2 * pause_s, longest_s)

    async def _report(self, payloads: list[tuple[str, str]]) -> None:
        channels = [_channel_of_asker(request_id) for request_id, _ in payloads]
        await self._query(SEND, (channels, [payload for _, payload in payloads]))

    async def _outcome(self, owner: str, request: Mapping[str, Any], on_progress: OnProgress | None) -> str:
        try:
            reply = await self._serve(owner, request, on_progress)
        except HolderGone:
            return _GONE
        except AlcError as exc:
            return json.dumps({"error": str(exc), "code": exc.code, "kind": _kind(exc)})
        except Exception:  # noqa: BLE001 - of one request; the node serves the others
            traceback.print_exc()
            sentence = "the node that holds the session failed; its log says why. Ask again: nothing is lost"
            return json.dumps({"error": sentence, "code": "internal", "kind": Unreachable.__name__})
        return json.dumps(reply._asdict())

    async def _leave(self) -> None:
        await self._query(_LEAVE, (_GONE, self._node))


def _read_rings(connection: Connection, ids: list[str]) -> None:
    """Takes what has come, without waiting."""
    connection.pgconn.consume_input()
    while (ring := connection.pgconn.notifies()) is not None:
        ids.append(ring.extra.decode())


def _kind(error: AlcError) -> str:
    return next((kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _KINDS), AlcError.__name__)


def _decoded(response: str) -> PoolReply:
    """Raises what the holder raised, HolderGone."""
    content = json.loads(response)
    if "gone" in content:
        raise HolderGone
    if "error" in content:
        raise _KINDS.get(content["kind"], AlcError)(content["error"], code=content["code"])
    return PoolReply(**content)
