"""One schedule: hosts, servers, keepers, engines and a disk, and what happens to them, all from one seed.

Real are the server's half from `run_via_pool` down to the connection, the keeper with all it keeps, and the journal;
simulated are the operating system below them, the event loop, the engine and its strategies, and the hosts.
"""

import gc
import json
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any

from algocline_mcp.pool import dispatch
from algocline_mcp.pool.dispatch import Strategy
from algocline_mcp.session.events import Answer
from tests.sim import strategies
from tests.sim.book import Book, Call, Story
from tests.sim.disk import Disk
from tests.sim.faults import DISK_ERRORS, FAULTS
from tests.sim.hosts import next_call
from tests.sim.loop import Loop, Task
from tests.sim.machine import Machine, Process, Violation
from tests.sim.system import HOME, SimulatedPool, installed
from tests.sim.workers import Workers

_CALM_STEPS = 3000
_COLLECTED_AT = 100_000  # objects: a tenth of the time went into looking for garbage


class World(Workers):
    def __init__(
        self, seed: int, *, programs: Sequence[list[list[Any]]] = (), faults: Sequence[str] | None = None
    ) -> None:
        rng = Random(seed)
        self.seed = seed
        self.disk: Disk = Disk(rng, rng.choice((64, 512, 4096)))
        super().__init__(rng, Machine(rng, self.disk))
        self.loop = Loop(self.machine)
        self.book = Book()
        self.tasks: list[tuple[Task, Call]] = []
        self.servers = [self._server(), self._server()]
        self.programs = list(programs) or [strategies.write(rng) for _ in range(rng.choice((1, 1, 2)))]
        self.counts: dict[str, int] = dict.fromkeys((*FAULTS, "steps"), 0)
        self.faults = [name for name in FAULTS if rng.random() < 0.3] if faults is None else list(faults)
        self.runs_begun = 0  # of `programs`
        self._is_nested = False

    # ── one schedule ──────────────────────────────────────────────────────────────────────────────────────

    def run(self) -> "World":
        """Raises Violation, whose message ends with the seed."""
        try:
            with installed(self.machine, self.loop, self):
                self._set_faults()
                forks = sum(operation[0] == "fork" for program in self.programs for operation in program)
                for _ in range(self.rng.randrange(20, 110) + self.rng.randrange(20, 110) * min(1, forks)):
                    self.step()
                self.calm()
        except Violation as exc:
            raise Violation(f"{exc} [seed {self.seed}]") from exc
        finally:
            with installed(self.machine, self.loop, self):
                self.end()
        return self

    def step(self) -> None:
        self.counts["steps"] += 1
        self.machine.now += 0.001
        if self.faults and self.rng.random() < 0.12:
            name = self.rng.choice(self.faults)
            self.counts[name] += 1
            FAULTS[name](self)
        elif len(self.tasks) < 3 and (not self.tasks or self.rng.random() < 0.15):
            self._begin(next_call(self), self.rng.choice((0.0, 5.0, 45.0)))
        elif not self.act():
            self._sleep()

    def act(self) -> bool:
        """Lets one that can go on go on."""
        now = self.machine.now
        running = self.running
        due = [
            *(partial(self.turn, run) for run in self.keepers if run.process not in running and run.is_due(now)),
            *(partial(self.compute, engine) for engine in self.engines if engine.is_due(now)),
            *(
                partial(self._resume, task, call)
                for task, call in self.tasks
                if task.process not in running and task.is_due(now)
            ),
        ]
        if due:
            self.rng.choice(due)()
        return bool(due)

    def _sleep(self) -> None:
        """Nothing can go on before time does."""
        times = [run.wakes_at() for run in self.keepers] + [task.wakes_at() for task, _ in self.tasks]
        soonest = min(times, default=float("inf"))
        if soonest < float("inf"):
            self.machine.now = max(self.machine.now, soonest)

    def calm(self) -> None:
        """Without faults: plays every session that a host knows to its end, and compares it."""
        self.faults = []
        self.disk.errors, self.disk.free_bytes = {}, None
        self.machine.preempt, self.machine.failing_forks = None, 0.0
        for process in self.machine.processes.values():
            process.doom = -1
        for sid, story in list(self.book.stories.items()):
            self._finish(sid, story)
        self.end()
        for sid in self.book.stories:
            self.book.check_end(sid, self.content(sid))

    def _finish(self, sid: str, story: Story) -> None:
        for _ in range(60):
            if story.end is not None:
                return
            answers = tuple(Answer(each, f"calm {each}") for each in story.pending)
            story.pending = []
            while self.act():
                self.machine.now += 0.001
            self.machine.now += 1.0  # a worker that could not read its journal leaves
            self._await(self._begin(self.call("continue" if answers else "status", sid, answers), 45.0))
        raise Violation(f"session {sid} never ends: {story}")

    def ask(self, kind: str, sid: str = "", query_id: str = "", *, wait_s: float = 45.0) -> Task:
        """Begins one call of a host."""
        if kind == "run":
            return self._begin(Call(kind, program=self.programs[0]), wait_s)
        answers = (Answer(query_id, f"play {query_id}"),) if query_id else ()
        return self._begin(self.call(kind, sid, answers), wait_s)

    def play(self, kind: str, sid: str = "", query_id: str = "", *, wait_s: float = 45.0) -> Any:
        """One call from its beginning to its reply, which it returns: a PoolReply, or an error."""
        return self._await(self.ask(kind, sid, query_id, wait_s=wait_s))

    def _await(self, task: Task) -> Any:
        for _ in range(_CALM_STEPS):
            if task.is_over:
                return task.outcome
            self.machine.now += 0.001
            if not self.act():
                self._sleep()
        raise Violation("a call is never answered")

    def end(self) -> None:
        """Drops what is under way."""
        self.running.clear()
        self.drop_calls(lambda task: True)

    def content(self, sid: str) -> bytes | None:
        for path in (HOME.journal(sid), HOME.finished_journal(sid)):
            if (file := self.disk.files.get(str(path))) is not None:
                return bytes(file.cache)
        return None

    # ── hosts ─────────────────────────────────────────────────────────────────────────────────────────────

    def call(self, kind: str, sid: str, answers: tuple[Answer, ...] = ()) -> Call:
        story = self.book.stories.get(sid) or Story([])
        return Call(kind, sid, answers, story.program, frozenset(story.acknowledged), story.end is not None)

    def _begin(self, call: Call, wait_s: float) -> Task:
        server = self.rng.choice(self.servers)
        pool = server.pool
        work: Any
        if call.kind == "run":
            work = dispatch.run_via_pool(pool, Strategy(json.dumps(call.program)), wait_s=wait_s)
        elif call.kind == "continue":
            work = dispatch.continue_via_pool(pool, call.sid, call.answers, wait_s=wait_s, is_checked=call.is_checked)
        elif call.kind == "status":
            work = dispatch.status_via_pool(pool, call.sid, wait_s=wait_s)
        else:
            work = dispatch.stop_via_pool(pool, call.sid, call.kind)  # type: ignore[arg-type]
        task = Task(server.process, work)
        self.tasks.append((task, call))
        return task

    def _resume(self, task: Task, call: Call) -> None:
        self.running.add(task.process)
        self.machine.run(task.process, self.loop.resume, task)
        self.running.discard(task.process)
        if task.is_over:
            self.tasks = [each for each in self.tasks if each[0] is not task]
            if task.process.is_alive:
                self.book.heard(call, task.outcome)
        self.replace_servers()

    def drop_calls(self, is_chosen: Callable[[Task], bool]) -> None:
        for task, _ in self.tasks:
            if is_chosen(task) and task.process not in self.running:
                self.running.add(task.process)
                self.machine.run(task.process, self.loop.drop, task)
                self.running.discard(task.process)
        self.tasks = [each for each in self.tasks if not each[0].is_over]

    # ── servers ───────────────────────────────────────────────────────────────────────────────────────────

    def _server(self) -> "Server":
        return Server(self.machine.boot("server", {}))

    def replace_servers(self) -> None:
        if not all(server.process.is_alive for server in self.servers):
            self.drop_calls(lambda task: not task.process.is_alive)
            self.servers = [each if each.process.is_alive else self._server() for each in self.servers]

    # ── workers ───────────────────────────────────────────────────────────────────────────────────────────

    # ── faults ────────────────────────────────────────────────────────────────────────────────────────────

    def _set_faults(self) -> None:
        for name in self.faults:
            if name.startswith("disk_"):
                call = name.removeprefix("disk_")
                self.disk.errors[call] = DISK_ERRORS[call]
        self.machine.is_tearing = "tear" in self.faults
        self.machine.failing_forks = 0.2 if "no_fork" in self.faults else 0.0
        if "preempt" in self.faults:
            self.machine.preempt = self._preempt

    def _preempt(self) -> None:
        """Another process runs between two calls of this one."""
        if not self._is_nested and self.rng.random() < 0.05:
            self._is_nested = True
            try:
                self.act()
            finally:
                self._is_nested = False


class Server:
    def __init__(self, process: Process) -> None:
        self.process = process
        self.pool = SimulatedPool()


def play(first: int, count: int) -> Counter[str]:
    """The schedules of these seeds; returns what happened in them. Raises Violation, which names the seed."""
    happened: Counter[str] = Counter()
    before = gc.get_threshold()
    gc.set_threshold(_COLLECTED_AT)
    try:
        for seed in range(first, first + count):
            world = World(seed).run()
            happened.update(world.counts)
            happened["workers"] += world.spawned
            happened.update(world.book.counts)
    finally:
        gc.set_threshold(*before)
    return happened
