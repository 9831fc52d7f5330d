"""What a keeper keeps: the journal, the session it folds to, and the engines that run it. Knows no client.

Contract: every change goes decide -> append -> evolve, in that order, so that the session in memory is always the
fold of the file. `flush` precedes whatever is told to anybody outside. An engine's message is served by the replay
while one is under way, else carried out, recorded and answered. Methods raise StorageBroken where what the disk
holds is unknown; any other StorageFailed stops the engine and stands in `hitch` until somebody asks again.
"""

import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from algocline_mcp import journal, terms, wire
from algocline_mcp.errors import AlcError, JournalCorrupt, StorageBroken, StorageFailed, WireBroken
from algocline_mcp.session import (
    MAIN,
    Asked,
    Called,
    Continue,
    Decision,
    Died,
    Ended,
    EngineEvent,
    HostEvent,
    Noted,
    Phase,
    Record,
    Session,
    decide,
    evolve,
    fold,
    query_digest,
    used,
    view,
)
from algocline_mcp.worker import effects, messages, shared
from algocline_mcp.worker.carried import Carried
from algocline_mcp.worker.engine import Spawned, spawn_engine
from algocline_mcp.worker.failpoints import reach
from algocline_mcp.worker.messages import Ask, Call, End, Note
from algocline_mcp.worker.peers import Engine
from algocline_mcp.worker.provisions import Provisions
from algocline_mcp.worker.replay import OVER_BUDGET, Diverged, Outcome, Replay, cause
from algocline_mcp.worker.shared import Mark, MarkDiffers, SharedState

_START_ANEW = "start the strategy again with alc_run"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What custody needs of the shell around it."""

    watch: Callable[[Engine], None]
    unwatch: Callable[[Engine], None]
    progress: Callable[[Record], None]


class Custody:
    def __init__(
        self, sid: str, journal_fd: int, provisions: Provisions, shell: Surroundings, spare: Spawned | None
    ) -> None:
        """`spare`: an engine that was forked already and waits for its start."""
        self.home = provisions.home
        self.limits = provisions.limits
        self.shell = shell
        self.session = Session(sid=sid)
        self.engines: dict[str, Engine] = {}
        self.trouble: Record | None = None  # why this journal cannot go on: not a record, the file stays as it is
        self.hitch: AlcError | None = None  # why the step stopped; asking again tries again
        self._replay: Replay | None = None
        self._divergence: Diverged | None = None
        self._is_directory_synced = False
        self._journal: journal.Journal | None = None
        self._shared = SharedState(provisions.home, provisions.limits)
        self._abis = provisions.abis
        self._runtimes = provisions.runtimes
        self._spare = spare
        self._load(journal_fd)
        if self._spare is not None:  # there is nothing to run
            self._engine(*self._spare).kill()

    # ── beginning ─────────────────────────────────────────────────────────────────────────────────────────

    def _load(self, journal_fd: int) -> None:
        path = self.home.journal(self.session.sid)
        try:
            self._journal, records = journal.Journal.adopt(journal_fd, path, limit=self.limits.journal_bytes)
            if not records:
                raise AlcError(f"the disk lost {path} before anything in it was acknowledged", code="lost")
            if records[0].get("sid") != self.session.sid:
                raise JournalCorrupt(path, 1)
            header = records[0]
            if header.get("format") == journal.FORMAT:
                self.session = fold(records)
        except AlcError as exc:
            is_passing = isinstance(exc, StorageFailed)
            self.trouble = {
                "error_code": exc.code,
                "error": str(exc),
                "next": "ask again: nothing is lost" if is_passing else _START_ANEW,
            }
            return
        abi = self._abis.get(header.get("language", ""))
        if abi is None or header.get("format") != journal.FORMAT or header["abi"] != abi:
            self.trouble = _needs_version(header, abi)
            return
        self._namespace: str = header["namespace"]
        self.begin(records)

    @cached_property
    def _world(self) -> effects.World:
        about = self.session.about
        paths = effects.lib_paths(about, self.home.packages, os.environ)
        return effects.World(about["language"], paths, effects.readable(os.environ), self.limits.code_bytes)

    @property
    def needs_engine(self) -> bool:
        """The session could go on but has no engine: that died while it waited, or a hitch stopped the step."""
        return not self.engines and self.trouble is None and self.session.phase is not Phase.FINISHED

    def begin(self, records: Sequence[Record] | None = None) -> None:
        """Forks an engine and starts the replay that brings it to where the journal ends."""
        if not self.needs_engine or self._journal is None:
            return
        self.hitch = None
        self._shared.close()  # an engine inherits no lock
        if records is None:
            try:
                records = self._journal.records()
            except AlcError as exc:
                self.hitch = exc
                return
        header = records[0]
        self._replay = Replay(records)
        self._carried = Carried(records)
        try:
            pid, sock = self._spare or spawn_engine(self._runtimes, self.limits)
        except OSError as exc:
            sentence = f"cannot start an engine: {exc.strerror}; free memory or processes, then ask again"
            self.hitch = AlcError(sentence, code="no_process")
            return
        self._spare = None
        engine = self.engines[MAIN] = self._engine(pid, sock)
        engine.allow(self.limits.step_cpu_s)
        start = {name: header[name] for name in ("sid", "language", "utc_offset_s", "code", "chunk", "ctx", "seed")}
        engine.begin(wire.encode(start | {"created_s": header.get("created_s", header["t"])}))
        self.shell.watch(engine)

    def _engine(self, pid: int, sock: socket.socket) -> Engine:
        return Engine(pid, sock, self.limits.line_bytes, stream=MAIN)

    # ── what an engine says ───────────────────────────────────────────────────────────────────────────────

    @property
    def computing(self) -> int:
        return sum(engine.is_computing for engine in self.engines.values())

    @property
    def is_replaying(self) -> bool:
        """Nothing new may be decided: the engine is not yet where the journal ends, and may never come there."""
        return self._replay is not None and any(not self._replay.is_over(stream) for stream in self.engines)

    def hear(self, engine: Engine) -> None:
        """Reads once from an engine and does what it says; sees its death. Raises StorageBroken."""
        self._guarded(engine, self._listen)

    def _guarded(self, engine: Engine, act: Callable[[Engine], None]) -> None:
        try:
            act(engine)
        except StorageBroken:
            raise
        except StorageFailed as exc:
            self.hitch = exc
            if self.engines.get(engine.stream) is engine:
                self._drop(engine)

    def _listen(self, engine: Engine) -> None:
        reason = None
        try:
            for line in engine.receive():
                self._serve(engine, messages.parse(line, json_depth=self.limits.json_depth))
                if self.engines.get(engine.stream) is not engine:
                    return
        except WireBroken as exc:
            reason = str(exc)
        if (reason or not engine.is_open) and self.engines.get(engine.stream) is engine:
            self._lost(engine, reason)

    def _serve(self, engine: Engine, message: messages.Message) -> None:
        if not engine.is_computing or engine.wish is not None:
            raise WireBroken("engine spoke while it should wait")
        if (sentence := messages.too_large(message, self.session.limits)) is not None:
            if not isinstance(message, End):
                self._reply(engine, {"error": sentence})
                return
            message = End({"error": sentence})
        served: Outcome | Record = Outcome.LIVE
        if self._replay is not None:
            try:
                served = self._replay.serve(engine.stream, message)
            except Diverged as exc:
                self._diverged(engine, exc)
                return
        if isinstance(served, dict):
            self._reply(engine, served)
        elif served is Outcome.OPEN:
            self._come_through(engine)
        elif served is Outcome.LIVE:
            self._carry_out(engine, message)

    def _carry_out(self, engine: Engine, message: messages.Message) -> None:
        if isinstance(message, Call) and message.name == "time":
            self._reply(engine, self._read_clock(engine, message))
            return
        self._record_clock(engine)
        match message:
            case Call(name, args):
                # What a branch got from its parent comes first: a change that the parent made is not made twice.
                outcome = None if name == "budget" else self._carried.call(name, args)
                if outcome is None and name in shared.FUNCTIONS:
                    engine.wish = shared.wish(message, self.limits)
                    self._strive(engine)
                    return
                if outcome is None:
                    outcome = self._budget_left(engine) if name == "budget" else self._world.perform(name, args)
                self._record(Called(engine.stream, name, args, outcome))
                self._reply(engine, outcome)
            case Note(note):
                self._record(Noted(engine.stream, note))
                if "progress" in note:
                    self.shell.progress(note["progress"])
            case Ask(queries):
                if self._is_over_budget(engine, queries):
                    return
                (prompt,) = self._record(Asked(engine.stream, queries, _now_s(), _spent_s(engine)))
                reach("prompt.recorded")
                engine.wait([query["id"] for query in prompt["queries"]], {})
                self._replay = self._divergence = None
                self._share(self._carried.ask(prompt))
            case End(outcome):
                self._record(Ended(engine.stream, outcome, _now_s()))
                reach("final.recorded")
                self._drop(engine)

    # ── budget ────────────────────────────────────────────────────────────────────────────────────────────

    def _is_over_budget(self, engine: Engine, queries: Sequence[Record]) -> bool:
        """Refuses it then. Only a refusal is recorded: a prompt is the record that it was allowed."""
        sentence = terms.exceeded(self.session.budget, **self._used(engine), more=len(queries))
        if sentence is None:
            return False
        digests = tuple(query_digest(query) for query in queries)
        self._record(Called(engine.stream, OVER_BUDGET, digests, {"error": sentence}))
        self._reply(engine, {"error": sentence})
        return True

    def _budget_left(self, engine: Engine) -> Record:
        return {"result": terms.remaining(self.session.budget, **self._used(engine))}

    def _used(self, engine: Engine) -> dict[str, int]:
        return used(self.session, now_s=_now_s(), spent_s=_spent_s(engine))

    # ── what sessions share ───────────────────────────────────────────────────────────────────────────────

    @property
    def due(self) -> float | None:
        """When `retry` has something to do next, monotonic."""
        return min((engine.wish.again for engine in self.engines.values() if engine.wish is not None), default=None)

    def retry(self) -> None:
        """Tries again what other processes kept from being done. Raises StorageBroken."""
        now = time.monotonic()
        for engine in list(self.engines.values()):
            if engine.wish is not None and engine.wish.again <= now:
                self._guarded(engine, self._strive)

    def rest(self) -> None:
        """Nothing computes: a paused session holds no database open."""
        if not self.computing:
            self._shared.close()

    def _strive(self, engine: Engine) -> None:
        """Carries out a call of the state database, now or, while somebody else holds that, when it is due again.

        Whatever led to a change is on the disk before the change is: a replay comes to it again, with the same mark.
        """
        assert engine.wish is not None
        call = engine.wish.call
        n = None
        if shared.FUNCTIONS[call.name]:
            n = self.session.streams[engine.stream].changes
            reach("effect.asked")
            self.flush()
            reach("effect.flushed")
        mark = None if n is None else Mark(self.session.sid, engine.stream, n)
        try:
            outcome = self._shared.attempt(engine.wish, self._namespace, mark)
        except MarkDiffers as exc:
            self._diverged(engine, Diverged(exc.recorded, {"called": call.name, "n": n}))
            return
        if outcome is None:
            return
        engine.wish = None
        self._record(Called(engine.stream, call.name, call.args, outcome, n=n))
        reach("effect.recorded")
        self._reply(engine, outcome)

    def _read_clock(self, engine: Engine, message: Call) -> Record:
        """Readings are recorded run by run: a loop that waits for the clock must not fill the journal."""
        outcome = self._carried.call(message.name, message.args) or self._world.perform(message.name, message.args)
        if engine.clock is not None and engine.clock[0] == outcome:
            engine.clock = (outcome, engine.clock[1] + 1)
        else:
            self._record_clock(engine)
            engine.clock = (outcome, 1)
        return outcome

    def _record_clock(self, engine: Engine) -> None:
        if engine.clock is not None:
            outcome, times = engine.clock
            self._record(Called(engine.stream, "time", (), outcome, times))
            engine.clock = None  # only now: a reading that the disk refused is still to be recorded

    def _reply(self, engine: Engine, reply: Record) -> None:
        engine.send(wire.encode(reply))
        if engine.has_output:  # longer than the socket holds: nobody else asks for room, if it is a client's answer
            self.shell.watch(engine)

    def _come_through(self, engine: Engine) -> None:
        """The replay reached the open prompt. If the session was stuck, a record says that it is so no longer."""
        assert self._replay is not None
        engine.wait(*self._replay.open_prompt(engine.stream))
        self._replay = self._divergence = None
        if self.session.phase is Phase.STUCK:
            note = {"level": "info", "message": "tried again, and the step came through", "by": "keeper"}
            self._record(Noted(MAIN, note))
        self._share(self._carried.items(each for each in engine.waits_for if each in self.session.pending))

    def _share(self, items: Sequence[Record]) -> None:
        """Answers of a branch's parent: recorded and delivered like a host's, before any host hears of the prompt."""
        if items:
            self._append({"kind": "answer", "answers": list(items), "t": _now_s()})
            self._deliver(items)

    # ── the end of an engine ──────────────────────────────────────────────────────────────────────────────

    def _lost(self, engine: Engine, reason: str | None = None) -> None:
        """An engine died, or broke the protocol and is killed. While it computed, this is a strike."""
        was_computing = engine.is_computing
        how = self._drop(engine)
        if not was_computing:
            return  # replaced when somebody answers: one that dies while it waits must not be revived for ever
        self._record(Died(engine.stream, reason or how, _now_s()))
        if self.session.phase is not Phase.STUCK:
            self.begin()

    def _drop(self, engine: Engine) -> str:
        self.engines.pop(engine.stream, None)
        self.shell.unwatch(engine)
        return engine.kill()

    def _diverged(self, engine: Engine, divergence: Diverged) -> None:
        """Once may be chance: a second replay tells whether the code changed or depends on what is not recorded."""
        self._drop(engine)
        if self._divergence is None:
            self._divergence = divergence
            self.begin()
            return
        self.trouble = {
            "error_code": "diverged",
            "error": "the strategy asks something else than its journal holds; no answer was delivered. "
            f"Likely cause: {cause(self._divergence, divergence)}",
            "recorded": self._divergence.recorded,
            "replayed": self._divergence.replayed,
            "next": "the journal is untouched; alc_branch(session_id), if need be with corrected code, starts a "
            "session that keeps every answer whose prompt is still asked",
        }

    def stop(self) -> None:
        for engine in list(self.engines.values()):
            self._drop(engine)

    # ── what a host asks ──────────────────────────────────────────────────────────────────────────────────

    def decide(self, event: HostEvent) -> Decision:
        """Decides, records, hands the answers on to the engines. Raises StorageFailed; then nothing was taken."""
        decision = decide(self.session, event)
        if not decision.records:
            return decision
        if isinstance(event, Continue):
            for record in decision.records:
                self._append(record)
            reach("answer.recorded")
            self._deliver(decision.records[0]["answers"])
        else:
            self.stop()
            for record in decision.records:
                self._append(record)
        return decision

    def _deliver(self, items: Sequence[Record]) -> None:
        by_query = {query_id: engine for engine in self.engines.values() for query_id in engine.waits_for}
        for item in items:
            engine = by_query[item["id"]]
            reply = engine.give(item)
            if reply is not None:
                engine.allow(self.limits.step_cpu_s)
                self._reply(engine, reply)

    # ── records ───────────────────────────────────────────────────────────────────────────────────────────

    def _record(self, event: EngineEvent) -> tuple[Record, ...]:
        records = decide(self.session, event).records
        for record in records:
            self._append(record)
        return records

    def _append(self, record: Record) -> None:
        assert self._journal is not None
        self._journal.append(record)
        evolve(self.session, record)

    def flush(self) -> None:
        """Before anything is told: on return all that was recorded is on the disk. Raises StorageFailed.

        A journal that is in trouble stays as it is, without even a mark, until somebody cancels the session.
        """
        if self._journal is None or (self.trouble is not None and self.session.final is None):
            return
        for engine in self.engines.values():
            self._record_clock(engine)
        self._journal.flush()
        if not self._is_directory_synced:
            journal.sync_directory(self._journal.path.parent)
            self._is_directory_synced = True

    def feed(self, *, is_accepted: bool = False) -> Record:
        """The feed result for the host. During a replay nothing is known yet: it may diverge."""
        if self.is_replaying:
            return {"Running": {}}
        if self.trouble is not None and self.session.final is None:
            return {"Stuck": self.trouble}
        return view(self.session, now_s=_now_s(), computing=self.computing, accepted=is_accepted)

    def retire(self) -> None:
        """Moves the journal of a finished session to where finished ones lie, then removes its marks: there is nothing
        left to repeat. A failure leaves it where it is."""
        if self._journal is not None:
            self._journal.move(self.home.finished_journal(self.session.sid))
            reach("retire.moved")
            if any(stream.changes for stream in self.session.streams.values()):
                self._shared.forget(self.session.sid, lambda sid: self.home.journal(sid).exists())
        self._shared.close()


def _needs_version(header: Record, abi: Record | None) -> Record:
    have = abi if abi is not None else f"no language {header.get('language')!r}"
    return {
        "error_code": "needs_version",
        "error": f"this session was written by version {header.get('version')} ({header.get('abi')}), here is {have}",
        "next": f"use that version to go on, or {_START_ANEW}",
    }


def _spent_s(engine: Engine) -> float:
    return round(time.monotonic() - engine.since, 3)


def _now_s() -> float:
    return round(time.time(), 3)
