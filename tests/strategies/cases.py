"""One small run of each built-in strategy: its ctx, a model that answers well, and what it then returns."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class Case:
    """`answers`: a part of a prompt -> the answer; the first part that the prompt contains counts. `expected`: fields
    of the result. `prompts`: how many that takes."""

    strategy: str
    ctx: Mapping[str, Any]
    answers: Mapping[str, Any]
    expected: Mapping[str, Any]
    prompts: int

    def answer(self, prompt: str) -> str:
        answer = next(answer for part, answer in self.answers.items() if part in prompt)
        return answer if isinstance(answer, str) else json.dumps(answer)


TEXT = "\n\n".join(
    f"Section {n}. The mill of year {1900 + n} had {n} wheels. " + "It ran well. " * 12 for n in range(5)
)
QUOTE = "The mill of year 1903 had 3 wheels."

CASES = [
    Case("vote", {"task": "6 * 7?", "n": 3}, {"6 * 7": "Easy.\nANSWER: 42"}, {"answer": "42", "share": 1}, 3),
    Case(
        "each",
        {"task": "Translate", "items": ["one", "two"]},
        {"Check the result": {"problem": "", "ok": True}, "one": "un", "two": "deux"},
        {
            "done": [
                {"item": "one", "result": "un", "attempts": 1, "checked": True},
                {"item": "two", "result": "deux", "attempts": 1, "checked": True},
            ],
            "failed": [],
        },
        4,
    ),
    Case(
        "review",
        {"file": TEXT, "lenses": ["errors"]},
        {
            "Try to refute": {"reason": "It says so.", "stands": True},
            "Review this text": [{"quote": QUOTE, "problem": "Only two.", "severity": "high", "fix": "Write 2."}],
        },
        {
            "findings": [
                {"severity": "high", "problem": "Only two.", "quote": QUOTE, "fix": "Write 2.", "lens": "errors",
                 "checked": True}
            ],
            "refuted": [],
        },
        2,
    ),
    Case(
        "verify",
        {"task": "Who built it?", "n": 2},
        {
            "List the 2 facts": ["Who was Ada?", "When?"],
            "Write the answer again": "Ada, in 1903.",
            "Answer in a few sentences": "Bob, in 1902.",
            "Who was Ada?": "The builder.",
            "When?": "1903",
        },
        {"answer": "Ada, in 1903.", "draft": "Bob, in 1902."},
        5,
    ),
    Case(
        "refine",
        {"task": "Write a line", "draft": "first"},
        {"and wrote:\n<text>\nfirst": {"problems": ["Too short."]}, "and wrote:": {"problems": []}, "Write": "second"},
        {"answer": "second", "is_accepted": True, "critiques": [["Too short."], []]},
        3,
    ),
    Case(
        "decide",
        {"task": "Ship?", "options": ["ship", "wait"], "panel": ["user", "engineer"]},
        {"Advisers": {"reason": "Tests pass.", "objection": "It is Friday.", "choice": "ship"},
         "You advise": {"reason": "Tests pass.", "risk": "None.", "choice": "ship"}},
        {"decision": "ship", "objection": "It is Friday.", "agreement": 1},
        3,
    ),
    Case(
        "digest",
        {"text": TEXT, "task": "How many wheels?", "chars": 400},
        {"Notes on the text": "Three [4].", "Piece 4": "[4] 3 wheels", "Piece": "NOTHING"},
        {"answer": "Three [4].", "pieces": 5, "unread": []},
        6,
    ),
    Case(
        "extract",
        {"text": TEXT, "fields": {"wheels": {"type": "integer"}, "owner": "who owns it"}, "chars": 400},
        {
            "different values": "The later one.\nVerdict: B",
            "Piece 3": {"wheels": [{"value": 2, "quote": "had 2 wheels"}]},
            "Piece 4": {"wheels": [{"value": 3, "quote": QUOTE}], "owner": [{"value": "Ada", "quote": "Ada owns it"}]},
            "Piece": {},
        },
        {"answer": {"wheels": 3, "owner": None}, "missing": ["owner"], "unread": []},
        6,
    ),
    Case(
        "rank",
        {"items": ["b", "a", "c"]},
        {"<A>\na\n": "Verdict: A", "<B>\na\n": "Verdict: B", "<A>\nb\n": "Verdict: A", "<A>": "Verdict: B"},
        {"answer": ["a", "b", "c"], "order_bias": 0},
        6,
    ),
    Case(
        "research",
        {"task": "Who built it, and when?"},
        {
            "Divide this": ["Who?", "When?"],
            "Confirmed claims": "Ada built it [1].",
            "Who?\n": [{"claim": "Ada built it.", "source": "the archive"}],
            "When?\n": [{"claim": "It was 1902.", "source": "a letter"}],
            "Claim: Ada": "The archive says so.\nVerdict: confirmed",
            "Claim: It": "No source says so.\nVerdict: unclear",
        },
        {
            "answer": "Ada built it [1].",
            "unconfirmed": [
                {"claim": "It was 1902.", "source": "a letter", "check": "No source says so.\nVerdict: unclear"}
            ],
            "open": [],
        },
        6,
    ),
    Case(
        "debate",
        {"task": "Ship?", "sides": ["ship", "wait"], "rounds": 1},
        {"opening": "Because.", "A: ship": "Verdict: A", "A: wait": "Verdict: B"},
        {"answer": "ship"},
        4,
    ),
    Case(
        "search",
        {"task": "Write", "steps": 2, "breadth": 2},
        {
            "<attempt>\nbest": {"weakness": "none", "grade": 9},
            "Then grade it": {"weakness": "short", "grade": 4},
            "better attempts": [{"approach": "longer", "attempt": "best"}, {"approach": "other", "attempt": "same"}],
            "Write 2 attempts": [{"approach": "one", "attempt": "a"}, {"approach": "two", "attempt": "b"}],
        },
        {"answer": "best", "grade": 9, "path": ["one", "longer"]},
        6,
    ),
    Case(
        "mixture",
        {"task": "Name it", "n": 2},
        {"one best answer": "combined", "your own answer": "better", "Name it": "first"},
        {"answer": "combined", "proposals": ["better", "better"]},
        5,
    ),
]  # fmt: skip
