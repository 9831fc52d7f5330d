"""Chain of verification: a draft, questions that test its claims, each answered without a view of the draft, and the
answer written again from what was confirmed.

A model that checks its own text repeats its own errors; a question alone does not show which answer is expected.
"""

from typing import Any

import alc
from alc_rounds import Rounds, labelled, text_of, texts_of

meta = {
    "name": "verify",
    "version": "1.0.0",
    "category": "built in",
    "description": "Answers a question, tests the claims of the answer by independent questions, and corrects it",
    "reference": "Chain of verification: Dhuliawala et al. 2023, arXiv:2309.11495",
    "inputs": {
        "task": {"type": "string", "description": "the question to answer"},
        "draft": {"type": "string", "default": "", "description": "an answer to verify; without it one is written"},
        "n": {"type": "integer", "default": 4, "minimum": 1, "maximum": 50, "description": "how many questions"},
    },
    "outputs": {
        "answer": "the corrected answer; the draft where nothing could be verified",
        "draft": "the answer before",
        "checks": "a list of {question, answer}; the answer is null where there is none",
    },
    "cost": "n + 3 prompts in 4 pauses, one less with a draft",
}

_DRAFT = """\
{task}

Answer in a few sentences, with the facts that the answer rests on."""
_QUESTIONS = """\
Someone was asked:
<question>
{task}
</question>
and has answered:
<answer>
{draft}
</answer>
List the {n} facts in this answer that would hurt most if they were wrong. Turn each into one question that can be
answered without seeing the answer, and that does not say what the answer claims ("When was X born?", not "Was X born in
1900?"). Answer with JSON only: a list of texts."""
_FINAL = """\
{task}

This is a draft of an answer:
<draft>
{draft}
</draft>
Questions about its facts were answered by someone who has not seen the draft:
{checks}
Write the answer again. Correct what the checks contradict, keep what they support, and say what stayed unknown. Write
the answer alone, without a word about drafts and checks."""
_CHECKER = "Look the answer up if you can. Answer in one or two sentences. Where you do not know, answer: unknown."


def run(ctx: dict[str, Any]) -> dict[str, Any]:
    rounds = Rounds(meta, ctx)
    task, draft, n = (rounds.inputs[name] for name in ("task", "draft", "n"))
    if not draft:
        draft = rounds.ask(_DRAFT.format(task=task), text_of, "the draft")
    if draft is None:
        return rounds.result(answer=None, draft=None, checks=[])
    alc.progress(1, 4, "looking for what to check")
    questions = rounds.ask(_QUESTIONS.format(task=task, draft=draft, n=n), texts_of, "the questions") or []
    alc.progress(2, 4, f"checking {len(questions[:n])} facts")
    checkers = [labelled(question, question) for question in questions[:n]]
    answers = rounds.ask_all(checkers, text_of, "checks", system=_CHECKER, grounded=True)
    checks = [{"question": asked, "answer": answer} for asked, answer in zip(questions, answers, strict=False)]
    known = [f"- {check['question']}\n  {check['answer']}" for check in checks if check["answer"] is not None]
    answer = None
    if known:
        alc.progress(3, 4, "writing the answer")
        final = _FINAL.format(task=task, draft=draft, checks="\n".join(known))
        answer = rounds.ask(final, text_of, "the final answer", max_tokens=4096)
    if answer is None:
        rounds.warn("the answer is the draft: it was not verified")
    alc.progress(4, 4)
    return rounds.result(answer=answer or draft, draft=draft, checks=checks)
