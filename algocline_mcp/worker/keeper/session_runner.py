"""Runs one session: its journal, and the engines that compute it. Knows no client.

Contract: every change is decided, appended and folded, in that order, so that the session in memory is always the fold
of the file. `flush` precedes every reply that leaves this process. Methods raise StorageBroken where the disk's content
is unknown; any other StorageFailed stops the engine and stands in `step_error` until a request tries again.

Death of an engine. While it computed, its death is a strike: it is recorded, and the step is tried again until the
session is stuck. So is a breach of the protocol at any time: an engine that talks while it waits was started again and
again for each answer, 300 times a second, and none was taken. An engine that dies while it waits is replaced only when
an answer comes: an engine that dies at every pause must not be started for ever. A replay that diverges is tried once
more, because the first time may be chance; the second time is `fatal`, and the difference between both tells the likely
cause.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from algocline_mcp.errors import AlcError, ProtocolError, StorageBroken, StorageFailed
from algocline_mcp.session import budget
from algocline_mcp.session.decisions import Decision, decide
from algocline_mcp.session.events import Continue, Died, HostEvent
from algocline_mcp.session.records import CPU_USED_UP, Record, json_depth_of
from algocline_mcp.session.results import running, view
from algocline_mcp.session.state import Phase, Session
from algocline_mcp.storage import journal_lines
from algocline_mcp.storage.clock import now_s
from algocline_mcp.worker.engine import messages
from algocline_mcp.worker.engine.preload import Preloaded
from algocline_mcp.worker.engine.process import Spawned
from algocline_mcp.worker.keeper import engine_start, session_errors
from algocline_mcp.worker.keeper.connections import WALL_PER_CPU, Engine
from algocline_mcp.worker.keeper.effect_runner import EffectRunner
from algocline_mcp.worker.keeper.engines import Engines
from algocline_mcp.worker.keeper.journaled_session import Content, JournaledSession
from algocline_mcp.worker.keeper.message_runner import MessageRunner
from algocline_mcp.worker.keeper.node_journal import NodeJournal
from algocline_mcp.worker.keeper.replay import Diverged

_REASON_CHARS = 300  # of a breach: the sentence names what the engine sent


@dataclass(frozen=True, slots=True)
class RunnerCallbacks:
    """What a session runner needs of the poll loop."""

    watch: Callable[[Engine], None]  # poll its socket; called again when something is left to write
    unwatch: Callable[[Engine], None]
    on_progress: Callable[[Record], None]  # {step, total, message}


class SessionRunner:
    def __init__(
        self, sid: str, journal_fd: int, preloaded: Preloaded, callbacks: RunnerCallbacks, spare: Spawned | None
    ) -> None:
        """`spare`: an engine that was spawned already and waits for its start."""
        self.limits = preloaded.limits
        self.fatal: Record | None = None  # why this journal cannot go on: not a record, the file stays as it is
        self.step_error: AlcError | None = None  # why the step stopped; the next request tries again
        self.engines = Engines(preloaded, spare, watch=callbacks.watch, unwatch=callbacks.unwatch)
        self._journaled = JournaledSession(sid, preloaded.home, preloaded.limits, preloaded.node_socket)
        self._effect_runner = EffectRunner(self._journaled, preloaded, reply=self.engines.reply, flush=self.flush)
        self._message_runner = MessageRunner(
            self._journaled,
            self._effect_runner,
            self.engines,
            start_engines=self.start_engines,
            on_progress=callbacks.on_progress,
        )
        self._abis = preloaded.abis
        self._load(journal_fd)
        self.engines.end_spare()

    def _load(self, journal_fd: int) -> None:
        try:
            content = self._journaled.adopt(journal_fd)
        except StorageBroken:
            raise
        except AlcError as exc:
            self.fatal = session_errors.unreadable(exc)
            return
        header = content.header
        streams = self.session.streams.values()
        needed = [header, *({**header, "abi": stream.abi} for stream in streams if stream.abi and stream.is_live)]
        for abi_header in needed:
            language = (abi_header.get("abi") or header).get("language", "")
            abi = self._abis.get(language)
            if abi is None or header.get("format") != journal_lines.FORMAT or abi_header.get("abi") != abi:
                self.fatal = session_errors.needs_version(abi_header, abi)
                return
        self.start_engines(content)

    @property
    def session(self) -> Session:
        return self._journaled.session

    @property
    def node(self) -> NodeJournal | None:
        return self._journaled.node

    @property
    def computing(self) -> int:
        """How many engines compute."""
        return self.engines.computing

    @property
    def is_asleep(self) -> bool:
        """Nothing computes and nothing is asked, but a timer will let the strategy go on."""
        return not self.session.pending and self.engines.is_asleep

    @property
    def is_replaying(self) -> bool:
        """Nothing new may be decided: a replay may still diverge."""
        return self.engines.is_replaying

    # ── starting engines ──────────────────────────────────────────────────────────────────────────────────

    @property
    def needs_engine(self) -> bool:
        return bool(self._missing())

    def _missing(self) -> list[str]:
        """Streams that could go on but have no engine: the engine died while it waited, a step error stopped it, or the
        stream is new."""
        if self.fatal is not None or self.session.phase is Phase.FINISHED:
            return []
        by_stream = self.engines.by_stream
        return [name for name, stream in self.session.streams.items() if stream.is_live and name not in by_stream]

    def start_engines(self, content: Content | None = None) -> None:
        """Starts the engines that are missing, each with the replay that takes it to where the journal ends.

        `content`: of the journal, if it was read just now. A failure stands in `step_error`.
        """
        missing = self._missing()
        if not missing or not self._journaled.is_open:
            return
        self.step_error = None
        self._effect_runner.close()  # an engine inherits no lock
        try:
            if content is None and not all(name and self.session.streams[name].is_blank for name in missing):
                self._record_clocks()  # a reading that is not recorded yet would be given twice
                content = self._journaled.read()
            if content is not None:
                self._effect_runner.inherited = content.inherited
                self._effect_runner.ctx_env = budget.environ_of(content.header["ctx"])
            for stream in missing:
                self.engines.start(stream, self._start(stream, content), content.replay if content else None)
        except StorageBroken:
            raise
        except AlcError as exc:
            self.step_error = exc

    def _start(self, stream: str, content: Content | None) -> Record:
        if stream:
            return engine_start.of_child(self.session, stream, self.limits)
        assert content is not None  # the strategy itself always needs a replay, of its header at least
        return engine_start.of_strategy(content.header)

    # ── messages and deaths of engines ────────────────────────────────────────────────────────────────────

    def read(self, engine: Engine) -> None:
        """Reads once from an engine and processes its messages, or its death. Raises StorageBroken."""
        self._contain(engine, self._read)

    def _contain(self, engine: Engine, act: Callable[[Engine], None]) -> None:
        """A failure of `act` stops that engine and not the keeper."""
        try:
            act(engine)
        except Diverged as exc:
            self._on_diverged(engine, exc)
        except StorageBroken:
            raise
        except StorageFailed as exc:
            self.step_error = exc
            if self.engines.is_current(engine):
                self.engines.drop(engine)

    def _read(self, engine: Engine) -> None:
        breach, depth = None, json_depth_of(self.session.header)
        began_s = time.thread_time()
        try:
            for line in engine.receive():
                self._message_runner.process(engine, messages.parse(line, json_depth=depth))
                if not self.engines.is_current(engine):
                    return
        except ProtocolError as exc:
            breach = str(exc)
        engine.served_s += time.thread_time() - began_s  # 0.5 us
        if engine.is_served_out:
            breach = CPU_USED_UP
        if (breach or not engine.is_open) and self.engines.is_current(engine):
            self._on_death(engine, breach)

    def _on_death(self, engine: Engine, breach: str | None) -> None:
        """The engine died, or broke the protocol and is killed."""
        was_computing = engine.is_computing
        how = self.engines.drop(engine)
        if not was_computing and breach is None:
            return
        self._journaled.record(Died(engine.stream, (breach or how)[:_REASON_CHARS], now_s()))
        if self.session.phase is Phase.STUCK:
            self.engines.stop()  # the other streams go on when the step is tried again
        else:
            self.start_engines()

    def _on_diverged(self, engine: Engine, divergence: Diverged) -> None:
        self.engines.drop(engine)
        first = self.engines.divergences.setdefault(engine.stream, divergence)
        if first is divergence:
            self.start_engines()
            return
        self.engines.stop()
        self.fatal = session_errors.diverged(first, divergence)

    # ── what the clock brings ─────────────────────────────────────────────────────────────

    @property
    def due(self) -> float | None:
        """When `process_due` has something to do next, monotonic."""
        return self.engines.due

    def process_due(self) -> None:
        """Tries those calls again that are due, and ends engines that hang. Raises StorageBroken."""
        now = time.monotonic()
        for engine in list(self.engines.by_stream.values()):
            if engine.pending_call is not None:
                if engine.pending_call.retry_at <= now:
                    self._contain(engine, self._effect_runner.retry_pending)
            elif engine.is_deliverable(now):
                self._contain(engine, self._message_runner.deliver)
            elif engine.is_computing and engine.ends_at <= now:
                self._contain(engine, self._end_late)
            elif engine.is_computing and engine.sample_at <= now and engine.is_silent():
                self._contain(engine, self._end_silent)

    def _end_silent(self, engine: Engine) -> None:
        limit = f"{self.limits.engine_silent_s:g} s (ALC_ENGINE_SILENT_S)"
        self._on_death(engine, f"sent nothing and used no processor time for {limit}")

    def _end_late(self, engine: Engine) -> None:
        self._on_death(
            engine, f"computed for {engine.spent_s:.0f} s, {WALL_PER_CPU} times the processor time of a step"
        )

    def close_database(self) -> None:
        """While nothing computes: a paused session holds no database open."""
        if not self.computing:
            self._effect_runner.close()

    # ── requests of a host ────────────────────────────────────────────────────────────────────────────────

    def apply(self, event: HostEvent) -> Decision:
        """Decides, records, hands the answers on to the engines. Raises StorageFailed; then nothing was taken."""
        decision = decide(self.session, event)
        if not decision.records:
            return decision
        if isinstance(event, Continue):
            self._message_runner.take_all(decision.records)
            self.process_due()  # hands over what engines wait for
        else:
            self.engines.stop()
            self._journaled.extend(decision.records)
        return decision

    def feed_result(self, *, is_accepted: bool = False) -> Record:
        """The state for a host. "Running" during a replay: its prompts may not be shown, for it may diverge."""
        if self.is_replaying:
            return running(self.session, now_s=now_s())
        if self.fatal is not None and self.session.final is None:
            return {"Stuck": self.fatal}
        return view(self.session, now_s=now_s(), computing=self.computing, accepted=is_accepted)

    def flush(self) -> None:
        """On return everything that was recorded is on the disk. Raises StorageFailed.

        A journal that is in `fatal` stays as it is, without even a mark, until a request cancels the session.
        """
        if not self._journaled.is_open or (self.fatal is not None and self.session.final is None):
            return
        self._record_clocks()
        self._journaled.flush()

    def commit_pause(self) -> None:
        """With a database: commits what no reply has committed, such as a prompt that came while no client waited. So
        each server sees where the session stands, and none revives it again. Raises StorageBroken."""
        if self.node is None or not self.node.has_uncommitted or self.computing:
            return
        try:
            self.flush()
        except StorageBroken:
            raise
        except StorageFailed:
            return  # the next request is told

    def _record_clocks(self) -> None:
        for engine in self.engines.by_stream.values():
            self._effect_runner.record_clock(engine)

    # ── end ───────────────────────────────────────────────────────────────────────────────────────────────

    def stop(self) -> None:
        """Ends every engine."""
        self.engines.stop()

    def archive(self) -> None:
        """Moves the journal of a finished session to the finished ones, then removes its marks in the database."""
        if self._journaled.is_open:
            self._journaled.archive()
            self._effect_runner.forget()
        self._effect_runner.close()
