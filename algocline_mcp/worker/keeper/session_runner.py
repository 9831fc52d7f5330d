"""What a keeper keeps: the ledger of its session, and the engines that run it. Knows no client.

Contract: every change goes decide -> append -> evolve, in that order, so that the session in memory is always the
fold of the file. `flush` precedes whatever is told to anybody outside. An engine's message is served by the replay
while one is under way, else carried out, recorded and answered. Methods raise StorageBroken where what the disk
holds is unknown; any other StorageFailed stops the engine and stands in `step_error` until somebody asks again.
"""

import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from algocline_mcp.errors import AlcError, ProtocolError, StorageBroken, StorageFailed
from algocline_mcp.protocol import messages as protocol
from algocline_mcp.session import budget
from algocline_mcp.session.decisions import Decision, decide
from algocline_mcp.session.events import Asked, Continue, Died, Ended, Forked, HostEvent, Logged
from algocline_mcp.session.records import Record
from algocline_mcp.session.results import view
from algocline_mcp.session.state import Phase, Session
from algocline_mcp.session.streams import MAIN, fork_of
from algocline_mcp.storage import journal_lines
from algocline_mcp.storage.clock import now_s
from algocline_mcp.worker.engine import messages
from algocline_mcp.worker.engine.messages import Ask, Call, End, Fork, Log
from algocline_mcp.worker.engine.preload import Preloaded
from algocline_mcp.worker.engine.process import Spawned, spawn_engine
from algocline_mcp.worker.keeper import engine_start, session_errors
from algocline_mcp.worker.keeper.connections import Engine
from algocline_mcp.worker.keeper.effect_runner import EffectRunner
from algocline_mcp.worker.keeper.inherited import Inherited
from algocline_mcp.worker.keeper.journaled_session import JournaledSession
from algocline_mcp.worker.keeper.replay import Diverged, Outcome, Replay
from algocline_mcp.worker.lowlevel.failpoints import fail_point


@dataclass(frozen=True, slots=True)
class RunnerCallbacks:
    """What runner needs of the shell around it."""

    watch: Callable[[Engine], None]
    unwatch: Callable[[Engine], None]
    progress: Callable[[Record], None]


class SessionRunner:
    def __init__(
        self, sid: str, journal_fd: int, preloaded: Preloaded, shell: RunnerCallbacks, spare: Spawned | None
    ) -> None:
        """`spare`: an engine that was forked already and waits for its start."""
        self.limits = preloaded.limits
        self.shell = shell
        self.engines: dict[str, Engine] = {}
        self.fatal: Record | None = None  # why this journal cannot go on: not a record, the file stays as it is
        self.step_error: AlcError | None = None  # why the step stopped; asking again tries again
        self._replays: dict[str, Replay] = {}  # of the streams that may not have come to where the journal ends
        self._divergences: dict[str, Diverged] = {}
        self._journaled = JournaledSession(sid, preloaded.home, preloaded.limits)
        self._effects_runner = EffectRunner(self._journaled, preloaded, reply=self._reply, flush=self.flush)
        self._abis = preloaded.abis
        self._runtimes = preloaded.runtimes
        self._spare = spare
        self._load(journal_fd)
        if self._spare is not None:  # there is nothing to run
            self._engine(*self._spare).kill()

    # ── beginning ─────────────────────────────────────────────────────────────────────────────────────────

    def _load(self, journal_fd: int) -> None:
        try:
            records = self._journaled.adopt(journal_fd)
        except AlcError as exc:
            self.fatal = session_errors.unreadable(exc)
            return
        header = records[0]
        abi = self._abis.get(header.get("language", ""))
        if abi is None or header.get("format") != journal_lines.FORMAT or header["abi"] != abi:
            self.fatal = session_errors.needs_version(header, abi)
            return
        self.start_engines(records)

    @property
    def session(self) -> Session:
        return self._journaled.session

    def _missing(self) -> list[str]:
        """Streams that could go on but have no engine: it died while it waited, a step_error stopped it, or they are new."""
        if self.fatal is not None or self.session.phase is Phase.FINISHED:
            return []
        return [name for name, each in self.session.streams.items() if each.is_live and name not in self.engines]

    @property
    def needs_engine(self) -> bool:
        return bool(self._missing())

    def start_engines(self, records: Sequence[Record] | None = None) -> None:
        """Forks the engines that are missing and starts the replays that bring them to where the journal ends."""
        missing = self._missing()
        if not missing or not self._journaled.is_open:
            return
        self.step_error = None
        self._effects_runner.close()  # an engine inherits no lock
        if records is None and not all(name and self.session.streams[name].is_blank for name in missing):
            try:
                self._record_clocks()  # what is not recorded yet would be given twice
                records = self._journaled.records()
            except StorageBroken:
                raise
            except AlcError as exc:
                self.step_error = exc
                return
        if records is not None:
            self._replays |= dict.fromkeys(missing, Replay(records))
            self._effects_runner.carried = Inherited(records)
            self._effects_runner.given = budget.environ_of(records[0]["ctx"])
        for name in missing:
            try:
                pid, sock = self._spare or spawn_engine(self._runtimes, self.limits)
            except OSError as exc:
                sentence = f"cannot start an engine: {exc.strerror}; free memory or processes, then ask again"
                self.step_error = AlcError(sentence, code="no_process")
                return
            self._spare = None
            engine = self.engines[name] = self._engine(pid, sock, name)
            engine.begin_step(self.limits.step_cpu_s)
            engine.send_start(protocol.encode(self._start(name, records)))
            self.shell.watch(engine)

    def _engine(self, pid: int, sock: socket.socket, stream: str = MAIN) -> Engine:
        return Engine(pid, sock, self.limits.line_bytes, stream=stream)

    def _start(self, stream: str, records: Sequence[Record] | None) -> Record:
        if stream:
            return engine_start.of_child(self.session, stream, self.limits)
        assert records is not None  # read for it
        return engine_start.of_strategy(records[0])

    # ── what an engine says ───────────────────────────────────────────────────────────────────────────────

    @property
    def computing(self) -> int:
        return sum(engine.is_computing for engine in self.engines.values())

    @property
    def is_replaying(self) -> bool:
        """Nothing new may be decided: an engine is not yet where the journal ends, and may never come there."""
        return any(not replay.is_over(stream) for stream, replay in self._replays.items() if stream in self.engines)

    def hear(self, engine: Engine) -> None:
        """Reads once from an engine and does what it says; sees its death. Raises StorageBroken."""
        self._guarded(engine, self._listen)

    def _guarded(self, engine: Engine, act: Callable[[Engine], None]) -> None:
        try:
            act(engine)
        except Diverged as exc:
            self._diverged(engine, exc)
        except StorageBroken:
            raise
        except StorageFailed as exc:
            self.step_error = exc
            if self.engines.get(engine.stream) is engine:
                self._drop(engine)

    def _listen(self, engine: Engine) -> None:
        reason = None
        try:
            for line in engine.receive():
                self._serve(engine, messages.parse(line, json_depth=self.limits.json_depth))
                if self.engines.get(engine.stream) is not engine:
                    return
        except ProtocolError as exc:
            reason = str(exc)
        if (reason or not engine.is_open) and self.engines.get(engine.stream) is engine:
            self._lost(engine, reason)

    def _serve(self, engine: Engine, message: messages.Message) -> None:
        if not engine.is_computing or engine.pending_call is not None:
            raise ProtocolError("engine spoke while it should wait")
        ends_bytes = fork_of(self.session.streams, engine.stream).ends_bytes if engine.stream else 0
        if (sentence := messages.too_large(message, self.session.limits, ends_bytes=ends_bytes)) is not None:
            if not isinstance(message, End):
                self._reply(engine, {"error": sentence})
                return
            message = End({"error": sentence})
        served: Outcome | Record = Outcome.LIVE
        if (replay := self._replays.get(engine.stream)) is not None:
            served = replay.serve(engine.stream, message)
        if isinstance(served, dict):
            self._reply(engine, served)
        elif served is Outcome.OPEN:
            assert replay is not None
            self._come_through(engine, *replay.open_prompt(engine.stream))
        elif served is Outcome.LIVE:
            self._carry_out(engine, message)

    def _carry_out(self, engine: Engine, message: messages.Message) -> None:
        if isinstance(message, Call):
            self._effects_runner.run(engine, message)
            return
        self._effects_runner.record_clock(engine)
        match message:
            case Log(entry):
                self._journaled.record(Logged(engine.stream, entry))
                if "progress" in entry:
                    self.shell.progress(self._progress(engine.stream, entry["progress"]))
            case Ask(queries):
                if self._effects_runner.refuse_if_over_budget(engine, queries):
                    return
                (prompt,) = self._journaled.record(Asked(engine.stream, queries, now_s(), engine.spent_s))
                fail_point("prompt.recorded")
                self._wait(engine, [query["id"] for query in prompt["queries"]], {})
                self._share(self._effects_runner.carried.ask(prompt))
            case Fork():
                self._fork(engine, message)
            case End(outcome):
                self._journaled.record(Ended(engine.stream, outcome, now_s(), engine.spent_s))
                fail_point("final.recorded")
                self._drop(engine)
                self._go_on(engine.stream)

    # ── children ──────────────────────────────────────────────────────────────────────────────────────────

    def _fork(self, engine: Engine, fork: Fork) -> None:
        if self._effects_runner.is_fork_refused(engine, fork):
            return
        t, spent_s = now_s(), engine.spent_s
        self._journaled.record(Forked(engine.stream, fork.strategies, fork.ctx, fork.on_error, t, spent_s))
        fail_point("fork.recorded")
        self._wait(engine, [], {})
        self.start_engines()

    def _go_on(self, ended: str) -> None:
        """After the end of a child: others are dropped with it, get its turn, or have waited for it."""
        if not ended:
            return
        for engine in list(self.engines.values()):
            if self.session.streams[engine.stream].is_over:
                self._drop(engine)
        self.start_engines()
        parent = self.session.streams[ended].parent
        assert parent is not None
        waiting = self.engines.get(parent)
        if waiting is not None and not waiting.is_computing:
            self._join(waiting)

    def _join(self, engine: Engine) -> None:
        """A runtime that waits at a fork gets what its children returned, if that is over."""
        fork = self.session.streams[engine.stream].fork
        assert fork is not None
        if not fork.is_open:
            engine.begin_step(self.limits.step_cpu_s)
            self._reply(engine, fork.reply())

    def _progress(self, stream: str, progress: Record) -> Record:
        """As it is told while a call waits: one that a child reports says so."""
        if not stream:
            return progress
        strategy, message = self.session.streams[stream].strategy, progress["message"]
        return progress | {"message": f"{strategy}: {message}" if message else strategy}

    # ── what waits for other processes ────────────────────────────────────────────────────────────────────

    @property
    def due(self) -> float | None:
        """When `retry` has something to do next, monotonic."""
        return min(
            (engine.pending_call.retry_at for engine in self.engines.values() if engine.pending_call is not None),
            default=None,
        )

    def retry(self) -> None:
        """Tries again what other processes kept from being done. Raises StorageBroken."""
        now = time.monotonic()
        for engine in list(self.engines.values()):
            if engine.pending_call is not None and engine.pending_call.retry_at <= now:
                self._guarded(engine, self._effects_runner.retry_pending)

    def rest(self) -> None:
        """Nothing computes: a paused session holds no database open."""
        if not self.computing:
            self._effects_runner.close()

    def _reply(self, engine: Engine, reply: Record) -> None:
        engine.send(protocol.encode(reply))
        if engine.has_output:  # longer than the socket holds: nobody else asks for room, if it is a client's answer
            self.shell.watch(engine)

    def _wait(self, engine: Engine, query_ids: list[str], taken: dict[str, Record]) -> None:
        """It is where the journal ends, and computes no more for now."""
        engine.pause(query_ids, taken)
        self._replays.pop(engine.stream, None)
        self._divergences.pop(engine.stream, None)

    def _come_through(self, engine: Engine, query_ids: list[str], taken: dict[str, Record]) -> None:
        """A replay reached the open prompt or fork. If the session was stuck, and no other step is still to prove
        itself, a record says that it is so no longer."""
        self._wait(engine, query_ids, taken)
        if not query_ids:
            self._join(engine)
        if self.session.phase is Phase.STUCK and not self.computing:
            note = {"level": "info", "message": "tried again, and the step came through", "by": "keeper"}
            self._journaled.record(Logged(MAIN, note))
        self._share(
            self._effects_runner.carried.items(each for each in engine.query_ids if each in self.session.pending)
        )

    def _share(self, items: Sequence[Record]) -> None:
        """Answers of a branch's parent: recorded and delivered like a host's, before any host hears of the prompt."""
        if items:
            self._journaled.append({"kind": "answer", "answers": list(items), "t": now_s()})
            self._deliver(items)

    # ── the end of an engine ──────────────────────────────────────────────────────────────────────────────

    def _lost(self, engine: Engine, reason: str | None = None) -> None:
        """An engine died, or broke the protocol and is killed. While it computed, this is a strike."""
        was_computing = engine.is_computing
        how = self._drop(engine)
        if not was_computing:
            return  # replaced when somebody answers: one that dies while it waits must not be revived for ever
        self._journaled.record(Died(engine.stream, reason or how, now_s()))
        if self.session.phase is Phase.STUCK:
            self.stop()  # the others go on when the step is tried again
        else:
            self.start_engines()

    def _drop(self, engine: Engine) -> str:
        self.engines.pop(engine.stream, None)
        self._replays.pop(engine.stream, None)
        self.shell.unwatch(engine)
        return engine.kill()

    def _diverged(self, engine: Engine, divergence: Diverged) -> None:
        """Once may be chance: a second replay tells whether the code changed or depends on what is not recorded."""
        self._drop(engine)
        first = self._divergences.setdefault(engine.stream, divergence)
        if first is divergence:
            self.start_engines()
            return
        self.stop()
        self.fatal = session_errors.diverged(first, divergence)

    def stop(self) -> None:
        for engine in list(self.engines.values()):
            self._drop(engine)

    # ── what a host asks ──────────────────────────────────────────────────────────────────────────────────

    def apply(self, event: HostEvent) -> Decision:
        """Decides, records, hands the answers on to the engines. Raises StorageFailed; then nothing was taken."""
        decision = decide(self.session, event)
        if not decision.records:
            return decision
        if isinstance(event, Continue):
            self._journaled.extend(decision.records)
            fail_point("answer.recorded")
            self._deliver(decision.records[0]["answers"])
        else:
            self.stop()
            self._journaled.extend(decision.records)
        return decision

    def _deliver(self, items: Sequence[Record]) -> None:
        by_query = {query_id: engine for engine in self.engines.values() for query_id in engine.query_ids}
        for item in items:
            engine = by_query[item["id"]]
            reply = engine.add_answer(item)
            if reply is not None:
                engine.begin_step(self.limits.step_cpu_s)
                self._reply(engine, reply)

    # ── records ───────────────────────────────────────────────────────────────────────────────────────────

    def flush(self) -> None:
        """Before anything is told: on return all that was recorded is on the disk. Raises StorageFailed.

        A journal that is in fatal stays as it is, without even a mark, until somebody cancels the session.
        """
        if not self._journaled.is_open or (self.fatal is not None and self.session.final is None):
            return
        self._record_clocks()
        self._journaled.flush()

    def _record_clocks(self) -> None:
        for engine in self.engines.values():
            self._effects_runner.record_clock(engine)

    def feed(self, *, is_accepted: bool = False) -> Record:
        """The feed result for the host. During a replay nothing is known yet: it may diverge."""
        if self.is_replaying:
            return {"Running": {}}
        if self.fatal is not None and self.session.final is None:
            return {"Stuck": self.fatal}
        return view(self.session, now_s=now_s(), computing=self.computing, accepted=is_accepted)

    def retire(self) -> None:
        """Moves the journal of a finished session to where finished ones lie, then removes its marks."""
        if self._journaled.is_open:
            self._journaled.retire()
            self._effects_runner.forget()
        self._effects_runner.close()
