"""A prompt that the host refuses, and one that takes its place."""

from typing import Any

import alc


def run(ctx: dict[str, Any]) -> dict[str, Any]:
    try:
        answer = alc.llm(f"REFUSE this: {ctx['task']}")
    except alc.Refused as refusal:
        answer = alc.llm(f"Then without it ({refusal.reason}): {ctx['task']}")
    return {"answer": answer, "check": alc.llm(f"Check {answer}")}
