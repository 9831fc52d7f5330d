"""Queries that a stream asks by `wait`: it goes on with any answer, while its other queries stay open. Pure.

A prompt record with `wait` holds the new queries of one wait, maybe none. The record `delivery` says what the stream
went on with: `[number, query id]` of each answer that it had not got yet, in the order of asking; none where its timer
fired. What is delivered when is chance, so a replay takes it from these records. A query is *undelivered* from its
prompt to its delivery, and *open* until it is answered.

A stream may *withdraw* queries with a wait, because the task that asked was cancelled or its time was up. Those that
are open are asked no longer; they stand in the field `withdrawn` of that wait. One that is answered by then, maybe
while the engine computed, is delivered as if nothing had happened: which of both it was is chance, and recorded.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from algocline_mcp.session.digests import json_size
from algocline_mcp.session.records import Record

WAKE_S = 86_400  # the longest timer of a wait; the event loops of asyncio look up as often


@dataclass(slots=True)
class Awaited:
    number: int  # among all queries that the stream has asked by wait, from 0
    bytes: int  # of the query; as soon as it is answered, of the answer
    is_answered: bool = False


@dataclass(slots=True)
class Waits:
    """The waits of one stream. Only evolve changes them."""

    asked: int = 0
    undelivered: dict[str, Awaited] = field(default_factory=dict)  # by query id, in the order of asking
    is_waiting: bool = False  # the stream is at a wait
    wake_s: float | None = None  # the timer of that wait; None: it has none
    since_s: float = 0.0  # when it began, in unix seconds

    @property
    def open(self) -> list[str]:
        return [query_id for query_id, awaited in self.undelivered.items() if not awaited.is_answered]

    @property
    def ready(self) -> list[list[int | str]]:
        """`[number, query id]` of the answers that the next delivery hands over."""
        return [[awaited.number, query_id] for query_id, awaited in self.undelivered.items() if awaited.is_answered]

    @property
    def is_blocked(self) -> bool:
        """At a wait, and no answer is there."""
        return self.is_waiting and not any(awaited.is_answered for awaited in self.undelivered.values())

    @property
    def answer_bytes(self) -> int:
        """Of the answers that are still to be delivered."""
        return sum(awaited.bytes for awaited in self.undelivered.values() if awaited.is_answered)

    @property
    def prompt_bytes(self) -> int:
        """Of the open queries."""
        return sum(awaited.bytes for awaited in self.undelivered.values() if not awaited.is_answered)

    def open_of(self, numbers: Collection[int]) -> list[str]:
        """Ids of the open queries among those with these numbers."""
        return [query_id for query_id in self.open if self.undelivered[query_id].number in numbers]

    def begin(self, record: Record) -> None:
        """The stream waits, after it has withdrawn queries and asked those of this prompt record."""
        for query_id in record.get("withdrawn", ()):
            del self.undelivered[query_id]
        for query in record["queries"]:
            self.undelivered[query["id"]] = Awaited(self.asked, json_size(query))
            self.asked += 1
        self.is_waiting, self.wake_s, self.since_s = True, record.get("wake_s"), record["t"]

    def left_s(self, now_s: float, *, born_s: float) -> float | None:
        """Of the timer; None: the stream has none now. Time that passed without a worker counts, and in a branch only
        its own, from `born_s`: it begins with records of its parent, and its host has yet to see the queries."""
        if not self.is_waiting or self.wake_s is None:
            return None
        return min(max(0.0, self.wake_s - (now_s - max(self.since_s, born_s))), self.wake_s)

    def without(self, query_ids: Collection[str]) -> "Waits":
        return replace(self, undelivered={key: one for key, one in self.undelivered.items() if key not in query_ids})

    def answer(self, query_id: str, size: int) -> None:
        awaited = self.undelivered[query_id]
        awaited.bytes, awaited.is_answered = size, True

    def deliver(self) -> None:
        """The stream goes on with what is ready."""
        self.undelivered = {key: awaited for key, awaited in self.undelivered.items() if not awaited.is_answered}
        self.is_waiting, self.wake_s = False, None

    def can_deliver(self, answered: Sequence[object]) -> bool:
        """Whether a delivery of this can follow: all that is ready, or nothing where the timer fired."""
        return self.is_waiting and answered == self.ready and (bool(answered) or self.wake_s is not None)


def refusal(
    waits: Waits,
    queries: Sequence[Record],
    limits: Mapping[str, int],
    *,
    is_endless: bool = False,
    withdrawn: Collection[int] = (),
) -> str | None:
    """Why the stream may not ask these queries beside those that are open, or None if it may. `is_endless`: it waits
    with no timer. `withdrawn`: numbers of queries that it withdraws at the same time."""
    left = waits.without(waits.open_of(withdrawn)) if withdrawn else waits
    if is_endless and not queries and not left.undelivered:
        return "wait: no query is open and no timer is set, so nothing would ever come: ask something, or set a timer"
    if not queries or not left.undelivered:
        return None  # by itself the message is within the limits
    count = len(left.open)
    if count + len(queries) > limits["queries"]:
        beside = f"{len(queries)} prompts beside {count} that are not answered yet"
        return f"alc.llm: {beside}, at most {limits['queries']} together: wait for answers first"
    size = sum(map(json_size, queries))
    if left.prompt_bytes + size > limits["prompt_bytes"]:
        beside = f"prompt of {size} bytes with its options beside {left.prompt_bytes} that are not answered yet"
        return f"alc.llm: {beside}, at most {limits['prompt_bytes']} together: wait for answers first"
    return None
