"""The strategies of the soak, and what must be true of each session whatever died while it ran.

Contract: `code` and `of_code` are inverse, so a session whose host never received its id can be checked too.
`record_shown` and `record_acknowledged` record what reached a host. `check` compares that with the journal and with the
result of an undisturbed run, which follows from the answers alone. Each raises Violation.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from algocline_mcp.session.records import Record

_COMPUTE = "local sum = 0 for n = 1, 50000 do sum = sum + n end"
_BODIES = {
    "single": f"""
local said, last = {{}}, "start"
for i = 1, ROUNDS do
  {_COMPUTE}
  last = alc.llm(NAME .. ":" .. i .. ":" .. last)
  said[i] = last
end
return said""",
    "batch": f"""
local said, last = {{}}, "start"
for i = 1, ROUNDS do
  {_COMPUTE}
  local asked = {{}}
  for n = 1, 3 do asked[n] = {{prompt = NAME .. ":" .. i .. "." .. n .. ":" .. last}} end
  last = table.concat(alc.llm_batch(asked), "+")
  said[i] = last
end
return said""",
    "shared": """
local said, seen, last = {}, {}, "start"
for i = 1, ROUNDS do
  seen[i] = alc.state.incr("all")
  local mine = alc.state.incr(NAME)
  last = alc.llm(("%s:%d:%d:%s"):format(NAME, i, mine, last))
  said[i] = last
end
return {said = said, seen = seen}""",
    "chance": """
local said, asked, last = {}, {}, "start"
for i = 1, ROUNDS do
  local words, order = {}, {}
  for n = 1, 20 do words["w" .. math.random(1 << 40)] = n end
  for word in pairs(words) do order[#order + 1] = word end
  asked[i] = table.concat({NAME, i, alc.time(), table.concat(order, " "), last}, ":")
  last = alc.llm(asked[i])
  said[i] = last
end
return {said = said, asked = asked}""",
    "forked": """
local said = {}
for i = 1, ROUNDS do
  said[i] = {}
  for n, entry in ipairs(alc.fork({"child", "child"}, {name = NAME, round = i})) do
    said[i][n] = entry.ok and entry.result or entry.error
  end
end
return said""",
}
# The package that each forked session runs twice at a time.
CHILD = """
return {run = function(ctx)
  alc.state.incr(ctx.name)
  local one = alc.llm(ctx.name .. ":" .. ctx.round .. ":one")
  return one .. alc.llm(ctx.name .. ":" .. ctx.round .. ":two:" .. one)
end}
"""
KINDS = tuple(_BODIES)


class Violation(AssertionError):
    """A promise was broken."""


def require(is_so: object, sentence: str) -> None:
    if not is_so:
        raise Violation(sentence)


@dataclass
class ExpectedSession:
    """One session as its hosts have seen it."""

    kind: str
    name: str
    rounds: int
    sid: str = ""
    shown: dict[str, str] = field(default_factory=dict)  # query id -> prompt
    acknowledged: dict[str, str] = field(default_factory=dict)  # query id -> the acknowledged answer
    result: Any = None
    is_over: bool = False

    @property
    def code(self) -> str:
        head = f"-- {self.kind} {self.name} {self.rounds}"
        return f"{head}\nlocal NAME, ROUNDS = {self.name!r}, {self.rounds}{_BODIES[self.kind]}"

    @classmethod
    def of_code(cls, code: str, sid: str) -> Self:
        kind, name, rounds = code.partition("\n")[0].split()[1:]
        return cls(kind, name, int(rounds), sid)

    def answer(self, query_id: str) -> str:
        """The same text each time; no other query has it."""
        return f"{self.name}/{query_id}"

    def record_shown(self, queries: Sequence[Mapping[str, Any]]) -> None:
        for query in queries:
            query_id, prompt = query["query_id"], query["prompt"]
            before = self.shown.setdefault(query_id, prompt)
            require(prompt == before, f"{self.sid} {query_id} asked {before!r}, and now {prompt!r}")
            require(query_id not in self.acknowledged, f"{self.sid} {query_id} was answered and is asked again")
            expected = self._prompt(query_id)
            require(expected in (None, prompt), f"{self.sid} {query_id} asked {prompt!r} instead of {expected!r}")

    def record_acknowledged(self, query_ids: Sequence[str]) -> None:
        self.acknowledged |= {query_id: self.answer(query_id) for query_id in query_ids}

    # ── the undisturbed run ───────────────────────────────────────────────────────────────────────────────

    @property
    def queries(self) -> int:
        return self.rounds * {"batch": 3, "forked": 4}.get(self.kind, 1)

    @property
    def changes(self) -> dict[tuple[str, str], int]:
        """`{(namespace, key): count}` of the keys that only this session changes. Children have namespaces."""
        namespaces = {"shared": ["default"], "forked": ["fork-0", "fork-1"]}.get(self.kind, [])
        return {(namespace, self.name): self.rounds for namespace in namespaces}

    def _results(self) -> list[Any]:
        if self.kind != "forked":
            return [self._last(number + 1) for number in range(self.rounds)]
        ends = [self.answer(f"f-{child}-0") + self.answer(f"f-{child}-1") for child in range(2 * self.rounds)]
        return [ends[2 * number : 2 * number + 2] for number in range(self.rounds)]

    def _last(self, number: int) -> str:
        """The answers of the round before `number`, which counts from 0, as the strategy joins them."""
        if number == 0:
            return "start"
        if self.kind == "batch":
            return "+".join(self.answer(f"q-{3 * number - n}") for n in (3, 2, 1))
        return self.answer(f"q-{number - 1}")

    def _prompt(self, query_id: str) -> str | None:
        """The prompt of a query; None if it depends on chance."""
        if self.kind == "forked":
            child, n = map(int, query_id.removeprefix("f-").split("-"))
            asked = f"two:{self.answer(f'f-{child}-0')}" if n else "one"
            return f"{self.name}:{child // 2 + 1}:{asked}"
        n = int(query_id.partition("-")[2])
        if self.kind == "batch":
            return f"{self.name}:{n // 3 + 1}.{n % 3 + 1}:{self._last(n // 3)}"
        if self.kind == "shared":
            return f"{self.name}:{n + 1}:{n + 1}:{self._last(n)}"
        return f"{self.name}:{n + 1}:{self._last(n)}" if self.kind == "single" else None

    def check(self, records: Sequence[Record]) -> None:
        """Checks a finished session by its journal and its result."""
        taken = [
            (item["id"], item["response"])
            for record in records
            if record["kind"] == "answer"
            for item in record["answers"]
        ]
        asked = {
            query["id"]: query["prompt"]
            for record in records
            if record["kind"] == "prompt"
            for query in record["queries"]
        }
        twice = [query_id for query_id, count in Counter(query_id for query_id, _ in taken).items() if count > 1]
        require(not twice, f"{self.sid} holds two answers to {twice}")
        lost = self.acknowledged.items() - dict(taken).items()
        require(not lost, f"{self.sid} lost {lost}")
        changed = self.shown.items() - asked.items()
        require(not changed, f"{self.sid} showed {changed}, which its journal has not")
        expected = self._results()
        require(len(taken) == self.queries, f"{self.sid} took {len(taken)} answers, it asks {self.queries}")
        (final,) = [record for record in records if record["kind"] == "final"]
        result: Any = final.get("result")
        require(not self.is_over or self.result == result, f"{self.sid} replied {self.result!r} and holds {result!r}")
        actual = result["said"] if isinstance(result, dict) else result
        require(actual == expected, f"{self.sid} ended with {result!r}; undisturbed it is {expected!r}")
        if self.kind == "chance":
            require(result["asked"] == list(asked.values()), f"{self.sid} ended with other prompts than it showed")
