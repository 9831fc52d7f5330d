"""The centre: a session is computed from its records in order (a fold). Pure: no clock, no disk, no randomness.

`evolve` is the only code that changes a Session, one record at a time. `decide` (decisions.py) says which records an
event deserves, and `view` (results.py) what the host gets. The keeper calls the three as events arrive. A replay
calls `decide` again and compares the records. A list folds the journals on disk. So the same records always give the
same session, on any machine.

A session is one or more *streams*: the strategy itself, named "", and one for each child of alc.fork. A stream can run
when it has its turn, has no open query, and waits for no child; at a wait for any answer (waits.py) it can run when one
is there. The phase follows from the streams and is never
recorded: `running` while any stream can run, `paused` when all wait for answers, `finished` after a final record,
`stuck` when one step has had as many strikes as `limits.strikes` allows. TRANSITIONS holds every pair of phase and
record kind that is legal; whatever has no row makes the journal illegal. The rows that depend on the streams name a
function.

A *strike* is the death of an engine that was computing. It is recorded, because a revived session must count it, and it
belongs to a stream: the next prompt or fork of that stream sets its count to 0. A revived engine computes again up to
its open prompt, so a strike can occur while the session is `paused`. The death of an engine that waits, of a keeper, a
server or a machine is not recorded: it says nothing about the code. A session that is stuck goes on at
the first record that shows progress, so a retry that succeeds needs no record of its own.

What does not fit these rules: `flushed` is a mark for recovery and changes nothing here. The header of a scrubbed
journal contains counts of records that are gone. The reason why a session cannot be replayed (`diverged`,
`needs_version`, `corrupt`) is not a record: the journal stays as it is, and the keeper reports the reason.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from algocline_mcp.session import streams
from algocline_mcp.session.digests import answer_digest, answer_size
from algocline_mcp.session.elapsed import Elapsed
from algocline_mcp.session.legality import can_follow
from algocline_mcp.session.records import CPU_USED_UP, IllegalRecord, Record, problem_of
from algocline_mcp.session.streams import MAIN, Stream
from algocline_mcp.session.usage import Usage


class Phase(StrEnum):
    NEW = "new"  # without a header: a host never sees this phase
    RUNNING = "running"  # some stream can go on
    PAUSED = "paused"  # every stream waits for an answer
    FINISHED = "finished"
    STUCK = "stuck"  # the engine died too often in one step; the next request tries again


@dataclass(slots=True)
class Session:
    """What the records so far say. Only `evolve` changes it, in place: a step costs the same after 10,000 answers."""

    sid: str = ""
    header: Record = field(default_factory=dict)  # without code, ctx and sources
    phase: Phase = Phase.NEW
    streams: dict[str, Stream] = field(default_factory=lambda: {MAIN: Stream()})
    pending: dict[str, Record] = field(default_factory=dict)  # query id -> query, oldest first
    answered: dict[str, str] = field(default_factory=dict)  # query id -> digest of the accepted answer
    misfits: dict[str, int] = field(default_factory=dict)  # pending query id -> answers that did not fit its schema
    crash: str | None = None  # why the last computing engine died
    final: Record | None = None
    progress: Record | None = None
    notes_bytes: int = 0
    warnings: list[str] = field(default_factory=list)  # since the last answer
    unattributed: int = 0  # the most answers in one call, without `by`, to prompts with the option `independent`
    last_s: float = 0.0
    budget: Mapping[str, int] = field(default_factory=dict)
    elapsed: Elapsed = field(default_factory=Elapsed)
    usage: Usage = field(default_factory=Usage)
    child_stats: dict[str, Record] = field(default_factory=dict)  # by child: {strategy, custom}, as of alc.stats

    @property
    def strikes(self) -> int:
        """Deaths of an engine in one step, of the stream that has most of them."""
        return max(stream.strikes for stream in self.streams.values() if not stream.is_over)

    @property
    def is_endless(self) -> bool:
        """A step burned its processor time twice, and recorded nothing meanwhile."""
        return any(stream.burned >= _BURNED for stream in self.streams.values() if not stream.is_over)

    def is_overdue(self, now_s: float) -> bool:
        """A timer would have fired by now, had there been a worker."""
        waiting = (stream.waits for stream in self.streams.values() if stream.is_live)
        return any(waits.left_s(now_s, born_s=self.header["t"]) == 0 for waits in waiting)

    @property
    def limits(self) -> Mapping[str, int]:
        limits: Mapping[str, int] = self.header["limits"]
        return limits


# ── what a record means ───────────────────────────────────────────────────────────────────────────────────


def evolve(session: Session, record: Record) -> Session:
    """Folds one record into `session` and returns it. Raises IllegalRecord and then leaves it as it was."""
    kind = str(record.get("kind"))
    step = TRANSITIONS.get((session.phase, kind))
    if step is None:
        raise IllegalRecord(f"a record of kind {kind[:40]!r} cannot come while a session is {session.phase}")
    if (problem := problem_of(record)) is not None:
        raise IllegalRecord(f"a record of kind {kind!r} has no field {problem!r} of the right form")
    if not can_follow(session, record):
        raise IllegalRecord(f"a record of kind {kind!r} does not fit the records before it")
    if kind != "flushed":  # a mark matters to recovery, not to the state; every third record is one
        _FOLDS[kind](session, record)
        session.last_s = max(session.last_s, record.get("t", 0.0))  # a branch begins with records older than itself
    phase = step(session) if callable(step) else step
    if phase is Phase.RUNNING and session.phase is not Phase.RUNNING:
        session.elapsed.computing_since_s = session.last_s
    session.phase = phase
    return session


def fold(records: Iterable[Record]) -> Session:
    """Raises IllegalRecord."""
    session = Session()
    for record in records:
        evolve(session, record)
    return session


def _phase_of_streams(session: Session) -> Phase:
    for stream in session.streams.values():  # any() would take a generator for the one that most sessions have
        if stream.can_run:
            return Phase.RUNNING
    return Phase.PAUSED if session.pending else Phase.RUNNING  # with no query open, all that is to come is a timer


def _struck(session: Session) -> Phase:
    if session.strikes >= session.limits["strikes"] or (session.phase is not Phase.PAUSED and session.is_endless):
        return Phase.STUCK
    return _phase_of_streams(session)


TRANSITIONS: dict[tuple[Phase, str], Phase | Callable[[Session], Phase]] = {
    (Phase.NEW, "header"): Phase.RUNNING,
    (Phase.RUNNING, "module"): Phase.RUNNING,
    (Phase.RUNNING, "effect"): Phase.RUNNING,
    (Phase.RUNNING, "note"): Phase.RUNNING,
    (Phase.RUNNING, "prompt"): _phase_of_streams,
    (Phase.RUNNING, "answer"): _phase_of_streams,  # one stream gets an answer while another still computes
    (Phase.RUNNING, "misfit"): Phase.RUNNING,
    (Phase.RUNNING, "delivery"): Phase.RUNNING,
    (Phase.RUNNING, "fork"): Phase.RUNNING,
    (Phase.RUNNING, "end"): _phase_of_streams,  # the others may all wait for answers
    (Phase.RUNNING, "crash"): _struck,
    (Phase.RUNNING, "final"): Phase.FINISHED,
    (Phase.RUNNING, "flushed"): Phase.RUNNING,
    (Phase.PAUSED, "answer"): _phase_of_streams,
    (Phase.PAUSED, "misfit"): Phase.PAUSED,
    (Phase.PAUSED, "delivery"): Phase.RUNNING,  # a timer
    (Phase.PAUSED, "crash"): _struck,  # a revived engine died on its way back to the open prompt
    (Phase.PAUSED, "final"): Phase.FINISHED,  # cancelled
    (Phase.PAUSED, "flushed"): Phase.PAUSED,
    (Phase.STUCK, "module"): Phase.RUNNING,  # the retry made progress
    (Phase.STUCK, "effect"): Phase.RUNNING,
    (Phase.STUCK, "note"): _phase_of_streams,
    (Phase.STUCK, "prompt"): _phase_of_streams,
    (Phase.STUCK, "delivery"): Phase.RUNNING,
    (Phase.STUCK, "fork"): Phase.RUNNING,
    (Phase.STUCK, "end"): _phase_of_streams,
    (Phase.STUCK, "crash"): _struck,
    (Phase.STUCK, "final"): Phase.FINISHED,
    (Phase.STUCK, "flushed"): Phase.STUCK,
    (Phase.FINISHED, "flushed"): Phase.FINISHED,
}


_BURNED = 2  # deaths by processor time at one point: the code is deterministic, a third try does the same
_NOT_KEPT = ("kind", "s", "code", "ctx", "carried", "tally", "answered", "child_stats")


def _fold_header(session: Session, record: Record) -> None:
    session.sid = record["sid"]
    session.header = {key: value for key, value in record.items() if key not in _NOT_KEPT}
    session.budget = record.get("budget", {})
    session.elapsed.counted_s = record["t"]
    if "tally" in record:  # of a finished journal that was scrubbed: what its prompts and answers would have counted
        session.usage = Usage(**record["tally"])
        session.answered = dict(record.get("answered", {}))
        session.child_stats = dict(record.get("child_stats", {}))


def _fold_prompt(session: Session, record: Record) -> None:
    stream = session.streams[record.get("stream", MAIN)]
    session.elapsed.count(record["t"], record.get("spent_s"))
    for query_id in record.get("withdrawn", ()):
        del session.pending[query_id]
    for query in record["queries"]:
        session.pending[query["id"]] = query
        session.usage.ask(query)
    stream.asked += len(record["queries"])
    if "wait" in record:
        stream.waits.begin(record)
    else:
        stream.open = len(record["queries"])
    stream.answer_bytes = stream.strikes = stream.burned = 0
    stream.fork, stream.is_blank = None, False
    session.usage.pauses += bool(record["queries"])


def _fold_delivery(session: Session, record: Record) -> None:
    if not any(stream.can_run for stream in session.streams.values()):  # a timer fired, maybe long ago
        session.elapsed.count(record["t"], session.limits.get("budget_wait_s"))
    session.streams[record.get("stream", MAIN)].waits.deliver()
    session.usage.rounds += bool(record["answered"])


def _fold_fork(session: Session, record: Record) -> None:
    session.elapsed.count(record["t"], record.get("spent_s"))
    streams.begin_fork(session.streams, record, session.limits.get("children", 0))


def _fold_end(session: Session, record: Record) -> None:
    session.elapsed.count(record["t"], record.get("spent_s"))
    if "stats" in record:
        strategy = session.streams[record["stream"]].strategy
        session.child_stats[record["stream"]] = {"strategy": strategy, "custom": record["stats"]}
    over = streams.end_child(session.streams, record, session.limits.get("children", 0))
    for query_id in [key for key, query in session.pending.items() if query.get("stream", MAIN) in over]:
        del session.pending[query_id]


def _fold_answer(session: Session, record: Record) -> None:
    session.warnings = []
    wait_s = session.limits.get("budget_wait_s")
    session.elapsed.count(record["t"], wait_s if session.phase is Phase.PAUSED else None)
    independent = [item for item in record["answers"] if session.pending[item["id"]].get("independent") is True]
    session.unattributed = max(session.unattributed, sum("by" not in item for item in independent))
    for item in record["answers"]:
        query = session.pending.pop(item["id"])
        session.misfits.pop(item["id"], None)
        stream = session.streams[query.get("stream", MAIN)]
        session.answered[item["id"]] = answer_digest(item)
        session.usage.answer(query, item)
        if item["id"] in stream.waits.undelivered:
            stream.waits.answer(item["id"], answer_size(item))
            continue
        stream.answer_bytes += answer_size(item)
        stream.open -= 1
        if not stream.open:  # what is on the way to the engine takes no room of the answers for its waits
            stream.answer_bytes = 0
            session.usage.rounds += 1


def _fold_misfit(session: Session, record: Record) -> None:
    for query_id in record["query_ids"]:
        session.misfits[query_id] = session.misfits.get(query_id, 0) + 1


def _fold_effect(session: Session, record: Record) -> None:
    stream = session.streams[record.get("stream", MAIN)]
    stream.is_blank, stream.burned = False, 0
    if "n" in record:
        stream.changes = record["n"] + 1


def _fold_note(session: Session, record: Record) -> None:
    session.notes_bytes += record["bytes"]
    stream = record.get("stream", MAIN)
    session.streams[stream].is_blank = False
    if "warning" in record:
        session.warnings.append(record["message"])
    if "progress" in record:
        session.progress = record["progress"] | _source_of(session, stream)


def _source_of(session: Session, stream: str) -> Record:
    """Which child reported, if not the strategy itself."""
    return {"child": stream, "strategy": session.streams[stream].strategy} if stream else {}


def _fold_crash(session: Session, record: Record) -> None:
    stream = session.streams[record.get("stream", MAIN)]
    stream.strikes += 1
    stream.burned += record["reason"] == CPU_USED_UP
    session.crash = record["reason"]


def _fold_final(session: Session, record: Record) -> None:
    session.final = record
    session.pending.clear()  # a strategy may end while queries of its waits are open


_FOLDS: dict[str, Callable[[Session, Record], None]] = {
    "header": _fold_header,
    "module": _fold_effect,
    "effect": _fold_effect,
    "note": _fold_note,
    "prompt": _fold_prompt,
    "delivery": _fold_delivery,
    "fork": _fold_fork,
    "end": _fold_end,
    "answer": _fold_answer,
    "misfit": _fold_misfit,
    "crash": _fold_crash,
    "final": _fold_final,
}
