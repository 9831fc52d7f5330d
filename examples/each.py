"""All items of a list, each on its own: no item is skipped at number 20. A second prompt, which sees only the item and
the result, checks each result. An item that fails twice is returned as failed.

ctx: items, a list of strings; task, what to do with each.
"""

import re

import alc

REVIEWER = "You are a strict reviewer. You did not write this result."
RESERVATION = re.compile(r"\b(but|however|except|although|though|almost|mostly)\b", re.IGNORECASE)


def is_ok(verdict):
    """ "**OK**" and "Verdict: OK." are one; "OK, but the year is wrong" is none, nor is whatever is in doubt."""
    return not RESERVATION.search(verdict) and alc.match_enum(verdict, ["OK", "wrong"]) == "OK"


def run(ctx):
    items, task = ctx.get("items"), ctx.get("task")
    if not isinstance(items, list) or not items or not task:
        raise ValueError("each.py needs ctx.items, a list that is not empty, and ctx.task, what to do with each item")
    done, failed = [], []
    for i, item in enumerate(items, 1):
        alc.progress(i, len(items), item)
        remark = ""
        for attempt in (1, 2):
            result = alc.llm(f"{task}\nItem: {item}{remark}")
            verdict = alc.llm(
                f"Task: {task}\nItem: {item}\nResult: {result}\nIf the result does the task for this item without any "
                "reservation, answer OK and nothing else. Else answer WRONG: and in one line what is wrong.",
                system=REVIEWER,
            )
            if is_ok(verdict):
                done.append({"item": item, "result": result, "attempts": attempt})
                break
            remark = f"\nA reviewer said of your last try: {verdict}"
        else:
            failed.append({"item": item, "last": result, "why": verdict})
    return {"done": done, "failed": failed}
