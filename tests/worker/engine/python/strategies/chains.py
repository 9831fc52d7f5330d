"""Five chains of two prompts at once; each goes on as soon as its own answer is there."""

import asyncio
from typing import Any

import alc


async def chain(number: int, task: str) -> str:
    first = await alc.aio.llm(f"Part {number} of {task}")
    return await alc.aio.llm(f"Now shorten: {first}")


async def run(ctx: dict[str, Any]) -> list[str]:
    return await asyncio.gather(*(chain(number, str(ctx["task"])) for number in range(5)))
