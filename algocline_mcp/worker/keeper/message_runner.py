"""Carries out the messages of engines: prompts, effects, log lines, children of alc.fork and ends.

Contract: `process` takes one message. While a replay is under way the message is served from the journal; after it the
message is recorded and answered. Methods raise ProtocolError for an engine that breaks the protocol, Diverged from a
replay, StorageFailed and StorageBroken from the journal.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from algocline_mcp.errors import ProtocolError
from algocline_mcp.session.events import Asked, Delivered, Ended, Forked, Logged
from algocline_mcp.session.records import Record
from algocline_mcp.session.state import Phase, Session
from algocline_mcp.session.streams import MAIN, fork_of
from algocline_mcp.storage.clock import now_s
from algocline_mcp.worker.engine import messages
from algocline_mcp.worker.engine.messages import Ask, Call, End, Fork, Log, Message, Wait
from algocline_mcp.worker.keeper.connections import Engine
from algocline_mcp.worker.keeper.effect_runner import EffectRunner
from algocline_mcp.worker.keeper.engines import Engines
from algocline_mcp.worker.keeper.journaled_session import JournaledSession
from algocline_mcp.worker.keeper.replay import Outcome, reply_to_wait
from algocline_mcp.worker.lowlevel.failpoints import fail_point


class MessageRunner:
    def __init__(
        self,
        journaled: JournaledSession,
        effect_runner: EffectRunner,
        engines: Engines,
        *,
        start_engines: Callable[[], None],
        on_progress: Callable[[Record], None],
    ) -> None:
        """`start_engines` starts those that are missing. `on_progress` gets `{step, total, message}`."""
        self._journaled = journaled
        self._effect_runner = effect_runner
        self._engines = engines
        self._start_engines = start_engines
        self._on_progress = on_progress

    @property
    def _session(self) -> Session:
        return self._journaled.session

    def process(self, engine: Engine, message: Message) -> None:
        if not engine.is_computing or engine.pending_call is not None:
            raise ProtocolError("engine sent a message while it should wait")
        if engine.has_output:  # else replies that nobody reads would fill the keeper's memory
            raise ProtocolError("engine sent a message before it read the reply to the last one")
        ends_bytes = fork_of(self._session.streams, engine.stream).ends_bytes if engine.stream else 0
        replay = self._engines.replay_of(engine)
        sentence = messages.problem_of(message, self._session.limits, ends_bytes=ends_bytes)
        # A version that measured otherwise may have taken the message: what is recorded is served.
        if sentence is not None and not (replay is not None and replay.holds(engine.stream, message)):
            if not isinstance(message, End):
                self._engines.reply(engine, {"error": sentence})
                return
            message = End({"error": sentence})
        served: Outcome | Record = Outcome.LIVE
        if replay is not None:
            served = replay.serve(engine.stream, message)
        if isinstance(served, dict):
            self._engines.reply(engine, served)
        elif served is Outcome.OPEN:
            assert replay is not None
            self._engines.pause(engine, *replay.open_prompt(engine.stream))
            self._on_replayed(engine)
        elif served is Outcome.WAITING:
            waits, born_s = self._session.streams[engine.stream].waits, self._session.header["t"]
            self._engines.wait(engine, waits.left_s(now_s(), born_s=born_s))
            self._on_replayed(engine)
        elif served is Outcome.LIVE:
            self._carry_out(engine, message)

    def _carry_out(self, engine: Engine, message: Message) -> None:
        if isinstance(message, Call):
            self._effect_runner.run(engine, message)
            return
        self._effect_runner.record_clock(engine)
        match message:
            case Log(entry):
                self._journaled.record(Logged(engine.stream, entry))
                if "progress" in entry:
                    self._on_progress(self._progress(engine.stream, entry["progress"]))
            case Ask():
                self._ask(engine, message)
            case Wait():
                self._wait(engine, message)
            case Fork():
                self._fork(engine, message)
            case End(outcome):
                self._journaled.record(Ended(engine.stream, outcome, now_s(), engine.spent_s))
                fail_point("final.recorded")
                if engine.stream == MAIN:
                    self._engines.retire(engine)
                else:
                    self._engines.drop(engine)
                    self._on_child_ended(engine.stream)

    def _progress(self, stream: str, progress: Record) -> Record:
        """For a call that waits: the message of a child's progress names its strategy."""
        if not stream:
            return progress
        strategy, message = self._session.streams[stream].strategy, progress["message"]
        return progress | {"message": f"{strategy}: {message}" if message else strategy}

    # ── prompts ───────────────────────────────────────────────────────────────────────────────────────────

    def _ask(self, engine: Engine, ask: Ask) -> None:
        if self._effect_runner.refuse_ask(engine, ask):
            return
        prompt = self._record_prompt(Asked(engine.stream, ask.queries, now_s(), engine.spent_s))
        self._engines.pause(engine, [query["id"] for query in prompt["queries"]], {})
        self._answer_from_parent(engine, self._effect_runner.inherited.ask(prompt))

    def _wait(self, engine: Engine, wait: Wait) -> None:
        if self._effect_runner.refuse_ask(engine, wait):
            return
        asked = Asked(engine.stream, wait.queries, now_s(), engine.spent_s, is_wait=True, wake_s=wait.wake_s)
        prompt = self._record_prompt(replace(asked, withdrawn=wait.withdrawn))
        self._engines.wait(engine, wait.wake_s)
        self._answer_from_parent(engine, self._effect_runner.inherited.ask(prompt))

    def _record_prompt(self, asked: Asked) -> Record:
        (prompt,) = self._journaled.record(asked)
        fail_point("prompt.recorded")
        return prompt

    def deliver(self, engine: Engine) -> None:
        """Lets an engine go on from its wait, with all answers that are there, or because its timer has fired."""
        (delivery,) = self._journaled.record(Delivered(engine.stream, now_s()))
        fail_point("delivery.recorded")
        reply = reply_to_wait(delivery, engine.undelivered)
        engine.undelivered = {}
        self._engines.resume(engine, reply, is_woken=reply["woke"])

    def _on_replayed(self, engine: Engine) -> None:
        """A replay reached the open prompt, wait or fork. A session that was stuck is so no longer when no other step
        is still to prove itself; a record says so."""
        if not engine.query_ids and not engine.is_waiting:
            self._join(engine)
        if self._session.phase is Phase.STUCK and not self._engines.computing:
            entry = {"level": "info", "message": "tried again, and the step came through", "by": "keeper"}
            self._journaled.record(Logged(MAIN, entry))
        asked = [*engine.query_ids, *self._session.streams[engine.stream].waits.open]
        unanswered = [query_id for query_id in asked if query_id in self._session.pending]
        self._answer_from_parent(engine, self._effect_runner.inherited.items(unanswered))

    def _answer_from_parent(self, engine: Engine, items: Sequence[Record]) -> None:
        """Answers that a branch inherited: recorded and delivered as a host's are, before a host sees the prompt."""
        if items:
            self.take({"kind": "answer", "answers": list(items), "t": now_s()})
        if engine.is_deliverable(time.monotonic()):
            self.deliver(engine)

    def take_all(self, records: Sequence[Record]) -> None:
        """Records what a call of the host deserves, and hands its answers to the engines that asked."""
        for record in records:
            if record["kind"] == "answer":
                self.take(record)
            else:
                self._journaled.append(record)
                fail_point("misfit.recorded")

    def take(self, answer: Record) -> None:
        """Records answers to pending queries, and hands them to the engines that asked."""
        pending = self._session.pending
        answers = [(pending[item["id"]].get("stream", MAIN), item) for item in answer["answers"]]
        self._journaled.append(answer)
        fail_point("answer.recorded")
        self._engines.hand_out(answers)

    # ── children of alc.fork ──────────────────────────────────────────────────────────────────────────────

    def _fork(self, engine: Engine, fork: Fork) -> None:
        abis = self._effect_runner.abis_unless_refused(engine, fork)
        if abis is None:
            return
        t, spent_s = now_s(), engine.spent_s
        self._journaled.record(Forked(engine.stream, fork.strategies, fork.ctx, fork.on_error, t, spent_s, tuple(abis)))
        fail_point("fork.recorded")
        self._engines.pause(engine, [], {})
        self._start_engines()

    def _on_child_ended(self, child: str) -> None:
        """Drops siblings that ended with the child, starts those that have their turn now, resumes the parent if it has
        waited for this child."""
        for engine in list(self._engines.by_stream.values()):
            if self._session.streams[engine.stream].is_over:
                self._engines.drop(engine)
        self._start_engines()
        parent = self._session.streams[child].parent
        assert parent is not None
        waiting = self._engines.by_stream.get(parent)
        if waiting is not None and not waiting.is_computing:
            self._join(waiting)

    def _join(self, engine: Engine) -> None:
        """Resumes a stream that waits at a fork with the results of its children, if the fork is over."""
        fork = self._session.streams[engine.stream].fork
        assert fork is not None
        if not fork.is_open:
            self._engines.resume(engine, fork.reply())
