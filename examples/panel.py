"""A panel of three votes, and one prompt for the argument against the majority.

Through an engine:  alc run examples/panel.py task="Ship on Friday?"
In this process, for a debugger:  python examples/panel.py task="Ship on Friday?"
"""

from collections import Counter
from typing import Any

import alc


def run(ctx: dict[str, Any]) -> dict[str, Any]:
    votes = alc.parallel(
        ["security", "cost", "user"],
        lambda role: f"As the {role} reviewer, answer yes or no first: {ctx['task']}",
    )
    winner, n = Counter(vote.split()[0].lower().strip(".,") for vote in votes).most_common(1)[0]
    doubt = alc.llm(f"They said {winner} ({n} of {len(votes)}). Strongest argument against, one line.")
    return {"answer": winner, "share": n / len(votes), "doubt": doubt}


if __name__ == "__main__":
    alc.main(run)
