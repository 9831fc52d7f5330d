"""Carries out what a strategy asks of the world, of the shared state and of its budget; records and answers it.

Contract: an engine has at most one call under way. Everything that led to a change of shared state is on the disk
before the change is. A call that waits for another process stands in `engine.pending_call`; `retry_pending` performs it
later. Methods raise StorageFailed and StorageBroken from the journal, and Diverged where the database holds the
mark of this change with another call.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

from algocline_mcp.session import budget, waits
from algocline_mcp.session.digests import query_digest
from algocline_mcp.session.events import Called
from algocline_mcp.session.owner import USER
from algocline_mcp.session.records import Record
from algocline_mcp.session.results import used
from algocline_mcp.session.streams import refusal
from algocline_mcp.storage.clock import now_s
from algocline_mcp.worker.database import calls
from algocline_mcp.worker.database.calls import EffectMark, MarkDiffers, SharedState
from algocline_mcp.worker.database.node_state import NodeState
from algocline_mcp.worker.engine.messages import Ask, Call, Fork, Wait
from algocline_mcp.worker.engine.preload import Preloaded
from algocline_mcp.worker.keeper import effects
from algocline_mcp.worker.keeper.connections import Engine
from algocline_mcp.worker.keeper.environ import Environ
from algocline_mcp.worker.keeper.inherited import Inherited
from algocline_mcp.worker.keeper.journaled_session import JournaledSession
from algocline_mcp.worker.keeper.replay import REFUSED_ASK, REFUSED_FORK, Diverged, fork_digest
from algocline_mcp.worker.lowlevel.failpoints import fail_point


class EffectRunner:
    # Both are set before the first engine starts.
    inherited: Inherited
    ctx_env: Mapping[str, Any]  # `ctx.env`

    def __init__(
        self,
        journaled: JournaledSession,
        preloaded: Preloaded,
        *,
        reply: Callable[[Engine, Record], None],
        flush: Callable[[], None],
    ) -> None:
        """`reply` sends an outcome to an engine. `flush` returns when everything that was recorded is on the disk."""
        self._journaled = journaled
        self._home = preloaded.home
        self._limits = preloaded.limits
        self._abis = preloaded.abis
        self._sandbox = preloaded.confinement.sandbox
        self._worlds: dict[str, effects.World] = {}  # by language
        self._reply = reply
        self._flush = flush
        self._shared = self._shared_state(preloaded)
        # Facts of the session itself: a branch has its own, not its parent's.
        self._own: dict[str, Callable[[Engine], Record]] = {"budget": self._budget_left, "llm_calls": self._llm_calls}

    def _shared_state(self, preloaded: Preloaded) -> SharedState | NodeState:
        if preloaded.node_socket:
            return NodeState(preloaded.node_socket, preloaded.limits.line_bytes, self._identity)
        return SharedState(preloaded.home, preloaded.limits)

    def _identity(self) -> Record:
        session = self._journaled.session
        owner = session.header.get("owner") or USER
        return {"sid": session.sid, "epoch": self._journaled.epoch, "owner": owner}

    def _world_of(self, stream: str) -> effects.World:
        session = self._journaled.session
        language = session.streams[stream].language(session.header)
        if language not in self._worlds:
            self._worlds[language] = self._make_world(language)
        return self._worlds[language]

    def _make_world(self, language: str) -> effects.World:
        header = self._journaled.session.header
        return effects.World(
            language,
            effects.lib_paths(header, self._home.packages, os.environ),
            self._environ(header),
            self._limits.code_bytes,
            effects.scenario_paths(self._home.scenarios, os.environ),
            header.get("variants", {}),
            names_directories=not self._home.part,
        )

    def _environ(self, header: Record) -> Environ:
        """A principal's strategy reads only what its own ctx injects: files and variables are the operator's."""
        if self._home.part:
            return Environ({"inject": self.ctx_env.get("inject")}, None, {})
        return Environ(self.ctx_env, header.get("project"), effects.allowed_variables(os.environ))

    def run(self, engine: Engine, call: Call) -> None:
        """Carries out one call of a host function, or leaves it in `engine.pending_call`."""
        if call.name == "time":
            self._reply(engine, self._read_clock(engine, call))
            return
        self.record_clock(engine)
        # An inherited result comes first: a change that the parent made is not made twice.
        own = self._own.get(call.name)
        outcome: Record | None = None
        if own is not None:
            outcome = own(engine)
        elif not self._is_injected(call):
            outcome = self.inherited.call(call.name, call.args)
        if outcome is None and call.name in calls.FUNCTIONS:
            engine.pending_call = calls.pending_call(call, self._limits)
            self.retry_pending(engine)
            return
        if outcome is None:
            outcome = self._world_of(engine.stream).perform(call.name, call.args)
        self._journaled.record(Called(engine.stream, call.name, call.args, outcome))
        self._reply(engine, outcome)

    def _is_injected(self, call: Call) -> bool:
        """The call reads a variable that the ctx of this session injects: a branch may have another ctx."""
        injected, name = self.ctx_env.get("inject"), call.args[0] if call.args else None
        return call.name == "env" and isinstance(injected, Mapping) and isinstance(name, str) and name in injected

    # ── the clock ─────────────────────────────────────────────────────────────────────────────────────────

    def _read_clock(self, engine: Engine, call: Call) -> Record:
        """Equal readings in a row become one record: a loop that waits for the clock must not fill the journal."""
        outcome = self.inherited.call(call.name, call.args) or self._world_of(engine.stream).perform(
            call.name, call.args
        )
        if engine.clock is not None and engine.clock[0] == outcome:
            engine.clock = (outcome, engine.clock[1] + 1)
        else:
            self.record_clock(engine)
            engine.clock = (outcome, 1)
        return outcome

    def record_clock(self, engine: Engine) -> None:
        """Records the readings that are not recorded yet; precedes every other record of the engine."""
        if engine.clock is not None:
            outcome, times = engine.clock
            self._journaled.record(Called(engine.stream, "time", (), outcome, times))
            engine.clock = None  # not before: a reading that the disk refused is still to be recorded

    # ── budget ────────────────────────────────────────────────────────────────────────────────────────────

    def refuse_ask(self, engine: Engine, message: Ask | Wait) -> bool:
        """Returns whether it refused: over the budget, or over a limit together with what is still open. A refusal is
        recorded; an allowed prompt is its own record."""
        session, queries = self._journaled.session, message.queries
        more: dict[str, Any] = {}
        if isinstance(message, Wait):
            more = {"is_endless": message.wake_s is None, "withdrawn": frozenset(message.withdrawn)}
        sentence = waits.refusal(session.streams[engine.stream].waits, queries, session.limits, **more)
        if sentence is None and queries:
            sentence = budget.exceeded(session.budget, **self._used(engine), more=len(queries))
        if sentence is None:
            return False
        digests = tuple(query_digest(query) for query in queries)
        self._journaled.record(Called(engine.stream, REFUSED_ASK, digests, {"error": sentence}))
        self._reply(engine, {"error": sentence})
        return True

    def _budget_left(self, engine: Engine) -> Record:
        return {"result": budget.remaining(self._journaled.session.budget, **self._used(engine))}

    def _llm_calls(self, engine: Engine) -> Record:
        return {"result": self._used(engine)["calls"]}

    def _used(self, engine: Engine) -> dict[str, int]:
        return used(self._journaled.session, now_s=now_s(), spent_s=engine.spent_s)

    def abis_unless_refused(self, engine: Engine, fork: Fork) -> list[Record | None] | None:
        """For each child the ABI of its language, or None where it is that of the session. None where the fork was
        refused: the verdict depends on other streams and on the machine, so a refusal is recorded."""
        session, world = self._journaled.session, self._world_of(engine.stream)
        sentence = refusal(session.streams, engine.stream, len(fork.strategies), session.limits)
        languages = [] if sentence else [effects.language_of_package(world, name) for name in fork.strategies]
        own = session.header["language"]
        for name, language in zip(fork.strategies, languages, strict=False):
            if language != own and (why := self._sandbox.refusal_of(language)) is not None:
                sentence = f"alc.fork: {name} is written in {language}: {why}"
        if sentence is None:
            return [None if language == own else self._abis[language] for language in languages]
        self._journaled.record(Called(engine.stream, REFUSED_FORK, (fork_digest(fork),), {"error": sentence}))
        self._reply(engine, {"error": sentence})
        return None

    # ── shared state ──────────────────────────────────────────────────────────────────────────────────────

    def retry_pending(self, engine: Engine) -> None:
        """Carries out a call of the state database, or leaves it pending while another process holds the database.

        Everything that led to a change is on the disk before the change is: a replay comes to it again, with the same
        mark.
        """
        assert engine.pending_call is not None
        session = self._journaled.session
        call = engine.pending_call.call
        n = None
        if calls.FUNCTIONS[call.name]:
            n = session.streams[engine.stream].changes
            fail_point("effect.asked")
            self._flush()
            fail_point("effect.flushed")
        mark = None if n is None else EffectMark(session.sid, engine.stream, n)
        try:
            outcome = self._shared.attempt(engine.pending_call, self._namespace(engine.stream), mark)
        except MarkDiffers as exc:
            raise Diverged(exc.recorded, {"called": call.name, "n": n}) from exc
        if outcome is None:
            return
        engine.pending_call = None
        self._journaled.record(Called(engine.stream, call.name, call.args, outcome, n=n))
        fail_point("effect.recorded")
        self._reply(engine, outcome)

    def _namespace(self, stream: str) -> str:
        session = self._journaled.session
        return (
            f"fork-{session.streams[stream].index}"
            if stream
            else str(session.header.get("namespace", budget.DEFAULT_NAMESPACE))
        )

    def close(self) -> None:
        """Closes the database: a paused session holds none open, and a new engine inherits no lock."""
        self._shared.close()

    def forget(self) -> None:
        """Removes the marks of a finished session from the database: no change is left to repeat."""
        session = self._journaled.session
        if any(stream.changes for stream in session.streams.values()):
            self._shared.forget(session.sid, lambda sid: self._home.journal(sid).exists())
