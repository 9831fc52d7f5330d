"""Processes of the engines of one session, at most one per stream, and the replays that some of them go through.

Contract: knows streams by name and nothing of records. An engine is in `by_stream` from its start until it is dropped
or retired; a dropped engine is unwatched, killed and reaped, a retired one is killed and reaped by `stop`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from algocline_mcp.errors import AlcError, HomeUnusable
from algocline_mcp.protocol import messages as protocol
from algocline_mcp.session.records import Record
from algocline_mcp.session.streams import MAIN
from algocline_mcp.worker.engine.preload import Preloaded
from algocline_mcp.worker.engine.process import Spawned, spawn_engine
from algocline_mcp.worker.keeper.connections import Engine
from algocline_mcp.worker.keeper.replay import Diverged, Replay


class Engines:
    def __init__(
        self,
        preloaded: Preloaded,
        spare: Spawned | None,
        *,
        watch: Callable[[Engine], None],
        unwatch: Callable[[Engine], None],
    ) -> None:
        """`spare`: an engine that was spawned already and waits for its start. `watch`: poll the engine's socket;
        called again when something is left to write."""
        self.by_stream: dict[str, Engine] = {}
        self.divergences: dict[str, Diverged] = {}  # by stream: of a first replay, until the stream pauses
        self._replays: dict[str, Replay] = {}  # by stream: of engines that may not have come to the journal's end
        self._retired: list[Engine] = []  # of the strategy itself: at most one
        self._limits = preloaded.limits
        self._runtimes = preloaded.runtimes
        self._confinement = preloaded.confinement
        self._spare = spare
        self._is_awaited = True
        self._watch = watch
        self._unwatch = unwatch

    # ── observing ─────────────────────────────────────────────────────────────────────────────────────────

    # The poll loop asks several times a turn, mostly about one engine: a plain loop costs a third of a generator.

    @property
    def computing(self) -> int:
        """How many engines compute."""
        count = 0
        for engine in self.by_stream.values():
            count += engine.is_computing
        return count

    @property
    def is_replaying(self) -> bool:
        """An engine has not come to where the journal ends, and may never come there."""
        return bool(self._replays) and any(
            stream in self.by_stream and not replay.is_over(stream) for stream, replay in self._replays.items()
        )

    @property
    def due(self) -> float | None:
        """When a pending call is due next, or a look at an engine that computes, monotonic."""
        due = math.inf
        for engine in self.by_stream.values():
            if engine.pending_call is not None:
                due = min(due, engine.pending_call.retry_at)
            elif engine.is_computing:
                due = min(due, engine.sample_at, engine.ends_at)
            elif engine.is_waiting:
                due = min(due, engine.wakes_at)
        return None if due == math.inf else due

    @property
    def is_asleep(self) -> bool:
        """No engine computes, and a timer will let one go on."""
        return not self.computing and any(engine.wakes_at < math.inf for engine in self.by_stream.values())

    @property
    def is_driven_by_timers(self) -> bool:
        """Every engine that computes was woken by a timer."""
        return all(engine.is_woken for engine in self.by_stream.values() if engine.is_computing)

    def is_current(self, engine: Engine) -> bool:
        """It was not dropped."""
        return self.by_stream.get(engine.stream) is engine

    def replay_of(self, engine: Engine) -> Replay | None:
        return self._replays.get(engine.stream)

    # ── starting and ending ───────────────────────────────────────────────────────────────────────────────

    def start(self, stream: str, start: Record, replay: Replay | None) -> None:
        """Spawns an engine, or takes the spare one, and sends its start. Raises AlcError where no process is left, or
        where the kernel lacks a layer that ALC_SANDBOX=strict, or the language, needs, or a setting is wrong."""
        self._confinement.sandbox.require(start["language"])
        runtime = self._runtimes.get(start["language"])  # None in a simulation
        if runtime is not None and runtime.problem is not None:
            raise AlcError(f"{runtime.problem}; then restart this server", code=HomeUnusable.code)
        try:
            pid, sock = self._spare or self._spawn(start)
        except OSError as exc:
            sentence = f"cannot start an engine: {exc.strerror}; free memory or processes, then ask again"
            raise AlcError(sentence, code="no_process") from exc
        self._spare = None
        if replay is not None:
            self._replays[stream] = replay
        silent_s = self._limits.engine_silent_s
        engine = Engine(pid, sock, self._limits.line_bytes, stream=stream, silent_s=silent_s)
        engine.undelivered = replay.undelivered(stream) if replay is not None else {}
        self.by_stream[stream] = engine
        engine.begin_step(self._limits.step_cpu_s, self._alone_s)
        engine.send_start(protocol.encode(start))
        self._watch(engine)

    def _spawn(self, start: Record) -> Spawned:
        """With the memory that a child of alc.fork may use: in Python the kernel's limit is the only one."""
        self._runtimes.get(start["language"])  # prepared before the fork: an engine can open no file
        heap_bytes = start.get("heap_bytes")
        limits = self._limits if heap_bytes is None else replace(self._limits, heap_bytes=heap_bytes)
        return spawn_engine(self._runtimes, limits, self._confinement)

    def end_spare(self) -> None:
        """Ends the spare engine if no stream needed it."""
        if self._spare is not None:
            Engine(*self._spare, self._limits.line_bytes, stream=MAIN).kill()
            self._spare = None

    def retire(self, engine: Engine) -> None:
        """For an engine that has sent its last line and rests: `stop` kills and reaps it, after the reply."""
        self.by_stream.pop(engine.stream, None)
        self._replays.pop(engine.stream, None)
        self._unwatch(engine)
        self._retired.append(engine)

    def drop(self, engine: Engine) -> str:
        """Returns how the engine ended."""
        self.by_stream.pop(engine.stream, None)
        self._replays.pop(engine.stream, None)
        self._unwatch(engine)
        return engine.kill()

    def stop(self) -> None:
        for engine in list(self.by_stream.values()):
            self.drop(engine)
        while self._retired:
            self._retired.pop().kill()

    # ── processor time ────────────────────────────────────────────────────────────────────────────────────

    @property
    def _alone_s(self) -> int | None:
        return None if self._is_awaited else self._limits.step_cpu_alone_s

    def set_awaited(self, is_awaited: bool) -> None:
        """Whether a call waits. An endless loop must not burn the whole time of a step after everybody has left."""
        if is_awaited == self._is_awaited:
            return
        self._is_awaited = is_awaited
        for engine in self.by_stream.values():
            if engine.is_computing:
                engine.limit_cpu(self._alone_s)

    # ── pausing and going on ──────────────────────────────────────────────────────────────────────────────

    def pause(self, engine: Engine, query_ids: list[str], answers: dict[str, Record]) -> None:
        """It is where the journal ends, and computes no more for now. `answers`: those that its prompt has already."""
        engine.pause(query_ids, answers)
        self._end_replay(engine)

    def wait(self, engine: Engine, wake_s: float | None) -> None:
        """As `pause`, for a wait for any answer, whose timer fires in `wake_s` seconds."""
        engine.wait(wake_s)
        self._end_replay(engine)

    def _end_replay(self, engine: Engine) -> None:
        self._replays.pop(engine.stream, None)
        self.divergences.pop(engine.stream, None)

    def resume(self, engine: Engine, reply: Record, *, is_woken: bool = False) -> None:
        """Begins a new step with the reply that the engine waits for. `is_woken`: by its timer."""
        engine.is_woken = is_woken
        engine.begin_step(self._limits.step_cpu_s, self._alone_s)
        self.reply(engine, reply)

    def reply(self, engine: Engine, reply: Record) -> None:
        """Answers a message within a step."""
        engine.send(protocol.encode(reply))
        if engine.has_output:  # longer than the socket holds; the event may be a client's, so the loop does not see it
            self._watch(engine)

    def hand_out(self, answers: Sequence[tuple[str, Record]]) -> None:
        """Hands recorded answers, each with its stream, to the engines; resumes those whose prompt is complete. What is
        for a wait is kept until its delivery."""
        for stream, item in answers:
            reply = self.by_stream[stream].add_answer(item)
            if reply is not None:
                self.resume(self.by_stream[stream], reply)
