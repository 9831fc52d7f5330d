"""Timeline of a session by round, as a text for the terminal. Pure; the page for a browser is in html.py.

Contract: `text_of(records)` ends without a line feed. Values read from the environment are hidden. Long prompts and
answers are cut unless `is_full`; the text says how much is missing.
"""

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from algocline_mcp.history.redaction import Redaction
from algocline_mcp.history.transcript import Entry, Timeline, folded_timeline
from algocline_mcp.session.records import Record
from algocline_mcp.session.results import metrics, status_of
from algocline_mcp.session.state import Session

_CUT_LINES = 12
_MARGIN = "    "
_BLANKS = re.compile(" *")


def text_of(records: Sequence[Record], *, width: int = 100, is_full: bool = False, now_s: float | None = None) -> str:
    return "\n".join(lines_of(records, width=width, is_full=is_full, now_s=now_s))


def lines_of(
    records: Sequence[Record], *, width: int = 100, is_full: bool = False, now_s: float | None = None
) -> Iterator[str]:
    """The lines of the text, each made when it is taken."""
    session, redaction, entries = folded_timeline(records)  # what does not fold has no shape to rely on
    title = redaction.text(session.header["title"]) or session.sid
    yield from (title, "═" * min(width, len(title)))
    for name, value in facts(session, redaction, entries, time.time() if now_s is None else now_s):
        yield f"{name:<14}{value}"
    for entry in readable(entries):
        yield from _WRITERS[entry["kind"]](redaction.value(entry), width, is_full)
    if session.final is None:
        yield from ("", f"── {open_end(session)}")


def readable(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The entries, with only the last of consecutive progress entries, and without the questions what is left of the
    budget, which a strategy may ask before each round."""
    held: Entry | None = None
    for entry in entries:
        if entry["kind"] == "effect" and entry["name"] == "budget":
            continue
        if held is not None and entry["kind"] != "progress":
            yield held
        held = entry if entry["kind"] == "progress" else None
        if held is None:
            yield entry
    if held is not None:
        yield held


@dataclass(slots=True)
class _Totals:
    """`waited_s`: for the answer that came last in each round."""

    computed_s: float = 0.0
    waited_s: float = 0.0
    shared: int = 0
    deaths: int = 0
    revivals: int = 0

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> "_Totals":
        totals = cls()
        for entry in entries:
            totals.computed_s += entry.get("computed_s", 0.0)
            totals.deaths += entry["kind"] == "crash"
            totals.revivals += entry["kind"] == "revival"
            if entry["kind"] == "prompt":
                totals.waited_s += max((query.get("waited_s", 0.0) for query in entry["queries"]), default=0.0)
                totals.shared += sum(bool(query.get("shared")) for query in entry["queries"])
        return totals


def facts(session: Session, redaction: Redaction, entries: Timeline, now_s: float) -> list[tuple[str, str]]:
    """The facts above a transcript, as name and value."""
    stats = metrics(session, now_s)["auto"]
    totals = _Totals.of(entries)
    rounds = "1 round" if stats["pauses"] == 1 else f"{stats['pauses']} rounds"
    rows = [
        ("session", session.sid),
        ("status", status_of(session)),
        ("language", session.header["language"]),
        ("started", clock(session.header["t"])),
        ("last change", clock(session.last_s)),
        ("prompts", f"{stats['llm_calls']} in {rounds}" + (f", {totals.shared} shared" if totals.shared else "")),
        ("tokens", f"{stats['total_tokens']['tokens']} ({stats['total_tokens']['source']})"),
        ("time", f"{seconds(totals.computed_s)} computing, {seconds(totals.waited_s)} waiting for answers"),
    ]
    if entries.phases:
        shown = (f"{item['phase']} ({item['prompts']})" for item in entries.phases)
        rows.append(("phases", " · ".join(shown)))
    if totals.deaths:
        rows.append(("engine deaths", str(totals.deaths)))
    if totals.revivals:
        rows.append(("revivals", str(totals.revivals)))
    if parent := session.header.get("parent"):
        rows.append(("branch of", parent["session_id"] + (f" at {parent['at']}" if parent.get("at") else "")))
    if session.header.get("kept"):
        rows.append(("scrubbed", f"prompts and answers are gone (ALC_KEEP={session.header['kept']})"))
    return [(name, redaction.text(value)) for name, value in rows]


def clock(t: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(t))


def seconds(value: float) -> str:
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 120:
        return f"{value:.1f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def shown_json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def answered_by(turn: Entry) -> str:
    """The name of the answerer, and the time until the answer."""
    by = turn.get("by") or "the host"
    return f"{by}, shared from the parent" if turn.get("shared") else f"{by} after {seconds(turn['waited_s'])}"


def name_of(turn: Entry) -> str:
    """The id of a query, with its label and the strategy of a child."""
    words = [turn[key] for key in ("label", "strategy") if key in turn]
    return f"{turn['query_id']} ({', '.join(words)})" if words else str(turn["query_id"])


def open_end(session: Session) -> str:
    """The last line of an unfinished session."""
    if session.pending:
        return f"waits for {', '.join(session.pending)}"
    return f"{session.phase}, unfinished"


def label(entry: Entry) -> str:
    """One line for an entry that is not a prompt and not the end of the session."""
    return f"[{entry['child']} {entry['strategy']}] {_summary(entry)}" if "child" in entry else _summary(entry)


def _summary(entry: Entry) -> str:
    match entry["kind"]:
        case "wait":
            return "waits for any answer" + _timer(entry) + _withdrawn(entry)
        case "delivery":
            return f"goes on with the answer{'s' * (len(entry['query_ids']) > 1)} to {', '.join(entry['query_ids'])}"
        case "misfit":
            return f"an answer to {' and to '.join(entry['query_ids'])} did not fit and was asked for again"
        case "wake":
            return f"woken by its timer, {clock(entry['t'])}"
        case "fork":
            return "forks " + ", ".join(f"{each['strategy']} as {each['child']}" for each in entry["children"])
        case "child":
            return f"error: {entry['error']}" if "error" in entry else "completed"
        case "log":
            return f"{entry['level']}: {entry['message']}"
        case "progress":
            message = f": {entry['message']}" if entry["message"] else ""
            return f"progress {entry['step']} of {entry['total']}{message}"
        case "effect":
            args = ", ".join(json.dumps(arg, ensure_ascii=False) for arg in entry["args"])
            return f"{entry['name']}({args})" + (f" × {entry['times']}" if "times" in entry else "")
        case "module":
            return f"require {entry['name']}" + ("" if entry["found"] else ": not found")
        case "revival":
            return "another worker went on from here" + (f", {clock(entry['t'])}" if "t" in entry else "")
        case _:
            return f"the engine died: {entry['reason']}; it was started again"


def _timer(entry: Entry) -> str:
    return f", at most {seconds(entry['wake_s'])}" if "wake_s" in entry else ""


def _withdrawn(entry: Entry) -> str:
    return f"; asks {', '.join(entry['withdrawn'])} no longer" if "withdrawn" in entry else ""


def _write_line(entry: Entry, width: int, is_full: bool) -> list[str]:
    if "phase" in entry and "child" not in entry:
        return ["", f"══ {entry['phase']}"]
    first, *rest = _wrapped(" ".join(label(entry).split()), max(20, width - len(_MARGIN)))
    return [f"  · {first}".rstrip(), *(_MARGIN + line for line in rest)]


def _write_prompt(entry: Entry, width: int, is_full: bool) -> list[str]:
    computed = f", computed {seconds(entry['computed_s'])}" if "computed_s" in entry else ""
    lines = ["", f"── round {entry['round']} · {clock(entry['t'])}{computed}{_withdrawn(entry)}"]
    for turn in entry["queries"]:
        lines += ["", f"  {name_of(turn)} asks"]
        if "system" in turn:
            lines += _body(f"[as: {turn['system']}]", width, is_full)
        lines += _body(turn["prompt"], width, is_full)
        if "answered_at" in turn:
            said = "refuses" if "refuse" in turn else "answers"
            lines += [
                f"  {answered_by(turn)} {said}",
                *_body(turn.get("refuse", turn.get("response", "")), width, is_full),
            ]
        else:
            lines += ["  not answered"]
    return lines


def _write_end(entry: Entry, width: int, is_full: bool) -> list[str]:
    computed = f", computed {seconds(entry['computed_s'])}" if "computed_s" in entry else ""
    lines = ["", f"── {entry['status']} · {clock(entry['t'])}{computed}"]
    if "error" in entry:
        lines += _body(entry["error"], width, is_full)
    if "result" in entry:
        lines += _body(shown_json(entry["result"]), width, is_full)
    return lines


def _body(text: str, width: int, is_full: bool) -> list[str]:
    room = max(20, width - len(_MARGIN))
    lines = [part for line in text.splitlines() for part in _wrapped(line.expandtabs(4), room)]
    if not is_full and len(lines) > _CUT_LINES:
        lines = [*lines[:_CUT_LINES], f"… {len(lines) - _CUT_LINES} more lines (--full)"]
    return [(_MARGIN + line).rstrip() for line in lines]


def _wrapped(line: str, width: int) -> Iterator[str]:
    """At least one line of at most `width` characters each, ended at a blank where there is one.

    textwrap copies the rest of a word for each line of it: 4 MB without a blank took 9 s.
    """
    start = 0
    while len(line) - start > width:
        blank = line.rfind(" ", start + 1, start + width + 1)
        end = blank if blank != -1 else start + width
        yield line[start:end]
        rest = _BLANKS.match(line, end)
        start = rest.end() if rest is not None else end
    yield line[start:]


_Writer = Callable[[Entry, int, bool], list[str]]
_WRITERS: dict[str, _Writer] = {
    "prompt": _write_prompt,
    "end": _write_end,
    **dict.fromkeys(
        (
            "log",
            "progress",
            "effect",
            "module",
            "crash",
            "misfit",
            "revival",
            "wait",
            "delivery",
            "wake",
            "fork",
            "child",
        ),
        _write_line,
    ),
}
