"""Replays a journal into a fresh engine: serves recorded replies and compares what the engine asks. Pure.

Each stream replays its own records; the order across streams is not compared. Content is compared, not position alone:
prompts by digest, host functions by name and arguments. The first difference raises Diverged; from then on no answer
may be delivered and nothing may be recorded. Log lines and progress are only counted.
"""

from collections import deque
from collections.abc import Iterable
from enum import Enum, auto
from typing import Any

from algocline_mcp.session import streams
from algocline_mcp.session.digests import query_digest
from algocline_mcp.session.records import Record
from algocline_mcp.session.streams import MAIN
from algocline_mcp.worker.engine.messages import Ask, Call, End, Fork, Log, Message

REFUSED_FORK = "fork"  # name of the effect of a refused fork; its argument is the digest of the fork
REFUSED_ASK = "llm"  # name of the effect of an ask over the budget; its arguments are the digests of the queries


class Outcome(Enum):
    LIVE = auto()  # no record is left: carry the message out
    SILENT = auto()  # recorded, and the engine waits for no reply
    OPEN = auto()  # a recorded prompt, not yet answered in full, or a fork that is not yet over


class Diverged(Exception):
    """The engine asked something else than the journal holds. Both sides as `{kind, …}` for people to read."""

    def __init__(self, recorded: Record, replayed: Record) -> None:
        super().__init__("diverged")
        self.recorded = recorded
        self.replayed = replayed


class Replay:
    def __init__(self, records: Iterable[Record]) -> None:
        self._streams: dict[str, deque[Record]] = {}
        self._log_entries: dict[str, int] = {}  # by stream: how many are recorded
        self._answers: dict[str, Record] = {}
        self._open: dict[str, list[str]] = {}
        self._forks: dict[str, streams.Fork] = {}  # by child
        for record in records:
            stream = record.get("stream", MAIN)
            if record["kind"] in ("prompt", "effect", "module", "fork"):
                self._streams.setdefault(stream, deque()).append(record)
            if record["kind"] == "fork":
                fork = streams.Fork.of(record)
                self._forks |= dict.fromkeys(fork.children, fork)
            elif record["kind"] == "end":
                self._forks[stream].add(record)
            elif record["kind"] == "note" and "by" not in record:  # else the keeper wrote it
                self._log_entries[stream] = self._log_entries.get(stream, 0) + 1
            elif record["kind"] == "answer":
                self._answers |= {item["id"]: item for item in record["answers"]}

    def is_over(self, stream: str) -> bool:
        return not self._streams.get(stream)

    def holds(self, stream: str, message: Message) -> bool:
        """The next record of the stream is this message."""
        return not self.is_over(stream) and _is_same(self._streams[stream][0], message)

    def serve(self, stream: str, message: Message) -> Outcome | Record:
        """The recorded reply, or an outcome that says what to do. Raises Diverged."""
        if isinstance(message, Log):
            left = self._log_entries.get(stream, 0)
            self._log_entries[stream] = max(0, left - 1)
            return Outcome.SILENT if left else Outcome.LIVE
        if self.is_over(stream):
            return Outcome.LIVE
        record = self._streams[stream][0]
        if not _is_same(record, message):
            raise Diverged(_describe_record(record), _describe_message(message))
        if record.get("times", 1) > 1:
            self._streams[stream][0] = {**record, "times": record["times"] - 1}
        else:
            self._streams[stream].popleft()
        if record["kind"] == "prompt":
            return self._serve_prompt(stream, record)
        if record["kind"] == "fork":
            fork = self._forks[str(record["first"])]
            return Outcome.OPEN if fork.is_open else fork.reply()
        return {key: record[key] for key in ("result", "error") if key in record}

    def open_prompt(self, stream: str) -> tuple[list[str], dict[str, Record]]:
        """Of the prompt that was served as OPEN: its query ids in order, and its answers so far. Both are empty for a
        fork."""
        ids = self._open.get(stream, [])
        return ids, {query_id: self._answers[query_id] for query_id in ids if query_id in self._answers}

    def _serve_prompt(self, stream: str, record: Record) -> Outcome | Record:
        ids = [query["id"] for query in record["queries"]]
        if not all(query_id in self._answers for query_id in ids):
            self._open[stream] = ids
            return Outcome.OPEN
        return reply_to_ask([self._answers[query_id] for query_id in ids])


def reply_to_ask(items: Iterable[Record]) -> Record:
    """The reply to a prompt: `{answers}`, in the order in which the engine asked."""
    return {"answers": [{key: item[key] for key in ("response", "refuse") if key in item} for item in items]}


def _is_same(record: Record, message: Message) -> bool:
    match message:
        case Ask(queries):
            digests = [query_digest(query) for query in queries]
            if record.get("name") == REFUSED_ASK:
                return bool(record["args"] == digests)
            return [query["digest"] for query in record.get("queries", ())] == digests
        case Call(name, args):
            return record.get("name") == name and record.get("args") == list(args)
        case Fork(strategies, ctx, on_error):
            if record.get("name") == REFUSED_FORK:
                return bool(record["args"] == [fork_digest(message)])
            asked = [list(strategies), ctx, on_error]
            return [record.get(name) for name in ("strategies", "ctx", "on_error")] == asked
        case _:
            return False


def fork_digest(message: Fork) -> str:
    return query_digest({"strategies": message.strategies, "ctx": message.ctx, "on_error": message.on_error})


def _describe_record(record: Record) -> Record:
    if record["kind"] == "fork":
        return {"forked": record["strategies"], "ctx": record["ctx"]}
    if record["kind"] == "prompt":
        return {"asked": [query["prompt"] for query in record["queries"]]}
    return {"called": record["name"], "args": record["args"]}


def _describe_message(message: Message) -> Record:
    match message:
        case Ask(queries):
            return {"asked": [query["prompt"] for query in queries]}
        case Call(name, args):
            return {"called": name, "args": list(args)}
        case Fork(strategies, ctx):
            return {"forked": list(strategies), "ctx": ctx}
        case End(outcome):
            return {"ended": True, **outcome}
        case _:
            return {"said": str(message)}


def likely_cause(first: Diverged, second: Diverged | None) -> str:
    """Compares two replays of one journal: a difference between them cannot come from the code."""
    if second is not None and _comparable(first.replayed) == _comparable(second.replayed):
        return "the code, its modules or the engine are not those that wrote this journal"
    return (
        "the strategy depends on something that is not recorded, such as the order of a table whose keys are "
        "tables or functions"
    )


def _comparable(value: Record) -> list[Any]:
    return sorted(map(str, value.items()))
