"""Logs of finished sessions, annotations of users, and statistics over many sessions, in upstream's shapes.

Contract: a log is the journal of a finished session that asked at least one prompt. Annotations (upstream: notes) are
JSON lines in a file beside the journal, and are deleted with the session. Every function blocks on the disk: call it in
a thread. Functions raise Refused.
"""

import json
import os
import time
from collections.abc import Sequence
from typing import Any

from algocline_mcp.config.home import Home
from algocline_mcp.errors import AlcError, Refused, StorageFailed
from algocline_mcp.history import run_stats
from algocline_mcp.history.redaction import Redaction
from algocline_mcp.history.run_stats import Run
from algocline_mcp.history.transcript import Entry, folded_timeline
from algocline_mcp.session.records import Record
from algocline_mcp.session.results import metrics
from algocline_mcp.session.state import fold
from algocline_mcp.storage.files import open_in_place
from algocline_mcp.storage.stored_records import StoredRecords

_HINT_BYTES = 100
_ANNOTATION_BYTES = 64 * 1024
_MAX_ANNOTATIONS = 1000  # of one session
_DAY_S = 86400.0


def list_logs(home: Home, limit: int) -> list[dict[str, Any]]:
    """One line per log, newest first."""
    runs = [run for run in run_stats.runs(home) if run.auto["llm_calls"]]
    runs.sort(key=lambda run: run.end_s, reverse=True)
    return [_line(home, run) for run in runs[:limit]]


def _line(home: Home, run: Run) -> dict[str, Any]:
    auto = run.auto
    names = ("elapsed_ms", "rounds", "llm_calls", "total_prompt_chars", "total_response_chars")
    tokens = ("prompt_tokens", "response_tokens", "total_tokens")
    line = {"session_id": run.sid, "strategy": run.strategy, "task_hint": run.title}
    line |= {name: auto[name] for name in names} | {name: auto[name]["tokens"] for name in tokens}
    return line | {"notes_count": len(_annotations(home, run.sid))}


def read_log(home: Home, sid: str, max_chars: int) -> dict[str, Any]:
    """One log. If it has more than `max_chars` characters as JSON (0: no limit), its oldest rounds are omitted, and
    `truncated`, `original_rounds` and `returned_rounds` say so."""
    records = _finished(home, sid)
    session, redaction, entries = folded_timeline(records)
    all_turns = entries.turns
    log = {
        "session_id": sid,
        "strategy": session.header.get("strategy"),
        "task_hint": _hint(all_turns[0]["prompt"]) if all_turns else session.header["title"],
        "stats": metrics(session, session.last_s)["auto"],
        "transcript": [],
    }
    log = {key: redaction.value(value) for key, value in log.items()}
    if annotations := _annotations(home, sid):
        log["notes"] = annotations
    room_chars = max(1, max_chars - len(json.dumps(log, ensure_ascii=False)) + 2) if max_chars else 0
    rounds = _newest(all_turns, redaction, room_chars)
    log["transcript"] = rounds
    if len(rounds) == len(all_turns):
        return log
    return log | {"truncated": True, "original_rounds": len(all_turns), "returned_rounds": len(rounds)}


def _newest(all_turns: Sequence[Entry], redaction: Redaction, room_chars: int) -> list[Entry]:
    """The newest rounds that fit into the room as JSON; 0: all. The first round has no comma."""
    rounds: list[Entry] = []
    left = room_chars
    for number in reversed(range(len(all_turns))):
        turn = all_turns[number]
        shown = {key: turn.get(key) for key in ("query_id", "prompt", "system", "response")}
        item: Entry = redaction.value(shown)
        left -= len(json.dumps(item, ensure_ascii=False)) + 2
        if room_chars and left < 0:
            break
        rounds.append(item)
    return rounds[::-1]


def annotate(home: Home, sid: str, content: str, title: str | None) -> int:
    """Adds an annotation and returns the number of annotations. Raises StorageFailed, Refused."""
    _finished(home, sid)
    line = json.dumps({"timestamp": int(time.time()), "title": title, "content": content}) + "\n"
    if len(line) > _ANNOTATION_BYTES:
        raise Refused(f"the note has {len(line)} bytes, at most {_ANNOTATION_BYTES}: shorten it", code="too_large")
    count = len(_annotations(home, sid))
    if count >= _MAX_ANNOTATIONS:
        raise Refused(f"session {sid} has {count} notes, at most {_MAX_ANNOTATIONS}", code="too_large")
    try:
        fd = open_in_place(home.annotations(sid), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            os.write(fd, line.encode())
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as exc:
        raise StorageFailed(f"cannot write {home.annotations(sid)}: {exc.strerror}; free or repair that disk") from exc
    return count + 1


def _annotations(home: Home, sid: str) -> list[dict[str, Any]]:
    try:
        lines = home.annotations(sid).read_bytes().splitlines()
    except OSError:
        return []
    annotations = []
    for line in lines:
        try:
            annotations.append(json.loads(line))
        except ValueError:
            continue  # cut off by a crash
    return annotations


def _finished(home: Home, sid: str) -> Sequence[Record]:
    for path in (home.finished_journal(sid), home.journal(sid), home.finished_journal(sid)):
        try:  # a finished journal is archived a moment later, so it may move between two reads
            records = StoredRecords(path)
            is_finished = fold(records).final is not None
            if records.damage is not None:
                raise records.damage
            if is_finished:
                return records
        except FileNotFoundError:
            continue
        except AlcError as exc:
            raise Refused(f"Log file of session '{sid}' cannot be read: {exc}") from exc
    raise Refused(f"Log file not found for session '{sid}': only finished sessions have one", code="not_found")


def _hint(prompt: str) -> str:
    encoded = prompt.encode("utf-8", "replace")
    return prompt if len(encoded) <= _HINT_BYTES else encoded[:_HINT_BYTES].decode("utf-8", "ignore") + "..."


# ── statistics ────────────────────────────────────────────────────────────────────────────────────────────


def statistics(home: Home, *, strategy: str | None, days: int | None) -> dict[str, Any]:
    """`{total_sessions, strategies: {NAME: averages and totals}}` over the finished sessions that asked a prompt. Code
    that is not an installed strategy counts as "unknown"."""
    since_s = 0.0 if days is None else time.time() - days * _DAY_S
    groups: dict[str, list[Run]] = {}
    for run in run_stats.runs(home):
        name = run.strategy or "unknown"
        if run.auto["llm_calls"] and run.end_s >= since_s and strategy in (None, name):
            groups.setdefault(name, []).append(run)
    total = sum(map(len, groups.values()))
    return {"total_sessions": total, "strategies": {name: _summary(groups[name]) for name in sorted(groups)}}


def _summary(runs: Sequence[Run]) -> dict[str, Any]:
    autos = [run.auto for run in runs]
    summary: dict[str, Any] = {"count": len(autos)}
    for name in ("elapsed_ms", "llm_calls", "rounds"):
        summary[f"avg_{name}"] = round(sum(auto[name] for auto in autos) / len(autos), 3)
    for name in ("total_prompt_chars", "total_response_chars"):
        summary[name] = sum(auto[name] for auto in autos)
    for name, source in (("total_prompt_tokens", "prompt_tokens"), ("total_response_tokens", "response_tokens")):
        summary[name] = sum(auto[source]["tokens"] for auto in autos)
    return summary | {"total_tokens": summary["total_prompt_tokens"] + summary["total_response_tokens"]}
