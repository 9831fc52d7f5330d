"""All items of a list, each done by a prompt of its own: no item is skipped at number 20.

A second prompt, which sees the task, the item and the result alone, checks each result. An item that fails is done
again with what the check said; what fails each time is returned as failed. Items are done `at_once` in one pause.
"""

import json
from typing import Any

import alc
from alc_rounds import Rounds, labelled, text_of, verdict_of

meta = {
    "name": "each",
    "version": "1.0.0",
    "category": "built in",
    "description": "Does a task for every item of a list, checks each result, and does the wrong ones again",
    "reference": "Practice: one prompt for each item, and a check by a reader who did not write the result",
    "inputs": {
        "items": {"type": "array", "description": "the items, texts or objects"},
        "task": {"type": "string", "description": "what to do with each item"},
        "attempts": {"type": "integer", "default": 2, "minimum": 1, "maximum": 5, "description": "tries of one item"},
        "at_once": {"type": "integer", "default": 5, "minimum": 1, "maximum": 100, "description": "items of one pause"},
    },
    "outputs": {
        "done": "a list of {item, result, attempts, checked}, in the order of the items",
        "failed": "a list of {item, result, why}: wrong at each attempt, or without a result",
    },
    "cost": "2 prompts an item, 2 more for each further attempt",
}

_DO = """\
{task}

The item:
<item>
{item}
</item>
{remark}
Do this for the item above, with the care that it deserves, and write the result and nothing else."""
_REMARK = """
A reviewer has said of an earlier result: {problem}
"""
_CHECK = """\
A writer had this task:
<task>
{task}
</task>
for this item:
<item>
{item}
</item>
and wrote this result:
<result>
{result}
</result>
Check the result: is it right, complete, and what the task asks for? Answer with JSON only, the problem first:
{{"problem": "what is wrong, in one sentence, or an empty text", "ok": true or false}}"""
_REVIEWER = "You are a strict reviewer. You did not write this result, and you gain nothing by accepting it."


def run(ctx: dict[str, Any]) -> dict[str, Any]:
    rounds = Rounds(meta, ctx)
    items, task, size = (rounds.inputs[name] for name in ("items", "task", "at_once"))
    outcomes: list[dict[str, Any]] = []
    for begin in range(0, len(items), size):
        alc.progress(begin, len(items), f"{begin} of {len(items)} items")
        outcomes += _do(rounds, task, list(items[begin : begin + size]), rounds.inputs["attempts"])
    alc.progress(len(items), len(items))
    return rounds.result(
        done=[outcome for outcome in outcomes if "why" not in outcome],
        failed=[outcome for outcome in outcomes if "why" in outcome],
    )


def _do(rounds: Rounds, task: str, items: list[Any], attempts: int) -> list[dict[str, Any]]:
    """The outcomes of some items, in their order."""
    outcomes: list[dict[str, Any]] = [{"item": item, "result": None, "why": "no result"} for item in items]
    open_numbers = list(range(len(items)))
    for attempt in range(1, attempts + 1):
        prompts = [labelled(_prompt(task, outcomes[number]), _text(items[number])) for number in open_numbers]
        results = rounds.ask_all(prompts, text_of, "results")
        done = [(number, result) for number, result in zip(open_numbers, results, strict=True) if result is not None]
        checks = [labelled(_check(task, items[number], result), _text(items[number])) for number, result in done]
        verdicts = rounds.ask_all(checks, verdict_of("ok", "problem"), "checks", system=_REVIEWER)
        for (number, result), verdict in zip(done, verdicts, strict=True):
            outcome = {"item": items[number], "result": result}
            if verdict is None or verdict["ok"]:
                outcomes[number] = outcome | {"attempts": attempt, "checked": verdict is not None}
            else:
                outcomes[number] = outcome | {"why": verdict["problem"] or "the check gave no reason"}
        open_numbers = [number for number in open_numbers if "why" in outcomes[number]]
        if not open_numbers or rounds.is_out_of_budget:
            break
    return outcomes


def _prompt(task: str, outcome: dict[str, Any]) -> str:
    remark = _REMARK.format(problem=outcome["why"]) if outcome["result"] is not None else ""
    return _DO.format(task=task, item=_text(outcome["item"]), remark=remark)


def _check(task: str, item: Any, result: str) -> str:
    return _CHECK.format(task=task, item=_text(item), result=result)


def _text(item: Any) -> str:
    return item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)
