"""Many sessions on two servers of one home, while servers, fork servers, keepers and engines are killed at random.

Contract: `Soak(rig, seed).run(seconds)` returns the counts of events, or raises Violation with the seed. The seed
decides what is started, answered and killed, and the pauses between; the instant within a step at which a process dies
depends on the machine. Each second server arms one fail point in its keepers, each time the next one; the others arm
none, because a session never passes a point that always kills. At the end two servers without faults finish every
session of the home, also those whose host never received an id.
"""

import os
import random
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from itertools import count
from typing import Any

import anyio

from algocline_mcp.session.state import fold
from algocline_mcp.storage import journal
from algocline_mcp.worker.lowlevel.failpoints import POINTS
from tests.fault.expected_session import CHILD, KINDS, ExpectedSession, Violation, require
from tests.fault.servers import Server, ServerGone
from tests.rig.rig import PEERS, Rig, until

_SESSIONS = 12  # at a time
_LIVE = 8  # workers at a time: the others hibernate, and are revived by their answers
_WAIT_S = 5.0
_PAUSE_S = 0.08  # between two deaths, on average
_BUSY_S = 60.0  # for the state database: the soak loads the machine
_CALM_S = 240.0
_LONGEST_S = 600.0
_VICTIMS = {"keeper": 40, "engine": 30, "terminated": 8, "standing by": 6, "fork server": 8, "server": 12}
# Those that the sessions of a soak pass: not those of nodes, nor of answers that do not fit. An armed point that no
# session passes kills nobody, and the soak went on for ten minutes until enough others had struck.
PASSED = tuple(sorted(set(POINTS) - {"commit.due", "commit.done", "effect.replied", "misfit.recorded"}))
_PASSING = {"busy", "unreachable", "no_process"}  # refusals after which asking again is right


class Soak:
    def __init__(self, rig: Rig, seed: int) -> None:
        rig.may_have_temporary_files = True
        self.rig = rig
        rig.home.packages.mkdir(parents=True)
        (rig.home.packages / "child.lua").write_text(CHILD)
        self.events: Counter[str] = Counter()
        self._seed = seed
        self._random = random.Random(seed)
        self._sessions: list[ExpectedSession] = []
        self._servers: list[Server] = []
        self._points = 0
        self._names = count()
        self._arrived = anyio.Event()
        self._is_over = False

    async def run(
        self, seconds: float, *, is_enough: Callable[[Counter[str]], bool] = lambda events: True
    ) -> Counter[str]:
        """Runs for so long, and up to `_LONGEST_S` more until `is_enough`: a slow machine needs it."""
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                self._servers = [await self._start_server(is_armed=True) for _ in range(2)]
                async with anyio.create_task_group() as storm:
                    for _ in range(_SESSIONS):
                        storm.start_soon(self._host)
                    until_s = anyio.current_time() + seconds
                    while (now := anyio.current_time()) < until_s or not (
                        now > until_s + _LONGEST_S or is_enough(self.events + self._points_struck())
                    ):
                        await self._kill()
                    self._is_over = True
                    await self._calm()
                await self._finish()
        except* Violation as broken:
            first: BaseException = broken
            while isinstance(first, BaseExceptionGroup):
                first = first.exceptions[0]
            raise Violation(f"seed {self._seed}: {first}") from broken
        self._check()
        return self.events

    # ── servers ───────────────────────────────────────────────────────────────────────────────────────────

    async def _start_server(self, *, is_armed: bool) -> Server:
        environ = {key: value for key, value in os.environ.items() if not key.startswith("ALC_")}
        environ |= {"ALC_HOME": str(self.rig.home.root), "ALC_POOL_MAX": str(_LIVE)}
        environ["ALC_STATE_BUSY_S"] = str(_BUSY_S)
        environ["ALC_SPAWN"] = self._random.choice(("fork", "fork", "exec"))
        if is_armed:
            self._points += 1
            if self._points % 2:
                point, passage = PASSED[self._points // 2 % len(PASSED)], self._random.choice((1, 1, 1, 2))
                environ["ALC_FAILPOINT"] = f"{point}:kill:{passage}"
        command = [sys.executable, str(PEERS / "server.py")]
        server = Server(await anyio.open_process(command, stderr=sys.stderr, env=environ))
        self._tasks.start_soon(server.listen)
        self._arrived.set()
        self._arrived = anyio.Event()
        return server

    async def _replace(self, number: int, *, is_armed: bool) -> None:
        server = self._servers[number]
        server.is_alive = False
        with suppress(ProcessLookupError):
            server.process.kill()
        await server.process.wait()
        self._servers[number] = await self._start_server(is_armed=is_armed)

    async def _ask(self, order: dict[str, Any]) -> dict[str, Any] | None:
        """The result from one of the servers. None if the server died, or if the call must be made again."""
        while not (alive := [server for server in self._servers if server.is_alive]):
            await self._arrived.wait()
        try:
            reply = await self._random.choice(alive).ask({"wait_s": _WAIT_S, **order})
        except ServerGone:
            self.events["calls whose server died"] += 1
            return None
        if "error" in reply:
            require(reply["code"] in _PASSING, f"{order} was refused ({reply['code']}): {reply['error']}")
            self.events[f"calls refused as {reply['code']}"] += 1
            return None
        self.events["replies"] += 1
        result: dict[str, Any] = reply["result"]
        return result

    # ── hosts ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _host(self) -> None:
        while not self._is_over:
            number = next(self._names)
            session = ExpectedSession(KINDS[number % len(KINDS)], f"s{number}", self._random.randint(2, 5))
            self._sessions.append(session)
            result = await self._ask({"call": "run", "code": session.code})
            if result is None:
                self._sessions.remove(session)  # if it was started, its journal is found at the end
                continue
            session.sid = result["session_id"]
            await self._play(session, result)

    async def _play(self, session: ExpectedSession, result: dict[str, Any] | None) -> None:
        """Answers until the session is over; a call without a result is made again."""
        while True:
            while result is None:
                result = await self._ask({"call": "status", "sid": session.sid})
            self._record_result(session, result)
            if session.is_over:
                return
            waiting = self._pending(session, result)
            if not waiting:
                result = None
                continue
            chosen = self._random.sample(waiting, self._random.randint(1, len(waiting)))
            answers = [[query_id, session.answer(query_id)] for query_id in chosen]
            result = await self._ask({"call": "continue", "sid": session.sid, "answers": answers})
            if result is not None and self._is_taken(result):
                require("refused" not in result, f"{session.sid} refused {result.get('refused')}")
                session.record_acknowledged(chosen)
                self.events["answers acknowledged"] += len(chosen)

    @staticmethod
    def _is_taken(result: dict[str, Any]) -> bool:
        """Whether the result of a continue acknowledges its answers: crash_loop does not, nor does a running replay."""
        return "error_code" not in result and "not taken" not in result.get("next", "")

    def _record_result(self, session: ExpectedSession, result: dict[str, Any]) -> None:
        status = result["status"]
        if status == "needs_response":
            session.record_shown(result.get("queries") or [result])
        elif status == "completed":
            session.result, session.is_over = result["result"], True
            self.events["sessions finished"] += 1
        elif status == "error":
            require(result.get("error_code") == "crash_loop", f"{session.sid} ended with {result}")
            self.events["engines killed three times in a step"] += 1
        else:
            require(status in ("accepted", "running"), f"{session.sid} is {result}")

    @staticmethod
    def _pending(session: ExpectedSession, result: dict[str, Any]) -> list[str]:
        if result["status"] == "accepted":
            return [query_id for query_id in result["pending"] if query_id not in session.acknowledged]
        if result["status"] == "needs_response":
            return [query["query_id"] for query in result.get("queries") or [result]]
        return []

    # ── deaths ────────────────────────────────────────────────────────────────────────────────────────────

    async def _kill(self) -> None:
        """A pause, then a victim. The pauses are the schedule, not a wait for anything."""
        await anyio.sleep(self._random.expovariate(1 / _PAUSE_S))
        victim = self._random.choices(list(_VICTIMS), list(_VICTIMS.values()))[0]
        if victim == "server":
            await self._replace(self._random.randrange(2), is_armed=True)
            self.events["deaths: server"] += 1
            return
        processes = self._processes()
        among = {
            "keeper": [process.pid for process in processes if process.is_keeper],
            "terminated": [process.pid for process in processes if process.is_keeper],
            "standing by": [process.pid for process in processes if process.is_standing_by],
            "engine": [process.pid for process in processes if process.is_engine],
            "fork server": [process.pid for process in processes if process.is_fork_server],
        }[victim]
        if among:
            with suppress(ProcessLookupError):
                os.kill(self._random.choice(among), signal.SIGTERM if victim == "terminated" else signal.SIGKILL)
                self.events[f"deaths: {victim}"] += 1

    def _processes(self) -> list[Any]:
        """All processes of the home; no session has two keepers."""
        processes = self.rig.processes()
        keepers = Counter(process.sid for process in processes if process.is_keeper)
        for sid in (sid for sid in keepers if keepers[sid] > 1):  # reading /proc takes time: read it again
            before = {process.pid for process in processes if process.is_keeper and process.sid == sid}
            both = before & set(self.rig.keepers(sid))
            require(len(both) < 2, f"{sid} has the keepers {both}")
        return processes

    # ── the end ───────────────────────────────────────────────────────────────────────────────────────────

    async def _calm(self) -> None:
        for number in range(2):
            await self._replace(number, is_armed=False)
        for process in self.rig.processes():  # keepers still have the fail points of their server
            if process.is_keeper:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)

    async def _finish(self) -> None:
        known = {session.sid for session in self._sessions}
        paths = [*self.rig.home.sessions.glob("p-*.journal"), *self.rig.home.finished.glob("p-*.journal")]
        without_host = [
            ExpectedSession.of_code(journal.read(path)[0]["code"], path.stem)
            for path in paths
            if path.stem not in known
        ]
        self._sessions += without_host
        self.events["sessions whose host never received the id"] = len(without_host)
        with anyio.move_on_after(_CALM_S + len(without_host)):
            async with anyio.create_task_group() as hosts:
                for number in range(_SESSIONS):
                    hosts.start_soon(self._adopt, without_host[number::_SESSIONS])
            for server in self._servers:
                server.is_alive = False
                assert server.process.stdin is not None
                await server.process.stdin.aclose()
                await server.process.wait()
            await until(lambda: not self.rig.workers(), _CALM_S)
            return
        raise Violation(f"not all sessions came to an end within {_CALM_S:g} s")

    async def _adopt(self, sessions: Iterable[ExpectedSession]) -> None:
        for session in sessions:
            await self._play(session, None)

    def _check(self) -> None:
        rounds = 0
        seen: list[float] = []
        for session in self._sessions:
            records = journal.read(self.rig.journal(session.sid))
            final = fold(records).final
            require(final is not None, f"{session.sid} has no end")
            session.check(records)
            if session.kind == "shared" and final is not None:
                rounds += session.rounds
                seen += final["result"]["seen"]
        self.events["sessions"] = len(self._sessions)
        self.events["changes that sessions share"] = rounds
        require(sorted(seen) == list(range(1, rounds + 1)), f"{rounds} changes of one key yielded {sorted(seen)}")
        self._check_state(rounds)
        self.events.update(self._points_struck())

    def _check_state(self, rounds: int) -> None:
        expected = {("default", "all"): rounds} if rounds else {}
        for session in self._sessions:
            expected |= session.changes
        if not expected:
            return
        with closing(sqlite3.connect(self.rig.home.state_database)) as connection:
            rows = connection.execute("SELECT namespace, key, value FROM state").fetchall()
            marks = [sid for (sid,) in connection.execute("SELECT sid FROM marks")]
        actual = {(namespace, key): float(value) for namespace, key, value in rows}
        require(actual == expected, f"state is {actual}, not {expected}")
        self.events["marks left for the next sweep"] = len(marks)

    def _points_struck(self) -> Counter[str]:
        """Counts of the fail points that keepers have reported so far."""
        struck: Counter[str] = Counter()
        for path in self.rig.home.log.glob("*.err"):
            self.rig.expected_reports.add(path.stem)
            with suppress(FileNotFoundError):  # a keeper that leaves removes an empty log
                for line in path.read_text(errors="replace").splitlines():
                    require(line.startswith("fail point "), f"{path.stem} reports {line!r}")
                    struck[f"deaths: {line}"] += 1
        return struck
