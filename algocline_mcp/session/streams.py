"""Streams of a session: the strategy itself and the children of `alc.fork`, and which of them may compute. Pure.

A *stream* is one flow of a session, with records and an engine of its own. "" is the strategy; a child is named by its
number, which counts through the session. Only evolve changes streams. Which children have their turn follows from the
records alone, so a revived session runs the same ones: at most `children` that do not wait for children of their own,
the deepest first, because their parents cannot go on before. So a fork within a fork always gets a turn, and at most
`children` x depth streams are alive.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from algocline_mcp.session.records import Record
from algocline_mcp.session.waits import Waits

MAIN = ""


@dataclass(slots=True)
class Fork:
    """A fork that its stream waits for. `ends`: `{result}` or `{error}` by child, in the order of the ends."""

    strategies: tuple[str, ...]
    first: int  # the number of the first child; the others follow
    ctx: Record
    is_strict: bool  # the first child that fails ends the fork
    ends: dict[str, Record] = field(default_factory=dict)
    ends_bytes: int = 0

    @classmethod
    def of(cls, record: Record) -> "Fork":
        return cls(tuple(record["strategies"]), record["first"], record["ctx"], record["on_error"] == "fail")

    @property
    def children(self) -> list[str]:
        return [str(self.first + index) for index in range(len(self.strategies))]

    @property
    def failed(self) -> str | None:
        """The child whose failure ended the fork."""
        return next((child for child, end in self.ends.items() if "error" in end), None) if self.is_strict else None

    @property
    def is_open(self) -> bool:
        return self.failed is None and len(self.ends) < len(self.strategies)

    def add(self, record: Record) -> None:
        """Adds the record of a child's end."""
        outcome = outcome_of(record)
        self.ends[record["stream"]] = outcome
        self.ends_bytes += len(json.dumps(outcome))

    def reply(self) -> Record:
        """The reply to the stream that forked: `{entries}` in the order of its strategies, or `{failed}`, one child."""
        if (child := self.failed) is not None:
            strategy = self.strategies[int(child) - self.first]
            return {"failed": {"strategy": strategy, **self.ends[child]}}
        ended = zip(self.strategies, (self.ends[child] for child in self.children), strict=True)
        return {"entries": [{"strategy": name, "ok": "result" in end, **end} for name, end in ended]}


@dataclass(slots=True)
class Stream:
    parent: str | None = None
    strategy: str = ""  # of a child
    index: int = 0  # its place among the children of one fork
    depth: int = 0  # forks above it
    abi: Record | None = None  # of a child in another language than the session's; None: that of the header
    has_turn: bool = True
    is_blank: bool = True  # no record yet: an engine begins without a replay
    ended_as: str = ""  # completed, error, or dropped together with its fork
    asked: int = 0  # queries ever issued; the next one gets this number
    open: int = 0  # unanswered queries of its prompt
    answer_bytes: int = 0  # of the answers to that prompt so far
    changes: int = 0  # effects that changed shared values; the next one gets this number
    strikes: int = 0  # deaths of its engine since its last prompt or fork
    burned: int = 0  # those of them that used up the processor time, since its last prompt, fork or effect
    fork: Fork | None = None  # the last one, until its next prompt
    waits: Waits = field(default_factory=Waits)

    @property
    def is_over(self) -> bool:
        return bool(self.ended_as)

    @property
    def is_live(self) -> bool:
        """Whether the stream should have an engine."""
        return self.has_turn and not self.ended_as

    @property
    def waits_for_children(self) -> bool:
        return self.fork is not None and self.fork.is_open

    @property
    def can_run(self) -> bool:
        return self.is_live and not self.open and not self.waits.is_blocked and not self.waits_for_children

    def language(self, header: Record) -> str:
        """A child of alc.fork may have another language than the session with this header."""
        language: str = (self.abi or header)["language"]
        return language

    @property
    def status(self) -> str:
        if self.ended_as:
            return self.ended_as
        if not self.has_turn:
            return "queued"
        is_asking = self.open or (self.waits.is_blocked and self.waits.undelivered)
        return "forked" if self.waits_for_children else "needs_response" if is_asking else "running"


Streams = dict[str, Stream]


def refusal(streams: Streams, name: str, more: int, limits: Mapping[str, int]) -> str | None:
    """Why the stream may not fork `more` children now, or None if it may."""
    made, depth = len(streams) - 1, limits.get("children_depth", 0)
    limit = limits.get("children_max", 0) if limits.get("children") else 0
    if streams[name].depth >= depth:
        return f"alc.fork: forks may be nested {depth} deep, not deeper: run the strategies with alc.pipe"
    if made + more > limit:
        return f"alc.fork: {more} children beside the {made} of this session before, at most {limit}: fork fewer"
    return None


def begin_fork(streams: Streams, record: Record, limit: int) -> None:
    name = record.get("stream", MAIN)
    parent = streams[name]
    parent.fork, parent.is_blank, parent.strikes, parent.burned = Fork.of(record), False, 0, 0
    abis = record.get("abis") or [None] * len(parent.fork.strategies)
    for index, (child, strategy) in enumerate(zip(parent.fork.children, parent.fork.strategies, strict=True)):
        streams[child] = Stream(name, strategy, index, parent.depth + 1, abis[index], has_turn=False)
    _grant_turns(streams, limit)


def end_child(streams: Streams, record: Record, limit: int) -> list[str]:
    """Returns the streams that this ends: the child, and its siblings if the fork has failed."""
    child = streams[record["stream"]]
    child.ended_as, child.fork, child.waits = "completed" if "result" in record else "error", None, Waits()
    fork = fork_of(streams, record["stream"])
    fork.add(record)
    over = [record["stream"]]
    if not fork.is_open:
        fork.ctx = {}
        over += [name for sibling in fork.children for name in _drop(streams, sibling)]
    _grant_turns(streams, limit)
    return over


def fork_of(streams: Streams, child: str) -> Fork:
    """The fork that made the child."""
    parent = streams[child].parent
    assert parent is not None
    fork = streams[parent].fork
    assert fork is not None
    return fork


def _drop(streams: Streams, name: str) -> Iterator[str]:
    stream = streams[name]
    if stream.is_over:
        return
    fork = stream.fork
    stream.ended_as, stream.open, stream.fork, stream.waits = "dropped", 0, None, Waits()
    yield name
    for child in fork.children if fork is not None else ():
        yield from _drop(streams, child)


def _grant_turns(streams: Streams, limit: int) -> None:
    """Gives the free turns to streams that wait for one."""
    free = limit - sum(child.depth > 0 and child.is_live and not child.waits_for_children for child in streams.values())
    queued = [stream for stream in streams.values() if not stream.has_turn and not stream.is_over]
    for stream in sorted(queued, key=lambda child: -child.depth)[: max(0, free)]:  # stable: then by number
        stream.has_turn = True


def outcome_of(record: Record) -> Record:
    return {key: record[key] for key in ("result", "error") if key in record}


def child_seed(seed: int, child: str) -> int:
    """Seed of 63 bits: each child draws other numbers, and the same numbers again after a revival."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{child}".encode()).digest()[:8]) >> 1
