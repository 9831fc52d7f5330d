"""The snapshot of upstream's `alc_status`, built from the records of a session. Pure.

Contract: `parse_pending_filter` checks the argument `pending_filter`; `snapshot` shows the selected fields of pending
queries. Times are Unix milliseconds. A log record has no time of its own, so its `ts` is the time of the
record before it. Values read from the environment are redacted.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from algocline_mcp.errors import Refused
from algocline_mcp.history.transcript import Timeline, folded_timeline
from algocline_mcp.session import budget
from algocline_mcp.session.records import Record
from algocline_mcp.session.results import STATUSES, metrics, used
from algocline_mcp.session.state import Phase, Session
from algocline_mcp.session.usage import estimate_tokens

PREVIEW_CHARS = 200
_MAX_LOGS = 20
_MAX_TURNS = 10
_FIELDS = ("query_id", "max_tokens", "system", "grounded", "underspecified")
_KINDS = {bool: "bool", int: "number", float: "number", list: "array", type(None): "null"}


@dataclass(frozen=True, slots=True)
class PendingFilter:
    """Selected fields of a pending query. `chars`: of its prompt, 0 for none, None for all. `is_preview`: shown as
    `prompt_preview`, not as `prompt`."""

    fields: tuple[str, ...] = ()
    chars: int | None = 0
    is_preview: bool = False


def parse_pending_filter(value: Any, *, preview_chars: int = PREVIEW_CHARS) -> PendingFilter:
    """`value`: the name of a preset, or an object. Raises Refused."""
    presets = {
        "meta": PendingFilter(_FIELDS[:2]),
        "preview": PendingFilter(_FIELDS[:2], preview_chars, True),
        "full": PendingFilter(_FIELDS, None),
    }
    if isinstance(value, str):
        if value in presets:
            return presets[value]
        raise Refused(f'unknown pending_filter preset \'{value[:80]}\' (valid: "meta" | "preview" | "full")')
    if not isinstance(value, dict):
        kind = _KINDS.get(type(value), type(value).__name__)
        raise Refused(f"pending_filter must be a preset name (string) or filter object, got {kind}")
    invalid = [name for name in _FIELDS if not isinstance(value.get(name, False), bool)]
    prompt = value.get("prompt", {"mode": "off"})
    mode = prompt.get("mode") if isinstance(prompt, dict) else None
    chars = prompt.get("chars", preview_chars) if isinstance(prompt, dict) else None
    if invalid or mode not in ("off", "preview", "full") or type(chars) is not int or chars < 0:
        form = (
            f"{invalid[0]} is true or false" if invalid else 'prompt is {"mode": "off" | "preview" | "full", "chars"?}'
        )
        raise Refused(f"invalid pending_filter object: {form}")
    fields = tuple(name for name in _FIELDS if value.get(name))
    return PendingFilter(fields, {"off": 0, "preview": chars, "full": None}[mode], mode == "preview")


def snapshot(
    records: Sequence[Record], *, now_s: float, pending: PendingFilter | None, include_history: bool
) -> dict[str, Any]:
    """`pending`: None shows only the number of pending queries."""
    session, redaction, entries = folded_timeline(records)
    status = STATUSES[session.final["status"] if session.final else session.phase]
    view: dict[str, Any] = {
        "session_id": session.sid,
        "state": status[1],
        "phase": status[2],
        "started_at": _ms(session.header["t"]),
        "last_activity_at": _ms(entries.last_answer_s or session.header["t"]),
    }
    if session.phase is Phase.PAUSED:
        view["pending_queries"] = len(session.pending)
        if pending is not None:
            view["pending"] = [_projected(query, pending) for query in session.pending.values()]
    if session.header.get("strategy"):
        view["strategy"] = session.header["strategy"]
    view["metrics"] = _metrics(session, records, entries, now_s)
    if include_history:
        view["metrics"]["conversation_history"] = [_turn(turn) for turn in entries.answered[-_MAX_TURNS:]]
    return {key: redaction.value(value) for key, value in view.items()}


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _projected(query: Record, pending: PendingFilter) -> dict[str, Any]:
    values: Mapping[str, Callable[[], Any]] = {
        "query_id": lambda: query["id"],
        "max_tokens": lambda: query["max_tokens"],
        "system": lambda: query["system"],
        "grounded": lambda: bool(query.get("grounded")),
        "underspecified": lambda: bool(query.get("underspecified")),
    }
    selected = {name: values[name]() for name in pending.fields}
    if pending.is_preview:
        selected["prompt_preview"] = query["prompt"][: pending.chars]
    elif pending.chars is None:
        selected["prompt"] = query["prompt"]
    return selected


def _metrics(session: Session, records: Sequence[Record], entries: Timeline, now_s: float) -> dict[str, Any]:
    auto = metrics(session, now_s)["auto"]
    prompt, response = auto["prompt_tokens"]["tokens"], auto["response_tokens"]["tokens"]
    shown: dict[str, Any] = {key: auto[key] for key in ("elapsed_ms", "llm_calls", "rounds")}
    shown["tokens"] = {
        "prompt_total": prompt,
        "response_total": response,
        "total": prompt + response,
        "current_query": _current(session, entries),
    }
    shown["recent_logs"] = _logs(records)
    if session.progress:
        shown["progress"] = session.progress
    left = budget.remaining(session.budget, **used(session, now_s=now_s, spent_s=0.0))
    return shown | ({"budget_remaining": left} if left else {})


def _current(session: Session, entries: Timeline) -> dict[str, Any] | None:
    """The query that was asked last, if it is pending."""
    if not (asked := entries.turns) or (last := asked[-1])["query_id"] not in session.pending:
        return None
    tokens = estimate_tokens(last["prompt"]) + estimate_tokens(last.get("system") or "")
    return {"query_id": last["query_id"], "prompt_tokens": tokens, "started_waiting_at": _ms(last["asked_at"])}


def _logs(records: Sequence[Record]) -> list[dict[str, Any]]:
    t = 0.0
    logs: deque[dict[str, Any]] = deque(maxlen=_MAX_LOGS)
    for record in records:
        t = record.get("t", t)
        if record["kind"] == "note" and "message" in record:
            source = record.get("stream") or "main"
            logs.append({"ts": _ms(t), "level": record["level"], "source": source, "message": record["message"]})
    return list(logs)


def _turn(turn: Mapping[str, Any]) -> dict[str, Any]:
    response = turn.get("response", turn.get("refuse", ""))
    usage = turn.get("usage") or {}
    estimated = estimate_tokens(turn["prompt"]) + estimate_tokens(turn.get("system", ""))
    return {
        "query_id": turn["query_id"],
        "prompt": turn["prompt"],
        "response": response,
        "prompt_tokens": usage.get("prompt_tokens", estimated),
        "response_tokens": usage.get("completion_tokens", estimate_tokens(response)),
        "started_at": _ms(turn["asked_at"]),
        "completed_at": _ms(turn["answered_at"]),
    }
