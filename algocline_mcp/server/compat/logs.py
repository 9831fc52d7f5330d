"""The logs of finished sessions as the Rust program showed them, notes that people add, and sums of many runs.

Contract: a log is a finished journal; only sessions that asked something have one. Notes lie beside the journals, one
JSON line each, and go with their session. Functions block on the disk: they run in threads. They raise Refused.
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
from algocline_mcp.history.transcript import timeline, turns
from algocline_mcp.session.records import Record
from algocline_mcp.session.results import metrics
from algocline_mcp.session.state import fold
from algocline_mcp.storage import journal

_HINT_BYTES = 100
_NOTE_BYTES = 64 * 1024
_NOTES = 1000  # of one session
_DAY_S = 86400.0


def logs(home: Home, most: int) -> list[dict[str, Any]]:
    """One line for each, newest first."""
    asked = [run for run in run_stats.runs(home) if run.auto["llm_calls"]]
    asked.sort(key=lambda run: run.end_s, reverse=True)
    return [_line(home, run) for run in asked[:most]]


def _line(home: Home, run: Run) -> dict[str, Any]:
    auto = run.auto
    names = ("elapsed_ms", "rounds", "llm_calls", "total_prompt_chars", "total_response_chars")
    tokens = ("prompt_tokens", "response_tokens", "total_tokens")
    told = {"session_id": run.sid, "strategy": run.strategy, "task_hint": run.title}
    sums = {name: auto[name] for name in names} | {name: auto[name]["tokens"] for name in tokens}
    return told | sums | {"notes_count": len(_notes(home, run.sid))}


def log(home: Home, sid: str, max_chars: int) -> dict[str, Any]:
    """One in full; over `max_chars` (0: no limit) its oldest rounds are left out, and it says so."""
    records = _finished(home, sid)
    session, redaction = fold(records), Redaction.of(records)
    asked = turns(timeline(records))
    rounds = [
        {
            "query_id": turn["query_id"],
            "prompt": turn["prompt"],
            "system": turn.get("system"),
            "response": turn.get("response"),
        }
        for turn in asked
    ]
    told = {
        "session_id": sid,
        "strategy": session.about.get("strategy"),
        "task_hint": _hint(asked[0]["prompt"]) if asked else session.about["title"],
        "stats": metrics(session, session.last_s)["auto"],
        "transcript": rounds,
    }
    told = {key: redaction.value(value) for key, value in told.items()}
    if notes := _notes(home, sid):
        told["notes"] = notes
    return _shortened(told, max_chars)


def _shortened(told: dict[str, Any], max_chars: int) -> dict[str, Any]:
    rounds = told["transcript"]
    left = max_chars - len(json.dumps(told | {"transcript": []}, ensure_ascii=False)) + 2  # the first has no comma
    kept = len(rounds)
    for size in (len(json.dumps(each, ensure_ascii=False)) + 2 for each in reversed(rounds)):
        left -= size
        if max_chars and left < 0:
            break
        kept -= 1
    if not kept:
        return told
    shown = rounds[kept:]
    return told | {
        "transcript": shown,
        "truncated": True,
        "original_rounds": len(rounds),
        "returned_rounds": len(shown),
    }


def note(home: Home, sid: str, content: str, title: str | None) -> int:
    """Adds one; returns how many there are."""
    _finished(home, sid)
    line = json.dumps({"timestamp": int(time.time()), "title": title, "content": content}) + "\n"
    if len(line) > _NOTE_BYTES:
        raise Refused(f"the note has {len(line)} bytes, at most {_NOTE_BYTES}: shorten it", code="too_large")
    count = len(_notes(home, sid))
    if count >= _NOTES:
        raise Refused(f"session {sid} has {count} notes, at most {_NOTES}", code="too_large")
    try:
        fd = os.open(
            home.annotations(sid), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        try:
            os.write(fd, line.encode())
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as exc:
        raise StorageFailed(f"cannot write {home.annotations(sid)}: {exc.strerror}; free or mend that disk") from exc
    return count + 1


def _notes(home: Home, sid: str) -> list[dict[str, Any]]:
    try:
        lines = home.annotations(sid).read_bytes().splitlines()
    except OSError:
        return []
    notes = []
    for line in lines:
        try:
            notes.append(json.loads(line))
        except ValueError:
            continue  # cut off by a crash
    return notes


def _finished(home: Home, sid: str) -> Sequence[Record]:
    for path in (home.finished_journal(sid), home.journal(sid), home.finished_journal(sid)):
        try:  # for a moment after its end a journal lies where it was; it may move between two looks
            records = journal.read(path)
            if records and fold(records).final is not None:
                return records
        except FileNotFoundError:
            continue
        except AlcError as exc:
            raise Refused(f"Log file of session '{sid}' cannot be read: {exc}") from exc
    raise Refused(f"Log file not found for session '{sid}': only sessions that are over have one", code="not_found")


def _hint(prompt: str) -> str:
    encoded = prompt.encode("utf-8", "replace")
    return prompt if len(encoded) <= _HINT_BYTES else encoded[:_HINT_BYTES].decode("utf-8", "ignore") + "..."


# ── sums ──────────────────────────────────────────────────────────────────────────────────────────────────


def sums(home: Home, *, strategy: str | None, days: int | None) -> dict[str, Any]:
    """Over the finished sessions that asked something: in all, and by strategy ("unknown" for code of its own)."""
    since_s = 0.0 if days is None else time.time() - days * _DAY_S
    groups: dict[str, list[Run]] = {}
    for run in run_stats.runs(home):
        name = run.strategy or "unknown"
        if run.auto["llm_calls"] and run.end_s >= since_s and strategy in (None, name):
            groups.setdefault(name, []).append(run)
    total = sum(map(len, groups.values()))
    return {"total_sessions": total, "strategies": {name: _sum(groups[name]) for name in sorted(groups)}}


def _sum(found: Sequence[Run]) -> dict[str, Any]:
    autos = [run.auto for run in found]
    told: dict[str, Any] = {"count": len(autos)}
    for name in ("elapsed_ms", "llm_calls", "rounds"):
        told[f"avg_{name}"] = round(sum(auto[name] for auto in autos) / len(autos), 3)
    for name in ("total_prompt_chars", "total_response_chars"):
        told[name] = sum(auto[name] for auto in autos)
    for name, source in (("total_prompt_tokens", "prompt_tokens"), ("total_response_tokens", "response_tokens")):
        told[name] = sum(auto[source]["tokens"] for auto in autos)
    return told | {"total_tokens": told["total_prompt_tokens"] + told["total_response_tokens"]}
