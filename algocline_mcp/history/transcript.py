"""Timeline of a session: prompts, answers, their times, and errors, made from its records. Pure.

Contract: a timeline holds numbers of records and times, no texts: 5 bytes for each entry, 16 more for each round and 4
for each query. An entry is made when it is asked for, so a timeline of records that stay in a file stays small
(storage/stored_records.py).

`timeline(records)` is a sequence of dicts in the order of the file, each with `kind`:
  prompt    {round, t, computed_s, queries: [{query_id, prompt, system, label, options, response | refuse, by, usage,
            asked_at, answered_at, waited_s, shared, strategy}], any?, wake_s?, withdrawn?}; unknown fields are absent;
            `shared`: a branch took the answer from its parent; `any`: the strategy goes on with any answer;
            `withdrawn`: ids of earlier queries that it asks no longer
  wait      {t, wake_s, withdrawn, computed_s}: it waits for any answer to what it has asked before, or for a timer
  delivery  {t, query_ids}: it goes on from such a wait with these answers
  wake      {t}: it goes on from such a wait because its timer fired
  log       {level, message, phase?}, `phase`: the part of the run that begins here · progress {step, total, message}
  effect    {name, args, times} · module {name, found}: a call for something outside the strategy, without its result
  crash     {t, reason}: the death of an engine that was computing
  misfit    {t, query_ids}: answers that did not fit the schema of their prompt and were refused
  revival   {t}: another worker continues; the previous one hibernated, was killed, or lost its machine
  fork      {t, children: [{child, strategy}], on_error, computed_s}
  child     {t, status, computed_s, result | error}: the end of a child; a child dropped with its fork has no entry
  end       {t, status, computed_s, result | error}
Entries of a child have `child` and `strategy` in addition. A worker that only reported the state of the session left
no record, and so no entry. `…_s` are seconds; `t` and `…_at` are unix seconds.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from math import isnan, nan
from typing import Any, overload

from algocline_mcp.history.redaction import Redaction, folded
from algocline_mcp.session.records import Record
from algocline_mcp.session.state import Session
from algocline_mcp.session.streams import MAIN, Fork, outcome_of

Entry = dict[str, Any]
_FIELDS = ("id", "digest", "stream", "prompt", "system")  # every other key of a query is an option
_OF_ANSWER = ("response", "refuse", "by", "usage")
_KEPT_RECORDS = 2  # a prompt of many queries and its answers are read once


class Made(Sequence[Entry]):
    """The items of some numbers, each made when it is asked for."""

    def __init__(self, numbers: Sequence[int], make: Callable[[int], Entry]) -> None:
        self._numbers, self._make = numbers, make

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> Entry: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Entry]: ...
    def __getitem__(self, index: int | slice) -> Entry | Sequence[Entry]:
        if isinstance(index, slice):
            return Made(self._numbers[index], self._make)
        return self._make(self._numbers[index])

    def __iter__(self) -> Iterator[Entry]:
        return map(self._make, self._numbers)


class Timeline(Made):
    """All entries, in the order of the records."""

    def __init__(self, records: Sequence[Record]) -> None:
        """Empty until `reading` is through. `records`: those that are read again for an entry."""
        super().__init__(range(0), self._entry)
        self.last_answer_s = 0.0
        self._record = lru_cache(_KEPT_RECORDS)(records.__getitem__)
        self._entries = array("I")  # numbers of records
        self._kinds = bytearray()  # of the entries, numbers in _KINDS
        self._rounds = array("I")  # numbers of the prompt records
        self._first_turns = array("I")  # of the rounds
        self._round_computed = array("d")  # seconds before a round; nan: unknown
        self._computed: dict[int, float] = {}  # number of a fork or an end -> seconds before it
        self._answers = array("I")  # of each turn the number of the record with its answer, or 0
        self._strategies: dict[str, str] = {}  # of children
        self._phases: list[tuple[str, int]] = []  # name, and how many turns there were
        self._open: dict[str, int] = {}  # id of an open query -> number of its turn

    def reading(self, records: Iterable[Record]) -> Iterator[Record]:
        """Notes each record, and passes it on. The first one is the header."""
        steps = _Steps()
        for number, record in enumerate(records):
            self._add(number, record, steps.computed_s(record))
            yield record
        self._numbers = range(len(self._entries))

    def numbers_of(self, kinds: Collection[str]) -> Sequence[int]:
        """Numbers of the entries of these kinds."""
        chosen = [kind in kinds for kind in _KINDS]
        return array("I", (number for number, kind in enumerate(self._kinds) if chosen[kind]))

    @property
    def turns(self) -> Made:
        """Every query with its answer, oldest first."""
        return Made(range(len(self._answers)), self._turn)

    @property
    def answered(self) -> Made:
        """The turns with an answer."""
        return Made(array("I", (turn for turn, number in enumerate(self._answers) if number)), self._turn)

    @property
    def phases(self) -> list[Entry]:
        """The parts that the strategy itself has marked, `{phase, prompts}`, in order."""
        begins = [turns for _, turns in self._phases] + [len(self._answers)]
        return [{"phase": name, "prompts": begins[n + 1] - begins[n]} for n, (name, _) in enumerate(self._phases)]

    def _add(self, number: int, record: Record, computed_s: float) -> None:
        if record.get("revived"):
            self._append("revival", number)
        if record["kind"] == "answer":
            for item in record["answers"]:
                self._answers[self._open.pop(item["id"])] = number
            self.last_answer_s = max(self.last_answer_s, record["t"])
            return
        kind = _kind_of(record)
        if kind is None:
            return
        self._append(kind, number)
        if kind == "log" and "phase" in record and "stream" not in record:
            self._phases.append((record["phase"], len(self._answers)))
        if kind == "prompt":
            self._rounds.append(number)
            self._first_turns.append(len(self._answers))
            self._round_computed.append(computed_s)
            self._open.update((query["id"], turn) for turn, query in enumerate(record["queries"], len(self._answers)))
            self._answers.extend([0] * len(record["queries"]))
        elif not isnan(computed_s):
            self._computed[number] = computed_s
        if kind == "fork":
            self._strategies |= _children(record)

    def _append(self, kind: str, number: int) -> None:
        self._entries.append(number)
        self._kinds.append(_KINDS.index(kind))

    def _entry(self, number: int) -> Entry:
        kind, at = _KINDS[self._kinds[number]], self._entries[number]
        record = self._record(at)
        if kind == "revival":
            return {"kind": "revival"} | ({"t": record["t"]} if "t" in record else {})
        if kind == "prompt":
            n = bisect_left(self._rounds, at)
            first, computed_s = self._first_turns[n], self._round_computed[n]
            queries = [self._turn(turn) for turn in range(first, first + len(record["queries"]))]
            entry: Entry = {"kind": "prompt", "round": n + 1, "t": record["t"], "queries": queries}
            if "wait" in record:
                entry |= {"any": True, **_timer(record)}
        else:
            entry, computed_s = _ENTRIES[kind](record), self._computed.get(at, nan)
        if not isnan(computed_s):
            entry["computed_s"] = computed_s
        child = record.get("stream")
        return entry | ({"child": child, "strategy": self._strategies[child]} if child else {})

    def _turn(self, turn: int) -> Entry:
        n = bisect_right(self._first_turns, turn) - 1
        record = self._record(self._rounds[n])
        query = record["queries"][turn - self._first_turns[n]]
        made: Entry = {"query_id": query["id"], "prompt": query["prompt"], "asked_at": record["t"]}
        if query["system"] is not None:
            made["system"] = query["system"]
        if isinstance(query.get("label"), str):
            made["label"] = query["label"]
        made["options"] = {key: value for key, value in query.items() if key not in _FIELDS}
        if child := record.get("stream"):
            made["strategy"] = self._strategies[child]
        if number := self._answers[turn]:
            answer = self._record(number)
            item = next(item for item in answer["answers"] if item["id"] == query["id"])
            made |= {key: item[key] for key in _OF_ANSWER if key in item}
            made |= {"answered_at": answer["t"], "waited_s": _passed(record["t"], answer["t"])}
            if item.get("shared"):
                made["shared"] = True
        return made


def timeline(records: Sequence[Record]) -> Timeline:
    """All entries, in the order of the records; the first record is the header."""
    entries = Timeline(records)
    deque(entries.reading(records), maxlen=0)
    return entries


def folded_timeline(records: Sequence[Record]) -> tuple[Session, Redaction, Timeline]:
    """As `folded`, and the timeline, in one pass. Raises IllegalRecord."""
    entries = Timeline(records)
    return *folded(records, entries.reading), entries


def turns(entries: Timeline) -> Made:
    """Every query with its answer, oldest first."""
    return entries.turns


def _progress(record: Record) -> Entry:
    return {"kind": "progress", **record["progress"]}


def _log(record: Record) -> Entry:
    return {"kind": "log"} | {name: record[name] for name in ("level", "message", "phase") if name in record}


def _effect(record: Record) -> Entry:
    times = {"times": record["times"]} if "times" in record else {}
    return {"kind": "effect", "name": record["name"], "args": record["args"], **times}


def _module(record: Record) -> Entry:
    name = str(record["args"][0]) if record["args"] else ""
    return {"kind": "module", "name": name, "found": "result" in record}


def _wait(record: Record) -> Entry:
    return {"kind": "wait", "t": record["t"], **_timer(record)}


def _timer(record: Record) -> Entry:
    return {name: record[name] for name in ("wake_s", "withdrawn") if name in record}


def _delivery(record: Record) -> Entry:
    return {"kind": "delivery", "t": record["t"], "query_ids": [query_id for _, query_id in record["answered"]]}


def _fork(record: Record) -> Entry:
    children = [{"child": child, "strategy": strategy} for child, strategy in _children(record).items()]
    return {"kind": "fork", "t": record["t"], "children": children, "on_error": record["on_error"]}


def _children(record: Record) -> dict[str, str]:
    """Their strategies, by their names."""
    fork = Fork.of(record)
    return dict(zip(fork.children, fork.strategies, strict=True))


def _child(record: Record) -> Entry:
    outcome = outcome_of(record)
    return {"kind": "child", "t": record["t"], "status": "completed" if "result" in outcome else "error", **outcome}


def _end(record: Record) -> Entry:
    entry: Entry = {"kind": "end", "t": record["t"], "status": record["status"]}
    return entry | {key: record[key] for key in ("result", "error") if key in record}


_ENTRIES: dict[str, Callable[[Record], Entry]] = {
    "log": _log,
    "progress": _progress,
    "effect": _effect,
    "module": _module,
    "crash": lambda record: {"kind": "crash", "t": record["t"], "reason": record["reason"]},
    "misfit": lambda record: {"kind": "misfit", "t": record["t"], "query_ids": record["query_ids"]},
    "wait": _wait,
    "delivery": _delivery,
    "wake": lambda record: {"kind": "wake", "t": record["t"]},
    "fork": _fork,
    "child": _child,
    "end": _end,
}
_KINDS = ("prompt", "revival", *_ENTRIES)
_OF_RECORDS = {kind: kind for kind in ("prompt", "effect", "module", "crash", "misfit", "fork")}
_OF_RECORDS |= {"note": "log", "end": "child", "final": "end", "delivery": "delivery"}


def _kind_of(record: Record) -> str | None:
    """Of the entry that a record makes, if it makes one."""
    match record["kind"]:
        case "note" if "progress" in record:
            return "progress"
        case "prompt" if not record["queries"]:
            return "wait"
        case "delivery" if not record["answered"]:
            return "wake"
        case kind:
            return _OF_RECORDS.get(kind)


class _Steps:
    """Since when each stream computes: it follows from several records."""

    def __init__(self) -> None:
        self._free_since: dict[str, float] = {}
        self._open: dict[str, set[str]] = {}  # stream -> ids of its open queries
        self._stream_of: dict[str, str] = {}  # id of an open query -> its stream
        self._parents: dict[str, str] = {}
        self._unended: dict[str, set[str]] = {}  # children of the fork at which a stream waits
        self._strict: set[str] = set()  # children of forks that fail with one of them

    def computed_s(self, record: Record) -> float:
        """Takes the next record. The seconds of the step that it ends; nan where it ends none, or where the stream was
        waiting: a cancelled stream computed nothing."""
        stream, since = record.get("stream", MAIN), nan
        if record["kind"] in ("prompt", "fork", "end", "final"):
            since = self._free_since.pop(stream, nan)
        if (note := _STEPS.get(record["kind"])) is not None:
            note(self, record, stream)
        return since if isnan(since) else _passed(since, record["t"])

    def _header(self, record: Record, stream: str) -> None:
        self._free_since[MAIN] = record["t"]

    def _prompt(self, record: Record, stream: str) -> None:
        if "wait" in record:  # its delivery lets the stream go on
            return
        self._open[stream] = {query["id"] for query in record["queries"]}
        self._stream_of.update((query_id, stream) for query_id in self._open[stream])

    def _answer(self, record: Record, _: str) -> None:
        for item in record["answers"]:
            stream = self._stream_of.pop(item["id"], None)
            if stream is None:
                continue
            self._open[stream].discard(item["id"])
            if not self._open[stream]:
                self._free_since[stream] = record["t"]

    def _delivery(self, record: Record, stream: str) -> None:
        self._free_since[stream] = record["t"]

    def _fork(self, record: Record, stream: str) -> None:
        fork = Fork.of(record)
        self._parents.update((child, stream) for child in fork.children)
        self._unended[stream] = set(fork.children)
        if fork.is_strict:
            self._strict |= self._unended[stream]
        self._free_since.update((child, record["t"]) for child in fork.children)

    def _end(self, record: Record, child: str) -> None:
        parent = self._parents[child]
        self._unended[parent].discard(child)
        if not self._unended[parent] or (child in self._strict and "error" in outcome_of(record)):
            self._free_since[parent] = record["t"]


_STEPS: dict[str, Callable[[_Steps, Record, str], None]] = {
    "header": _Steps._header,
    "prompt": _Steps._prompt,
    "answer": _Steps._answer,
    "delivery": _Steps._delivery,
    "fork": _Steps._fork,
    "end": _Steps._end,
}


def _passed(since: float, t: float) -> float:
    return round(max(0.0, t - since), 3)
