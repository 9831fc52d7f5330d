"""Strategies in Python, killed at every pause: the revived session asks what it asked before."""

import os
import random
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from algocline_mcp.pool.dispatch import Pool, continue_via_pool
from algocline_mcp.session.events import Answer
from tests.rig.fixtures import FOREIGN
from tests.rig.rig import WAIT_S, Rig, kill, run, say

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

STRATEGIES = Path(__file__).parents[1] / "engine" / "python" / "strategies"
NAMES = sorted(path.stem for path in STRATEGIES.glob("[a-z]*.py"))
WORDS = ["yes", "no", "perhaps", "3", "7", "10", "alpha", "beta", "gamma", "delta"]


def answer_to(prompt: str) -> str:
    """A few words that depend on the prompt alone."""
    chance = random.Random(zlib.crc32(prompt.encode()))
    return " ".join(chance.choices(WORDS, k=chance.randint(1, 6))) + (f"\nq{chance.randint(0, 9)}?" * 2)


def answer(query_id: str, prompt: str) -> Answer:
    if prompt.startswith("REFUSE"):
        return Answer(query_id, refuse="not this one")
    return Answer(query_id, answer_to(prompt))


async def play(
    pool: Pool, name: str, *, rig: Rig | None = None, order: random.Random | None = None
) -> tuple[dict[str, str], Any]:
    """Plays a strategy to its end: all prompts by query id, and the result.

    `rig`: the keeper is killed at each pause. `order`: answers come one by one, in random order."""
    code, ctx = (STRATEGIES / f"{name}.py").read_text(), {"task": "ship on Friday"}
    reply = await run(pool, code, chunk=f"{name}.py", language="python", ctx=ctx)
    prompts: dict[str, str] = {}
    pending: dict[str, str] = {}
    while reply.result["status"] in ("needs_response", "accepted"):
        if reply.result["status"] == "needs_response":
            pending = {query["query_id"]: query["prompt"] for query in reply.result.get("queries") or [reply.result]}
            prompts |= pending
        if rig is not None:
            await kill(rig.keeper(reply.session_id))
        ids = list(pending) if order is None else [order.choice(list(pending))]
        answers = [answer(query_id, pending.pop(query_id)) for query_id in ids]
        reply = await continue_via_pool(pool, reply.session_id, answers, wait_s=WAIT_S)
    assert reply.result["status"] == "completed", reply.result
    return prompts, reply.result["result"]


@pytest.fixture(autouse=True)
def one_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions of one strategy see the same chance, so that two of them can be compared."""
    monkeypatch.setattr("algocline_mcp.history.new_session.secrets.randbits", lambda bits: 4711)


@pytest.mark.parametrize("name", NAMES)
async def test_strategy_killed_at_every_pause_asks_the_same_abroad(
    rig: Rig, use_foreign_environment: Callable[[], None], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delitem(FOREIGN, "PYTHONHASHSEED")  # a server gives its workers 0, whatever it has itself
    async with rig.pool() as pool:
        undisturbed = await play(pool, name)
        killed = await play(pool, name, rig=rig)
    use_foreign_environment()
    async with rig.pool(environ={**os.environ, "ALC_SPAWN": "exec", "PYTHONHASHSEED": "4711"}) as pool:
        abroad = await play(pool, name, rig=rig)

    assert killed == undisturbed
    assert abroad == undisturbed


async def test_worker_with_other_hashes_of_texts_does_not_go_on(
    rig: Rig, use_foreign_environment: Callable[[], None]
) -> None:
    async with rig.pool() as pool:
        reply = await run(pool, 'return alc.llm(str(set("abcdef")))', language="python")
    use_foreign_environment()
    async with rig.pool(environ={**os.environ, "ALC_SPAWN": "exec"}) as pool:
        await kill(rig.keeper(reply.session_id))
        refused = (await say(pool, reply.session_id, "q-0", "A")).result

    assert refused["error_code"] == "needs_version", refused
    assert rig.answers(reply.session_id) == []


async def test_answers_in_any_order_and_kills_between_them_change_no_result(rig: Rig) -> None:
    async with rig.pool() as pool:
        _, undisturbed = await play(pool, "chains")
        results = [(await play(pool, "chains", rig=rig, order=random.Random(seed)))[1] for seed in range(60)]

    assert results == [undisturbed] * 60
