"""Many sessions of several owners on a few nodes, while nodes, connections and the database fail at random.

Contract: `Chaos(cluster, seed, …).run(seconds)` returns a Verdict. The seed decides what is started, answered and
broken, and the pauses between; the instant within a step at which something fails depends on the machine. At the end
nothing fails any more, and every session of the database is finished, also those whose host never received an id. Then
the rows are compared with what the hosts have seen.
"""

import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import anyio
import anyio.to_thread
import httpx2

from tests.cluster.nodes import Cluster, Node, NodeSilent, Reply
from tests.fault.expected_session import ExpectedSession, Violation

OWNERS = ("anna", "ben", "cleo")
SETTINGS = {  # of the nodes: few workers, so that many sessions hibernate, and no limit of clients
    "ALC_POOL_MAX": "24",
    "ALC_POOL_IDLE_TIMEOUT": "5",
    "ALC_HTTP_REQUESTS": "1000",
    "ALC_HTTP_REQUESTS_EACH": "1000",
    "ALC_HTTP_CONNECTIONS": "900",
}
_KINDS = ("single", "batch", "chance")
_WAIT_S = 15.0
_PAUSE_S = 1.0  # between two faults, on average
_LONGEST_LEASES = 2.5  # that a node is frozen or cut off
_DELAY_S = 0.2  # at most, of what goes to a slow database and back
_CALM_S = 600.0
_STARTS_REFUSED = 200
_INTRUSIONS = 0.05  # of the calls are preceded by one of another owner
_INTRUDING_CALLS: list[tuple[str, dict[str, Any]]] = [
    ("alc_status", {"wait_s": 0.0}),
    ("alc_continue", {"response": "stolen", "wait_s": 0.0}),
    ("alc_stop", {"mode": "delete"}),
]
_FAULTS = {"kill": 20, "freeze": 20, "cut": 20, "reset": 15, "delay": 10, "terminate": 10, "database": 8}
# Refusals after which the same call is made again. Each other one is a broken promise.
_PASSING = {
    "busy", "database_unreachable", "fenced", "no_process", "stopping", "storage_broken", "storage_failed", "timeout",
    "unreachable", "worker_memory",
}  # fmt: skip
_BROKEN = ("answers lost", "answers doubled", "prompts changed", "owners crossed", "calls late", "other violations")


@dataclass
class Verdict:
    """`broken`: counts of broken promises, all must be 0; `details`: the first ones. `events`: what happened."""

    broken: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(_BROKEN, 0)))
    events: Counter[str] = field(default_factory=Counter)
    details: list[str] = field(default_factory=list)

    def violate(self, what: str, detail: str) -> None:
        self.broken[what] += 1
        if len(self.details) < 20:
            self.details.append(f"{what}: {detail}")

    @property
    def is_kept(self) -> bool:
        return not any(self.broken.values())


class Chaos:
    """`cluster`: with the principals OWNERS, started."""

    def __init__(self, cluster: Cluster, seed: int, *, sessions: int, pause_s: float = _PAUSE_S) -> None:
        """`sessions`: at a time. `pause_s`: between two faults, on average."""
        self.verdict = Verdict()
        self._cluster = cluster
        self._random = random.Random(seed)
        self._session_count = sessions
        self._pause_s = pause_s
        self._names = count()
        self._hosted: dict[str, tuple[ExpectedSession, str]] = {}  # sid -> session and owner
        self._clients: dict[str, httpx2.AsyncClient] = {}
        self._broken_nodes: set[int] = set()  # under a fault that takes time
        self._restored = anyio.Event()
        self._is_over = False
        self._faults: Mapping[str, Callable[[Node], Awaitable[None]]] = {
            "kill": self._kill,
            "freeze": self._freeze,
            "cut": self._cut,
            "reset": self._reset,
            "delay": self._delay,
            "terminate": self._terminate,
        }

    async def run(self, seconds: float) -> Verdict:
        async with AsyncExitStack() as stack:
            for owner in OWNERS:
                headers = {"authorization": f"Bearer {self._cluster.tokens[owner]}"}
                client = httpx2.AsyncClient(headers=headers, timeout=300.0, limits=httpx2.Limits(max_connections=None))
                self._clients[owner] = await stack.enter_async_context(client)
            async with anyio.create_task_group() as hosts:
                for _ in range(self._session_count):
                    hosts.start_soon(self._host)
                await self._storm(seconds)
                self._is_over = True
                await anyio.to_thread.run_sync(self._cluster.restore)
                self._announce()
                hosts.cancel_scope.deadline = anyio.current_time() + _CALM_S
            await self._adopt_all()
        self._check()
        return self.verdict

    # ── hosts ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _host(self) -> None:
        while not self._is_over:
            number, owner = next(self._names), self._random.choice(OWNERS)
            session = ExpectedSession(_KINDS[number % len(_KINDS)], f"s{number}", self._random.randint(2, 6))
            result = await self._ask(owner, "alc_run", code=session.code, language="lua", title=session.name)
            if result is None:
                continue  # if it was started, it is found at the end
            session.sid = result["session_id"]
            self._hosted[session.sid] = session, owner
            await self._play(session, owner, result)

    async def _play(self, session: ExpectedSession, owner: str, result: dict[str, Any] | None) -> None:
        try:
            while True:
                pending = self._take(session, result)
                if session.is_over:
                    self.verdict.events["sessions finished"] += 1
                    return
                if self._random.random() < _INTRUSIONS:
                    await self._intrude(session, owner)
                if not pending:
                    result = await self._ask(owner, "alc_status", session_id=session.sid)
                    continue
                chosen = self._random.sample(pending, self._random.randint(1, len(pending)))
                answers = [{"query_id": query_id, "response": session.answer(query_id)} for query_id in chosen]
                result = await self._ask(owner, "alc_continue", session_id=session.sid, responses=answers)
                if result is not None and "error_code" not in result and not result.get("not_taken"):
                    if result.get("refused"):
                        self.verdict.violate("other violations", f"{session.sid} refused {result['refused']}")
                    session.record_acknowledged(chosen)
                    self.verdict.events["answers acknowledged"] += len(chosen)
        except Violation as exc:
            self.verdict.violate("prompts changed", str(exc))

    def _take(self, session: ExpectedSession, result: dict[str, Any] | None) -> list[str]:
        """The prompts that are to be answered. Raises Violation."""
        if result is None:
            return []
        status = result["status"]
        if status == "needs_response":
            queries = result.get("queries") or [result]
            session.record_shown(queries)
            return [query["query_id"] for query in queries]
        if status == "completed":
            session.result, session.is_over = result["result"], True
        elif status == "accepted":
            return [query_id for query_id in result["pending"] if query_id not in session.acknowledged]
        elif status != "running" and "error_code" not in result:
            raise Violation(f"{session.sid} is {result}")
        return []

    async def _intrude(self, session: ExpectedSession, owner: str) -> None:
        """Another owner tries; whatever it is told, the session is not found."""
        other = self._random.choice([name for name in OWNERS if name != owner])
        tool, arguments = self._random.choice(_INTRUDING_CALLS)
        reply = await self._reply(other, tool, session_id=session.sid, **arguments)
        if reply is None:
            return
        self.verdict.events["intrusions"] += 1
        if reply.code != "not_found" and reply.code not in _PASSING:
            self.verdict.violate("owners crossed", f"{other} called {tool} of {owner}'s {session.sid}: {reply}")

    async def _ask(self, owner: str, tool: str, **arguments: Any) -> dict[str, Any] | None:
        """The result from any node; None if the call must be made again."""
        reply = await self._reply(owner, tool, wait_s=_WAIT_S, **arguments)
        if reply is None:
            return None
        if not reply.error:
            self.verdict.events["replies"] += 1
            return reply.result
        self.verdict.events[f"calls refused as {reply.code}"] += 1
        if tool == "alc_run" and reply.code == "not_found":  # its worker ended before it had committed anything
            return None
        if reply.code not in _PASSING:
            what = "answers lost" if reply.code == "not_found" else "other violations"
            self.verdict.violate(what, f"{owner} called {tool}({arguments.get('session_id', '')}): {reply}")
        await anyio.sleep(self._random.uniform(0.1, 1.0))  # as a client that was refused
        return None

    async def _reply(self, owner: str, tool: str, **arguments: Any) -> Reply | None:
        while not (ready := [node for node in self._cluster.nodes if node.url and not node.is_frozen]):
            await self._restored.wait()
        node = self._random.choice(ready)
        began = anyio.current_time()
        try:
            reply = await node.ask(tool, http_client=self._clients[owner], **arguments)
            longest_s = max(self.verdict.events["longest call, s"], round(anyio.current_time() - began))
            self.verdict.events["longest call, s"] = longest_s
            return reply
        except NodeSilent:
            self.verdict.events["calls whose node died or froze"] += 1
        except AssertionError:
            self.verdict.events["calls whose connection failed"] += 1
        except TimeoutError:
            self.verdict.violate("calls late", f"{tool} at node {node.number}: {anyio.current_time() - began:.0f} s")
        await anyio.sleep(self._random.uniform(0.05, 0.5))
        return None

    # ── faults ────────────────────────────────────────────────────────────────────────────────────────────

    async def _storm(self, seconds: float) -> None:
        """Pauses and faults. The pauses are the schedule, not a wait for anything."""
        until_s = anyio.current_time() + seconds
        async with anyio.create_task_group() as tasks:
            while anyio.current_time() < until_s:
                await anyio.sleep(self._random.expovariate(1 / self._pause_s))
                what = self._random.choices(list(_FAULTS), list(_FAULTS.values()))[0]
                if what == "database":
                    await self._crash_database()
                    continue
                whole = [node for node in self._cluster.nodes if node.number not in self._broken_nodes]
                if len(whole) < 2:  # one node goes on
                    continue
                node = self._random.choice(whole)
                self._broken_nodes.add(node.number)
                tasks.start_soon(self._break, what, node)

    async def _break(self, what: str, node: Node) -> None:
        self.verdict.events[f"faults: {what}"] += 1
        await self._faults[what](node)
        self._broken_nodes.discard(node.number)
        self._announce()

    def _announce(self) -> None:
        self._restored.set()
        self._restored = anyio.Event()

    async def _pass_leases(self) -> None:
        await anyio.sleep(self._random.uniform(0.1, _LONGEST_LEASES) * self._cluster.lease_s)

    async def _kill(self, node: Node) -> None:
        await self._end(node, signal.SIGKILL)

    async def _terminate(self, node: Node) -> None:
        await self._end(node, signal.SIGTERM)

    async def _end(self, node: Node, number: signal.Signals) -> None:
        await anyio.to_thread.run_sync(node.end, number)
        await self._pass_leases()
        while True:
            node.start()
            try:
                return await anyio.to_thread.run_sync(node.wait_until_ready)
            except AssertionError:  # the database is down meanwhile, or has a moment without room
                self.verdict.events["starts that were refused"] += 1
                if self.verdict.events["starts that were refused"] > _STARTS_REFUSED:
                    raise
                await anyio.sleep(self._cluster.lease_s / 2)

    async def _freeze(self, node: Node) -> None:
        await anyio.to_thread.run_sync(node.freeze)
        await self._pass_leases()
        node.thaw()

    async def _cut(self, node: Node) -> None:
        node.proxy.cut()
        await self._pass_leases()
        node.proxy.mend()

    async def _delay(self, node: Node) -> None:
        node.proxy.delay(self._random.uniform(0.01, _DELAY_S))
        await self._pass_leases()
        node.proxy.mend()

    async def _reset(self, node: Node) -> None:
        node.proxy.reset()

    async def _crash_database(self) -> None:
        self.verdict.events["faults: database"] += 1
        postgres = self._cluster.postgres
        await anyio.to_thread.run_sync(postgres.end, signal.SIGQUIT)
        await anyio.sleep(self._random.uniform(0.0, self._cluster.lease_s))
        await anyio.to_thread.run_sync(postgres.start)

    # ── the end ───────────────────────────────────────────────────────────────────────────────────────────

    async def _adopt_all(self) -> None:
        """Finishes the sessions whose host never received the id."""
        rows = self._cluster.rows.query("SELECT sid, owner FROM alc.sessions WHERE length > 0")
        strangers = [(str(sid), str(owner)) for sid, owner in rows if str(sid) not in self._hosted]
        self.verdict.events["sessions whose host never received the id"] = len(strangers)
        with anyio.move_on_after(_CALM_S):
            async with anyio.create_task_group() as hosts:
                for number in range(self._session_count):
                    hosts.start_soon(self._adopt, strangers[number :: self._session_count])

    async def _adopt(self, strangers: list[tuple[str, str]]) -> None:
        for sid, owner in strangers:
            session = ExpectedSession.of_code(self._cluster.records(sid)[0]["code"], sid)
            self._hosted[sid] = session, owner
            await self._play(session, owner, None)

    def _check(self) -> None:
        rows = self._cluster.rows.query("SELECT sid, owner FROM alc.sessions WHERE length > 0")
        owners = {str(sid): str(owner) for sid, owner in rows}
        self.verdict.events["sessions"] = len(self._hosted)
        for session, owner in self._hosted.values():
            if owners.get(session.sid) != owner:
                self.verdict.violate("owners crossed", f"{session.sid} of {owner} is {owners.get(session.sid)!r}'s")
            self._compare(session)

    def _compare(self, session: ExpectedSession) -> None:
        records, verdict = self._cluster.records(session.sid), self.verdict
        answers = [item for record in records if record["kind"] == "answer" for item in record["answers"]]
        taken = {item["id"]: item["response"] for item in answers}
        asked = {query["id"]: query["prompt"] for rec in records if rec["kind"] == "prompt" for query in rec["queries"]}
        before = verdict.broken.total()
        for query_id, response in session.acknowledged.items():
            if taken.get(query_id) != response:
                verdict.violate("answers lost", f"{session.sid} {query_id}: {taken.get(query_id)!r}")
        for query_id, times in Counter(item["id"] for item in answers).items():
            if times > 1:
                verdict.violate("answers doubled", f"{session.sid} {query_id}: {times} times")
        for query_id, prompt in session.shown.items():
            if asked.get(query_id) != prompt:
                verdict.violate("prompts changed", f"{session.sid} {query_id}: {prompt!r}, {asked.get(query_id)!r}")
        if before == verdict.broken.total():
            try:
                session.check(records)
            except (Violation, ValueError, KeyError) as exc:  # the second: it has no end
                verdict.violate("other violations", f"{session.sid}: {exc!r}")
