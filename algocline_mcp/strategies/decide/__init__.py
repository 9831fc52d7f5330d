"""A decision: a panel of roles, each of which recommends without a view of the others, then a judge who sees the
recommendations without the roles.

The judge decides by the reasons and not by the count, and names the strongest objection to the decision.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import alc
from alc_rounds import INDEPENDENT, Rounds, json_of, labelled

meta = {
    "name": "decide",
    "version": "1.0.0",
    "category": "built in",
    "description": "Lets a panel of roles recommend independently, and a judge decide by their reasons",
    "reference": "Panel of evaluators: Verga et al. 2024, arXiv:2404.18796; practice: the judge sees no roles",
    "inputs": {
        "task": {"type": "string", "description": "the question to decide"},
        "options": {"type": "array", "default": [], "description": "what can be chosen; without it anything"},
        "panel": {
            "type": "array",
            "default": [
                "a sceptic who looks for what goes wrong",
                "an advocate of the user, who asks what it is good for",
                "an engineer who counts cost, time and what has to be maintained",
            ],
            "description": "the roles, a prompt for each",
        },
        "facts": {"type": "string", "default": "", "description": "what everybody has to know"},
    },
    "outputs": {
        "decision": "what the judge chose, null without a judge",
        "reason": "why",
        "objection": "the strongest objection to it",
        "opinions": "a list of {role, choice, reason, risk}",
        "agreement": "the share of the panel that chose the decision, from 0 to 1",
    },
    "cost": "1 prompt a role in one pause, and 1 for the judge: 4 are typical",
}

_OPINION = """\
{question}
You advise in one role: {role}. Judge from this role alone; others look at the rest.
Answer with JSON only, the reasons first:
{{"reason": "your strongest reasons, in two or three sentences", "risk": "what could prove you wrong",
 "choice": "what you recommend, in a few words{one_of}"}}"""
_JUDGE = """\
{question}
Advisers who did not know of each other have said, in no particular order:
{opinions}
Decide. Weigh the reasons and not their number: a reason that others repeat is one reason. A sound objection of one
adviser may outweigh the rest.
Answer with JSON only, the reason first: {{"reason": "why, in two to four sentences",
 "objection": "the strongest objection to your decision", "choice": "the decision, in a few words{one_of}"}}"""
_SYSTEM = "You are an impartial judge. You have no stake in the outcome."


def run(ctx: dict[str, Any]) -> dict[str, Any]:
    rounds = Rounds(meta, ctx)
    panel = [str(role) for role in rounds.inputs["panel"]]
    options = [str(option) for option in rounds.inputs["options"]]
    facts = f"\n<facts>\n{rounds.inputs['facts']}\n</facts>" if rounds.inputs["facts"] else ""
    question = f"<question>\n{rounds.inputs['task']}\n</question>{facts}"
    one_of = f", one of: {'; '.join(options)}" if options else ""
    read = _choice_of(options)
    alc.progress(0, 2, f"asking {len(panel)} advisers")
    prompts = [labelled(_OPINION.format(question=question, role=role, one_of=one_of), role) for role in panel]
    answers = rounds.ask_all(prompts, read, "opinions", options=INDEPENDENT)
    given = [(role, answer) for role, answer in zip(panel, answers, strict=True) if answer is not None]
    opinions = [
        {"role": role} | {name: answer[name] for name in ("choice", "reason", "risk")} for role, answer in given
    ]
    if not opinions:
        return rounds.result(decision=None, reason="", objection="", opinions=[], agreement=0.0)
    alc.progress(1, 2, "asking the judge")
    listed = "\n".join(
        f"<adviser>\nRecommends: {item['choice']}\nBecause: {item['reason']}\nRisk: {item['risk']}\n</adviser>"
        for item in sorted(opinions, key=lambda item: alc.fingerprint(item["reason"]))
    )
    verdict = rounds.ask(
        _JUDGE.format(question=question, opinions=listed, one_of=one_of), read, "the decision", system=_SYSTEM
    )
    alc.progress(2, 2)
    decision = verdict["choice"] if verdict is not None else None
    counts = Counter(item["choice"].casefold() for item in opinions)
    return rounds.result(
        decision=decision,
        reason=verdict["reason"] if verdict is not None else "",
        objection=verdict["objection"] if verdict is not None else "",
        opinions=opinions,
        agreement=counts[decision.casefold()] / len(opinions) if decision is not None else 0.0,
    )


def _choice_of(options: list[str]) -> Callable[[str], dict[str, str] | None]:
    """A reader of {choice, reason, …}, whose choice is one of the options, in their spelling."""
    read_json = json_of("choice", "reason")

    def read(answer: str) -> dict[str, str] | None:
        value = read_json(answer)
        if value is None:
            return None
        texts = {name: str(value.get(name) or "").strip() for name in ("choice", "reason", "risk", "objection")}
        choice = alc.match_enum(texts["choice"], options) if options else texts["choice"]
        return texts | {"choice": choice} if choice else None

    return read
