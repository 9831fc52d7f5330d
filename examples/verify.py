"""Chain of verification: a draft, its claims as questions, each answered without a view of the draft, then the answer.

ctx: task, the question; checks, how many claims to check (3).
"""

import json

import alc

CHECKER = "Answer from what you know or can look up. Say 'unknown' if you can do neither."


def run(ctx):
    draft = alc.llm(f"Answer in at most five sentences: {ctx['task']}")
    questions, listed, _ = alc.llm_json(
        f"List the {ctx.get('checks', 3)} claims in this answer that would hurt most if they were wrong, each as one "
        f"question.\n{draft}",
        system="You prepare questions for a fact checker.",
        schema={"type": "array", "items": {"type": "string"}},
        details=True,
    )
    if not questions:
        raise ValueError(f"no questions came back; the model said: {listed}")

    alc.progress(1, 3, f"checking {len(questions)} claims")
    answers = alc.parallel(questions, lambda question: question, system=CHECKER, grounded=True)
    checks = [{"question": question, "answer": answer} for question, answer in zip(questions, answers, strict=True)]

    alc.progress(2, 3, "writing the final answer")
    answer = alc.llm(
        f"Question: {ctx['task']}\nDraft: {draft}\nChecked facts: {json.dumps(checks)}\n"
        "Write the answer again. Keep only what the checked facts support, and say what stayed unknown."
    )
    alc.progress(3, 3)
    return {"answer": answer, "draft": draft, "checks": checks}
