"""Results: what a host gets to see of a session. Pure."""

from typing import Any

from algocline_mcp.session.records import ENDED_AS, Record
from algocline_mcp.session.state import Phase, Session

# phase, or `status` of the final record -> the `status` of a result, and upstream's `state` and `phase`
STATUSES: dict[str, tuple[str, str, str]] = {
    "running": ("running", "running", "running"),
    "paused": ("needs_response", "paused", "paused"),
    "stuck": ("error", "paused", "failed"),
    "completed": ("completed", "terminal", "completed"),
    "error": ("error", "terminal", "failed"),
    "cancelled": ("cancelled", "terminal", "cancelled"),
}


DEFAULT_MAX_TOKENS = 1024  # of alc.llm


def status_of(session: Session) -> str:
    return STATUSES[session.final["status"] if session.final else session.phase][0]


def view(session: Session, *, now_s: float, computing: int = 0, accepted: bool = False) -> Record:
    """The feed result: one of Paused, Running, Accepted, Finished, Stuck, tagged by its name as upstream does.

    `computing`: how many streams compute at this moment; only a keeper knows it. `accepted`: an answer was taken and
    let no stream run.
    """
    if session.final is not None:
        return {"Finished": {"state": _end_state(session, session.final), "metrics": metrics(session, now_s)}}
    if session.phase is Phase.STUCK and not computing:
        return {"Stuck": _stuck(session)}
    if session.pending and accepted and not computing:
        return {"Accepted": {"remaining": len(session.pending), "pending": list(session.pending)}}
    if session.pending:
        paused: Record = {"queries": [_shown(query) for query in session.pending.values()]}
        if session.warnings:
            paused["warnings"] = list(session.warnings)
        return {"Paused": paused | ({"running": computing} if computing else {})}
    return running(session, now_s=now_s)


def running(session: Session, *, now_s: float) -> Record:
    """The feed result of a session that computes: for how long, and its last progress."""
    elapsed = {"elapsed_s": computing_s(session, now_s=now_s)}
    return {"Running": elapsed | ({"progress": session.progress} if session.progress else {})}


def computing_s(session: Session, *, now_s: float) -> float:
    """Seconds since the session began to compute: since its start, or since the answer that let it go on."""
    return round(max(0.0, now_s - session.elapsed.computing_since_s), 1)


def _end_state(session: Session, final: Record) -> Any:
    name = ENDED_AS[final["status"]]
    if name == "Cancelled":
        return name
    state = {key: final[key] for key in ("result", "error", "warnings") if key in final}
    if session.unattributed > 1:  # the strategy counts on answers that do not know of each other
        sentence = _NO_EVIDENCE.format(session.unattributed)
        state["warnings"] = [*state.get("warnings", ()), sentence]
    return {name: state}


_NO_EVIDENCE = (
    "{} prompts that are meant to be independent were answered in one call that does not say by whom: if one context "
    "wrote all these answers, their agreement is no evidence. Let each be answered in a context of its own, and name "
    "it in `by`"
)


def _stuck(session: Session) -> Record:
    advice = "alc_status with wait_s tries again; if the engine dies again, start the strategy anew with less work"
    if session.is_endless:
        advice = (
            "the code computes without end there: correct it with alc_branch(session_id, code=…), which keeps the "
            "answers; alc_status with wait_s tries again"
        )
    return {
        "error_code": "crash_loop",
        "error": f"the engine died {session.strikes} times in this step, last: {session.crash}",
        "next": advice,
    }


def _shown(query: Record) -> Record:
    return {key: value for key, value in query.items() if key not in ("digest", "stream")}


def lean_query(query: Record) -> Record:
    """A query without the options that say nothing: they would cost the host 60 bytes in every prompt."""
    empty = {"system": None, "max_tokens": DEFAULT_MAX_TOKENS}
    return {key: value for key, value in query.items() if key not in empty or value != empty[key]}


def metrics(session: Session, now_s: float) -> Record:
    """`stats` of a result; an unfinished session counts up to now."""
    end_s = session.final["t"] if session.final else now_s
    auto = session.usage.stats(elapsed_s=end_s - session.header["t"])
    if session.budget:
        auto["budget"] = dict(session.budget)
    stats: Record = {"auto": auto, "custom": (session.final or {}).get("stats", {})}
    if session.child_stats:
        stats["children"] = dict(session.child_stats)
    return stats


def children(session: Session) -> list[Record]:
    """The children of alc.fork: `{child, strategy, status, parent?}`. `status`: queued (waits for its turn),
    running, needs_response, forked (waits for its own children), completed, error, dropped (its fork has failed)."""
    return [
        {"child": name, "strategy": stream.strategy, "status": stream.status}
        | ({"parent": stream.parent} if stream.parent else {})
        for name, stream in session.streams.items()
        if name
    ]


def used(session: Session, *, now_s: float, spent_s: float) -> dict[str, int]:
    """Calls, elapsed milliseconds and tokens as the budget counts them. `spent_s`: seconds that the asking engine has
    computed in this step."""
    live_s = min(session.elapsed.since_counted_s(now_s), spent_s)
    tokens = session.usage.prompt_tokens + session.usage.response_tokens
    return {
        "calls": session.usage.calls,
        "elapsed_ms": round((session.elapsed.budget_s + live_s) * 1000),
        "tokens": tokens,
    }


_LINE_IDS = 256  # pending queries that a line names at most
_PREVIEW_CHARS = 80  # of the oldest open prompt


def line_of(session: Session, *, hides: bool) -> Record:
    """The line of the list that a mark holds, so that a list need not read a long journal. `hides`: the session has
    read its environment, so its prompts are not quoted: only a reader of all records knows what to hide."""
    line = summary(session, worker="")
    del line["worker"]
    if session.pending:
        line["pending"] = line["pending"][:_LINE_IDS]
        if not hides:
            line["prompt"] = preview(next(iter(session.pending.values()))["prompt"])
    return line


def preview(prompt: str) -> str:
    return prompt if len(prompt) <= _PREVIEW_CHARS else prompt[: _PREVIEW_CHARS - 1] + "…"


def reads_environment(record: Record) -> bool:
    """Whether the record may hold values of the environment, which no reader may show."""
    if record["kind"] == "header":
        effects = (record.get("carried") or {}).get("effects", ())
        return '"env"' in record["ctx"] or any(name == "env" for name, *_ in effects)
    return (record["kind"] == "effect" and record["name"] == "env") or "env" in (record.get("ctx") or ())


def summary(session: Session, *, worker: str) -> Record:
    """One line of a list. `worker`: live, or none (hibernated: a request revives the session)."""
    line: Record = {
        "session_id": session.sid,
        "title": session.header["title"],
        "status": status_of(session),
        "language": session.header["language"],
        "worker": worker,
        "created_at": session.header["t"],
        "last_activity_at": session.last_s,
    }
    if session.phase is Phase.STUCK:
        line["error_code"] = "crash_loop"
    if session.pending:
        line["pending"] = list(session.pending)
    return line
