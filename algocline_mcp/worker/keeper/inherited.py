"""Answers and results that a branch with changed code inherits from its parent. Pure.

The header's field `carried` holds `answers`, which maps the digest of a query to the parent's items in the order in
which it asked (null where a query was not answered), and `effects`, a list of `[name, args, outcome, times]` in order.
The same question asked for the k-th time gets the k-th item. The branch's own records tell which items were used, so a
revived branch goes on with the next.
"""

import json
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import Any

from algocline_mcp.session.digests import digest_with_label, recorded_digest
from algocline_mcp.session.records import Record


class Inherited:
    def __init__(self, header: Record) -> None:
        """Nothing is used yet: every record of the branch is to be added, in order."""
        inherited = header.get("carried") or {}
        self._answers: dict[str, list[Record | None]] = inherited.get("answers", {})
        self._asked: Counter[str] = Counter()
        self._items: dict[str, Record] = {}  # query id -> the answer to it
        self._effects: dict[str, deque[tuple[Record, int]]] = {}
        for name, args, outcome, times in inherited.get("effects", ()):
            self._effects.setdefault(_key(name, args), deque()).append((outcome, times))

    def add(self, record: Record) -> None:
        if record["kind"] == "prompt":
            self.ask(record)
        elif record["kind"] == "effect" and self._effects:
            self._use(record["name"], record["args"], record.get("times", 1))

    def ask(self, prompt: Record) -> list[Record]:
        """Counts a prompt that is recorded now; returns the inherited items that answer its queries."""
        if not self._answers:
            return []
        for query in prompt["queries"]:
            digest = recorded_digest(query)
            if digest not in self._answers:  # of a branch that an earlier program began
                digest = query["digest"] if query["digest"] in self._answers else _digest_of_before(query)
            items = self._answers.get(digest, ())
            number = self._asked[digest]
            self._asked[digest] += 1
            if number < len(items) and (item := items[number]) is not None:
                self._items[query["id"]] = {**item, "id": query["id"], "shared": True}
        return self.items(query["id"] for query in prompt["queries"])

    def items(self, query_ids: Iterable[str]) -> list[Record]:
        """The inherited items that answer these queries, which `ask` has counted."""
        return [self._items[query_id] for query_id in query_ids if query_id in self._items]

    def call(self, name: str, args: Sequence[Any]) -> Record | None:
        """The outcome of the parent's next such call, or None where it made no further one."""
        return self._use(name, args, 1) if self._effects else None

    def _use(self, name: str, args: Sequence[Any], count: int) -> Record | None:
        """Uses up `count` outcomes of such a call, in one step however many they are; returns the first."""
        unused, first = self._effects.get(_key(name, args)), None
        while unused and count > 0:
            outcome, times = unused.popleft()
            first = outcome if first is None else first
            if times > count:
                unused.appendleft((outcome, times - count))
            count -= times
        return first


def _digest_of_before(query: Record) -> str:
    return digest_with_label({key: value for key, value in query.items() if key not in ("id", "digest", "stream")})


def _key(name: str, args: Sequence[Any]) -> str:
    return json.dumps([name, list(args)], sort_keys=True)
