"""Timeline of a session: prompts, answers, their times, and errors, made from its records. Pure.

`timeline(records)` is a list of dicts in the order of the file, each with `kind`:
  prompt    {round, t, computed_s, queries: [{query_id, prompt, system, options, response | refuse, by, usage,
            asked_at, answered_at, waited_s, shared, strategy}]}; unknown fields are absent; `shared`: a branch took
            the answer from its parent
  log       {level, message} · progress {step, total, message}
  effect    {name, args, times} · module {name, found}: a call for something outside the strategy, without its result
  crash     {t, reason}: the death of an engine that was computing
  revival   {t}: another worker continues; the previous one hibernated, was killed, or lost its machine
  fork      {t, children: [{child, strategy}], on_error, computed_s}
  child     {t, status, computed_s, result | error}: the end of a child; a child dropped with its fork has no entry
  end       {t, status, computed_s, result | error}
Entries of a child have `child` and `strategy` in addition. A worker that only reported the state of the session left
no record, and so no entry. `…_s` are seconds; `t` and `…_at` are unix seconds.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from algocline_mcp.session.records import Record
from algocline_mcp.session.streams import MAIN, Fork, outcome_of

Entry = dict[str, Any]
_FIELDS = ("id", "digest", "stream", "prompt", "system")  # every other key of a query is an option


def timeline(records: Sequence[Record]) -> list[Entry]:
    """All entries, in the order of the records; the first record is the header."""
    writer = _Writer()
    for record in records:
        writer.add(record)
    return writer.entries


def turns(entries: Iterable[Entry]) -> list[Entry]:
    """Every query with its answer, oldest first."""
    return [query for entry in entries if entry["kind"] == "prompt" for query in entry["queries"]]


class _Writer:
    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._queries: dict[str, Entry] = {}
        self._free_since: dict[str, float] = {}  # stream -> since when it computes
        self._open: dict[str, set[str]] = {}
        self._stream_of: dict[str, str] = {}
        self._rounds = 0
        self._strategies: dict[str, str] = {}  # of children
        self._parents: dict[str, str] = {}
        self._unended: dict[str, set[str]] = {}  # children of the fork at which a stream waits
        self._strict: set[str] = set()  # children of forks that fail with one of them

    def add(self, record: Record) -> None:
        if record.get("revived"):
            self.entries.append({"kind": "revival"} | ({"t": record["t"]} if "t" in record else {}))
        write = getattr(self, f"_on_{record['kind']}", None)
        if write is not None:
            write(record)

    def _on_header(self, record: Record) -> None:
        self._free_since[MAIN] = record["t"]

    def _on_prompt(self, record: Record) -> None:
        self._rounds += 1
        t, stream = record["t"], record.get("stream", MAIN)
        child = self._child_of(record)
        queries = [self._asked(query, t) for query in record["queries"]]
        for query in queries if child else ():
            query["strategy"] = child["strategy"]
        self._open[stream] = {query["query_id"] for query in queries}
        self._stream_of.update({query["query_id"]: stream for query in queries})
        entry: Entry = {"kind": "prompt", "round": self._rounds, "t": t, "queries": queries}
        self.entries.append(entry | self._computed(stream, t) | child)

    def _asked(self, query: Record, t: float) -> Entry:
        asked: Entry = {"query_id": query["id"], "prompt": query["prompt"], "asked_at": t}
        if query["system"] is not None:
            asked["system"] = query["system"]
        asked["options"] = {key: value for key, value in query.items() if key not in _FIELDS}
        self._queries[query["id"]] = asked
        return asked

    def _on_answer(self, record: Record) -> None:
        for item in record["answers"]:
            asked = self._queries[item["id"]]
            asked |= {key: item[key] for key in ("response", "refuse", "by", "usage") if key in item}
            asked["answered_at"] = record["t"]
            asked["waited_s"] = _passed(asked["asked_at"], record["t"])
            if item.get("shared"):
                asked["shared"] = True
            stream = self._stream_of[item["id"]]
            self._open[stream].discard(item["id"])
            if not self._open[stream]:
                self._free_since[stream] = record["t"]

    def _on_note(self, record: Record) -> None:
        if "progress" in record:
            self.entries.append({"kind": "progress", **record["progress"], **self._child_of(record)})
        else:
            message = {"level": record["level"], "message": record["message"]}
            self.entries.append({"kind": "log", **message, **self._child_of(record)})

    def _on_effect(self, record: Record) -> None:
        times = {"times": record["times"]} if "times" in record else {}
        call = {"name": record["name"], "args": record["args"], **times}
        self.entries.append({"kind": "effect", **call, **self._child_of(record)})

    def _on_module(self, record: Record) -> None:
        name = str(record["args"][0]) if record["args"] else ""
        self.entries.append({"kind": "module", "name": name, "found": "result" in record, **self._child_of(record)})

    def _on_crash(self, record: Record) -> None:
        crash = {"t": record["t"], "reason": record["reason"]}
        self.entries.append({"kind": "crash", **crash, **self._child_of(record)})

    def _on_fork(self, record: Record) -> None:
        t, stream, fork = record["t"], record.get("stream", MAIN), Fork.of(record)
        named: dict[str, str] = dict(zip(fork.children, fork.strategies, strict=True))
        self._strategies |= named
        self._parents.update((child, stream) for child in named)
        self._unended[stream] = set(named)
        if fork.is_strict:
            self._strict |= self._unended[stream]
        self._free_since.update((child, t) for child in named)
        children = [{"child": child, "strategy": strategy} for child, strategy in named.items()]
        entry: Entry = {"kind": "fork", "t": t, "children": children, "on_error": record["on_error"]}
        self.entries.append(entry | self._computed(stream, t) | self._child_of(record))

    def _on_end(self, record: Record) -> None:
        t, child = record["t"], record["stream"]
        outcome = outcome_of(record)
        entry: Entry = {"kind": "child", "t": t, "status": "completed" if "result" in outcome else "error", **outcome}
        self.entries.append(entry | self._computed(child, t) | self._child_of(record))
        parent = self._parents[child]
        self._unended[parent].discard(child)
        if not self._unended[parent] or (child in self._strict and "error" in outcome):
            self._free_since[parent] = t

    def _on_final(self, record: Record) -> None:
        entry: Entry = {"kind": "end", "t": record["t"], "status": record["status"]}
        entry |= {key: record[key] for key in ("result", "error") if key in record}
        self.entries.append(entry | self._computed(MAIN, record["t"]))

    def _child_of(self, record: Record) -> Entry:
        child = record.get("stream")
        return {"child": child, "strategy": self._strategies[child]} if child else {}

    def _computed(self, stream: str, t: float) -> Entry:
        """`computed_s`, or nothing where the stream was waiting: a cancelled stream computed nothing."""
        since = self._free_since.pop(stream, None)
        return {} if since is None else {"computed_s": _passed(since, t)}


def _passed(since: float, t: float) -> float:
    return round(max(0.0, t - since), 3)
