"""Panel of judges in random order, whose votes are counted."""

import random
import statistics
from collections import Counter
from typing import Any

import alc


def run(ctx: dict[str, Any]) -> dict[str, Any]:
    roles = list({"security", "cost", "user", "law", "press"})
    random.shuffle(roles)
    votes = alc.parallel(roles, lambda role: f"As the {role} reviewer of {ctx['task']}: a word, then a number")
    words = Counter(vote.split()[0] for vote in votes)
    scores = [alc.parse_score(vote) for vote in votes]
    return {"order": roles, "winner": words.most_common(1)[0][0], "mean": statistics.fmean(scores)}
