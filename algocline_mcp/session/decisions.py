"""Decides which records an event deserves, or why it is refused. Pure: nothing has happened yet.

Events of the host are looked up in REPLIES, a table of phase and call; events of engines each become their record.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from algocline_mcp.session.digests import answer_digest, answer_size, query_digest
from algocline_mcp.session.events import (
    Asked,
    Called,
    Cancel,
    Continue,
    Died,
    Ended,
    EngineEvent,
    Forked,
    HostEvent,
    Logged,
    Status,
)
from algocline_mcp.session.records import Record
from algocline_mcp.session.state import Phase, Session
from algocline_mcp.session.streams import MAIN


@dataclass(frozen=True, slots=True)
class Refusal:
    query_id: str | None
    reason: str
    code: str


@dataclass(frozen=True, slots=True)
class Decision:
    """`records` are to be appended, in order. `refused`: the items that were not taken. `error`: the call as a whole is
    refused. `is_retry`: start the engine again, then decide once more."""

    records: tuple[Record, ...] = ()
    refused: tuple[Refusal, ...] = ()
    error: Refusal | None = None
    is_retry: bool = False


def decide(session: Session, event: HostEvent | EngineEvent) -> Decision:
    if isinstance(event, Continue | Status | Cancel):
        return _DECIDERS[REPLIES[session.phase, event_name(event)]](session, event)
    return Decision(records=_RECORDS[type(event)](session, event))


def event_name(event: HostEvent) -> str:
    """The column of REPLIES. `bare` is a continue without an answer."""
    if isinstance(event, Continue):
        return "continue" if event.answers else "bare"
    return "status" if isinstance(event, Status) else "cancel"


class Reply(Enum):
    ACCEPT = "accept"  # judge each item, take the good ones
    REJECT_EMPTY = "reject_empty"  # refuse a continue without an answer, and say what is needed
    REPORT = "report"  # the current state
    CANCEL = "cancel"  # append the final record, cancelled
    RETRY = "retry"  # start the engine again, then decide anew


REPLIES: dict[tuple[Phase, str], Reply] = {
    (Phase.RUNNING, "continue"): Reply.ACCEPT,
    (Phase.RUNNING, "bare"): Reply.REJECT_EMPTY,
    (Phase.RUNNING, "status"): Reply.REPORT,
    (Phase.RUNNING, "cancel"): Reply.CANCEL,
    (Phase.PAUSED, "continue"): Reply.ACCEPT,
    (Phase.PAUSED, "bare"): Reply.REJECT_EMPTY,
    (Phase.PAUSED, "status"): Reply.REPORT,
    (Phase.PAUSED, "cancel"): Reply.CANCEL,
    (Phase.STUCK, "continue"): Reply.RETRY,
    (Phase.STUCK, "bare"): Reply.REJECT_EMPTY,
    (Phase.STUCK, "status"): Reply.RETRY,
    (Phase.STUCK, "cancel"): Reply.CANCEL,
    (Phase.FINISHED, "continue"): Reply.ACCEPT,
    (Phase.FINISHED, "bare"): Reply.REJECT_EMPTY,
    (Phase.FINISHED, "status"): Reply.REPORT,
    (Phase.FINISHED, "cancel"): Reply.REPORT,
}


def _report(session: Session, event: HostEvent) -> Decision:
    return Decision()


def _retry(session: Session, event: HostEvent) -> Decision:
    return Decision(is_retry=True)


def _reject_empty(session: Session, event: HostEvent) -> Decision:
    sentence = f"Either 'response' or 'responses' must be provided{_pending_clause(session)}"
    return Decision(error=Refusal(None, sentence, "no_answer"))


def _cancel(session: Session, event: HostEvent) -> Decision:
    assert isinstance(event, Cancel)
    return Decision(records=({"kind": "final", "status": "cancelled", "t": event.now_s},))


def _accept(session: Session, event: HostEvent) -> Decision:
    """Judges each item: the good ones make one record, a repeat of an accepted answer is harmless, the rest is refused.

    The call as a whole is refused if no item was taken and none was a repeat, with two exceptions, where the current
    prompt goes back: without a query_id the server cannot know whether the host ever saw that prompt, and who comes
    second with another answer has to go on from there.
    """
    assert isinstance(event, Continue)
    taken: dict[str, Record] = {}
    refused: list[Refusal] = []
    is_repeat = False
    room = {name: session.limits["answer_bytes"] - stream.answer_bytes for name, stream in session.streams.items()}
    for answer in event.answers:
        query_id = answer.query_id if answer.query_id is not None else _only_query(session)
        if query_id is None:
            refused.append(_refuse_without_id(session))
            continue
        item = answer.item(query_id)
        known = answer_digest(taken[query_id]) if query_id in taken else session.answered.get(query_id)
        if known is not None:
            is_repeat = is_repeat or known == answer_digest(item)
            if known != answer_digest(item):
                refused.append(_refuse_answered(query_id))
        elif query_id not in session.pending:
            refused.append(_refuse_unknown(session, query_id))
        elif (size := answer_size(item)) > room[stream := session.pending[query_id].get("stream", MAIN)]:
            refused.append(_refuse_too_large(session, query_id, size))
        else:
            room[stream] -= size
            taken[query_id] = item
    if taken:
        record = {"kind": "answer", "answers": list(taken.values()), "t": event.now_s}
        return Decision(records=(record,), refused=tuple(refused))
    if is_repeat or all(refusal.code in ("query_id_needed", "already_answered") for refusal in refused):
        return Decision(refused=tuple(refused))
    return Decision(refused=tuple(refused), error=refused[0])


def _only_query(session: Session) -> str | None:
    """The query that an answer without query_id means: the only one that the session has ever asked. Dropped queries
    count, because a host may still answer them."""
    ids = [*session.answered, *session.pending]
    asked = sum(stream.asked for stream in session.streams.values())
    return ids[0] if len(ids) == 1 and asked <= 1 else None


def _refuse_without_id(session: Session) -> Refusal:
    if not session.answered and len(session.pending) > 1:
        sentence = f"{len(session.pending)} queries pending; specify query_id explicitly{_pending_clause(session)}"
        return Refusal(None, sentence, "query_id_missing")
    if not session.pending:
        return Refusal(None, f"this session does not wait for an answer: it is {session.phase}", "not_waiting")
    sentence = "an answer after the first prompt needs its query_id: send it again with the id of this prompt"
    return Refusal(None, sentence, "query_id_needed")


def _refuse_answered(query_id: str) -> Refusal:
    sentence = (
        f"already responded to query_id: {query_id} with another text; the first answer stands: go on with what the "
        "session asks now"
    )
    return Refusal(query_id, sentence, "already_answered")


def _refuse_unknown(session: Session, query_id: str) -> Refusal:
    if _is_dropped(session, query_id):
        sentence = f"{query_id} is no longer asked: its alc.fork has failed{_pending_clause(session)}"
        return Refusal(query_id, sentence, "unknown_query")
    return Refusal(query_id, f"unknown query_id: {query_id}{_pending_clause(session)}", "unknown_query")


def _is_dropped(session: Session, query_id: str) -> bool:
    name, _, number = query_id.rpartition("-")
    stream = session.streams.get(name.removeprefix("f-")) if name.startswith("f-") else None
    return stream is not None and stream.ended_as == "dropped" and number in map(str, range(stream.asked))


def _refuse_too_large(session: Session, query_id: str, size: int) -> Refusal:
    limit = session.limits["answer_bytes"]
    sentence = f"answer of {size} bytes to {query_id}: the answers of one pause may hold {limit} bytes; shorten it"
    return Refusal(query_id, sentence, "too_large")


def _pending_clause(session: Session) -> str:
    if session.pending:
        return f"; pending: {', '.join(session.pending)}"
    return f"; nothing is pending: the session is {session.phase}"


_DECIDERS: dict[Reply, Callable[[Session, HostEvent], Decision]] = {
    Reply.ACCEPT: _accept,
    Reply.REJECT_EMPTY: _reject_empty,
    Reply.REPORT: _report,
    Reply.CANCEL: _cancel,
    Reply.RETRY: _retry,
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
    """The fields `spent_s` and `stream` of a record."""
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


def _on_noted(session: Session, event: Logged) -> tuple[Record, ...]:
    """Log lines and progress up to notes_bytes; a last line says that the log is full.

    None in a paused session: an engine that comes back to the open prompt may say more than it did before.
    """
    size = len(json.dumps(event.note))
    if session.phase is Phase.PAUSED or session.notes_bytes > session.limits["notes_bytes"]:
        return ()
    note = event.note
    if session.notes_bytes + size > session.limits["notes_bytes"]:
        size = session.limits["notes_bytes"] - session.notes_bytes + 1
        note = {
            "level": "warn",
            "message": f"log full at {session.limits['notes_bytes']} bytes: no more is kept",
        }
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
    Logged: _on_noted,
    Forked: _on_forked,
    Ended: _on_ended,
    Died: _on_died,
}
