"""THE CENTRE: a session is a fold over its records. Pure: no clock, no disk, no socket, no randomness.

    evolve(session, record)   what a record means: the only code that writes a Session (in place, so that a step
                              costs the same after 10,000 answers as after one)
    decide(session, event)    which records an event deserves, or why it is refused; nothing has happened yet
    view(session, …)          what the host is told

The keeper uses them live. Replay decides again and compares. A listing is a fold of what is on disk.
Records are JSON objects with `kind`; their shapes stand at the deciders that make them. `t` is unix seconds.
A *stream* is one runtime of the session: "" is the strategy itself, others are its children (streams.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from algocline_mcp.session import streams
from algocline_mcp.session.digests import _answer_size, answer_digest
from algocline_mcp.session.records import _ENDED_AS, IllegalRecord, Record
from algocline_mcp.session.streams import MAIN, ON_ERROR, Stream
from algocline_mcp.session.usage import Tally


class Phase(StrEnum):
    NEW = "new"  # no header yet: nobody ever sees it
    RUNNING = "running"  # some runtime can go on
    PAUSED = "paused"  # every runtime waits for an answer
    FINISHED = "finished"
    STUCK = "stuck"  # the engine died too often in one step; asking again tries again


@dataclass(slots=True)
class Session:
    sid: str = ""
    about: Record = field(default_factory=dict)  # the header without code, ctx and sources
    phase: Phase = Phase.NEW
    streams: dict[str, Stream] = field(default_factory=lambda: {MAIN: Stream()})
    pending: dict[str, Record] = field(default_factory=dict)  # query id -> query, oldest first
    answered: dict[str, str] = field(default_factory=dict)  # query id -> digest of the answer that was taken
    crash: str | None = None  # why the last engine died that was computing
    final: Record | None = None
    progress: Record | None = None
    notes_bytes: int = 0
    last_s: float = 0.0
    budget: Mapping[str, int] = field(default_factory=dict)
    elapsed_s: float = 0.0  # as the budget counts it, up to `counted_s`
    counted_s: float = 0.0
    tally: Tally = field(default_factory=Tally)
    child_stats: dict[str, Record] = field(default_factory=dict)  # by child: {strategy, custom}, as of alc.stats

    @property
    def strikes(self) -> int:
        """Of the runtime that has most: deaths of its engine in one step."""
        return max(each.strikes for each in self.streams.values() if not each.is_over)

    @property
    def limits(self) -> Mapping[str, int]:
        limits: Mapping[str, int] = self.about["limits"]
        return limits


# ── what a record means ───────────────────────────────────────────────────────────────────────────────────


def evolve(session: Session, record: Record) -> Session:
    """Folds one record into `session` and returns it. Raises IllegalRecord and then leaves it as it was."""
    kind = str(record.get("kind"))
    step = TRANSITIONS.get((session.phase, kind))
    if step is None or (kind != "flushed" and not _fits(session, record)):
        raise IllegalRecord(f"a record of kind {record.get('kind')!r} cannot come while a session is {session.phase}")
    if kind != "flushed":  # a mark matters to recovery, not to the state; every third record is one
        _FOLDS[kind](session, record)
        session.last_s = max(session.last_s, record.get("t", 0.0))  # a branch begins with records older than itself
    session.phase = step(session) if callable(step) else step
    return session


def fold(records: Sequence[Record]) -> Session:
    session = Session()
    for record in records:
        evolve(session, record)
    return session


def _phase_of_streams(session: Session) -> Phase:
    for stream in session.streams.values():  # any() would take a generator for the one that most sessions have
        if stream.can_run:
            return Phase.RUNNING
    return Phase.PAUSED


def _struck(session: Session) -> Phase:
    return Phase.STUCK if session.strikes >= session.limits["strikes"] else _phase_of_streams(session)


TRANSITIONS: dict[tuple[Phase, str], Phase | Callable[[Session], Phase]] = {
    (Phase.NEW, "header"): Phase.RUNNING,
    (Phase.RUNNING, "module"): Phase.RUNNING,
    (Phase.RUNNING, "effect"): Phase.RUNNING,
    (Phase.RUNNING, "note"): Phase.RUNNING,
    (Phase.RUNNING, "prompt"): _phase_of_streams,
    (Phase.RUNNING, "answer"): _phase_of_streams,  # one runtime is answered while another still computes
    (Phase.RUNNING, "fork"): Phase.RUNNING,
    (Phase.RUNNING, "end"): _phase_of_streams,  # the others may all wait for answers
    (Phase.RUNNING, "crash"): _struck,
    (Phase.RUNNING, "final"): Phase.FINISHED,
    (Phase.RUNNING, "flushed"): Phase.RUNNING,
    (Phase.PAUSED, "answer"): _phase_of_streams,
    (Phase.PAUSED, "crash"): _struck,  # a revived engine died on its way back to the open prompt
    (Phase.PAUSED, "final"): Phase.FINISHED,  # cancelled
    (Phase.PAUSED, "flushed"): Phase.PAUSED,
    (Phase.STUCK, "module"): Phase.RUNNING,  # tried again, and it came further
    (Phase.STUCK, "effect"): Phase.RUNNING,
    (Phase.STUCK, "note"): _phase_of_streams,
    (Phase.STUCK, "prompt"): _phase_of_streams,
    (Phase.STUCK, "fork"): Phase.RUNNING,
    (Phase.STUCK, "end"): _phase_of_streams,
    (Phase.STUCK, "crash"): _struck,
    (Phase.STUCK, "final"): Phase.FINISHED,
    (Phase.STUCK, "flushed"): Phase.STUCK,
    (Phase.FINISHED, "flushed"): Phase.FINISHED,
}


def _fits(session: Session, record: Record) -> bool:
    """Whether a record that was not written by this program would fold without breaking half-way."""
    try:
        if record["kind"] in _OF_STREAMS and not session.streams[record.get("stream", MAIN)].is_live:
            return False
        match record["kind"]:
            case "header":
                is_limited = isinstance(record.get("budget", {}), dict)
                return is_limited and {"sid", "t", "title", "limits"} <= record.keys()
            case "prompt":
                is_timed = isinstance(record["t"], int | float) and isinstance(record.get("spent_s", 0), int | float)
                return is_timed and all(isinstance(each["id"], str) and "system" in each for each in record["queries"])
            case "answer":
                ids = [item["id"] for item in record["answers"]]
                is_timed = isinstance(record["t"], int | float)
                return is_timed and len(set(ids)) == len(ids) and all(each in session.pending for each in ids)
            case "note":
                return isinstance(record["bytes"], int)
            case "effect":
                return isinstance(record.get("n", 0), int)
            case "crash":
                return isinstance(record["reason"], str)
            case "fork":
                return _fits_fork(session, record)
            case "end":
                is_timed = isinstance(record["t"], int | float) and isinstance(record.get("spent_s", 0), int | float)
                is_ended = isinstance(record.get("error", ""), str) and ("result" in record or "error" in record)
                return is_timed and is_ended and session.streams[record["stream"]].parent is not None
            case "final":
                return record["status"] in _ENDED_AS and isinstance(record["t"], int | float)
    except (KeyError, TypeError):
        return False
    return True


def _fits_fork(session: Session, record: Record) -> bool:
    names, first = record["strategies"], record["first"]
    is_timed = isinstance(record["t"], int | float) and isinstance(record.get("spent_s", 0), int | float)
    is_named = isinstance(names, list) and bool(names) and all(isinstance(name, str) for name in names)
    is_next = type(first) is int and first == len(session.streams) - 1
    is_free = session.streams[record.get("stream", MAIN)].can_run
    return is_timed and is_named and is_next and is_free and isinstance(record["ctx"], dict) and _is_mode(record)


def _is_mode(record: Record) -> bool:
    return record["on_error"] in ON_ERROR


_OF_STREAMS = frozenset(("module", "effect", "note", "prompt", "fork", "end", "crash"))
_NOT_KEPT = ("kind", "s", "code", "ctx", "carried", "tally", "answered", "child_stats")


def _fold_header(session: Session, record: Record) -> None:
    session.sid = record["sid"]
    session.about = {key: value for key, value in record.items() if key not in _NOT_KEPT}
    session.budget = record.get("budget", {})
    session.counted_s = record["t"]
    if "tally" in record:  # of a finished journal that was scrubbed: what its prompts and answers would have counted
        session.tally = Tally(**record["tally"])
        session.answered = dict(record.get("answered", {}))
        session.child_stats = dict(record.get("child_stats", {}))


def _fold_prompt(session: Session, record: Record) -> None:
    stream = session.streams[record.get("stream", MAIN)]
    _count_time(session, record["t"], record.get("spent_s"))
    for query in record["queries"]:
        session.pending[query["id"]] = query
        session.tally.ask(query)
    stream.asked += len(record["queries"])
    stream.open = len(record["queries"])
    stream.answer_bytes = stream.strikes = 0
    stream.fork, stream.is_blank = None, False
    session.tally.pauses += 1


def _fold_fork(session: Session, record: Record) -> None:
    _count_time(session, record["t"], record.get("spent_s"))
    streams.begin_fork(session.streams, record, session.limits.get("children", 0))


def _fold_end(session: Session, record: Record) -> None:
    _count_time(session, record["t"], record.get("spent_s"))
    if "stats" in record:
        strategy = session.streams[record["stream"]].strategy
        session.child_stats[record["stream"]] = {"strategy": strategy, "custom": record["stats"]}
    over = streams.end_child(session.streams, record, session.limits.get("children", 0))
    for query_id in [each for each, query in session.pending.items() if query.get("stream", MAIN) in over]:
        del session.pending[query_id]


def _fold_answer(session: Session, record: Record) -> None:
    wait_s = session.limits.get("budget_wait_s")
    _count_time(session, record["t"], wait_s if session.phase is Phase.PAUSED else None)
    for item in record["answers"]:
        query = session.pending.pop(item["id"])
        stream = session.streams[query.get("stream", MAIN)]
        session.answered[item["id"]] = answer_digest(item)
        session.tally.answer(query, item)
        stream.answer_bytes += _answer_size(item)
        stream.open -= 1
        session.tally.rounds += stream.open == 0


def _count_time(session: Session, now_s: float, most_s: float | None) -> None:
    """Of the time since the last prompt or answer, at most `most_s`: neither a night without a worker nor a clock that
    was set counts as computing, nor a long wait in full."""
    gap_s = max(0.0, now_s - session.counted_s)
    session.elapsed_s += gap_s if most_s is None else min(gap_s, most_s)
    session.counted_s = now_s


def _fold_effect(session: Session, record: Record) -> None:
    stream = session.streams[record.get("stream", MAIN)]
    stream.is_blank = False
    if "n" in record:
        stream.changes = record["n"] + 1


def _fold_note(session: Session, record: Record) -> None:
    session.notes_bytes += record["bytes"]
    stream = record.get("stream", MAIN)
    session.streams[stream].is_blank = False
    if "progress" in record:
        session.progress = record["progress"] | _told_by(session, stream)


def _told_by(session: Session, stream: str) -> Record:
    return {"child": stream, "strategy": session.streams[stream].strategy} if stream else {}


def _fold_crash(session: Session, record: Record) -> None:
    session.streams[record.get("stream", MAIN)].strikes += 1
    session.crash = record["reason"]


def _fold_final(session: Session, record: Record) -> None:
    session.final = record
    session.pending.clear()


_FOLDS: dict[str, Callable[[Session, Record], None]] = {
    "header": _fold_header,
    "module": _fold_effect,
    "effect": _fold_effect,
    "note": _fold_note,
    "prompt": _fold_prompt,
    "fork": _fold_fork,
    "end": _fold_end,
    "answer": _fold_answer,
    "crash": _fold_crash,
    "final": _fold_final,
}


# ── what can happen to a session ──────────────────────────────────────────────────────────────────────────


# ── which records an event deserves ───────────────────────────────────────────────────────────────────────


# ── what the host is told ─────────────────────────────────────────────────────────────────────────────────


# ── digests and sizes ────────────────────────────────────────────────────────────────────────────────
