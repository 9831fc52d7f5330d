"""A session as one self-contained HTML page: no script, no other file, light and dark. Pure.

Contract: `html_of(records)` is a whole document: facts, task, ctx and result, then round by round, then the code. What
a child did stands together below its fork. Every text from the journal is escaped; values read from the environment are
hidden. The page may be sent to other people: only the session's own texts can name paths of this machine.
"""

import html
import time
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from algocline_mcp.cli.timeline import (
    answered_by,
    clock,
    facts,
    label,
    name_of,
    open_end,
    readable,
    seconds,
    shown_json,
)
from algocline_mcp.history.redaction import Redaction
from algocline_mcp.history.transcript import Entry, folded_timeline
from algocline_mcp.session.records import Record

_FOLDED_CHARS = 1_200  # a longer text is folded, with its beginning shown
_BEGIN_CHARS = 160
_SECTION_CHARS = 1 << 20  # a longer list of what happened between two rounds is written in parts: it bounds the memory

_STYLE = """
:root { color-scheme: light dark; --paper: #fbfaf7; --ink: #22252a; --soft: #6b7078; --line: #e3e0d8; --card: #ffffff;
  --ask: #3156a3; --say: #1f7a52; --bad: #b3362b; --tint: #f1efe9; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181c; --ink: #dfe2e6; --soft: #969ca6; --line: #2c3036;
  --card: #1d2025; --ask: #8fb0f5; --say: #6fcf9f; --bad: #f08a80; --tint: #24282e; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI",
  sans-serif; }
main { max-width: 50rem; margin: 0 auto; padding: 3rem 1.25rem 5rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 1.2rem; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.2rem; margin: 0 0 2.5rem; font-size: .9rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.badge { display: inline-block; padding: 0 .6em; border-radius: 1em; background: var(--tint); font-weight: 600; }
.badge.completed { color: var(--say); } .badge.error, .badge.cancelled { color: var(--bad); }
.badge.needs_response { color: var(--ask); }
section { border-left: 2px solid var(--line); margin: 0 0 0 .35rem; padding: 0 0 1.8rem 1.4rem; position: relative; }
section::before { content: ""; position: absolute; left: -.45rem; top: .45rem; width: .75rem; height: .75rem;
  border-radius: 50%; background: var(--ask); border: 2px solid var(--paper); }
section.end::before { background: var(--say); } section.bad::before { background: var(--bad); }
section:last-of-type { border-color: transparent; }
h2.phase { font-size: 1.15rem; margin: 1.2rem 0 1rem; }
h2 { font-size: 1rem; margin: 0 0 .8rem; } h2 small { color: var(--soft); font-weight: 400; margin-left: .5em; }
.turn { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; margin: 0 0 .9rem;
  overflow: hidden; }
.part { padding: .75rem 1rem; } .part + .part { border-top: 1px solid var(--line); }
.who { font-size: .8rem; font-weight: 600; margin-bottom: .25rem; } .who i { font-style: normal; font-weight: 400;
  color: var(--soft); }
.ask .who { color: var(--ask); } .say .who { color: var(--say); } .no .who { color: var(--bad); }
.role { color: var(--soft); font-size: .88rem; margin-bottom: .4rem; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; }
.code { font: .85rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
summary { cursor: pointer; } summary .text { display: inline; } details[open] > summary .text { display: none; }
ul { list-style: none; margin: 0 0 .9rem; padding: 0; color: var(--soft); font-size: .85rem; }
.child > summary { font-weight: 600; margin: 0 0 .8rem; } .child > section { margin-top: .4rem; }
li { overflow-wrap: anywhere; } li::before { content: "· "; } li.crash { color: var(--bad); }
@media print { main { max-width: none; padding: 0; } .turn { break-inside: avoid; } }
"""


def html_of(records: Sequence[Record], *, now_s: float | None = None) -> str:
    return "".join(parts_of(records, now_s=now_s))


def parts_of(records: Sequence[Record], *, now_s: float | None = None) -> Iterator[str]:
    """The parts of the page, each made when it is taken."""
    session, redaction, entries = folded_timeline(records)  # what does not fold has no shape to rely on
    title = _text(redaction.text(session.header["title"]) or session.sid)
    fact_rows = facts(session, redaction, entries, time.time() if now_s is None else now_s)
    rows = "".join(f"<dt>{_text(name)}</dt><dd>{_fact(name, value)}</dd>" for name, value in fact_rows)
    yield (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head>\n<body><main>\n<h1>{title}</h1>\n<dl>{rows}</dl>\n"
    )
    yield from _summary(redaction.ctx(records[0]["ctx"]), redaction.value(session.final or {}))
    yield from _sections(_Streams(entries, redaction))
    if session.final is None:
        yield f'<section class="open"><h2>{_text(open_end(session))}</h2></section>\n'
    if code := redaction.text(records[0]["code"]):
        yield f"<h2>The strategy</h2>{_long(code, 'code')}\n"
    yield "</main></body></html>\n"


def _summary(ctx: Any, final: Record) -> Iterator[str]:
    """What was asked, with what, and what came of it: what a reader looks for first."""
    rest = dict(ctx) if isinstance(ctx, dict) else {}
    parts = [("Task", rest.pop("task"))] if isinstance(rest.get("task"), str) else []
    parts += [("ctx", rest)] if rest else []
    parts += [(key.capitalize(), final[key]) for key in ("result", "error") if key in final]
    return (f"<h2>{name}</h2>{_value(value)}\n" for name, value in parts)


class _Streams:
    """The entries of the session ("") and of each child, each in order: at a fork its parent waits for all of them."""

    def __init__(self, entries: Sequence[Entry], redaction: Redaction) -> None:
        self._entries, self._hide = entries, redaction.value
        self._numbers: dict[str, array[int]] = {}
        self._rounds: Counter[str] = Counter()
        for number, entry in enumerate(entries):
            child = entry.get("child", "")
            self._numbers.setdefault(child, array("I")).append(number)
            self._rounds[child] += entry["kind"] == "prompt"

    def rounds(self, stream: str) -> int:
        return self._rounds[stream]

    def entries(self, stream: str) -> Iterator[Entry]:
        own = (self._hide(self._entries[number]) for number in self._numbers.get(stream, ()))
        return readable(own)


def _sections(streams: _Streams, stream: str = "") -> Iterator[str]:
    """One per round, with what happened before it, one per child of a fork, and one for the end."""
    between: list[str] = []
    chars = 0
    for entry in streams.entries(stream):
        if entry["kind"] == "prompt":
            yield _round(entry, between)
        elif entry["kind"] == "end":
            yield _end(entry, between)
        elif "phase" in entry and not stream:
            if between:
                yield f"<section>{_list(between)}</section>\n"
            yield f'<h2 class="phase">{_text(entry["phase"])}</h2>\n'
        else:
            between.append(f'<li class="{entry["kind"]}">{_text(label(entry))}</li>')
            chars += len(between[-1])
            if entry["kind"] != "fork" and chars < _SECTION_CHARS:
                continue
            yield f"<section>{_list(between)}"
            if entry["kind"] == "fork":
                yield from _children(entry, streams)
            yield "</section>\n"
        between, chars = [], 0
    if between:
        yield f"<section>{_list(between)}</section>\n"


def _children(fork: Entry, streams: _Streams) -> Iterator[str]:
    for one in fork["children"]:
        rounds = streams.rounds(one["child"])
        name = f"{one['child']} {one['strategy']} · {rounds} round{'' if rounds == 1 else 's'}"
        yield f'<details class="child"><summary>{_text(name)}</summary>'
        yield from _sections(streams, one["child"])
        yield "</details>"


def _round(entry: Entry, before: Sequence[str]) -> str:
    turns = "".join(_turn(turn) for turn in entry["queries"])
    return f"<section><h2>Round {entry['round']}{_when(entry)}</h2>{_list(before)}{turns}</section>\n"


def _turn(turn: Entry) -> str:
    role = f'<div class="role">as: {_text(turn["system"])}</div>' if "system" in turn else ""
    name = _text(name_of(turn))
    asked = f'<div class="part ask"><div class="who">{name}</div>{role}{_long(turn["prompt"])}</div>'
    if "answered_at" not in turn:
        return f'<div class="turn">{asked}<div class="part"><div class="who"><i>not answered</i></div></div></div>'
    kind, text = ("no", turn["refuse"]) if "refuse" in turn else ("say", turn.get("response", ""))
    who = f"{_text(answered_by(turn))}{' refuses' if kind == 'no' else ''}"
    return f'<div class="turn">{asked}<div class="part {kind}"><div class="who">{who}</div>{_long(text)}</div></div>'


def _end(entry: Entry, before: Sequence[str]) -> str:
    mood = "end" if entry["status"] == "completed" else "end bad"
    head = f"<h2>{_text(entry['status'].capitalize())}{_when(entry)}</h2>"
    return f'<section class="{mood}">{head}{_list(before)}</section>\n'


def _value(value: Any) -> str:
    shown = _long(shown_json(value), "" if isinstance(value, str) else "code")
    return f'<div class="turn"><div class="part">{shown}</div></div>'


def _when(entry: Entry) -> str:
    computed = f" · computed {seconds(entry['computed_s'])}" if "computed_s" in entry else ""
    return f"<small>{_text(clock(entry['t']) + computed)}</small>"


def _list(items: Sequence[str]) -> str:
    return f"<ul>{''.join(items)}</ul>" if items else ""


def _fact(name: str, value: str) -> str:
    return f'<span class="badge {_text(value)}">{_text(value)}</span>' if name == "status" else _text(value)


def _long(text: str, kind: str = "") -> str:
    whole = f'<div class="text {kind}">{_text(text)}</div>'
    if len(text) <= _FOLDED_CHARS:
        return whole
    begin = text[:_BEGIN_CHARS].rsplit(" ", 1)[0]
    return f'<details><summary><span class="text {kind}">{_text(begin)} …</span></summary>{whole}</details>'


def _text(text: str) -> str:
    return html.escape(text.encode("utf-8", "replace").decode())
