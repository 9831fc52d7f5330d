"""What a vote is worth: on 100 sums with a noisy model, as much as the binomial distribution says."""

import math
import random
from collections.abc import Iterator

import anyio
import pytest
from mcp import Client

import alc
import vote
from tests.rig.stdio_home import StdioHome, call_tool

SEED = 20261129
CASES, VOTES = 100, 5
RIGHT = 0.7  # the share of right answers of one prompt


class Noisy:
    """A model that adds, and is wrong by one, always the same way, in `1 - RIGHT` of its answers."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.answers: list[int] = []

    def __call__(self, prompt: str) -> str:
        one, other = (int(number) for number in prompt.split("?")[0].removeprefix("What is ").split(" + "))
        self.answers.append(one + other + (self._random.random() >= RIGHT))
        return f"I add {one} and {other}.\nANSWER: {self.answers[-1]}"


def test_a_vote_gains_what_the_binomial_distribution_says() -> None:
    numbers = random.Random(SEED)
    noisy = Noisy(SEED)
    single = voted = 0
    with alc.use(alc.Model(default=noisy)):
        for _ in range(CASES):
            one, other = numbers.randrange(1000), numbers.randrange(1000)
            begin = len(noisy.answers)
            result = vote.run({"task": f"What is {one} + {other}?", "n": VOTES})
            single += noisy.answers[begin] == one + other
            voted += result["answer"] == str(one + other)

    assert_gain(single, voted)


def assert_gain(single: int, voted: int) -> None:
    """`single`, `voted`: the cases in which the first vote, and the vote of all, is right."""
    needed = range(VOTES // 2 + 1, VOTES + 1)
    expected = sum(math.comb(VOTES, k) * RIGHT**k * (1 - RIGHT) ** (VOTES - k) for k in needed)
    # The first vote is one of the five, so both outcomes of a case go together; given the first is right, the vote is
    # lost only if three of the other four are wrong.
    lost = RIGHT * sum(math.comb(4, k) * (1 - RIGHT) ** k * RIGHT ** (4 - k) for k in (3, 4))
    won = expected - (RIGHT - lost)
    deviation = math.sqrt((won + lost - (won - lost) ** 2) / CASES)
    gain = (voted - single) / CASES
    assert abs(gain - (expected - RIGHT)) < 1.96 * deviation
    assert abs(voted / CASES - expected) < 1.96 * math.sqrt(expected * (1 - expected) / CASES)
    assert gain > 0


def sums() -> Iterator[tuple[int, int]]:
    numbers = random.Random(SEED + 1)
    for _ in range(CASES):
        yield numbers.randrange(1000), numbers.randrange(1000)


@pytest.mark.slow
def test_the_same_gain_shows_through_the_official_client(stdio_home: StdioHome) -> None:
    noisy = Noisy(SEED + 1)
    right: list[tuple[bool, bool]] = []  # of a case: by the first vote, by all
    waiting = sums()

    async def play(client: Client) -> None:
        for one, other in waiting:
            ctx = {"task": f"What is {one} + {other}?", "n": VOTES}
            state = await call_tool(client, "alc_run", strategy="vote", ctx=ctx)
            answers = [noisy(query["prompt"]) for query in state["queries"]]
            first = noisy.answers[-VOTES] == one + other
            responses = [
                {"query_id": query["query_id"], "response": answer}
                for query, answer in zip(state["queries"], answers, strict=True)
            ]
            ended = await call_tool(client, "alc_continue", session_id=state["session_id"], responses=responses)
            assert ended["status"] == "completed"
            right.append((first, ended["result"]["answer"] == str(one + other)))

    async def play_all() -> None:
        async with stdio_home.client() as client, anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(play, client)

    anyio.run(play_all)

    assert len(right) == CASES
    assert_gain(*(sum(kind) for kind in zip(*right, strict=True)))
