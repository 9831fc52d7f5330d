"""alc.state and alc.card of real workers with a database: changes happen once, whoever is killed between steps."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from algocline_mcp.cluster.commit_service import CommitService
from algocline_mcp.cluster.connection import Connection, Database
from algocline_mcp.cluster.effects import Effects
from algocline_mcp.cluster.holds import Hold, Holds
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import AlcError
from algocline_mcp.pool.dispatch import Pool, status_via_pool
from algocline_mcp.session.records import Record
from tests.rig.processes import READABLE
from tests.rig.rig import WAIT_S, Rig, finish, run, until
from tests.worker.database.steps import ALL_CARD_CHANGES, failing, only_session, result_of
from tests.worker.database.test_cards import SEED
from tests.worker.database.test_cards import TABLE as CARDS
from tests.worker.database.test_connection import TWICE
from tests.worker.database.test_key_value import LIMITED, TABLE

pytestmark = pytest.mark.anyio


class Every(Holds):
    """Holds each session from the moment that its keeper asks, as after `Node.begin`."""

    def __init__(self) -> None:
        super().__init__("test:1:t")
        self._epochs = count(1000)

    def of(self, sid: str) -> Hold | None:
        if super().of(sid) is None:
            self.take(sid, Hold(next(self._epochs), ""))
        return super().of(sid)


class Breaking(Effects):
    """Does `before` or `after` the first change what the test says."""

    def __init__(self, database: Database, limits: Limits) -> None:
        super().__init__(database, limits)
        self.before: Callable[[], object] = lambda: None
        self.after: Callable[[], object] = lambda: None

    def perform(self, connection: Connection, request: Record) -> Record:
        if request.get("n") is None:
            return super().perform(connection, request)
        before, after = self.before, self.after
        self.before = self.after = lambda: None
        before()
        reply = super().perform(connection, request)
        after()
        return reply


class Node:
    """The part of a node that keepers need."""

    def __init__(self, rig: Rig, database: Database) -> None:
        self._rig = rig
        self._database = database
        rig.home.pool.mkdir(parents=True)
        self.path = rig.home.pool / "node.socket"
        self.effects = Breaking(database, Limits(state_keys=3))
        self.service = CommitService(database, Every(), self.path, self.effects)
        self.service.start()

    def pool(self, environ: dict[str, str] | None = None, **limits: Any) -> AbstractAsyncContextManager[Pool]:
        return self._rig.pool(environ={**(environ or os.environ), "ALC_NODE_SOCKET": str(self.path)}, **limits)

    def query(self, sql: str) -> list[tuple[object, ...]]:
        with self._database.connect() as connection:
            return connection.execute(sql.encode()).fetchall()

    def stored(self) -> dict[str, Any]:
        return {
            bytes(key).decode(): json.loads(str(value))
            for key, value in self.query("SELECT key, value FROM alc.state")
            if isinstance(key, bytes)
        }


@pytest.fixture
def node(rig: Rig, database: Database) -> Iterator[Node]:
    started = Node(rig, database)
    yield started
    started.service.stop()


@pytest.mark.slow
@pytest.mark.parametrize(("code", "expected"), TABLE.values(), ids=TABLE.keys())
async def test_state_answers_as_in_a_home(node: Node, rig: Rig, code: str, expected: Any) -> None:
    async with node.pool() as pool:
        assert await result_of(pool, code, ctx={"null": None}) == expected

    assert not rig.home.state_database.exists()


@pytest.mark.slow
@pytest.mark.parametrize(("call", "sentence"), LIMITED.values(), ids=LIMITED.keys())
async def test_limits_are_those_of_a_home(node: Node, call: str, sentence: str) -> None:
    code = f"local ok, e = pcall(function() {call} end) return {{e, #alc.state.keys()}}"
    async with node.pool(state_key_bytes=10, state_value_bytes=100) as pool:
        error, number = await result_of(pool, code)

    assert sentence in error
    assert number == (3 if "keys" in sentence else 0)


@pytest.mark.slow
async def test_cards_answer_as_in_a_home_and_have_no_files(node: Node, rig: Rig) -> None:
    asked = "".join(f"answers[{n}] = {code}\n" for n, code in enumerate(CARDS, 1))
    async with node.pool() as pool:
        answers = await result_of(pool, f"{SEED}{asked}return answers")

    assert dict(zip(CARDS, answers, strict=True)) == CARDS
    assert not rig.home.state_database.exists()
    assert not rig.home.cards.exists()


async def test_a_card_without_a_file_has_no_path(node: Node) -> None:
    code = """
made = alc.card.create({"pkg": {"name": "p"}})
return [sorted(made), alc.card.write_samples(made["card_id"], [1]), len(alc.card.list())]
"""
    async with node.pool() as pool:
        assert await result_of(pool, code, language="python") == [["card_id"], {"count": 1}, 1]


KILLS = [
    f"{point}:kill{passage}"
    for point in (
        "effect.asked",
        "effect.flushed",
        "effect.replied",
        "effect.recorded",
        "commit.due",
        "commit.done",
        "reply.flushed",
        "final.recorded",
    )
    for passage in (":1", ":2")
]


async def ended_after_a_kill(node: Node, rig: Rig, point: str, code: str) -> dict[str, Any]:
    """The end of a session whose keeper was killed at `point`, and which another pool took to its end."""
    async with node.pool(environ=failing(point), resends=2) as pool:
        with contextlib.suppress(AlcError):
            await finish(pool, await run(pool, code))
            await until(lambda: not rig.workers())
    sid = only_session(rig)
    rig.expected_reports.add(sid)
    async with node.pool() as pool:
        ended = await finish(pool, await status_via_pool(pool, sid, wait_s=WAIT_S))
        await until(lambda: not rig.workers())
    return ended


@pytest.mark.slow
@pytest.mark.parametrize("point", KILLS)
async def test_each_change_happens_once_wherever_its_keeper_is_killed(node: Node, rig: Rig, point: str) -> None:
    ended = await ended_after_a_kill(node, rig, point, TWICE)

    assert ended["result"] == [1.0, 11.0]
    assert node.stored() == {"c": 11.0}
    assert node.query("SELECT * FROM alc.effects") == []


@pytest.mark.slow
@pytest.mark.parametrize("point", [*KILLS[4:8], "effect.replied:kill:3", "effect.recorded:kill:4"])
async def test_each_change_of_cards_happens_once_wherever_its_keeper_is_killed(
    node: Node, rig: Rig, point: str
) -> None:
    ended = await ended_after_a_kill(node, rig, point, ALL_CARD_CHANGES)

    ((card_id, samples, text),) = node.query("SELECT card_id, samples, card FROM alc.cards")
    assert (ended["result"], samples, json.loads(str(text))["note"]) == (card_id, "1\n2", "n")
    assert node.query("SELECT name, card_id FROM alc.card_aliases") == [("best", card_id)]
    assert node.query("SELECT * FROM alc.effects") == []


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
async def test_each_change_happens_once_where_the_node_hangs_up_beside_it(node: Node, rig: Rig, when: str) -> None:
    setattr(node.effects, when, node.service.end_keepers)
    async with node.pool() as pool:
        reply = await run(pool, TWICE)
        rig.expected_reports.add(reply.session_id)
        ended = await finish(pool, reply)

    assert ended["result"] == [1.0, 11.0]
    assert node.stored() == {"c": 11.0}


async def test_marks_last_as_long_as_the_session(node: Node, rig: Rig) -> None:
    code = "for _ = 1, 5 do alc.state.incr('c') end alc.llm('p') return alc.state.incr('c')"
    async with node.pool() as pool:
        paused = await run(pool, code)
        while_paused = node.query("SELECT sid, stream, n FROM alc.effects")
        ended = await finish(pool, paused)

    assert while_paused == [(paused.session_id, "", 4)]
    assert ended["result"] == 6.0
    assert node.query("SELECT * FROM alc.effects") == []


@pytest.mark.slow
async def test_children_that_change_one_key_at_once_lose_no_count(node: Node, rig: Rig) -> None:
    (rig.home.packages / "adder").mkdir(parents=True)
    source = "return { run = function(ctx) for _ = 1, 10 do alc.state.incr('c') end return ctx end }"
    (rig.home.packages / "adder" / "init.lua").write_text(source)
    code = "alc.fork({'adder', 'adder', 'adder'}, {}) return 1"
    async with node.pool() as pool:
        ended = await result_of(pool, code)

    assert ended == 1
    counts = [json.loads(str(value)) for (value,) in node.query("SELECT value FROM alc.state")]
    assert counts == [10.0, 10.0, 10.0]


@pytest.mark.slow
async def test_a_keeper_whose_call_takes_long_answers_and_can_be_stopped(
    node: Node, rig: Rig, database: Database
) -> None:
    """The namespace is held by another transaction; the node tries again until it is free."""
    code = "local ok, e = pcall(alc.state.set, 'x', 1) alc.llm('p') return {ok, e}"
    async with node.pool() as pool:
        sid = ""
        with database.connect() as holder, holder.transaction():
            holder.execute("LOCK TABLE alc.state IN EXCLUSIVE MODE")
            sid, first, _ = await run(pool, code, wait_s=0.1)
            seen = (await status_via_pool(pool, sid)).result
        ended = await finish(pool, await status_via_pool(pool, sid, wait_s=WAIT_S))

    assert (first["status"], seen["status"]) == ("running", "running")
    assert ended["result"] == [True, None] or ended["result"][0] is True
    assert node.stored() == {"x": 1}


async def test_a_paused_session_keeps_no_connection_for_its_calls(node: Node, rig: Rig) -> None:
    def connections(pid: int) -> int:
        sockets = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]
        return sum(name.startswith("socket:") for name in sockets)

    async with node.pool(environ={**os.environ, **READABLE}) as pool:
        plain = await run(pool, "alc.llm('p')")
        changed = await run(pool, "alc.state.incr('c') alc.llm('p')")
        await until(lambda: connections(rig.keeper(changed.session_id)) == connections(rig.keeper(plain.session_id)))
