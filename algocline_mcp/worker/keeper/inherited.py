"""What a branch with changed code got from its parent: answers by what was asked, results by what was called. Pure.

The header's field `carried` holds `answers`, per digest of a query the items in the order of their asking (null where
there was none), and `effects`, `[name, args, outcome, times]` in order. The same question asked for the k-th time gets
the k-th item. Which were used is counted from the branch's own records, so a revived branch goes on with the next.
"""

import json
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import Any

from algocline_mcp.session.records import Record


class Inherited:
    def __init__(self, records: Sequence[Record]) -> None:
        """`records`: of the branch, its header first."""
        carried = records[0].get("carried") or {}
        self._answers: dict[str, list[Record | None]] = carried.get("answers", {})
        self._asked: Counter[str] = Counter()
        self._items: dict[str, Record] = {}  # query id -> the answer to it
        self._effects: dict[str, deque[tuple[Record, int]]] = {}
        for name, args, outcome, times in carried.get("effects", ()):
            self._effects.setdefault(_key(name, args), deque()).append((outcome, times))
        for record in records[1:] if carried else ():
            if record["kind"] == "prompt":
                self.ask(record)
            elif record["kind"] == "effect":
                for _ in range(record.get("times", 1)):
                    self.call(record["name"], record["args"])

    def ask(self, prompt: Record) -> list[Record]:
        """Counts a prompt that is recorded now; returns the items that answer its queries."""
        if not self._answers:
            return []
        for query in prompt["queries"]:
            served = self._answers.get(query["digest"], ())
            number = self._asked[query["digest"]]
            self._asked[query["digest"]] += 1
            if number < len(served) and (item := served[number]) is not None:
                self._items[query["id"]] = {**item, "id": query["id"], "shared": True}
        return self.items(query["id"] for query in prompt["queries"])

    def items(self, query_ids: Iterable[str]) -> list[Record]:
        return [self._items[each] for each in query_ids if each in self._items]

    def call(self, name: str, args: Sequence[Any]) -> Record | None:
        """The result of the next such call, or None where the parent made no further one."""
        left = self._effects.get(_key(name, args)) if self._effects else None
        if not left:
            return None
        outcome, times = left.popleft()
        if times > 1:
            left.appendleft((outcome, times - 1))
        return outcome


def _key(name: str, args: Sequence[Any]) -> str:
    return json.dumps([name, list(args)], sort_keys=True)
