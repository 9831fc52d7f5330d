"""The model of docs/tutorial.md: reads trips as a model of middling skill does.

A reading of a built-in lens sees what is wrong in the first sentence that does not add up, and invents something; a
reading that looks for sums and times alone sees all of them. A refutation succeeds for what the text does not say.
"""

import json
import re

_LENS = re.compile(r"Look for one thing alone: (.*)")
_TEXT = re.compile(r"<text>\n(.*?)\n</text>", re.DOTALL)
# A passage -> what is wrong with it. The first ones are what every careful reader sees.
_EASY = {
    "so we arrive at 12:00": "9:00 and two hours are 11:00.",
    "which is closed on Mondays": "They go there on a Monday.",
}
_SUMS = {
    "Six people come": "The list has five names.",
    "4 tickets at 15 euros are 50 euros": "4 times 15 is 60.",
    "from 9:00 to 11:30, three hours": "It is two and a half hours.",
    "Three nights, from Friday to Sunday": "From Friday to Sunday there are two nights.",
}
_INVENTED = {"where to meet": "The note does not say where to meet."}


def answer(prompt: str) -> str:
    text = _TEXT.search(prompt)
    assert text is not None, prompt
    if "Try to refute" in prompt:
        is_wrong = "where to meet" in prompt
        reason = "The readers of the note meet each morning." if is_wrong else "The text says just that."
        return json.dumps({"reason": reason, "stands": not is_wrong})
    lens = _LENS.search(prompt)
    assert lens is not None, prompt
    return json.dumps([finding for finding in _seen(lens[1]) if finding["quote"] in text[1]])


def _seen(lens: str) -> list[dict[str, str]]:
    if lens.startswith("what does not add up"):
        return [_finding(quote, problem, "high") for quote, problem in (_EASY | _SUMS).items()]
    if lens.startswith("what is wrong"):
        return [_finding(quote, problem, "high") for quote, problem in _EASY.items()]
    if lens.startswith("what is missing"):
        return [_finding("", problem, "medium") for problem in _INVENTED.values()]
    return []


def _finding(quote: str, problem: str, severity: str) -> dict[str, str]:
    return {"quote": quote, "problem": problem, "severity": severity, "fix": "Correct it."}
