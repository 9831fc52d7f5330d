"""Chain of verification: a draft, questions about it, their answers, a corrected text."""

from typing import Any

import alc


def run(ctx: dict[str, Any]) -> dict[str, Any]:
    task = ctx["task"]
    draft = alc.llm(f"Answer shortly: {task}")
    plan = alc.llm(f"Name two questions that check this answer:\n{draft}")
    questions = [line for line in plan.splitlines() if line.strip()][:2]
    checks = alc.llm_batch([{"prompt": f"Answer alone: {question}"} for question in questions])
    notes = "\n".join(f"{question} -> {check}" for question, check in zip(questions, checks, strict=True))
    return {"draft": draft, "final": alc.llm(f"Correct the answer.\nAnswer: {draft}\nChecks:\n{notes}")}
