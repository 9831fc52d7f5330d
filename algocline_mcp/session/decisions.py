"""Decides which records an event deserves, or why it is refused. Pure: nothing has happened yet.

Events of the host are looked up in REPLIES, a table of phase and call; events of engines each become their record.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from algocline_mcp.session import refusals
from algocline_mcp.session.digests import answer_digest, answer_size, query_digest
from algocline_mcp.session.events import (
    Asked,
    Called,
    Cancel,
    Continue,
    Delivered,
    Died,
    Ended,
    EngineEvent,
    Forked,
    HostEvent,
    Logged,
    Status,
)
from algocline_mcp.session.misfits import AnswerCheck
from algocline_mcp.session.records import Record
from algocline_mcp.session.refusals import Refusal
from algocline_mcp.session.state import Phase, Session
from algocline_mcp.session.streams import MAIN


@dataclass(frozen=True, slots=True)
class Decision:
    """`records` are to be appended, in order. `refused`: the items that were not taken. `error`: the call as a whole is
    refused. `is_retry`: start the engine again, then decide once more."""

    records: tuple[Record, ...] = ()
    refused: tuple[Refusal, ...] = ()
    error: Refusal | None = None
    is_retry: bool = False

    @property
    def is_taken(self) -> bool:
        """Some answer was."""
        return any(record["kind"] == "answer" for record in self.records)


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
    sentence = f"Either 'response' or 'responses' must be provided{refusals.pending_clause(session)}"
    return Decision(error=Refusal(None, sentence, "no_answer"))


def _cancel(session: Session, event: HostEvent) -> Decision:
    assert isinstance(event, Cancel)
    return Decision(records=({"kind": "final", "status": "cancelled", "t": event.now_s},))


def _accept(session: Session, event: HostEvent) -> Decision:
    """Judges each item: the good ones make one record, a repeat of an accepted answer is harmless, the rest is refused.
    Answers that do not fit the schema of their prompt are counted by a record of their own, before the other.

    The call as a whole is refused if no item was taken and none was a repeat, with two exceptions, where the current
    prompt goes back: without a query_id the server cannot know whether the host ever saw that prompt, and who comes
    second with another answer has to go on from there.
    """
    assert isinstance(event, Continue)
    taken: dict[str, Record] = {}
    refused: list[Refusal] = []
    misfits: list[str] = []
    is_repeat, check = False, AnswerCheck(session, is_on=event.is_checked)
    limit = session.limits["answer_bytes"]
    room = {name: limit - one.answer_bytes - one.waits.answer_bytes for name, one in session.streams.items()}
    for answer in event.answers:
        query_id = answer.query_id if answer.query_id is not None else _only_query(session)
        if query_id is None:
            refused.append(refusals.without_id(session))
            continue
        item = answer.item(query_id)
        known = answer_digest(taken[query_id]) if query_id in taken else session.answered.get(query_id)
        if known is not None:
            is_repeat = is_repeat or known == answer_digest(item)
            if known != answer_digest(item):
                refused.append(refusals.answered(query_id))
        elif query_id not in session.pending:
            refused.append(refusals.unknown(session, query_id))
        elif (size := answer_size(item)) > room[stream := session.pending[query_id].get("stream", MAIN)]:
            refused.append(refusals.too_large(session, query_id, size))
        elif (reason := check.refusal(query_id, item)) is not None:
            refused.append(Refusal(query_id, reason, "misfit"))
            misfits += [query_id] * (query_id not in misfits)
        else:
            room[stream] -= size
            taken[query_id] = item
    return _decision(taken, misfits, refused, is_repeat=is_repeat, now_s=event.now_s)


def _decision(
    taken: dict[str, Record], misfits: list[str], refused: list[Refusal], *, is_repeat: bool, now_s: float
) -> Decision:
    records: list[Record] = [{"kind": "misfit", "query_ids": misfits, "t": now_s}] if misfits else []
    if taken:
        records.append({"kind": "answer", "answers": list(taken.values()), "t": now_s})
    elif not is_repeat and any(refusal.code not in ("query_id_needed", "already_answered") for refusal in refused):
        return Decision(tuple(records), tuple(refused), error=refusals.of_all(refused))
    return Decision(tuple(records), tuple(refused))


def _only_query(session: Session) -> str | None:
    """The query that an answer without query_id means: the only one that the session has ever asked. Dropped queries
    count, because a host may still answer them."""
    ids = [*session.answered, *session.pending]
    asked = sum(stream.asked for stream in session.streams.values())
    return ids[0] if len(ids) == 1 and asked <= 1 else None


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
    record: Record = {"kind": "prompt", "queries": queries, "t": event.now_s, **_marks(event)}
    if event.is_wait:
        withdrawn = session.streams[event.stream].waits.open_of(event.withdrawn)
        record |= {"wait": True} | ({} if event.wake_s is None else {"wake_s": event.wake_s})
        record |= {"withdrawn": withdrawn} if withdrawn else {}
    return (record,)


def _on_delivered(session: Session, event: Delivered) -> tuple[Record, ...]:
    mark = {"stream": event.stream} if event.stream else {}
    answered = session.streams[event.stream].waits.ready
    return ({"kind": "delivery", "answered": answered, "t": event.now_s, **mark},)


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
        note = {"level": "warn", "message": f"log full at {session.limits['notes_bytes']} bytes: no more is kept"}
    mark = {"stream": event.stream} if event.stream else {}
    return ({"kind": "note", "bytes": size, **note, **mark},)


def _on_forked(session: Session, event: Forked) -> tuple[Record, ...]:
    record: Record = {"kind": "fork", "strategies": list(event.strategies), "first": len(session.streams) - 1}
    record |= {"on_error": event.on_error, "ctx": event.ctx, "t": event.now_s}
    if any(event.abis):
        record["abis"] = list(event.abis)
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
    Delivered: _on_delivered,
    Called: _on_called,
    Logged: _on_noted,
    Forked: _on_forked,
    Ended: _on_ended,
    Died: _on_died,
}
