"""Replies that reached hosts, and the promises that follow from them. Nothing here looks into the product's memory.

Contract: `heard` takes every reply that reached a host; `check_disk` may be called whenever no process lives;
`check_end` when a session has come to its end. Each raises Violation.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from algocline_mcp.errors import AlcError
from algocline_mcp.session.events import Answer
from algocline_mcp.session.misfits import REFUSALS
from algocline_mcp.session.records import IllegalRecord, Record
from algocline_mcp.session.state import fold
from algocline_mcp.storage import journal_lines
from tests.sim import strategies
from tests.sim.machine import Violation

ENDS = ("completed", "cancelled", "error")
_MISFIT = re.compile(r"the answer to (\S+) does not fit")
NEVER = ("corrupt", "diverged", "needs_version", "lost")


@dataclass
class Story:
    """One session, as its hosts know it."""

    program: list[list[Any]]
    shown: dict[str, str] = field(default_factory=dict)  # query id -> prompt
    acknowledged: dict[str, str] = field(default_factory=dict)  # query id -> the answer that was taken
    sent: dict[str, list[str]] = field(default_factory=dict)  # query id -> what hosts answered, taken or not
    pending: list[str] = field(default_factory=list)  # as of the last reply
    end: tuple[Any, ...] | None = None
    misfits: Counter[str] = field(default_factory=Counter)  # query id -> answers that were refused by its schema


@dataclass
class Call:
    kind: str
    sid: str = ""
    answers: Sequence[Answer] = ()
    program: list[list[Any]] = field(default_factory=list)
    known: frozenset[str] = frozenset()  # acknowledged before it began
    was_over: bool = False
    is_checked: bool = False  # against the schemas of the prompts


_COUNTED = ("replies", "errors", "acknowledged", "shown", "ends", "children", "dropped", "misfits")


@dataclass
class Book:
    stories: dict[str, Story] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COUNTED, 0))

    def heard(self, call: Call, outcome: Any) -> None:
        if isinstance(outcome, AlcError):
            self.counts["errors"] += 1
            if outcome.code in NEVER:
                raise Violation(f"{outcome.code}: {outcome}")
            if call.sid in self.stories:
                self._count_misfits(self.stories[call.sid], str(outcome))
            return
        if isinstance(outcome, BaseException):
            raise Violation(f"a server raised {outcome!r}") from outcome
        self.counts["replies"] += 1
        result = outcome.result
        if outcome.session_id not in self.stories and result.get("error_code") in ("lost", "storage_failed"):
            return  # nothing of it was acknowledged
        story = self.stories.setdefault(outcome.session_id, Story(call.program))
        if result.get("error_code") in NEVER:
            raise Violation(f"{result['error_code']}: {result['error']}")
        self._show(story, call, result)
        self._end(story, call, result)
        if call.kind == "continue" and "error_code" not in result and "not taken" not in result.get("next", ""):
            self._acknowledge(story, call, result)

    def _count_misfits(self, story: Story, refusal: str) -> None:
        for query_id in set(_MISFIT.findall(refusal)):
            story.misfits[query_id] += 1
            self.counts["misfits"] += 1

    def _show(self, story: Story, call: Call, result: Record) -> None:
        queries = result.get("queries", [result] if "prompt" in result else [])
        if result["status"] == "needs_response":
            story.pending = [query["query_id"] for query in queries]
        for query in queries:
            query_id, prompt = query["query_id"], query["prompt"]
            if query_id in call.known:
                raise Violation(f"{query_id} is asked again after its answer was acknowledged")
            if story.shown.setdefault(query_id, prompt) != prompt:
                raise Violation(f"{query_id} was {story.shown[query_id]!r} and is {prompt!r} now")
            self.counts["shown"] += 1

    def _end(self, story: Story, call: Call, result: Record) -> None:
        if result["status"] in ENDS and "error_code" not in result:
            end = (result["status"], result.get("result"), result.get("error"))
            if story.end is None:
                self.counts["ends"] += 1
                story.end = end
            if story.end != end:
                raise Violation(f"it ended with {story.end} and now with {end}")
        elif call.was_over and "error_code" not in result:
            raise Violation(f"it had ended with {story.end} and is {result['status']} now")

    def _acknowledge(self, story: Story, call: Call, result: Record) -> None:
        refused = [each["query_id"] for each in result.get("refused", ())]
        self._count_misfits(story, " ".join(each["reason"] for each in result.get("refused", ())))
        for answer in call.answers:
            query_id, text = answer.query_id or next(iter(story.shown)), said(answer)
            if answer.query_id in refused or query_id in refused:
                continue
            if story.acknowledged.setdefault(query_id, text) != text:
                raise Violation(f"{query_id} was answered {story.acknowledged[query_id]!r} and then {text!r}")
            self.counts["acknowledged"] += 1

    # ── what must be on the disk ──────────────────────────────────────────────────────────────────────────

    def check_disk(self, sid: str, content: bytes | None) -> list[Record]:
        story = self.stories[sid]
        if content is None:
            raise Violation(f"the journal of {sid} is gone")
        scanned = journal_lines.scan(content)
        if scanned.is_corrupt:
            raise Violation(f"the journal of {sid} is called corrupt in line {scanned.damaged_line}")
        answers: dict[str, str] = {}
        prompts: dict[str, str] = {}
        ends = []
        misfits: Counter[str] = Counter()
        for record in scanned.records:
            misfits.update(record.get("query_ids", ()))
            for item in record.get("answers", ()):
                if item["id"] in answers:
                    raise Violation(f"{item['id']} has two answers")
                answers[item["id"]] = item.get("response", item.get("refuse"))
            for query in record.get("queries", ()):
                if query["id"] in prompts:
                    raise Violation(f"two prompts are called {query['id']}")
                prompts[query["id"]] = query["prompt"]
            if record["kind"] == "final":
                ends.append((record["status"], record.get("result"), record.get("error")))
        _check_kept("the answer that was acknowledged to", story.acknowledged, answers)
        _check_kept("the prompt that was shown as", story.shown, prompts)
        if story.misfits - misfits or any(count > REFUSALS for count in misfits.values()):
            raise Violation(f"refused were {story.misfits}, the journal counts {misfits}")
        try:
            fold(scanned.records)
        except IllegalRecord as exc:
            raise Violation(f"the journal of {sid} does not fold: {exc}") from exc
        if len(ends) > 1 or (story.end is not None and story.end not in ends):
            raise Violation(f"it ended with {story.end}, its journal with {ends}")
        return scanned.records

    def check_end(self, sid: str, content: bytes | None) -> None:
        """The run equals the one that nothing disturbed, given the same answers and effects."""
        records = self.check_disk(sid, content)
        story = self.stories[sid]
        if story.end is None or story.end[0] == "cancelled":
            return
        self._count(records)
        undisturbed = strategies.Undisturbed(records)
        undisturbed.run(story.program)
        outcome = undisturbed.ends.get("", {})
        if story.end[1:] != (outcome.get("result"), outcome.get("error")):
            raise Violation(f"it ended with {story.end}, undisturbed it ends with {outcome}")
        for query_id, prompt in story.shown.items():
            if undisturbed.prompts.get(query_id) != prompt:
                raise Violation(f"{query_id} was {prompt!r}, undisturbed it is another prompt")

    def _count(self, records: Sequence[Record]) -> None:
        streams = fold(records).streams.values()
        self.counts["children"] += len(streams) - 1
        self.counts["dropped"] += sum(stream.ended_as == "dropped" for stream in streams)


def _check_kept(what: str, promised: dict[str, str], kept: dict[str, str]) -> None:
    for query_id, text in promised.items():
        if kept.get(query_id) != text:
            raise Violation(f"{what} {query_id} is {text!r}; the disk holds {kept.get(query_id)!r}")


def said(answer: Answer) -> str:
    return answer.response if answer.response is not None else str(answer.refuse)
