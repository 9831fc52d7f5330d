"""For each question three prompts, one after another: a draft, a critic who sees the draft alone, and the final answer.

The questions go side by side: in each round, the prompts of all of them make one pause.

ctx: questions, a list of strings.
"""

import asyncio
from typing import Any

import alc


async def chain(question: str) -> str:
    draft = await alc.aio.llm(question)
    critique = await alc.aio.llm(
        f"Question: {question}\nAnswer: {draft}\nName what is wrong or missing in the answer, or write NOTHING.",
        system="You are a strict reviewer. You did not write this answer.",
    )
    if alc.match_enum(critique, ["NOTHING"]):
        return draft
    return await alc.aio.llm(f"Question: {question}\nDraft: {draft}\nReview: {critique}\nWrite the final answer.")


async def run(ctx: dict[str, Any]) -> list[str]:
    if not ctx.get("questions"):
        raise ValueError("chains.py needs ctx['questions'], a list that is not empty")
    return await asyncio.gather(*map(chain, ctx["questions"]))
