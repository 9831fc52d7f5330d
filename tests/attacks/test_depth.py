"""Values that nest deeper than ALC_JSON_DEPTH are an error of the strategy, in each call that takes a value.

It names the path and the limit, the strategy may catch it, and the engine lives: the keeper takes a message that
nests deeper for a breach of its protocol.
"""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from algocline_mcp.pool.dispatch import Pool, stop_via_pool
from tests.rig.rig import Rig, run, say

pytestmark = pytest.mark.anyio

DEPTH = 8
LIMIT = f"nested deeper than {DEPTH} levels (ALC_JSON_DEPTH)"
LUA = "local function deep(n) local t = 0 for _ = 1, n do t = {t} end return t end "
PYTHON = """
import enum
def deep(n):
    value = 0
    for _ in range(n):
        value = [value]
    return value
"""
# A use of a value that nests as deep as may be, with LEAF levels of it written as deep(LEVELS).
USES: dict[str, tuple[str, int]] = {
    "lua result": ("return deep(LEVELS)", 0),
    "lua result, object": ("return {a = deep(LEVELS)}", 1),
    "lua state.set": ("alc.state.set('k', deep(LEVELS)) return 1", 0),
    "lua state.set_nx": ("alc.state.set_nx('n', deep(LEVELS)) return 1", 0),
    "lua state.update": ("alc.state.update('k', function() return deep(LEVELS) end) return 1", 0),
    "lua card": ("alc.card.create{pkg = {name = 'p'}, a = deep(LEVELS)} return 1", 1),
    "lua samples": (
        "local card = alc.card.create{pkg = {name = 'p'}}\n"
        "alc.card.write_samples(card.card_id, {deep(LEVELS)}) return 1",
        1,
    ),
    "lua stats": ("alc.stats.record('s', deep(LEVELS)) return 1", 0),
    "lua fork": ("return #alc.fork({'child'}, {a = deep(LEVELS)})", 1),
    "lua json_encode": ("return #alc.json_encode(deep(LEVELS))", 0),
    "lua json_decode": ("return #alc.json_decode(('['):rep(LEVELS) .. (']'):rep(LEVELS)) + 1", 0),
    "python result": ("deep(LEVELS)", 0),
    "python result, object": ("{'a': deep(LEVELS)}", 1),
    "python result, member": ("[enum.Enum('E', {'A': deep(LEVELS)}).A]", 1),
    "python state.set": ("alc.state.set('k', deep(LEVELS))\n1", 0),
    "python state.set_nx": ("alc.state.set_nx('m', deep(LEVELS))\n1", 0),
    "python state.update": ("alc.state.update('k', lambda _: deep(LEVELS))\n1", 0),
    "python card": ("alc.card.create({'pkg': {'name': 'p'}, 'a': deep(LEVELS)})\n1", 1),
    "python samples": (
        "card = alc.card.create({'pkg': {'name': 'p'}})\nalc.card.write_samples(card['card_id'], [deep(LEVELS)])\n1",
        1,
    ),
    "python stats": ("alc.stats.record('s', deep(LEVELS))\n1", 0),
    "python fork": ("len(alc.fork(['child'], {'a': deep(LEVELS)}))", 1),
    "python json_decode": ("alc.json_decode('[' * LEVELS + ']' * LEVELS)\n1", 0),
}


@pytest.fixture
async def pool(rig: Rig) -> AsyncIterator[Pool]:
    rig.home.packages.mkdir(parents=True)
    (rig.home.packages / "child.lua").write_text("return { run = function() return 1 end }")
    async with rig.pool(json_depth=DEPTH) as pool:
        yield pool


async def end_of(pool: Pool, use: str, levels: int) -> dict[str, Any]:
    language, _, _ = use.partition(" ")
    code = {"lua": LUA, "python": PYTHON}[language] + USES[use][0].replace("LEVELS", str(levels))
    return (await run(pool, code, language=language)).result


async def test_value_over_the_limit_is_an_error_of_the_strategy_and_one_at_it_is_none(pool: Pool) -> None:
    at_limit, over = {}, {}
    for use, (_, around) in USES.items():
        at_limit[use] = (await end_of(pool, use, DEPTH - around))["status"]
        over[use] = await end_of(pool, use, DEPTH - around + 1)

    assert at_limit == dict.fromkeys(USES, "completed")
    assert {use: end for use, end in over.items() if end["status"] != "error" or LIMIT not in end["error"]} == {}
    unnamed = [use for use in USES if not re.search(r"(\[[01]\]){7}", over[use]["error"])]
    assert unnamed == [use for use in USES if "json_decode" in use]  # a text has no path but a byte


async def test_value_that_another_session_has_stored_may_nest_deeper(pool: Pool, rig: Rig) -> None:
    async with rig.pool(json_depth=4 * DEPTH) as other:
        stored = (await run(other, LUA + f"alc.state.set('v', deep({3 * DEPTH})) return 1")).result
    codes = {
        "lua": "local v, n = alc.state.get('v'), 0 while v ~= 0 do v, n = v[1], n + 1 end return n",
        "python": "v, n = alc.state.get('v'), 0\nwhile v != 0:\n    v, n = v[0], n + 1\nn",
    }

    ends = {language: (await run(pool, code, language=language)).result for language, code in codes.items()}

    assert stored["status"] == "completed"
    assert {language: end["result"] for language, end in ends.items()} == dict.fromkeys(codes, 3 * DEPTH)


@pytest.mark.parametrize("language", ["lua", "python"])
async def test_session_keeps_the_limit_that_it_began_with(rig: Rig, language: str) -> None:
    code = {"lua": LUA + "alc.llm('p') return deep(20)", "python": PYTHON + "alc.llm('p')\ndeep(20)"}[language]
    async with rig.pool() as pool:
        sid, *_ = await run(pool, code, language=language)
        await stop_via_pool(pool, sid, "hibernate")
    async with rig.pool(json_depth=DEPTH) as pool:
        end = (await say(pool, sid, "q-0", "A")).result

    assert end["status"] == "completed", end
