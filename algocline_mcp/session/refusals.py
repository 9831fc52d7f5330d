"""Refusals of answers: the sentence of each. Pure."""

from dataclasses import dataclass, replace

from algocline_mcp.session.state import Session
from algocline_mcp.session.streams import MAIN

_REASONS = 8  # that an error names


@dataclass(frozen=True, slots=True)
class Refusal:
    query_id: str | None
    reason: str
    code: str


def of_all(refused: list[Refusal]) -> Refusal:
    """The error of a call of which nothing was taken: the first reason. Of answers that can be corrected, several."""
    misfits = [refusal for refusal in refused if refusal.code == "misfit"]
    if not misfits:
        return refused[0]
    reasons = [refusal.reason for refusal in misfits[:_REASONS]]
    if len(misfits) > _REASONS:
        reasons.append(f"so do {len(misfits) - _REASONS} others")
    return replace(misfits[0], reason="; ".join(reasons))


def without_id(session: Session) -> Refusal:
    if not session.answered and len(session.pending) > 1:
        sentence = f"{len(session.pending)} queries pending; specify query_id explicitly{pending_clause(session)}"
        return Refusal(None, sentence, "query_id_missing")
    if not session.pending:
        return Refusal(None, f"this session does not wait for an answer: it is {session.phase}", "not_waiting")
    sentence = "an answer after the first prompt needs its query_id: send it again with the id of this prompt"
    return Refusal(None, sentence, "query_id_needed")


def answered(query_id: str) -> Refusal:
    sentence = (
        f"already responded to query_id: {query_id} with another text; the first answer stands: go on with what the "
        "session asks now"
    )
    return Refusal(query_id, sentence, "already_answered")


def unknown(session: Session, query_id: str) -> Refusal:
    sentence = f"unknown query_id: {query_id}"
    if (reason := _why_withdrawn(session, query_id)) is not None:
        sentence = f"{query_id} is no longer asked: {reason}"
    return Refusal(query_id, sentence + pending_clause(session), "unknown_query")


def _why_withdrawn(session: Session, query_id: str) -> str | None:
    """Why a query that was never answered is not pending; None for an id that was never asked."""
    name, _, number = query_id.rpartition("-")
    child = name.removeprefix("f-")
    stream = session.streams.get(MAIN if name == "q" else child) if name == "q" or child != name else None
    if stream is None or number not in map(str, range(stream.asked)):
        return None
    if stream.ended_as == "dropped":
        return "its alc.fork has failed"
    if stream.ended_as or session.final is not None:
        is_cancelled = session.final is not None and session.final["status"] == "cancelled"
        return "the session was cancelled" if is_cancelled else "its strategy has ended without the answer"
    return "the strategy waits for it no more, because its time was up or its task was cancelled"


def too_large(session: Session, query_id: str, size: int) -> Refusal:
    limit = session.limits["answer_bytes"]
    sentence = f"answer of {size} bytes to {query_id}: the answers of one pause may hold {limit} bytes; shorten it"
    return Refusal(query_id, sentence, "too_large")


def pending_clause(session: Session) -> str:
    if session.pending:
        return f"; pending: {', '.join(session.pending)}"
    return f"; nothing is pending: the session is {session.phase}"
