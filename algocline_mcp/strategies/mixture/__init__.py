"""A mixture of agents: several propose, each improves on all proposals, and one prompt combines the last ones.

It pays where a single answer is often incomplete, and more where the proposers are different models: `models` names
them for a host that can choose.
"""

from collections.abc import Sequence
from typing import Any

import alc
from alc_rounds import INDEPENDENT, Rounds, cut, labelled, text_of

meta = {
    "name": "mixture",
    "version": "1.0.0",
    "category": "built in",
    "description": "Several proposals, improved with a view of each other, and combined into one answer",
    "reference": "Mixture-of-Agents: Wang et al. 2024, arXiv:2406.04692",
    "inputs": {
        "task": {"type": "string", "description": "what to answer or write"},
        "n": {"type": "integer", "default": 3, "minimum": 2, "maximum": 12, "description": "how many proposers"},
        "layers": {
            "type": "integer",
            "default": 2,
            "minimum": 1,
            "maximum": 5,
            "description": "rounds of proposals; from the second on with a view of the ones before",
        },
        "models": {
            "type": "array",
            "default": [],
            "description": "models of the proposers, in turn, as the option `model` of their prompts",
        },
    },
    "outputs": {
        "answer": "the combined answer; without the prompt for it, the first of the last proposals",
        "proposals": "the last proposals",
    },
    "cost": "n prompts in one pause for each layer, and one: 7",
}

# Views that lead to different proposals where one model writes all of them.
_VIEWS = [
    "You go for what is correct: check each step, and leave out what you cannot justify.",
    "You go for what is complete: cases, exceptions and conditions that others overlook.",
    "You go for what is simple: the shortest answer that a practitioner can use at once.",
    "You doubt the obvious answer: look for what would make it wrong, then answer.",
]
_IMPROVE = """\
{task}

Proposals by others:
{proposals}

Write your own answer to the task. Take over what is right in the proposals, correct what is wrong, and add what they \
lack. That several say the same does not make it right."""
_COMBINE = """\
{task}

Proposals:
{proposals}

Write the one best answer to the task from these proposals. Where they contradict each other, decide by the reasons \
that they give and not by their number. Do not mention the proposals."""
_TOKENS = 4096  # of an answer
_CHARS = 60_000  # of all proposals in one prompt


def run(ctx: dict[str, Any]) -> dict[str, Any]:
    rounds = Rounds(meta, ctx)
    task, n, layers, models = (rounds.inputs[name] for name in ("task", "n", "layers", "models"))
    proposals: list[str] = []
    for layer in range(layers):
        prompt = _IMPROVE.format(task=task, proposals=_listed(proposals)) if proposals else task
        queries = [_query(prompt, number, models) for number in range(n)]
        answers = rounds.ask_all(queries, text_of, f"proposals of layer {layer + 1}", reserve=1, max_tokens=_TOKENS)
        proposals = [answer for answer in answers if answer is not None] or proposals
        alc.progress(layer + 1, layers + 1)
        if rounds.is_out_of_budget or not proposals:
            break
    answer = proposals[0] if proposals else None
    if len(proposals) > 1:
        prompt = _COMBINE.format(task=task, proposals=_listed(proposals))
        answer = rounds.ask(prompt, text_of, "the combined answer", max_tokens=_TOKENS) or answer
    return rounds.result(answer=answer, proposals=proposals)


def _query(prompt: str, number: int, models: Sequence[str]) -> alc.Query:
    model = {"model": models[number % len(models)]} if models else {}
    query = labelled(prompt, f"proposal {number + 1}")
    return {**query, "system": _VIEWS[number % len(_VIEWS)], "options": {**INDEPENDENT, **model}}


def _listed(proposals: Sequence[str]) -> str:
    chars = _CHARS // len(proposals)
    return "\n\n".join(
        f"<proposal {number}>\n{cut(proposal, chars)}\n</proposal {number}>"
        for number, proposal in enumerate(proposals, 1)
    )
