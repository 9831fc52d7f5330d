"""Workers of a schedule: real keepers, and simulated engines that run the little programs of `strategies`."""

from random import Random
from typing import Any

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import StorageBroken
from algocline_mcp.pool.spawn import SpawnFailed
from algocline_mcp.protocol import messages
from algocline_mcp.session.records import Record
from algocline_mcp.worker.confinement.confinement import UNCONFINED, Confinement
from algocline_mcp.worker.keeper.poll_loop import Keeper
from tests.sim import strategies
from tests.sim.machine import Machine, Process, Stream, Violation, pair
from tests.sim.sockets import Poll, Socket
from tests.sim.system import PRELOADED, Spawner


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


class Workers(Spawner):
    def __init__(self, rng: Random, machine: Machine) -> None:
        self.rng = rng
        self.machine = machine
        self.keepers: list[KeeperRun] = []
        self.engines: list[EngineRun] = []
        self.running: set[Process] = set()  # inside a call just now
        self.spawned = 0
        self.whims = 0
        self.heard_by_engines: list[Record] = []

    async def spawn_worker(self, home: Home, sid: str, *, journal_fd: int, listener: Socket, **more: object) -> int:
        machine = self.machine
        machine.call()
        held = machine.find(journal_fd), machine.find(listener.fileno())
        failing = self.rng.random() < machine.failing_forks
        pid = 0 if failing else self._spawn_keeper(sid, held)
        machine.close(journal_fd)
        listener.close()
        if failing:
            raise SpawnFailed if self.rng.random() < 0.5 else OSError(11, "Resource temporarily unavailable")
        return pid

    def _spawn_keeper(self, sid: str, held: tuple[Any, Any]) -> int:
        number = len(self.machine.processes)
        process = self.machine.boot(f"keeper {number} of {sid}", {"ALC_ENV_ALLOW": "WORD", "WORD": f"w{number}"})
        if any(run.sid == sid and run.process.is_alive for run in self.keepers):
            raise Violation(f"{sid} has two keepers")
        fds = self.machine.give(held[0], process), self.machine.give(held[1], process)
        self.keepers.append(KeeperRun(process, sid, fds))
        self.spawned += 1
        return process.pid

    def poll(self) -> Poll:
        """For a keeper that begins."""
        (run,) = [run for run in self.keepers if run.process is self.machine.current]
        run.poll = Poll(self.machine)
        return run.poll

    def turn(self, run: KeeperRun) -> None:
        """One turn of a keeper's loop."""
        self.running.add(run.process)
        self.machine.run(run.process, self._turn_inside, run)
        self.running.discard(run.process)
        self.reap()

    def _turn_inside(self, run: KeeperRun) -> None:
        """As `keep` of keeper/main.py does."""
        status = 0
        try:
            if run.keeper is None:
                try:
                    spare = self.spawn_engine({}, PRELOADED.limits, UNCONFINED)
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

    def reap(self) -> None:
        """Forgets the dead."""
        if not all(run.process.is_alive for run in self.keepers):
            self.keepers = [run for run in self.keepers if run.process.is_alive]
        if not all(engine.process.is_alive for engine in self.engines):
            self.engines = [engine for engine in self.engines if engine.process.is_alive]

    def spawn_engine(self, runtimes: object, limits: Limits, confinement: Confinement) -> tuple[int, Socket]:
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

    def compute(self, engine: EngineRun) -> None:
        """Reads one line, or sends one."""
        stream = engine.stream
        if not stream.peer.is_open:
            self.machine.kill(engine.process, 0)
        elif engine.is_waiting:
            line, _, rest = bytes(stream.inbox).partition(b"\n")
            stream.inbox[:] = rest
            reply = messages.decode(line)
            if engine.talk is None:
                engine.talk = strategies.perform(strategies.program_of(reply), self._whim)
            else:
                engine.heard = reply
                self.heard_by_engines.append(reply)
            engine.is_waiting = False
        else:
            assert engine.talk is not None
            message = strategies.next_message(engine.talk, engine.heard)
            engine.heard = None
            engine.is_waiting = not strategies.is_one_way(message)
            stream.peer.inbox += messages.encode(message)
            if message["op"] == "end":
                self.machine.kill(engine.process, 0)
        self.reap()

    def _whim(self) -> int:
        self.whims += 1
        return self.whims

    def module(self, path: object, chunk: str, max_bytes: int) -> dict[str, Any] | None:
        """A module that is installed, gone or changed, by chance."""
        chosen = self.rng.random()
        if chosen < 0.3:
            return None
        return {"result": {"source": f"return {int(chosen * 10)}", "chunk": chunk}}
