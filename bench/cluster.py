"""Cluster: sessions in PostgreSQL beside those of a home, how much several nodes carry, and what 10,000 of them cost.

Without PostgreSQL there is one row `not run`.
"""

import http.client
import json
import resource
import statistics
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from floor import blocking
from measure import Comparison, Row, Stopwatch, at_most, figure, interleaved, not_run, other, p99, ratio, row
from stage import ENDLESS, WAIT_S, Stage, Steps, all_gone, cancel_all, processes, run

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.pool.dispatch import Pool, Strategy, list_via_pool, run_via_pool
from algocline_mcp.pool.node import environ_of_workers
from tests.rig.http_server import HttpServer

if TYPE_CHECKING:
    from algocline_mcp.cluster.connection import Database
    from tests.cluster.postgres import Postgres

PART = "cluster"
FLOOR = "floor: a transaction with NOTIFY"
STEP, STEP_HOME = "step, pool layer, a node", "step, pool layer, a home"
FIRST, FIRST_HOME = "first prompt, pool layer, a node", "first prompt, pool layer, a home"
RATE, RATE_HOME = "steps/s, pool layer, a node", "steps/s, pool layer, a home"
PAGE = "page of the list"

_STEP_AT_MOST = 3.0  # of the floor
_STEPS_PER_S = 300.0
_PAGE_MS = 20.0
_NODES = (("1 node", 1), ("2 nodes", 2), ("3 nodes", 3))
_LINE = "x" * 250  # about what a step appends to a journal
_RATE_NOTE = "n sessions, each answered again as soon as it has asked; the database shares the cores"
_SHARED = "over HTTP, by clients that only write and read JSON; clients, nodes and database share the cores"
_HEADERS = {
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": "2025-06-18",
}
_COPY = """
    INSERT INTO alc.sessions (sid, owner, phase, epoch, node, lease_until, length, bytes, summary)
    SELECT 'p-' || lpad(to_hex(n), 16, '0') || right(sid, 17), owner, phase, epoch, '', clock_timestamp(),
           length, bytes, summary
    FROM alc.sessions, generate_series(1, %s) AS n WHERE sid = %s
"""


async def measure(stage: Stage) -> list[Row]:
    try:
        from tests.cluster.postgres import Postgres, Unavailable
    except ImportError:
        return [not_run(PART, STEP, "psycopg is not installed")]
    try:
        postgres = Postgres()
    except Unavailable as exc:
        return [not_run(PART, STEP, str(exc))]
    try:
        rows = await _one_call(stage, _with_tables(postgres))
        rows += await anyio.to_thread.run_sync(_at_once, stage, postgres)
        return rows + await _many(stage, _with_tables(postgres))
    finally:
        postgres.remove()


def _with_tables(postgres: "Postgres") -> "Database":
    from algocline_mcp.cluster.connection import Database
    from algocline_mcp.cluster.schema import migrate

    database = Database(postgres.emptied())
    with database.connect() as connection:
        migrate(connection, database, begins=True)
    return database


@asynccontextmanager
async def _node(stage: Stage, database: "Database") -> AsyncIterator[Pool]:
    """As Stage.pool, of a node."""
    from algocline_mcp.cluster.copies import claim
    from algocline_mcp.cluster.node import Node

    home = Home(stage.directory())
    environ = stage.environ_of(home, {})
    limits = Limits.from_env(environ)
    claim(home)
    node = Node(database, home, limits)
    async with Pool(home, limits, environ=environ_of_workers(home, environ), node=node) as pool:
        await pool.fork_server.started()
        await run_via_pool(pool, Strategy("return 1"), wait_s=WAIT_S)
        try:
            yield pool
        finally:
            with anyio.CancelScope(shield=True):
                await cancel_all(pool)
                await node.close(pool)
    await all_gone(home.root)


# ── one call at a time ────────────────────────────────────────────────────────────────────────────────────


async def _one_call(stage: Stage, database: "Database") -> list[Row]:
    with database.connect() as connection:
        connection.execute("CREATE TABLE alc.floor (line text)")
        sql = b"WITH kept AS (INSERT INTO alc.floor VALUES (%s) RETURNING 1) SELECT pg_notify('floor', 'x') FROM kept"

        def floor() -> float:
            with Stopwatch() as watch:
                connection.execute(sql, (_LINE,))
            return watch.ms

        async with _node(stage, database) as node, stage.pool() as home:
            calls = {
                FLOOR: blocking(floor),
                STEP: Steps(node, await run(node, ENDLESS)).once,
                STEP_HOME: Steps(home, await run(home, ENDLESS)).once,
                FIRST: _Firsts(node).once,
                FIRST_HOME: _Firsts(home).once,
            }
            times = await interleaved(stage.choose(200, 5), calls)
            rates = [await _rate(stage, pool) for pool in (node, home)]
    count, of_node, of_home = stage.choose(32, 4), *rates
    aim = Comparison(RATE_HOME, of_node / of_home, f"≥ {_STEPS_PER_S:g} steps/s", of_node >= _STEPS_PER_S)
    bound = ratio(FLOOR, times[STEP], times[FLOOR], at_most=_STEP_AT_MOST)
    return [
        other(PART, FLOOR, times[FLOOR]),
        row(PART, STEP, times[STEP], bound, ratio(STEP_HOME, times[STEP], times[STEP_HOME])),
        other(PART, STEP_HOME, times[STEP_HOME]),
        row(PART, FIRST, times[FIRST], ratio(FIRST_HOME, times[FIRST], times[FIRST_HOME])),
        other(PART, FIRST_HOME, times[FIRST_HOME]),
        figure(PART, RATE, of_node, aim, unit="/s", n=count, note=_RATE_NOTE),
        replace(figure(PART, RATE_HOME, of_home, unit="/s", n=count), is_ours=False),
    ]


async def _rate(stage: Stage, pool: Pool) -> float:
    """Steps a second, of so many sessions that are each answered again as soon as they have asked."""
    seconds, sessions = stage.choose(5, 1), [Steps(pool, await run(pool, ENDLESS)) for _ in range(stage.choose(32, 4))]
    steps = 0

    async def play(session: Steps) -> None:
        nonlocal steps
        while anyio.current_time() < end_s:
            await session.once()
            steps += 1

    end_s = anyio.current_time() + seconds
    async with anyio.create_task_group() as tasks:
        for session in sessions:
            tasks.start_soon(play, session)
    return steps / seconds


class _Firsts:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def once(self) -> float:
        with Stopwatch() as watch:
            reply = await run(self._pool, ENDLESS)
        await cancel_all(self._pool, [reply.session_id])
        return watch.ms


# ── many at once ──────────────────────────────────────────────────────────────────────────────────────────


def _at_once(stage: Stage, postgres: "Postgres") -> list[Row]:
    """Blocks."""
    sessions, seconds = stage.choose(32, 4), stage.choose(10, 1)
    home = Home(stage.directory())
    with HttpServer(stage.environ_of(home, {})) as server:
        rows = [replace(each, is_ours=False) for each in _loaded("a home", [server.url], sessions, seconds)]
    for name, count in _NODES[: stage.choose(len(_NODES), 1)]:
        with _cluster(postgres, count) as urls:
            rows += _loaded(name, urls, sessions, seconds)
    return rows


@contextmanager
def _cluster(postgres: "Postgres", count: int) -> Iterator[list[str]]:
    """The addresses of so many nodes, without the proxies that tests put before the database."""
    from tests.cluster.nodes import Cluster

    settings = {"ALC_DATABASE": postgres.url("postgres"), "ALC_POOL_MAX": "4096"}
    with Cluster(postgres, count=count, lease_s=30.0, settings=settings) as cluster:
        cluster.start()
        yield [node.url for node in cluster.nodes]


def _loaded(name: str, urls: Sequence[str], sessions: int, seconds: float) -> list[Row]:
    """Each session is answered again as soon as it has asked, by a client of its own, which stays with one server."""
    clients = [_Client(urls[number % len(urls)]) for number in range(sessions)]
    gate = threading.Barrier(sessions)
    threads = [threading.Thread(target=client.play, args=(gate, seconds)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for client in clients:
        if client.error is not None:
            raise client.error
    firsts, steps = [client.first_ms for client in clients], [ms for client in clients for ms in client.steps_ms]
    what = f"{sessions} sessions at once, {name}"
    note = f"{_SHARED}; first prompts, all at once: p99 {p99(firsts):.0f} ms"
    return [
        figure(PART, f"{what}: steps/s", len(steps) / seconds, unit="/s", n=len(steps), note=note),
        row(PART, f"{what}: step", steps),
    ]


class _Client:
    """One session at one server, over one connection."""

    def __init__(self, url: str) -> None:
        self._address = url.split("/")[2]
        self.error: Exception | None = None
        self.first_ms = 0.0
        self.steps_ms: list[float] = []

    def play(self, gate: threading.Barrier, seconds: float) -> None:
        try:
            with closing(http.client.HTTPConnection(self._address, timeout=WAIT_S)) as connection:
                gate.wait(WAIT_S)
                with Stopwatch() as watch:
                    paused = _call(connection, "alc_run", code=ENDLESS, wait_s=WAIT_S)
                self.first_ms = watch.ms
                gate.wait(WAIT_S)
                end_s = time.monotonic() + seconds
                while time.monotonic() < end_s:
                    named = {name: paused[name] for name in ("session_id", "query_id")}
                    with Stopwatch() as watch:
                        paused = _call(connection, "alc_continue", response="A", wait_s=WAIT_S, **named)
                    self.steps_ms.append(watch.ms)
                _call(connection, "alc_stop", session_id=paused["session_id"], mode="cancel")
        except Exception as exc:  # noqa: BLE001 - raised by who started the thread
            self.error = exc
            gate.abort()


def _call(connection: http.client.HTTPConnection, tool: str, **arguments: Any) -> dict[str, Any]:
    """The structured result. Raises RuntimeError for an error."""
    params = {"name": tool, "arguments": arguments}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    connection.request("POST", "/mcp", body, _HEADERS)
    reply = connection.getresponse()
    text = reply.read().decode()
    if "event-stream" in str(reply.getheader("content-type")):
        text = next((line[5:] for line in text.splitlines() if line.startswith("data:") and '"result"' in line), text)
    try:
        result = json.loads(text)["result"]
        content: dict[str, Any] = result["structuredContent"]
    except (ValueError, KeyError) as exc:
        raise RuntimeError(f"{tool}: {reply.status} {text[:500]}") from exc
    return content


# ── many that wait ────────────────────────────────────────────────────────────────────────────────────────


async def _many(stage: Stage, database: "Database") -> list[Row]:
    count, watched_s = stage.choose(10_000, 100), stage.choose(60, 1)
    async with _node(stage, database) as pool:
        reply = await run(pool, ENDLESS)
        with database.connect() as connection:
            connection.execute(_COPY.encode(), (count - 1, reply.session_id))
            connection.execute("ANALYZE alc.sessions")

        async def page() -> float:
            with Stopwatch() as watch:
                listed = await list_via_pool(pool)
            if listed["active_sessions"] != count:
                raise RuntimeError(f"{listed['active_sessions']} sessions are listed, not {count}")
            return watch.ms

        pages = (await interleaved(stage.choose(50, 3), {PAGE: page}))[PAGE]
        running = len(processes(pool.home.root))
        before = _switches()
        await anyio.sleep(watched_s)
        switched = _switches() - before
    name = f"{PAGE}, {count:,} paused"
    note = f"{running} processes besides the node: the fork server, its standby, and the one session that is live"
    beats = "the lease is renewed every 10 s, and the sweep looks"
    return [
        row(PART, name, pages, at_most(statistics.median(pages), _PAGE_MS, "ms"), note=note),
        figure(PART, f"context switches of the node in {watched_s} s", switched, unit="switches", n=1, note=beats),
    ]


def _switches() -> int:
    """Of this process, with the threads that have ended."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_nvcsw + usage.ru_nivcsw
