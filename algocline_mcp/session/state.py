"""THE CENTRE: a session is a fold over its records. Pure: no clock, no disk, no socket, no randomness.

    evolve(session, record)   what a record means: the only code that writes a Session (in place, so that a step
                              costs the same after 10,000 answers as after one)
    decide(session, event)    which records an event deserves, or why it is refused; nothing has happened yet
    view(session, …)          what the host is told

The keeper uses them live. Replay decides again and compares. A listing is a fold of what is on disk.
Records are JSON objects with `kind`; their shapes stand at the deciders that make them. `t` is unix seconds.
A *stream* is one runtime of the session: "" is the strategy itself, others are its children (streams.py).
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from algocline_mcp.session import streams
from algocline_mcp.errors import AlcError
from algocline_mcp.session.streams import MAIN, ON_ERROR, Stream
from algocline_mcp.session.usage import Tally, byte_size

Record = dict[str, Any]
# The limits that decide: a session keeps those it was born with.
RECORDED_LIMITS = (
    *("prompt_bytes", "answer_bytes", "result_bytes", "notes_bytes", "queries", "strikes"),
    *("state_key_bytes", "state_value_bytes", "budget_wait_s"),
    *("ctx_bytes", "children", "children_max", "children_depth"),
)


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


class IllegalRecord(AlcError):
    """A readable record that cannot follow the ones before it: another program's journal, or a newer one's."""

    code = "corrupt"


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


def _settled(session: Session) -> Phase:
    for stream in session.streams.values():  # any() would take a generator for the one that most sessions have
        if stream.can_run:
            return Phase.RUNNING
    return Phase.PAUSED


def _struck(session: Session) -> Phase:
    return Phase.STUCK if session.strikes >= session.limits["strikes"] else _settled(session)


TRANSITIONS: dict[tuple[Phase, str], Phase | Callable[[Session], Phase]] = {
    (Phase.NEW, "header"): Phase.RUNNING,
    (Phase.RUNNING, "module"): Phase.RUNNING,
    (Phase.RUNNING, "effect"): Phase.RUNNING,
    (Phase.RUNNING, "note"): Phase.RUNNING,
    (Phase.RUNNING, "prompt"): _settled,
    (Phase.RUNNING, "answer"): _settled,  # one runtime is answered while another still computes
    (Phase.RUNNING, "fork"): Phase.RUNNING,
    (Phase.RUNNING, "end"): _settled,  # the others may all wait for answers
    (Phase.RUNNING, "crash"): _struck,
    (Phase.RUNNING, "final"): Phase.FINISHED,
    (Phase.RUNNING, "flushed"): Phase.RUNNING,
    (Phase.PAUSED, "answer"): _settled,
    (Phase.PAUSED, "crash"): _struck,  # a revived engine died on its way back to the open prompt
    (Phase.PAUSED, "final"): Phase.FINISHED,  # cancelled
    (Phase.PAUSED, "flushed"): Phase.PAUSED,
    (Phase.STUCK, "module"): Phase.RUNNING,  # tried again, and it came further
    (Phase.STUCK, "effect"): Phase.RUNNING,
    (Phase.STUCK, "note"): _settled,
    (Phase.STUCK, "prompt"): _settled,
    (Phase.STUCK, "fork"): Phase.RUNNING,
    (Phase.STUCK, "end"): _settled,
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


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the host: `response`, or `refuse` with a reason. `usage`: prompt_tokens, completion_tokens."""

    query_id: str | None
    response: str | None = None
    refuse: str | None = None
    usage: Mapping[str, int] | None = None
    by: str | None = None

    def item(self, query_id: str) -> Record:
        """As it stands in an answer record."""
        said = {"response": self.response} if self.refuse is None else {"refuse": self.refuse}
        told = {"usage": dict(self.usage) if self.usage else None, "by": self.by}
        return {"id": query_id} | said | {key: value for key, value in told.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Continue:
    answers: tuple[Answer, ...]
    now_s: float


@dataclass(frozen=True, slots=True)
class Status:
    pass


@dataclass(frozen=True, slots=True)
class Cancel:
    now_s: float


@dataclass(frozen=True, slots=True)
class Asked:
    stream: str
    queries: tuple[Record, ...]  # {prompt, system, max_tokens, grounded?, underspecified?, further options}
    now_s: float
    spent_s: float | None = None  # for how long its engine has computed in this step


@dataclass(frozen=True, slots=True)
class Called:
    """A host function was carried out. `times` > 1: as often in a row, with the same result. `n`: it changed what
    sessions share, as the n-th such effect of its stream."""

    stream: str
    name: str
    args: tuple[Any, ...]
    outcome: Record  # {result} or {error}
    times: int = 1
    n: int | None = None


@dataclass(frozen=True, slots=True)
class Noted:
    stream: str
    note: Record  # {level, message} or {progress: {step, total, message}}


@dataclass(frozen=True, slots=True)
class Forked:
    stream: str
    strategies: tuple[str, ...]
    ctx: Record
    on_error: str  # one of ON_ERROR
    now_s: float
    spent_s: float | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    stream: str
    outcome: Record  # {result, stats?} or {error}
    now_s: float
    spent_s: float | None = None


@dataclass(frozen=True, slots=True)
class Died:
    stream: str
    reason: str
    now_s: float


HostEvent = Continue | Status | Cancel
EngineEvent = Asked | Called | Noted | Forked | Ended | Died


@dataclass(frozen=True, slots=True)
class Refusal:
    query_id: str | None
    reason: str
    code: str


@dataclass(frozen=True, slots=True)
class Decision:
    """`records` are to be appended, in order. `refused`: items not taken beside others that were.
    `error`: the call as a whole is refused. `is_retry`: try the engine again, then decide once more."""

    records: tuple[Record, ...] = ()
    refused: tuple[Refusal, ...] = ()
    error: Refusal | None = None
    is_retry: bool = False


# ── which records an event deserves ───────────────────────────────────────────────────────────────────────


def decide(session: Session, event: HostEvent | EngineEvent) -> Decision:
    if isinstance(event, Continue | Status | Cancel):
        return _REPLIES[REPLIES[session.phase, event_name(event)]](session, event)
    return Decision(records=_RECORDS[type(event)](session, event))


def event_name(event: HostEvent) -> str:
    """The column of REPLIES. `bare` is a continue that brings no answer."""
    if isinstance(event, Continue):
        return "continue" if event.answers else "bare"
    return "status" if isinstance(event, Status) else "cancel"


# judge: item by item · ask: refuse, say what is needed · tell: the current state · end: the cancelled final
# retry: start the engine again, then decide anew
REPLIES: dict[tuple[Phase, str], str] = {
    (Phase.RUNNING, "continue"): "judge",
    (Phase.RUNNING, "bare"): "ask",
    (Phase.RUNNING, "status"): "tell",
    (Phase.RUNNING, "cancel"): "end",
    (Phase.PAUSED, "continue"): "judge",
    (Phase.PAUSED, "bare"): "ask",
    (Phase.PAUSED, "status"): "tell",
    (Phase.PAUSED, "cancel"): "end",
    (Phase.STUCK, "continue"): "retry",
    (Phase.STUCK, "bare"): "ask",
    (Phase.STUCK, "status"): "retry",
    (Phase.STUCK, "cancel"): "end",
    (Phase.FINISHED, "continue"): "judge",
    (Phase.FINISHED, "bare"): "ask",
    (Phase.FINISHED, "status"): "tell",
    (Phase.FINISHED, "cancel"): "tell",
}


def _tell(session: Session, event: HostEvent) -> Decision:
    return Decision()


def _retry(session: Session, event: HostEvent) -> Decision:
    return Decision(is_retry=True)


def _ask(session: Session, event: HostEvent) -> Decision:
    sentence = f"Either 'response' or 'responses' must be provided{_what_waits(session)}"
    return Decision(error=Refusal(None, sentence, "no_answer"))


def _end(session: Session, event: HostEvent) -> Decision:
    assert isinstance(event, Cancel)
    return Decision(records=({"kind": "final", "status": "cancelled", "t": event.now_s},))


def _judge(session: Session, event: HostEvent) -> Decision:
    """Item by item: good ones make one record; a repeat of what was taken is no offence; the rest is refused.

    Nothing taken and nothing repeated refuses the call, except for a missing query_id: then the current prompt
    goes back, because the server cannot know whether the host ever saw it.
    """
    assert isinstance(event, Continue)
    taken: dict[str, Record] = {}
    refused: list[Refusal] = []
    is_repeat = False
    room = {name: session.limits["answer_bytes"] - stream.answer_bytes for name, stream in session.streams.items()}
    for answer in event.answers:
        query_id = answer.query_id if answer.query_id is not None else _meant(session)
        if query_id is None:
            refused.append(_unnamed(session))
            continue
        item = answer.item(query_id)
        known = answer_digest(taken[query_id]) if query_id in taken else session.answered.get(query_id)
        if known is not None:
            is_repeat = is_repeat or known == answer_digest(item)
            if known != answer_digest(item):
                refused.append(_answered(query_id))
        elif query_id not in session.pending:
            refused.append(_unknown(session, query_id))
        elif (size := _answer_size(item)) > room[stream := session.pending[query_id].get("stream", MAIN)]:
            refused.append(_too_large(session, query_id, size))
        else:
            room[stream] -= size
            taken[query_id] = item
    if taken:
        record = {"kind": "answer", "answers": list(taken.values()), "t": event.now_s}
        return Decision(records=(record,), refused=tuple(refused))
    if is_repeat or all(refusal.code == "query_id_needed" for refusal in refused):
        return Decision(refused=tuple(refused))
    return Decision(refused=tuple(refused), error=refused[0])


def _meant(session: Session) -> str | None:
    """The query that an answer without query_id means: the first of a session that has asked just one. Those that were
    dropped count: a host may answer them yet."""
    ids = [*session.answered, *session.pending]
    asked = sum(stream.asked for stream in session.streams.values())
    return ids[0] if len(ids) == 1 and asked <= 1 else None


def _unnamed(session: Session) -> Refusal:
    if not session.answered and len(session.pending) > 1:
        sentence = f"{len(session.pending)} queries pending; specify query_id explicitly{_what_waits(session)}"
        return Refusal(None, sentence, "query_id_missing")
    if not session.pending:
        return Refusal(None, f"this session waits for no answer: it is {session.phase}", "not_waiting")
    sentence = "an answer after the first prompt needs its query_id: send it again with the id of this prompt"
    return Refusal(None, sentence, "query_id_needed")


def _answered(query_id: str) -> Refusal:
    sentence = f"already responded to query_id: {query_id} with another text; the first answer stands"
    return Refusal(query_id, sentence, "already_answered")


def _unknown(session: Session, query_id: str) -> Refusal:
    if _is_dropped(session, query_id):
        sentence = f"{query_id} is no longer asked: the alc.fork that it belongs to has failed{_what_waits(session)}"
        return Refusal(query_id, sentence, "unknown_query")
    return Refusal(query_id, f"unknown query_id: {query_id}{_what_waits(session)}", "unknown_query")


def _is_dropped(session: Session, query_id: str) -> bool:
    name, _, number = query_id.rpartition("-")
    stream = session.streams.get(name.removeprefix("f-")) if name.startswith("f-") else None
    return stream is not None and stream.ended_as == "dropped" and number in map(str, range(stream.asked))


def _too_large(session: Session, query_id: str, size: int) -> Refusal:
    limit = session.limits["answer_bytes"]
    sentence = f"answer of {size} bytes to {query_id}: the answers of one pause may hold {limit} bytes; shorten it"
    return Refusal(query_id, sentence, "too_large")


def _what_waits(session: Session) -> str:
    if session.pending:
        return f"; pending: {', '.join(session.pending)}"
    return f"; nothing is pending: the session is {session.phase}"


_REPLIES: dict[str, Callable[[Session, HostEvent], Decision]] = {
    "judge": _judge,
    "ask": _ask,
    "tell": _tell,
    "end": _end,
    "retry": _retry,
}


def _on_asked(session: Session, event: Asked) -> tuple[Record, ...]:
    first = session.streams[event.stream].asked
    prefix = f"f-{event.stream}" if event.stream else "q"
    mark = {"stream": event.stream} if event.stream else {}
    queries = [
        {"id": f"{prefix}-{first + n}", "digest": query_digest(query), **query, **mark}
        for n, query in enumerate(event.queries)
    ]
    return ({"kind": "prompt", "queries": queries, "t": event.now_s, **_marks(event)},)


def _marks(event: Asked | Forked | Ended) -> Record:
    """How long its engine has computed in this step, and whose it is."""
    spent = {} if event.spent_s is None else {"spent_s": event.spent_s}
    return spent | ({"stream": event.stream} if event.stream else {})


def _on_called(session: Session, event: Called) -> tuple[Record, ...]:
    mark: Record = {"stream": event.stream} if event.stream else {}
    if event.times > 1:
        mark["times"] = event.times
    if event.n is not None:
        mark["n"] = event.n
    kind = "module" if event.name == "module" else "effect"
    return ({"kind": kind, "name": event.name, "args": list(event.args), **event.outcome, **mark},)


def _on_noted(session: Session, event: Noted) -> tuple[Record, ...]:
    """Log lines and progress up to notes_bytes; the one that goes over is replaced by a last one that says so."""
    size = len(json.dumps(event.note))
    if session.notes_bytes > session.limits["notes_bytes"]:
        return ()
    note = event.note
    if session.notes_bytes + size > session.limits["notes_bytes"]:
        size = session.limits["notes_bytes"] - session.notes_bytes + 1
        note = {"level": "warn", "message": f"log full at {session.limits['notes_bytes']} bytes: no more is kept"}
    mark = {"stream": event.stream} if event.stream else {}
    return ({"kind": "note", "bytes": size, **note, **mark},)


def _on_forked(session: Session, event: Forked) -> tuple[Record, ...]:
    record: Record = {"kind": "fork", "strategies": list(event.strategies), "first": len(session.streams) - 1}
    record |= {"on_error": event.on_error, "ctx": event.ctx, "t": event.now_s}
    return (record | _marks(event),)


def _on_ended(session: Session, event: Ended) -> tuple[Record, ...]:
    if event.stream:
        return ({"kind": "end", **event.outcome, "t": event.now_s, **_marks(event)},)
    status = "completed" if "result" in event.outcome else "error"
    return ({"kind": "final", "status": status, **event.outcome, "t": event.now_s},)


def _on_died(session: Session, event: Died) -> tuple[Record, ...]:
    mark = {"stream": event.stream} if event.stream else {}
    return ({"kind": "crash", "reason": event.reason, "t": event.now_s, **mark},)


_RECORDS: dict[type, Callable[[Session, Any], tuple[Record, ...]]] = {
    Asked: _on_asked,
    Called: _on_called,
    Noted: _on_noted,
    Forked: _on_forked,
    Ended: _on_ended,
    Died: _on_died,
}


# ── what the host is told ─────────────────────────────────────────────────────────────────────────────────

# phase, or how it ended -> the `status` of a result, and the original's `state` and `phase`
STATUSES: dict[str, tuple[str, str, str]] = {
    "running": ("running", "running", "running"),
    "paused": ("needs_response", "paused", "paused"),
    "stuck": ("error", "paused", "failed"),
    "completed": ("completed", "terminal", "completed"),
    "error": ("error", "terminal", "failed"),
    "cancelled": ("cancelled", "terminal", "cancelled"),
}
_ENDED_AS = {"completed": "Completed", "error": "Failed", "cancelled": "Cancelled"}


def status_of(session: Session) -> str:
    return STATUSES[session.final["status"] if session.final else session.phase][0]


def view(session: Session, *, now_s: float, computing: int = 0, accepted: bool = False) -> Record:
    """The feed result: one of Paused, Running, Accepted, Finished, Stuck, tagged by its name as in the original.

    `computing`: runtimes that compute at this moment, as only a keeper knows. `accepted`: an answer was taken
    and let nothing run.
    """
    if session.final is not None:
        return {"Finished": {"state": _end_state(session.final), "metrics": metrics(session, now_s)}}
    if session.phase is Phase.STUCK and not computing:
        return {"Stuck": _stuck(session)}
    if session.pending and accepted and not computing:
        return {"Accepted": {"remaining": len(session.pending), "pending": list(session.pending)}}
    if session.pending:
        paused: Record = {"queries": [_shown(query) for query in session.pending.values()]}
        return {"Paused": paused | ({"running": computing} if computing else {})}
    return {"Running": {}}


def _end_state(final: Record) -> Any:
    name = _ENDED_AS[final["status"]]
    if name == "Cancelled":
        return name
    return {name: {key: final[key] for key in ("result", "error") if key in final}}


def _stuck(session: Session) -> Record:
    return {
        "error_code": "crash_loop",
        "error": f"the engine died {session.strikes} times in this step, last: {session.crash}",
        "next": "alc_status with wait_s tries again; if it dies again, start the strategy anew with less work",
    }


def _shown(query: Record) -> Record:
    return {key: value for key, value in query.items() if key not in ("digest", "stream")}


def metrics(session: Session, now_s: float) -> Record:
    """`stats` of a result; an unfinished session counts up to now."""
    end_s = session.final["t"] if session.final else now_s
    auto = session.tally.stats(elapsed_s=end_s - session.about["t"])
    if session.budget:
        auto["budget"] = dict(session.budget)
    told: Record = {"auto": auto, "custom": (session.final or {}).get("stats", {})}
    if session.child_stats:
        told["children"] = dict(session.child_stats)
    return told


def children(session: Session) -> list[Record]:
    """The children of alc.fork: `{child, strategy, status, parent?}`. `status`: queued (it waits for its turn),
    running, needs_response, forked (it waits for its own), completed, error, dropped (its fork has failed)."""
    return [
        {"child": name, "strategy": stream.strategy, "status": stream.status}
        | ({"parent": stream.parent} if stream.parent else {})
        for name, stream in session.streams.items()
        if name
    ]


def used(session: Session, *, now_s: float, spent_s: float) -> dict[str, int]:
    """What its budget counts, as `terms` takes it. `spent_s`: for how long the engine that asks has computed."""
    live_s = min(max(0.0, now_s - session.counted_s), spent_s)
    tokens = session.tally.prompt_tokens + session.tally.response_tokens
    return {
        "calls": session.tally.calls,
        "elapsed_ms": round((session.elapsed_s + live_s) * 1000),
        "tokens": tokens,
    }


def summary(session: Session, *, worker: str) -> Record:
    """One line of a list. `worker`: live, or none (hibernated: asking it revives it)."""
    line: Record = {
        "session_id": session.sid,
        "title": session.about["title"],
        "status": status_of(session),
        "worker": worker,
        "created_at": session.about["t"],
        "last_activity_at": session.last_s,
    }
    if session.phase is Phase.STUCK:
        line["error_code"] = "crash_loop"
    if session.pending:
        line["pending"] = list(session.pending)
    return line


# ── digests and sizes ────────────────────────────────────────────────────────────────────────────────


def query_digest(query: Mapping[str, Any]) -> str:
    """Of prompt, system and options, whatever the order of the options."""
    return _digest(query)


def answer_digest(item: Mapping[str, Any]) -> str:
    """Of what was said; not of `usage` and `by`, which may differ in a repeat."""
    return _digest([item.get("response"), item.get("refuse")])


def _digest(value: Any) -> str:
    return hashlib.sha256(_canonical.encode(value).encode()).hexdigest()[:32]


_canonical = json.JSONEncoder(sort_keys=True)


def _answer_size(item: Mapping[str, Any]) -> int:
    return byte_size(item.get("response") or "") + byte_size(item.get("refuse") or "")
