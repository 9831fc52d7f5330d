"""Schedules of arrivals, answers, deaths and pauses against the rules of admission, all from one seed.

Real are the decisions: `plan_eviction`, `Burst` and the workers' `QuietPeriod`. Simulated is what they decide about.
The promises: no more workers than the cap, no session evicted that computes or that a call of the same server is under
way to, every call gets its place, and a burst is over `burst_s` after the last call, with servers or without.
"""

from collections import Counter
from dataclasses import dataclass, field
from random import Random

from algocline_mcp.config.limits import Limits
from algocline_mcp.pool.admission_plan import Admit, Burst, Evict, Inspect, Plan, Worker, plan_eviction
from algocline_mcp.worker.keeper.quiet import QuietPeriod, Stay
from tests.sim.machine import Violation

_CALM_ROUNDS = 10_000


@dataclass
class Live:
    changed: float
    quiet: QuietPeriod
    is_paused: bool = True


@dataclass
class Server:
    burst: Burst = field(default_factory=Burst)
    calls: Counter[str] = field(default_factory=Counter)
    trim: "Asking | None" = None


@dataclass
class Asking:
    """A call to a session, or (without one) the look of a server for old workers. What it has learnt is its own."""

    server: Server
    sid: str = ""
    paused: dict[str, bool] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)


class Crowd:
    def __init__(self, seed: int) -> None:
        self.seed, self.rng = seed, Random(seed)
        self.now = 1000.0
        pool_max = self.rng.randrange(1, 4)
        pool_burst = pool_max + self.rng.choice((0, 0, 1, 3))
        self.limits = Limits(pool_max=pool_max, pool_burst=pool_burst, burst_s=30.0, idle_s=600.0)
        self.servers = [Server(), Server()]
        self.sessions: dict[str, float] = {}  # last change of each journal
        self.live: dict[str, Live] = {}
        self.calls: list[Asking] = []
        self.counts: Counter[str] = Counter()

    def run(self) -> "Crowd":
        """Raises Violation, whose message ends with the seed."""
        try:
            for _ in range(self.rng.randrange(50, 300)):
                self.step()
            self.calm()
        except Violation as exc:
            raise Violation(f"{exc} [seed {self.seed}]") from exc
        return self

    def step(self) -> None:
        actions = (self.arrive, self.arrive, self.advance, self.advance, self.advance, self.pause, self.pause)
        rare = (self.die, self.lose_server, lambda: self.sleep(self.rng.choice((0.5, 5.0, 29.0, 31.0, 700.0))))
        self.rng.choice(rare if self.rng.random() < 0.1 else actions)()
        self.sleep(0.001)

    def calm(self) -> None:
        """Every call comes to its end, then the servers are gone and the burst ends by itself."""
        for _ in range(_CALM_ROUNDS):
            if not self.calls:
                break
            self.advance()
            self.pause()
            self.sleep(0.001)
        else:
            raise Violation(f"{len(self.calls)} calls never get a place")
        while any(not worker.is_paused for worker in self.live.values()):
            self.pause()
        for server in self.servers:
            server.trim = None
        self.sleep(self.limits.burst_s)
        if len(self.live) > self.limits.pool_max:
            raise Violation(f"{len(self.live)} workers are left of a burst")

    # ── what happens ──────────────────────────────────────────────────────────────────────────────────────

    def arrive(self) -> None:
        """A call, to a new session or to one that is there."""
        if len(self.calls) >= 8:
            return
        sid = self.rng.choice([*self.sessions, f"s-{len(self.sessions)}"])
        self.sessions.setdefault(sid, self.now)
        server = self.rng.choice(self.servers)
        server.calls[sid] += 1
        self.calls.append(Asking(server, sid))

    def advance(self) -> None:
        """One decision of a call, or of a server that looks for old workers."""
        trims = [server.trim for server in self.servers if server.trim is not None]
        if not self.calls and not trims:
            return
        asking = self.rng.choice([*self.calls, *trims])
        if not asking.sid:
            self._trim(asking)
        elif asking.sid in self.live:
            self._answer(asking)
        elif self._has_place(asking):
            worker = Live(self.sessions[asking.sid], QuietPeriod(self.now))
            self.live[asking.sid] = worker
            cap = asking.server.burst.cap(self.limits, self.now)
            if len(self.live) > cap:
                raise Violation(f"{len(self.live)} workers live, the cap is {cap}")

    def _answer(self, asking: Asking) -> None:
        """The worker takes the answer and computes."""
        worker = self.live[asking.sid]
        worker.is_paused = False
        worker.quiet.end(self.now)
        worker.changed = self.sessions[asking.sid] = self.now
        self.calls.remove(asking)
        asking.server.calls[asking.sid] -= 1
        self.counts["answered"] += 1

    def _has_place(self, asking: Asking) -> bool:
        others = len(self.live)
        if others < self.limits.pool_max:
            return True
        cap = asking.server.burst.cap(self.limits, self.now)
        if others < cap:
            if asking.server.burst.take_trim(self.now):
                asking.server.trim = Asking(asking.server)
            return True
        plan = plan_eviction(self._facts(asking), cap, 0.0, wait_until=1.0, ask_until=1.0)
        if not self._perform(asking, plan):
            asking.paused.clear()  # it waits a moment, then looks again
            asking.asked.clear()
        return isinstance(plan, Admit)

    def _trim(self, asking: Asking) -> None:
        old_s = self.now - self.limits.burst_s
        plan = plan_eviction(
            self._facts(asking),
            self.limits.pool_max + 1,
            1.0,
            wait_until=1.0,
            ask_until=2.0,
            changed_before_s=old_s,
        )
        if not self._perform(asking, plan):
            asking.server.trim = None
            oldest = min((worker.changed for worker in self.live.values()), default=self.now)
            asking.server.burst.trimmed(self.now, oldest - old_s)

    def _facts(self, asking: Asking) -> list[Worker]:
        return [
            Worker(
                sid,
                worker.changed,
                is_paused=asking.paused.get(sid),
                is_asked=sid in asking.asked,
                is_called=bool(asking.server.calls[sid]),
            )
            for sid, worker in self.live.items()
        ]

    def _perform(self, asking: Asking, plan: Plan) -> bool:
        if isinstance(plan, Inspect):
            asking.paused[plan.key] = self.live[plan.key].is_paused
        elif isinstance(plan, Evict):
            asking.asked.add(plan.key)
            worker = self.live[plan.key]
            if asking.server.calls[plan.key]:
                raise Violation(f"{plan.key} is evicted on its way back for a call")
            self.counts["evicted" if worker.is_paused else "refused to leave"] += 1
            if worker.is_paused:  # else the worker refuses: it serves a call since its journal was read
                del self.live[plan.key]
        return isinstance(plan, Inspect | Evict)

    def pause(self) -> None:
        computing = [worker for worker in self.live.values() if not worker.is_paused]
        if computing:
            worker = self.rng.choice(computing)
            worker.is_paused = True
            worker.quiet.end(self.now)
            worker.changed = self.now
            self.sessions.update({sid: self.now for sid, one in self.live.items() if one is worker})

    def die(self) -> None:
        if self.live:
            del self.live[self.rng.choice(list(self.live))]

    def lose_server(self) -> None:
        dead = self.rng.randrange(2)
        self.calls = [asking for asking in self.calls if asking.server is not self.servers[dead]]
        self.servers[dead] = Server()

    def sleep(self, seconds: float) -> None:
        """Workers do what is due meanwhile, each at its moment."""
        end = self.now + seconds
        while (soonest := min(self._deadlines(), default=(end + 1, ""))) <= (end, "\xff"):
            self.now = max(self.now, soonest[0])
            self._decide(soonest[1])
        self.now = end

    def _deadlines(self) -> list[tuple[float, str]]:
        deadlines = []
        for sid, worker in self.live.items():
            if worker.is_paused:
                stay, at = worker.quiet.decide(self.now, self.limits, is_over=False)
                deadlines.append((self.now if stay is not Stay.WAIT or at is None else at, sid))
        return deadlines

    def _decide(self, sid: str) -> None:
        """As the keeper's loop does."""
        worker = self.live[sid]
        stay, _ = worker.quiet.decide(self.now, self.limits, is_over=False)
        if stay is Stay.LOOK:
            worker.quiet.has_looked = True
        if stay is Stay.LEAVE or (stay is Stay.LOOK and len(self.live) > self.limits.pool_max):
            self.counts["left by itself"] += 1
            del self.live[sid]


def play(first: int, count: int) -> Counter[str]:
    """The schedules of these seeds; returns what happened in them. Raises Violation, which names the seed."""
    happened: Counter[str] = Counter()
    for seed in range(first, first + count):
        happened.update(Crowd(seed).run().counts)
    return happened
