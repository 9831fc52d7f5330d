"""Replays a journal into a fresh engine: serves recorded replies and compares what the engine asks. Pure.

Only the places of records are kept: a record is read again when its turn has come, for a journal may hold hundreds of
megabytes. The journal is in the order of the replay: the answers to a prompt, and the ends of a fork's children, follow
it before any other record of its stream. Answers for waits may come at any time: they belong to their delivery.

Each stream replays its own records; the order across streams is not compared. Content is compared, not position alone:
prompts by digest, host functions by name and arguments. The first difference raises Diverged; from then on no answer
may be delivered and nothing may be recorded. Log lines and progress are only counted.
"""

from array import array
from collections.abc import Callable, Iterable, Mapping
from enum import Enum, auto
from typing import Any

from algocline_mcp.session import streams
from algocline_mcp.session.digests import digest_with_label, query_digest, recorded_digest
from algocline_mcp.session.records import Record
from algocline_mcp.session.streams import MAIN
from algocline_mcp.worker.engine.messages import Ask, Call, End, Fork, Log, Message, Wait

REFUSED_FORK = "fork"  # name of the effect of a refused fork; its argument is the digest of the fork
REFUSED_ASK = "llm"  # name of the effect of an ask over the budget; its arguments are the digests of the queries

Read = Callable[[int], Record]


class Outcome(Enum):
    LIVE = auto()  # no record is left: carry the message out
    SILENT = auto()  # recorded, and the engine waits for no reply
    OPEN = auto()  # a recorded prompt, not yet answered in full, or a fork that is not yet over
    WAITING = auto()  # a recorded wait without its delivery


class Diverged(Exception):
    """The engine asked something else than the journal holds. Both sides as `{kind, …}` for people to read."""

    def __init__(self, recorded: Record, replayed: Record) -> None:
        super().__init__("diverged")
        self.recorded = recorded
        self.replayed = replayed


class _Cursor:
    """The records of one stream that are still to be served, in order, and among them what the stream waited for."""

    __slots__ = ("_head", "_next", "_places", "_read")

    def __init__(self, read: Read) -> None:
        self._read = read
        self._places = array("Q")
        self._next = 0
        self._head: Record | None = None

    def add(self, place: int) -> None:
        if not self._places or self._places[-1] != place:  # answers to two prompts of a batch may be one record
            self._places.append(place)

    @property
    def is_over(self) -> bool:
        return self._next == len(self._places)

    @property
    def head(self) -> Record:
        """The next record. Raises AlcError where it cannot be read again."""
        if self._head is None:
            self._head = self._read(self._places[self._next])
        return self._head

    def advance(self) -> None:
        self._next += 1
        self._head = None

    def use_once(self) -> None:
        """One of the times that the next record stands for."""
        times = self.head.get("times", 1)
        if times > 1:
            self._head = {**self.head, "times": times - 1}
        else:
            self.advance()

    def take(self, kind: str) -> Record | None:
        """The next record if it is of this kind."""
        if self.is_over or self.head["kind"] != kind:
            return None
        record = self.head
        self.advance()
        return record


class Replay:
    def __init__(self, read: Read) -> None:
        """Empty: every record of the journal is to be added, in order. `read`: gets the place of a record."""
        self._read = read
        self._cursors: dict[str, _Cursor] = {}
        self._log_entries: dict[str, int] = {}  # by stream: how many are recorded
        self._open: dict[str, tuple[list[str], dict[str, Record]]] = {}
        self._asked: dict[str, str] = {}  # query id -> stream, until it is answered
        self._parents: dict[str, str] = {}  # child -> the stream that forked it
        self._waited: dict[str, str] = {}  # query id of a wait -> stream, until it is answered
        self._undelivered: dict[str, dict[str, int]] = {}  # by stream and query id: places of answers for waits

    def add(self, record: Record, place: int) -> None:
        kind: str = record["kind"]
        stream: str = record.get("stream", MAIN)
        if kind in ("prompt", "effect", "module", "fork"):
            self._cursor(stream).add(place)
        if kind == "prompt":
            asked = self._waited if "wait" in record else self._asked
            asked |= {query["id"]: stream for query in record["queries"]}
        elif kind == "answer":
            for item in record["answers"]:
                if (waiting := self._waited.pop(item["id"], None)) is not None:
                    self._undelivered.setdefault(waiting, {})[item["id"]] = place
                else:
                    self._cursor(self._asked.pop(item["id"])).add(place)
        elif kind == "delivery":
            for _, query_id in record["answered"]:
                self._cursor(stream).add(self._undelivered[stream].pop(query_id))
            self._cursor(stream).add(place)
        elif kind == "fork":
            self._parents |= dict.fromkeys(streams.Fork.of(record).children, stream)
        elif kind == "end":
            self._cursor(self._parents[stream]).add(place)
        elif kind == "note" and "by" not in record:  # else the keeper wrote it
            self._log_entries[stream] = self._log_entries.get(stream, 0) + 1

    def _cursor(self, stream: str) -> _Cursor:
        cursor = self._cursors.get(stream)
        if cursor is None:
            cursor = self._cursors[stream] = _Cursor(self._read)
        return cursor

    def is_over(self, stream: str) -> bool:
        return stream not in self._cursors or self._cursors[stream].is_over

    def holds(self, stream: str, message: Message) -> bool:
        """The next record of the stream is this message."""
        return not self.is_over(stream) and _is_same(self._cursors[stream].head, message)

    def serve(self, stream: str, message: Message) -> Outcome | Record:
        """The recorded reply, or an outcome that says what to do. Raises Diverged; AlcError where the journal cannot be
        read again."""
        if isinstance(message, Log):
            left = self._log_entries.get(stream, 0)
            self._log_entries[stream] = max(0, left - 1)
            return Outcome.SILENT if left else Outcome.LIVE
        if self.is_over(stream):
            return Outcome.LIVE
        cursor = self._cursors[stream]
        record = cursor.head
        if not _is_same(record, message):
            raise Diverged(_describe_record(record), _describe_message(message))
        cursor.use_once()
        if record["kind"] == "prompt":
            return self._serve_wait(stream) if "wait" in record else self._serve_prompt(stream, record)
        if record["kind"] == "fork":
            return self._serve_fork(stream, record)
        return {key: record[key] for key in ("result", "error") if key in record}

    def open_prompt(self, stream: str) -> tuple[list[str], dict[str, Record]]:
        """Of the prompt that was served as OPEN: its query ids in order, and its answers so far. Both are empty for a
        fork."""
        return self._open.get(stream, ([], {}))

    def undelivered(self, stream: str) -> dict[str, Record]:
        """By query id: the answers for waits that the stream has not got where the journal ends."""
        places = self._undelivered.get(stream, {})
        return {query_id: _item(self._read(place), query_id) for query_id, place in places.items()}

    def _serve_wait(self, stream: str) -> Outcome | Record:
        items: dict[str, Record] = {}
        while (answer := self._cursors[stream].take("answer")) is not None:
            items |= {item["id"]: item for item in answer["answers"]}
        delivery = self._cursors[stream].take("delivery")
        if delivery is None:
            return Outcome.WAITING
        return reply_to_wait(delivery, items)

    def _serve_prompt(self, stream: str, record: Record) -> Outcome | Record:
        ids = [query["id"] for query in record["queries"]]
        answers: dict[str, Record] = {}
        while len(answers) < len(ids) and (answer := self._cursors[stream].take("answer")) is not None:
            answers |= {item["id"]: item for item in answer["answers"] if item["id"] in ids}
        if len(answers) < len(ids):
            self._open[stream] = ids, answers
            return Outcome.OPEN
        return reply_to_ask([answers[query_id] for query_id in ids])

    def _serve_fork(self, stream: str, record: Record) -> Outcome | Record:
        fork = streams.Fork.of(record)
        while fork.is_open and (end := self._cursors[stream].take("end")) is not None:
            fork.add(end)
        return Outcome.OPEN if fork.is_open else fork.reply()


def reply_to_ask(items: Iterable[Record]) -> Record:
    """The reply to a prompt: `{answers}`, in the order in which the engine asked."""
    return {"answers": [_said(item) for item in items]}


def reply_to_wait(delivery: Record, items: Mapping[str, Record]) -> Record:
    """The reply to a wait: `{answered, woke}`. `items`: the answers by query id."""
    answered = [[number, _said(items[query_id])] for number, query_id in delivery["answered"]]
    return {"answered": answered, "woke": not answered}


def _said(item: Record) -> Record:
    return {key: item[key] for key in ("response", "refuse") if key in item}


def _item(answer: Record, query_id: str) -> Record:
    item: Record = next(item for item in answer["answers"] if item["id"] == query_id)
    return item


def _is_same(record: Record, message: Message) -> bool:
    match message:
        case Ask(queries) | Wait(queries):
            digests = [query_digest(query) for query in queries]
            if record.get("name") == REFUSED_ASK:
                return record["args"] in (digests, [digest_with_label(query) for query in queries])
            timer = (True, message.wake_s) if isinstance(message, Wait) else (False, None)
            is_alike = record["kind"] == "prompt" and ("wait" in record, record.get("wake_s")) == timer
            return is_alike and [recorded_digest(query) for query in record["queries"]] == digests
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
        asked = {"asked": [query["prompt"] for query in record["queries"]]}
        return asked | ({"wake_s": record.get("wake_s")} if "wait" in record else {})
    return {"called": record["name"], "args": record["args"]}


def _describe_message(message: Message) -> Record:
    match message:
        case Ask(queries):
            return {"asked": [query["prompt"] for query in queries]}
        case Wait(queries, wake_s):
            return {"asked": [query["prompt"] for query in queries], "wake_s": wake_s}
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
