"""A vote: the same question several times, each answered without seeing another answer, counted by code.

While no answer has more than half of all votes, it asks again, three rounds at most; then the vote stays undecided.

ctx: task, a question whose answer is a word, a number or a name; votes, how many a round has (5); choices, the answers
that count, such as ["C", "C++", "C#"]: without it, any answer.
"""

import re
from collections import Counter

import alc

ANSWER = re.compile(r".*ANSWER:\s*([^\n]*?)[\s.!,;:]*$", re.DOTALL)


def answer_of(reply, choices):
    """The answer of a vote without markup and the full stop, or None. C, C++ and C# stay three answers."""
    if choices:
        return alc.match_enum(reply, choices)
    match = ANSWER.match(re.sub("[*`]", "", reply))
    return match[1] if match else None


def run(ctx):
    votes, spelling, reasons = Counter(), {}, {}
    total, best = 0, None
    for number in (1, 2, 3):
        voters = range(total + 1, total + 1 + ctx.get("votes", 5))
        replies = alc.llm_batch(
            {
                "prompt": f"{ctx['task']}\nThink step by step. Last line: ANSWER: and the answer alone.",
                "system": f"You are voter {voter}. Decide by yourself: you know of no other voter.",
            }
            for voter in voters
        )
        total += len(replies)
        for reply in replies:
            if answer := answer_of(reply, ctx.get("choices")):
                key = " ".join(answer.lower().split())
                votes[key] += 1
                spelling.setdefault(key, answer)
                reasons.setdefault(key, reply)
        best = min(votes, key=lambda key: (-votes[key], key), default=None)
        alc.progress(number, 3, f"{spelling[best]}: {votes[best]} of {total}" if best else "no answer yet")
        if best and votes[best] * 2 > total:
            return {
                "answer": spelling[best],
                "votes": votes,
                "total": total,
                "decided": True,
                "because": reasons[best],
            }
    return {"answer": spelling.get(best), "votes": votes, "total": total, "decided": False}
