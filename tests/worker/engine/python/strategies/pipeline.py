"""Generators, each of which asks while the next one consumes it."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import alc


def ideas(task: str) -> Iterator[str]:
    number = 0
    while True:
        number += 1
        yield alc.llm(f"Idea {number} about {task}")


def good(texts: Iterator[str]) -> Iterator[str]:
    for text in texts:
        if alc.match_bool(alc.llm(f"Is this good? Yes or no. {text}")) is not False:
            yield text


def run(ctx: dict[str, Any]) -> list[str]:
    return list(islice(good(ideas(str(ctx["task"]))), 3))
