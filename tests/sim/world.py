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

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import StorageBroken
from algocline_mcp.pool import dispatch
from algocline_mcp.pool.dispatch import Strategy
from algocline_mcp.pool.spawn import SpawnFailed
from algocline_mcp.protocol import messages
from algocline_mcp.session.events import Answer
from algocline_mcp.session.records import Record
from algocline_mcp.worker.keeper.poll_loop import Keeper
from tests.sim import strategies
from tests.sim.book import Book, Call, Story
from tests.sim.disk import Disk
from tests.sim.loop import Loop, Task
from tests.sim.machine import Machine, Poll, Process, Socket, Stream, Violation, pair
from tests.sim.system import HOME, PRELOADED, Births, SimulatedPool, installed

# What may go wrong, each in some of the schedules. Errors of the disk are rates per call.
_DISK_ERRORS = {"write": 0.05, "flush": 0.05, "short": 0.1, "truncate": 0.2, "read": 0.03, "create": 0.2, "rename": 0.3}
_DISK_ERRORS["sync"] = 0.1
_CALM_STEPS = 3000
_COLLECTED_AT = 100_000  # objects: a tenth of the time went into looking for garbage


class KeeperRun:
    def __init__(self, process: Process, sid: str, fds: tuple[int, int]) -> None:
        self.process = process
        self.sid = sid
        self.fds = fds
        self.keeper: Keeper | None = None
        self.poll: Poll | None = None

    def is_due(self, now: float) -> bool:
        if self.poll is None:
            return True
        return (self.poll.wake_at is not None and self.poll.wake_at <= now) or self.poll.is_ready

    def wakes_at(self) -> float:
        return self.poll.wake_at if self.poll is not None and self.poll.wake_at is not None else float("inf")


class EngineRun:
    def __init__(self, process: Process, stream: Stream) -> None:
        self.process = process
        self.stream = stream
        self.talk: strategies.Talk | None = None
        self.heard: Record | None = None
        self.is_waiting = True

    @property
    def is_computing(self) -> bool:
        return self.talk is not None and not self.is_waiting

    def is_due(self, now: float) -> bool:
        return not self.is_waiting or not self.stream.peer.is_open or b"\n" in self.stream.inbox


class World(Births):
    def __init__(
        self, seed: int, *, programs: Sequence[list[list[Any]]] = (), faults: Sequence[str] | None = None
    ) -> None:
        self.seed = seed
        self.rng = rng = Random(seed)
        self.disk = Disk(rng, rng.choice((64, 512, 4096)))
        self.machine = Machine(rng, self.disk)
        self.loop = Loop(self.machine)
        self.book = Book()
        self.keepers: list[KeeperRun] = []
        self.engines: list[EngineRun] = []
        self.tasks: list[tuple[Task, Call]] = []
        self.servers = [self._server(), self._server()]
        self.programs = list(programs) or [strategies.write(rng) for _ in range(rng.choice((1, 1, 2)))]
        self.counts: dict[str, int] = dict.fromkeys((*_FAULTS, "steps", "workers"), 0)
        self.faults = [name for name in _FAULTS if rng.random() < 0.3] if faults is None else list(faults)
        self.whims = 0
        self.heard_by_engines: list[Record] = []
        self._is_nested = False
        self._running: set[Process] = set()
        self._started = 0

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
            _FAULTS[name](self)
        elif len(self.tasks) < 3 and (not self.tasks or self.rng.random() < 0.15):
            self._begin(self._think(), self.rng.choice((0.0, 5.0, 45.0)))
        elif not self.act():
            self._sleep()

    def act(self) -> bool:
        """Lets one that can go on go on."""
        now = self.machine.now
        running = self._running
        due = [
            *(partial(self._turn, run) for run in self.keepers if run.process not in running and run.is_due(now)),
            *(partial(self._compute, engine) for engine in self.engines if engine.is_due(now)),
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
        """Nothing fails any more: every session that a host knows is brought to its end, and compared."""
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
            self._await(self._begin(self._call("continue" if answers else "status", sid, answers), 45.0))
        raise Violation(f"session {sid} never ends: {story}")

    def ask(self, kind: str, sid: str = "", query_id: str = "", *, wait_s: float = 45.0) -> Task:
        """Begins one call of a host."""
        if kind == "run":
            return self._begin(Call(kind, program=self.programs[0]), wait_s)
        answers = (Answer(query_id, f"play {query_id}"),) if query_id else ()
        return self._begin(self._call(kind, sid, answers), wait_s)

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
        self._running.clear()
        self._drop_calls(lambda task: True)

    def content(self, sid: str) -> bytes | None:
        for path in (HOME.journal(sid), HOME.finished_journal(sid)):
            if (file := self.disk.files.get(str(path))) is not None:
                return bytes(file.cache)
        return None

    # ── hosts ─────────────────────────────────────────────────────────────────────────────────────────────

    def _think(self) -> Call:
        """What a host does next."""
        rng, stories = self.rng, self.book.stories
        if self._started < len(self.programs) and (not stories or rng.random() < 0.2):
            self._started += 1
            return Call("run", program=self.programs[self._started - 1])
        if not stories:
            self._started = 0
            return self._think()
        sid = rng.choice(list(stories))
        story = stories[sid]
        kind = rng.random()
        if kind < 0.25 or not story.shown:
            return self._call("status", sid)
        if kind < 0.27:
            return self._call("hibernate", sid)
        if kind < 0.275:
            return self._call("cancel", sid)
        return self._call("continue", sid, self._answers(story))

    def _answers(self, story: Story) -> tuple[Answer, ...]:
        """Mostly what waits; also what was answered before, by this text or another, what nobody asked, or no id."""
        rng = self.rng
        kind = rng.random()
        if kind < 0.7 and story.pending:
            chosen = story.pending[: rng.randrange(1, len(story.pending) + 1)]
        elif kind < 0.97:
            chosen = rng.sample(list(story.shown), rng.randrange(1, len(story.shown) + 1))
        else:
            chosen = ["q-99"]
        answers = []
        for query_id in chosen:
            before = story.sent.setdefault(query_id, [])
            text = rng.choice(before) if before and rng.random() < 0.6 else f"{query_id} a{len(before)}"
            before.append(text)
            named = query_id if rng.random() < 0.93 else None
            answers.append(Answer(named, refuse=text) if text.endswith("3") else Answer(named, text))
        return tuple(answers)

    def _call(self, kind: str, sid: str, answers: tuple[Answer, ...] = ()) -> Call:
        story = self.book.stories.get(sid) or Story([])
        return Call(kind, sid, answers, story.program, frozenset(story.acknowledged), story.end is not None)

    def _begin(self, call: Call, wait_s: float) -> Task:
        server = self.rng.choice(self.servers)
        pool = server.pool
        work: Any
        if call.kind == "run":
            work = dispatch.run_via_pool(pool, Strategy(json.dumps(call.program)), wait_s=wait_s)
        elif call.kind == "continue":
            work = dispatch.continue_via_pool(pool, call.sid, call.answers, wait_s=wait_s)
        elif call.kind == "status":
            work = dispatch.status_via_pool(pool, call.sid, wait_s=wait_s)
        else:
            work = dispatch.stop_via_pool(pool, call.sid, call.kind)  # type: ignore[arg-type]
        task = Task(server.process, work)
        self.tasks.append((task, call))
        return task

    def _resume(self, task: Task, call: Call) -> None:
        self._running.add(task.process)
        self.machine.run(task.process, self.loop.resume, task)
        self._running.discard(task.process)
        if task.is_over:
            self.tasks = [each for each in self.tasks if each[0] is not task]
            if task.process.is_alive:
                self.book.heard(call, task.outcome)
        self._replace_servers()

    def _drop_calls(self, is_chosen: Callable[[Task], bool]) -> None:
        for task, _ in self.tasks:
            if is_chosen(task) and task.process not in self._running:
                self._running.add(task.process)
                self.machine.run(task.process, self.loop.drop, task)
                self._running.discard(task.process)
        self.tasks = [each for each in self.tasks if not each[0].is_over]

    # ── servers ───────────────────────────────────────────────────────────────────────────────────────────

    def _server(self) -> "Server":
        return Server(self.machine.boot("server", {}))

    def _replace_servers(self) -> None:
        if not all(server.process.is_alive for server in self.servers):
            self._drop_calls(lambda task: not task.process.is_alive)
            self.servers = [each if each.process.is_alive else self._server() for each in self.servers]

    async def spawn_worker(self, home: Home, sid: str, *, journal_fd: int, listener: Socket, **more: object) -> int:
        machine = self.machine
        machine.call()
        held = machine.find(journal_fd), machine.find(listener.fileno())
        failing = self.rng.random() < machine.failing_forks
        pid = 0 if failing else self._bear(sid, held)
        machine.close(journal_fd)
        listener.close()
        if failing:
            raise SpawnFailed if self.rng.random() < 0.5 else OSError(11, "Resource temporarily unavailable")
        return pid

    def _bear(self, sid: str, held: tuple[Any, Any]) -> int:
        number = len(self.machine.processes)
        process = self.machine.boot(f"keeper {number} of {sid}", {"ALC_ENV_ALLOW": "WORD", "WORD": f"w{number}"})
        if any(run.sid == sid and run.process.is_alive for run in self.keepers):
            raise Violation(f"{sid} has two keepers")
        fds = self.machine.give(held[0], process), self.machine.give(held[1], process)
        self.keepers.append(KeeperRun(process, sid, fds))
        self.counts["workers"] += 1
        return process.pid

    # ── workers ───────────────────────────────────────────────────────────────────────────────────────────

    def poll(self) -> Poll:
        """Made by a keeper that begins."""
        (run,) = [run for run in self.keepers if run.process is self.machine.current]
        run.poll = Poll(self.machine)
        return run.poll

    def _turn(self, run: KeeperRun) -> None:
        self._running.add(run.process)
        self.machine.run(run.process, self._turn_inside, run)
        self._running.discard(run.process)
        self._reap()

    def _turn_inside(self, run: KeeperRun) -> None:
        """As keeper.keep does it."""
        status = 0
        try:
            if run.keeper is None:
                try:
                    spare = self.spawn_engine({}, PRELOADED.limits)
                except OSError:
                    spare = None
                run.keeper = Keeper(run.sid, *run.fds, PRELOADED, spare)  # type: ignore[arg-type]
            if run.keeper.turn():
                return
        except StorageBroken:
            status = 1
        except Exception as exc:
            raise Violation(f"a keeper raised {exc!r}") from exc
        self.machine.kill(run.process, status << 8)

    def _reap(self) -> None:
        if not all(run.process.is_alive for run in self.keepers):
            self.keepers = [run for run in self.keepers if run.process.is_alive]
        if not all(engine.process.is_alive for engine in self.engines):
            self.engines = [engine for engine in self.engines if engine.process.is_alive]

    def spawn_engine(self, runtimes: object, limits: Limits) -> tuple[int, Socket]:
        machine = self.machine
        machine.call()
        if self.rng.random() < machine.failing_forks:
            raise OSError(12, "Cannot allocate memory")
        process = machine.boot(f"engine of {machine.current.name}", {})
        machine.current.children.append(process)
        near, far = pair(machine.current, process)
        machine.give(far, process)
        self.engines.append(EngineRun(process, far))
        return process.pid, Socket(machine, machine.give(near, machine.current))

    def _compute(self, engine: EngineRun) -> None:
        """It hears one line, or says one."""
        stream = engine.stream
        if not stream.peer.is_open:
            self.machine.kill(engine.process, 0)
        elif engine.is_waiting:
            line, _, rest = bytes(stream.inbox).partition(b"\n")
            stream.inbox[:] = rest
            said = messages.decode(line)
            if engine.talk is None:
                engine.talk = strategies.perform(strategies.program_of(said), self._whim)
            else:
                engine.heard = said
                self.heard_by_engines.append(said)
            engine.is_waiting = False
        else:
            assert engine.talk is not None
            message = strategies.next_message(engine.talk, engine.heard)
            engine.heard = None
            engine.is_waiting = not strategies.is_one_way(message)
            stream.peer.inbox += messages.encode(message)
            if message["op"] == "end":
                self.machine.kill(engine.process, 0)
        self._reap()

    def _whim(self) -> int:
        self.whims += 1
        return self.whims

    def module(self, path: object, chunk: str, most_bytes: int) -> dict[str, Any] | None:
        """Installed, gone, or changed, as the day may be."""
        chosen = self.rng.random()
        if chosen < 0.3:
            return None
        return {"result": {"source": f"return {int(chosen * 10)}", "chunk": chunk}}

    # ── faults ────────────────────────────────────────────────────────────────────────────────────────────

    def _set_faults(self) -> None:
        for name in self.faults:
            if name.startswith("disk_"):
                call = name.removeprefix("disk_")
                self.disk.errors[call] = _DISK_ERRORS[call]
        self.machine.is_tearing = "tear" in self.faults
        self.machine.failing_forks = 0.2 if "no_fork" in self.faults else 0.0
        if "preempt" in self.faults:
            self.machine.preempt = self._preempt

    def _preempt(self) -> None:
        """Somebody else runs between two calls of the one that runs."""
        if not self._is_nested and self.rng.random() < 0.05:
            self._is_nested = True
            try:
                self.act()
            finally:
                self._is_nested = False

    def _kill_keeper(self) -> None:
        if self.keepers:
            self.machine.kill(self.rng.choice(self.keepers).process)
            self._reap()

    def _doom_keeper(self) -> None:
        """Killed at one of its next calls, whatever that is."""
        if self.keepers:
            self.rng.choice(self.keepers).process.doom = self.rng.randrange(40)

    def _kill_engine(self) -> None:
        busy = [engine for engine in self.engines if engine.is_computing]
        if engines := busy if busy and self.rng.random() < 0.7 else self.engines:
            self.machine.kill(self.rng.choice(engines).process, self.rng.choice((9, 11, 24)))
            self._reap()

    def _kill_server(self) -> None:
        self.machine.kill(self.rng.choice(self.servers).process)
        self._replace_servers()

    def _doom_server(self) -> None:
        self.rng.choice(self.servers).process.doom = self.rng.randrange(40)

    def _cut(self) -> None:
        self.machine.cut()
        self._reap()
        self._replace_servers()
        for sid in self.book.stories:
            self.book.check_disk(sid, self.content(sid))

    def _cancel_call(self) -> None:
        if self.tasks:
            chosen = self.rng.choice(self.tasks)[0]
            self._drop_calls(lambda task: task is chosen)

    def _hibernate(self) -> None:
        """SIGTERM."""
        if self.keepers and (keeper := self.rng.choice(self.keepers).keeper) is not None:
            keeper.is_asked_to_leave = True

    def _pass_time(self) -> None:
        self.machine.now += self.rng.choice((0.5, 3.0, 50.0, 700.0))

    def _jump(self) -> None:
        self.machine.wall_s += self.rng.choice((-86_400.0, -3600.0, -1.0, 1.0, 3600.0, 86_400.0))

    def _fill(self) -> None:
        full = self.disk.free_bytes is None or self.rng.random() < 0.4
        self.disk.free_bytes = self.rng.randrange(300) if full else None

    def _fail_behind(self) -> None:
        """A write in the background fails: whoever flushes next is told, once."""
        for file in self.disk.files.values():
            if file.dirty:
                self.disk.fail(file)

    def _nothing(self) -> None:
        """A fault that strikes by itself, at its rate."""


class Server:
    def __init__(self, process: Process) -> None:
        self.process = process
        self.pool = SimulatedPool()


_FAULTS: dict[str, Callable[[World], None]] = {
    "kill_keeper": World._kill_keeper,
    "doom_keeper": World._doom_keeper,
    "kill_engine": World._kill_engine,
    "kill_server": World._kill_server,
    "doom_server": World._doom_server,
    "cut": World._cut,
    "cancel_call": World._cancel_call,
    "hibernate": World._hibernate,
    "pass_time": World._pass_time,
    "jump": World._jump,
    "fill": World._fill,
    "fail_behind": World._fail_behind,
    "write_back": lambda world: world.disk.write_back(),
    "tear": World._nothing,
    "preempt": World._nothing,
    "no_fork": World._nothing,
    **{f"disk_{call}": World._nothing for call in _DISK_ERRORS},
}


def play(first: int, count: int) -> Counter[str]:
    """The schedules of these seeds; returns what happened in them. Raises Violation, which names the seed."""
    happened: Counter[str] = Counter()
    before = gc.get_threshold()
    gc.set_threshold(_COLLECTED_AT)
    try:
        for seed in range(first, first + count):
            world = World(seed).run()
            happened.update(world.counts)
            happened.update(world.book.counts)
    finally:
        gc.set_threshold(*before)
    return happened
