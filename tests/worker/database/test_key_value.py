"""alc.state with real workers: results, limits, and sessions that change the same keys."""

import stat
from typing import Any

import anyio
import pytest

from tests.rig.fixtures import on_both_storages
from tests.rig.rig import Rig, kill, run, say
from tests.worker.database.steps import result_of, stored

pytestmark = pytest.mark.anyio

TABLE: dict[str, tuple[str, Any]] = {
    "get and set": (
        "alc.state.set('x', 99) return {alc.state.get('x'), alc.state.get('m', 0), alc.state.get('m') == nil}",
        [99, 0, True],
    ),
    "has": (
        "local a = alc.state.has('x') alc.state.set('x', false) return {a, alc.state.has('x'), alc.state.get('x')}",
        [False, True, False],
    ),
    "set_nx": (
        "return {alc.state.set_nx('x', 'first'), alc.state.set_nx('x', 'second'), alc.state.get('x')}",
        [True, False, "first"],
    ),
    "incr": ("return {alc.state.incr('c'), alc.state.incr('c', 5), alc.state.incr('c', 10, 100)}", [1.0, 6.0, 16.0]),
    "incr makes floats": ("return math.type(alc.state.incr('c')) .. math.type(alc.state.get('c'))", "floatfloat"),
    "incr with a default and a negative step": (
        "return {alc.state.incr('c', 10, 100), alc.state.incr('c', -2)}",
        [110.0, 108.0],
    ),
    "incr of a text": (
        "alc.state.set('x', 'text') return select(2, pcall(alc.state.incr, 'x'))",
        "strategy:1: incr: value at 'x' is not a number",
    ),
    "delete": (
        "alc.state.set('x', 1) return {alc.state.delete('x'), alc.state.delete('x'), alc.state.has('x')}",
        [True, False, False],
    ),
    "set to nil": (
        "alc.state.set('x', 1) alc.state.set('x', nil) return {alc.state.get('x', 'd'), alc.state.has('x')}",
        ["d", False],
    ),
    "set to null": (
        "alc.state.set('x', ctx.null) return {alc.state.get('x', 'd') == ctx.null, alc.state.has('x')}",
        [True, True],
    ),
    "keys": (
        "alc.state.set('b', 1) alc.state.set('a', 1) alc.state.set(7, 1) return alc.state.keys()",
        ["7", "a", "b"],
    ),
    "no keys": ("return alc.state.keys()", []),
    "values": (
        "alc.state.set('x', {a = {1, 2.5, 'é', true}, b = {}}) return alc.state.get('x')",
        {"a": [1, 2.5, "é", True], "b": {}},
    ),
    "update": (
        "local function more(t) t.n = t.n + 1 return t end"
        " return {alc.state.update('x', more, {n = 0}), alc.state.update('x', more), alc.state.get('x')}",
        [{"n": 1}, {"n": 2}, {"n": 2}],
    ),
    "update to nil": (
        "alc.state.set('x', 1) return {alc.state.update('x', function() end) == nil, alc.state.has('x')}",
        [True, False],
    ),
    "incr too far": (
        "alc.state.set('x', 1.7e308) return select(2, pcall(alc.state.incr, 'x', 1.7e308))",
        "strategy:1: incr: value at 'x' would leave the range of numbers",
    ),
}


@on_both_storages
@pytest.mark.slow
@pytest.mark.parametrize(("code", "expected"), TABLE.values(), ids=TABLE.keys())
async def test_state_answers(rig: Rig, code: str, expected: Any) -> None:
    async with rig.pool() as pool:
        assert await result_of(pool, code, ctx={"null": None}) == expected


@pytest.mark.slow
@pytest.mark.parametrize("namespace", ["../evil", "foo/bar", "foo\\bar", "", "a\0b", ".."])
async def test_invalid_namespace_is_an_error_that_can_be_caught(rig: Rig, namespace: str) -> None:
    code = "local ok, e = pcall(alc.state.set, 'x', 1) return {ok, e}"
    async with rig.pool() as pool:
        ok, error = await result_of(pool, code, ctx={"_ns": namespace})

    assert not ok
    assert f"Invalid namespace: '{namespace}'" in error


@on_both_storages
@pytest.mark.slow
async def test_namespaces_are_separate_and_one_that_is_not_a_string_is_the_default(rig: Rig) -> None:
    code = "alc.state.incr('c') return alc.state.get('c')"
    async with rig.pool() as pool:
        results = [await result_of(pool, code, ctx=ctx) for ctx in ({}, {"_ns": "a"}, {"_ns": 5}, {"_ns": "default"})]

    assert results == [1.0, 1.0, 2.0, 3.0]


@pytest.mark.slow
async def test_state_outlives_the_session_and_the_server(rig: Rig) -> None:
    async with rig.pool() as pool:
        await result_of(pool, "alc.state.set('x', {1}) return 1")
    async with rig.pool() as pool:
        value = await result_of(pool, "return alc.state.get('x')")

    assert value == [1]
    assert stat.S_IMODE(rig.home.state_database.stat().st_mode) == 0o600


LIMITED = {
    "key": ("alc.state.set(('k'):rep(11), 1)", "a key of 11 bytes as JSON, at most 10"),
    "value": ("alc.state.set('k', ('v'):rep(101))", "a value of 101 bytes as JSON, at most 100"),
    "keys": ("for i = 1, 4 do alc.state.set('k' .. i, i) end", "namespace 'default' has 3 keys, at most 3"),
}


@on_both_storages
@pytest.mark.slow
@pytest.mark.parametrize(("call", "sentence"), LIMITED.values(), ids=LIMITED.keys())
async def test_call_over_a_limit_is_an_error_and_changes_nothing(rig: Rig, call: str, sentence: str) -> None:
    code = f"local ok, e = pcall(function() {call} end) return {{e, #alc.state.keys()}}"
    async with rig.pool(state_key_bytes=10, state_value_bytes=100, state_keys=3) as pool:
        error, count = await result_of(pool, code)

    assert sentence in error
    assert count == (3 if "keys" in sentence else 0)


@on_both_storages
@pytest.mark.slow
async def test_session_that_is_killed_at_each_pause_counts_right(rig: Rig) -> None:
    code = "for i = 1, 4 do alc.state.incr('c') alc.llm('p' .. i) end return alc.state.get('c')"
    async with rig.pool() as pool:
        reply = await run(pool, code)
        for i in range(4):
            await kill(rig.keeper(reply.session_id))
            reply = await say(pool, reply.session_id, f"q-{i}", "a")

    assert reply.result["result"] == 4.0


@on_both_storages
@pytest.mark.slow
async def test_two_sessions_that_increment_at_once_lose_no_count(rig: Rig) -> None:
    counts: list[float] = []
    async with rig.pool() as pool, anyio.create_task_group() as tasks:

        async def count() -> None:
            counts.append((await run(pool, "return alc.state.incr('c')")).result["result"])

        tasks.start_soon(count)
        tasks.start_soon(count)

    assert sorted(counts) == [1.0, 2.0]


@pytest.mark.slow
async def test_sessions_of_two_servers_lose_no_count(rig: Rig) -> None:
    code = "for _ = 1, 50 do alc.state.incr('c') end return 1"
    async with rig.pool() as one, rig.pool() as two, anyio.create_task_group() as tasks:
        for pool in (one, two):
            tasks.start_soon(result_of, pool, code)

    assert stored(rig) == {"c": "100.0"}


@pytest.mark.slow
async def test_update_of_two_sessions_at_once_loses_nothing(rig: Rig) -> None:
    code = "for _ = 1, 25 do alc.state.update('c', function(n) return n + 1 end, 0) end return 1"
    async with rig.pool() as pool, anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(result_of, pool, code)

    assert stored(rig) == {"c": "50"}
