"""A vote: one question, answered n times without a view of the other answers, and counted by code.

It pays where a single answer is right more often than wrong, and where answers can be compared: a number, a name, one
of several choices. A host that answers each prompt in a context of its own makes the votes independent.
"""

import re
from collections import Counter
from typing import Any

import alc
from alc_rounds import INDEPENDENT, Rounds, labelled, text_of

meta = {
    "name": "vote",
    "version": "1.0.0",
    "category": "built in",
    "description": "Answers one question n times, independently, and returns the answer that most agree on",
    "reference": "Self-consistency: Wang et al. 2022, arXiv:2203.11171",
    "inputs": {
        "task": {"type": "string", "description": "the question, with one short answer: a number, a name, a choice"},
        "n": {"type": "integer", "default": 5, "minimum": 1, "maximum": 100, "description": "how many votes"},
        "choices": {"type": "array", "default": [], "description": "the answers that count; without it any answer"},
    },
    "outputs": {
        "answer": "the answer with the most votes, null without any vote",
        "share": "its share of the votes, from 0 to 1",
        "votes": "the number of votes by answer, most first",
        "is_tied": "whether another answer has as many votes",
    },
    "cost": "n prompts in one pause",
}

_PROMPT = """\
{task}
{choices}
Think step by step. Then write one last line, "ANSWER: " and the answer alone, as short as it can be."""
_SYSTEM = "You are voter {}. Decide by yourself: you know of no other voter."
_MARK = re.compile(
    r"(?im)^[\s>#*_`]*(?:so,?\s+)?(?:the\s+|my\s+)?(?:final\s+)?answer"
    r"[*_`]*(?:\s*:|\s+is\b[*_`]*:?)[*_`]*[ \t]*(\S.*)$"
)
_MARKUP = " \t*_`\"'"
# One number, with or without a unit. Not a code, such as 007, or a list, such as 1, 2.
_NUMBER = re.compile(
    r"(?P<sign>[-+−]?)\s?[$€£]?\s?"
    r"(?P<digits>(?:(?!0\d)\d{1,3}(?:[,.' ]\d{3})+|(?!0\d)\d+|(?=[.,]\d))(?:[.,]\d+)?)\s?[%$€£]?"
)
_EXACT_DIGITS = 15  # that a float holds


def run(ctx: dict[str, Any]) -> dict[str, Any]:
    rounds = Rounds(meta, ctx)
    task, n, choices = (rounds.inputs[name] for name in ("task", "n", "choices"))

    def read(reply: str) -> str | None:
        if choices:
            return alc.match_enum(reply, [str(choice) for choice in choices])
        marked = _MARK.findall(reply)
        bare = reply.strip(_MARKUP + "\n.")
        answer = marked[-1] if marked else bare if _NUMBER.fullmatch(bare) else ""
        return text_of(answer.strip(_MARKUP).rstrip(_MARKUP + "."))

    one_of = f"\nThe answer is one of: {', '.join(map(str, choices))}." if choices else ""
    prompt = _PROMPT.format(task=task, choices=one_of)
    voters: list[alc.Query] = [
        {**labelled(prompt, f"voter {number}"), "system": _SYSTEM.format(number)} for number in range(1, n + 1)
    ]
    votes = [vote for vote in rounds.ask_all(voters, read, "votes", options=INDEPENDENT) if vote is not None]

    counts = Counter(map(_key, votes))
    spelling = {_key(vote): vote for vote in reversed(votes)}
    ranked = counts.most_common()
    if not ranked:
        return rounds.result(answer=None, share=0.0, votes={}, is_tied=False)
    best, votes_of_best = ranked[0]
    return rounds.result(
        answer=spelling[best],
        share=votes_of_best / len(votes),
        votes={spelling[key]: count for key, count in ranked},
        is_tied=len(ranked) > 1 and ranked[1][1] == votes_of_best,
    )


def _key(vote: str) -> str:
    """Equal for answers that differ in their spelling alone: 1,000 and 1000.0; $5 and 5; Paris and paris."""
    bare = " ".join(vote.casefold().split())
    match = _NUMBER.fullmatch(bare)
    number = alc.parse_number(match["digits"]) if match else None
    if match is None or number is None or sum(map(str.isdigit, bare)) > _EXACT_DIGITS:
        return bare
    sign = "-" if match["sign"] in ("-", "−") and number else ""
    return sign + (str(int(number)) if number == int(number) else repr(number))
