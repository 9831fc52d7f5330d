"""Whether a record, which has the shape of its kind, can follow the records before it. Pure.

A record that this program wrote always can; another program may have written the file.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from algocline_mcp.session import streams
from algocline_mcp.session.records import SHAPES, Record
from algocline_mcp.session.streams import MAIN

if TYPE_CHECKING:
    from algocline_mcp.session.state import Session


def can_follow(session: "Session", record: Record) -> bool:
    """Whether the record, which has the shape of its kind, fits the session as it is: the query of an answer is
    pending, the stream of a prompt should have an engine. A record that this program wrote always does."""
    kind, name = record["kind"], record.get("stream", MAIN)
    if kind in _OF_STREAMS:
        stream = session.streams.get(name) if isinstance(name, str) else None
        if stream is None or not stream.is_live:
            return False
    return kind not in _CHECKS or _CHECKS[kind](session, record)


def _answers_are_pending(session: "Session", record: Record) -> bool:
    ids = [item["id"] for item in record["answers"]]
    return len(set(ids)) == len(ids) and all(query_id in session.pending for query_id in ids)


def _misfits_are_pending(session: "Session", record: Record) -> bool:
    ids = record["query_ids"]
    return len(set(ids)) == len(ids) > 0 and all(query_id in session.pending for query_id in ids)


def _queries_are_new(session: "Session", record: Record) -> bool:
    """Each query has an id of its own, and belongs to the stream of its record. What a wait withdraws is open."""
    ids, name = [query["id"] for query in record["queries"]], record.get("stream", MAIN)
    is_new = len(set(ids)) == len(ids) and not any(one in session.pending or one in session.answered for one in ids)
    waits, withdrawn = session.streams[name].waits, record.get("withdrawn", ())
    is_new = is_new and not waits.is_waiting and (bool(ids) or "wait" in record)
    is_new = is_new and len(set(withdrawn)) == len(withdrawn) and set(withdrawn) <= set(waits.open)
    is_new = is_new and (not withdrawn or "wait" in record)
    return is_new and all(query.get("stream", MAIN) == name for query in record["queries"])


def _delivery_is_due(session: "Session", record: Record) -> bool:
    return session.streams[record.get("stream", MAIN)].waits.can_deliver(record["answered"])


def _fork_is_next(session: "Session", record: Record) -> bool:
    """Children are numbered through the session, within its limits, and a stream forks while it can run."""
    names, stream = record["strategies"], record.get("stream", MAIN)
    is_next = bool(names) and record["first"] == len(session.streams) - 1 and session.streams[stream].can_run
    is_next = is_next and not session.streams[stream].waits.is_waiting
    is_next = is_next and len(record.get("abis") or names) == len(names)
    return is_next and streams.refusal(session.streams, stream, len(names), session.limits) is None


def _stream_is_child(session: "Session", record: Record) -> bool:
    return session.streams[record["stream"]].parent is not None


_CHECKS: dict[str, Callable[["Session", Record], bool]] = {
    "answer": _answers_are_pending,
    "misfit": _misfits_are_pending,
    "prompt": _queries_are_new,
    "delivery": _delivery_is_due,
    "fork": _fork_is_next,
    "end": _stream_is_child,
}
_OF_STREAMS = frozenset(kind for kind, shape in SHAPES.items() if shape.is_of_stream)
