"""Brings a fresh engine to where the journal ends: it serves what was recorded and compares what is asked. Pure.

Each stream replays its own records; nothing compares order across streams. Content is compared, not position
alone: prompts by digest, host functions by name and arguments. The first difference raises Diverged, and then
nothing may be delivered and nothing recorded. Log lines and progress are only counted.
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

NO_FORK = "fork"  # the effect of a fork that was refused; its argument is the digest of what was to be forked
OVER_BUDGET = "llm"  # the effect of an ask that the budget refused; its arguments are the digests of the queries


class Outcome(Enum):
    LIVE = auto()  # nothing is recorded any more: carry it out
    SILENT = auto()  # recorded, and nobody waits for a reply
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
        self._notes: dict[str, int] = {}
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
            elif record["kind"] == "note" and "by" not in record:  # else the keeper's own
                self._notes[stream] = self._notes.get(stream, 0) + 1
            elif record["kind"] == "answer":
                self._answers |= {item["id"]: item for item in record["answers"]}

    def is_over(self, stream: str) -> bool:
        return not self._streams.get(stream)

    def serve(self, stream: str, message: Message) -> Outcome | Record:
        """The recorded reply, or what to do. Raises Diverged."""
        if isinstance(message, Log):
            left = self._notes.get(stream, 0)
            self._notes[stream] = max(0, left - 1)
            return Outcome.SILENT if left else Outcome.LIVE
        if self.is_over(stream):
            return Outcome.LIVE
        record = self._streams[stream][0]
        if not _is_same(record, message):
            raise Diverged(_shown(record), _told(message))
        if record.get("times", 1) > 1:
            self._streams[stream][0] = {**record, "times": record["times"] - 1}
        else:
            self._streams[stream].popleft()
        if record["kind"] == "prompt":
            return self._answered(stream, record)
        if record["kind"] == "fork":
            fork = self._forks[str(record["first"])]
            return Outcome.OPEN if fork.is_open else fork.reply()
        return {key: record[key] for key in ("result", "error") if key in record}

    def open_prompt(self, stream: str) -> tuple[list[str], dict[str, Record]]:
        """Of the prompt that was served as OPEN: its query ids in order, and the answers it has got so far. None of a
        fork."""
        ids = self._open.get(stream, [])
        return ids, {each: self._answers[each] for each in ids if each in self._answers}

    def _answered(self, stream: str, record: Record) -> Outcome | Record:
        ids = [query["id"] for query in record["queries"]]
        if not all(each in self._answers for each in ids):
            self._open[stream] = ids
            return Outcome.OPEN
        return reply_to_ask([self._answers[each] for each in ids])


def reply_to_ask(items: Iterable[Record]) -> Record:
    """What the engine gets for a prompt: its answers in the order in which it asked."""
    return {"answers": [{key: item[key] for key in ("response", "refuse") if key in item} for item in items]}


def _is_same(record: Record, message: Message) -> bool:
    match message:
        case Ask(queries):
            digests = [query_digest(query) for query in queries]
            if record.get("name") == OVER_BUDGET:
                return bool(record["args"] == digests)
            return [query["digest"] for query in record.get("queries", ())] == digests
        case Call(name, args):
            return record.get("name") == name and record.get("args") == list(args)
        case Fork(strategies, ctx, on_error):
            if record.get("name") == NO_FORK:
                return bool(record["args"] == [fork_digest(message)])
            asked = [list(strategies), ctx, on_error]
            return [record.get(name) for name in ("strategies", "ctx", "on_error")] == asked
        case _:
            return False


def fork_digest(message: Fork) -> str:
    return query_digest({"strategies": message.strategies, "ctx": message.ctx, "on_error": message.on_error})


def _shown(record: Record) -> Record:
    if record["kind"] == "fork":
        return {"forked": record["strategies"], "ctx": record["ctx"]}
    if record["kind"] == "prompt":
        return {"asked": [query["prompt"] for query in record["queries"]]}
    return {"called": record["name"], "args": record["args"]}


def _told(message: Message) -> Record:
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


def cause(first: Diverged, second: Diverged | None) -> str:
    """The likely reason, from two replays of one journal: what differs between them cannot be the code."""
    if second is not None and _stable(first.replayed) == _stable(second.replayed):
        return "the code, its modules or the engine are not those that wrote this journal"
    return (
        "the strategy depends on something that is not recorded, such as the order of a table whose keys are "
        "tables or functions"
    )


def _stable(value: Record) -> list[Any]:
    return sorted(map(str, value.items()))
