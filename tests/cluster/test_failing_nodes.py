"""Three nodes on one database: calls reach the node that holds the session, whatever happens to nodes and database.

Each story plays sessions whose prompts and results follow from their answers, and at the end compares the rows with
what its calls have seen: every acknowledged answer is there, none is there twice, no prompt has changed.
"""

import signal
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from itertools import cycle
from typing import Any

import anyio
import pytest

from tests.cluster.nodes import Cluster, Node, NodeSilent, Reply, cut_off
from tests.cluster.postgres import Postgres
from tests.fault.expected_session import ExpectedSession
from tests.rig.processes import until

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

WAIT_S = 45.0  # of a call that may have to wait for the end of a lease
LIMIT_S = 240.0
PASSING = ("database_unreachable", "storage_failed", "unreachable")  # codes after which a client asks again


@pytest.fixture(scope="module")
def running(postgres: Postgres) -> Iterator[Cluster]:
    with Cluster(postgres) as cluster:
        cluster.start()
        yield cluster


@pytest.fixture
def cluster(running: Cluster) -> Cluster:
    running.restore()
    return running


async def _reply(call: Callable[[], Awaitable[Reply]]) -> Reply:
    """Asks again, as a client that was refused: a node says for a moment longer that the database is away."""
    with anyio.fail_after(LIMIT_S):
        while (reply := await call()).code in PASSING:  # noqa: ASYNC110 - nothing announces it
            await anyio.sleep(0.1)
    return reply


class Story:
    """One session, played against the nodes that a test names."""

    def __init__(self, cluster: Cluster, kind: str = "single", rounds: int = 3, *, turns: int = 50_000) -> None:
        """`turns`: of the loop with which the strategy computes before each prompt."""
        self.cluster = cluster
        self.expected = ExpectedSession(kind, "s", rounds)
        self._code = self.expected.code.replace("50000", str(turns))
        self._pending: list[str] = []

    @property
    def sid(self) -> str:
        return self.expected.sid

    async def begin(self, node: Node) -> None:
        reply = await _reply(lambda: node.ask("alc_run", code=self._code, language="lua", wait_s=WAIT_S))
        assert not reply.error, reply
        self.expected.sid = reply.result["session_id"]
        self.take(reply.result)

    def take(self, result: dict[str, Any]) -> None:
        status = result["status"]
        if status == "needs_response":
            queries = result.get("queries") or [result]
            self.expected.record_shown(queries)
            self._pending = [query["query_id"] for query in queries]
        elif status == "completed":
            self.expected.result, self.expected.is_over = result["result"], True

    async def send(self, node: Node, wait_s: float = WAIT_S) -> Reply:
        """Answers the first pending prompt; what the reply says is not taken."""
        query_id = self._pending[0]
        response = self.expected.answer(query_id)
        return await node.ask("alc_continue", session_id=self.sid, query_id=query_id, response=response, wait_s=wait_s)

    async def answer(self, node: Node, wait_s: float = WAIT_S) -> dict[str, Any]:
        """As `send`; the answer must be acknowledged."""
        query_id = self._pending[0]
        reply = await _reply(lambda: self.send(node, wait_s))
        assert not reply.error, reply
        self.expected.record_acknowledged([query_id])
        self._pending = self._pending[1:]
        self.take(reply.result)
        return reply.result

    async def see(self, node: Node) -> dict[str, Any]:
        reply = await _reply(lambda: node.ask("alc_status", session_id=self.sid, wait_s=WAIT_S))
        assert not reply.error, reply
        self.take(reply.result)
        return reply.result

    async def finish(self, *nodes: Node) -> None:
        """Each of them is asked in turn. Compares the session with what was seen."""
        for node in cycle(nodes):
            if self.expected.is_over:
                break
            await self.answer(node)
        self.expected.check(self.cluster.records(self.sid))


@pytest.mark.parametrize("kind", ["single", "batch", "chance"])
async def test_an_answer_given_to_any_node_reaches_the_one_that_holds_the_session(cluster: Cluster, kind: str) -> None:
    a, b, c = cluster.nodes
    story = Story(cluster, kind)
    await story.begin(a)

    for node in (b, c):
        await story.answer(node)
        assert cluster.holder(story.sid) is a
    await story.finish(c, b, a)

    assert len(set(cluster.epochs(story.sid))) == 1  # nobody else has held it


async def test_status_and_stop_reach_the_node_that_holds_the_session(cluster: Cluster) -> None:
    a, b, c = cluster.nodes
    story = Story(cluster)
    await story.begin(a)

    shown = await story.see(b)
    stopped = await b.ask("alc_stop", session_id=story.sid)
    await until(lambda: not a.workers(story.sid) and cluster.holder(story.sid) is None)
    await story.answer(c)

    assert (shown["status"], stopped.result["stopped"]) == ("needs_response", True)
    assert cluster.holder(story.sid) is c
    await story.finish(a, b)


async def test_a_session_that_is_deleted_elsewhere_is_not_found_anywhere(cluster: Cluster) -> None:
    a, b, c = cluster.nodes
    story = Story(cluster)
    await story.begin(a)

    deleted = await b.ask("alc_stop", session_id=story.sid, mode="delete")
    replies = [await node.ask("alc_status", session_id=story.sid) for node in (a, b, c)]

    assert deleted.result["status"] == "deleted"
    assert [reply.code for reply in replies] == ["not_found"] * 3
    assert cluster.records(story.sid) == []


async def test_a_killed_node_is_replaced_and_loses_no_acknowledged_answer(cluster: Cluster) -> None:
    a, b, c = cluster.nodes
    story = Story(cluster, rounds=4)
    await story.begin(a)
    await story.answer(a)
    a.end(signal.SIGKILL)

    await story.answer(b)
    await until(lambda: not a.workers(story.sid))

    assert cluster.holder(story.sid) is b
    await story.finish(c, b)


async def test_a_call_that_waits_for_a_node_goes_on_when_that_node_is_killed(cluster: Cluster) -> None:
    a, b, _ = cluster.nodes
    story = Story(cluster, rounds=2)
    await story.begin(a)
    a.freeze()  # the call gets as far as the row of its request

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(story.answer, b)
        await until(lambda: cluster.rows.query("SELECT 1 FROM alc.requests WHERE sid = %s", (story.sid,)))
        a.end(signal.SIGKILL)

    assert cluster.holder(story.sid) is b
    await story.finish(b)


async def test_a_node_that_is_stopped_gives_its_sessions_back_at_once(postgres: Postgres) -> None:
    with anyio.fail_after(LIMIT_S), Cluster(postgres, count=2, lease_s=10 * LIMIT_S) as cluster:
        cluster.start()
        a, b = cluster.nodes
        story = Story(cluster)
        await story.begin(a)

        code = a.end(signal.SIGTERM)
        await story.answer(b)

        assert code == 0, a.log()
        assert cluster.holder(story.sid) is b
        await story.finish(b)


async def test_what_a_node_commits_that_was_frozen_past_its_lease_is_fenced(cluster: Cluster) -> None:
    a, b, _ = cluster.nodes
    story = Story(cluster, turns=100_000_000)  # about a second before each prompt
    await story.begin(a)
    await story.answer(a, wait_s=0.0)
    a.freeze()  # the keeper still has the prompt to commit

    await story.see(b)
    before = cluster.epochs(story.sid)
    assert a.workers(story.sid), "nothing is left that could commit"
    a.thaw()
    await until(lambda: not a.workers(story.sid))

    assert cluster.epochs(story.sid) == before
    assert before[-1] > before[0]
    await story.finish(a, b)


async def test_an_answer_that_waited_in_a_frozen_node_counts_once(cluster: Cluster) -> None:
    a, b, _ = cluster.nodes
    story = Story(cluster, rounds=2)
    await story.begin(a)
    late: list[Reply] = []

    async def send_to_frozen() -> None:
        try:
            late.append(await story.send(a))
        except NodeSilent:
            late.append(Reply())

    a.freeze()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send_to_frozen)
        await story.answer(b)
        a.thaw()

    assert late[0].code in ("", "already_answered", "stale"), late
    await story.finish(a, b)


async def test_a_node_that_is_cut_off_answers_in_time_and_another_one_goes_on(cluster: Cluster) -> None:
    a, b, _ = cluster.nodes
    story = Story(cluster, rounds=4)
    await story.begin(a)
    await story.answer(a)

    with cut_off(a):
        refused = await story.send(a, wait_s=0.0)
        await story.answer(b)
        again = await a.ask("alc_status", session_id=story.sid, wait_s=0.0)
    await until(lambda: not a.workers(story.sid))

    assert refused.error
    assert again.error
    assert cluster.holder(story.sid) is b
    await story.finish(a, b)


async def test_connections_that_are_reset_lose_nothing(cluster: Cluster) -> None:
    a, b, c = cluster.nodes
    story = Story(cluster, rounds=6)
    await story.begin(a)

    for node in (a, b, c, a, b):
        cluster.nodes[0].proxy.reset()
        node.proxy.reset()
        await story.answer(node)

    await story.finish(c)


async def test_a_slow_database_is_waited_for(cluster: Cluster) -> None:
    a, b, _ = cluster.nodes
    story = Story(cluster)
    for node in (a, b):
        node.proxy.delay(0.05)
    await story.begin(a)

    await story.finish(b, a)


async def test_a_database_that_is_down_gets_one_sentence_and_nothing_is_accepted(cluster: Cluster) -> None:
    a, b, c = cluster.nodes
    stories = [Story(cluster) for _ in cluster.nodes]
    for story, node in zip(stories, cluster.nodes, strict=True):
        await story.begin(node)
    replies: list[Reply] = []

    async def send(story: Story, node: Node) -> None:
        replies.append(await story.send(node, wait_s=0.0))

    cluster.postgres.end(signal.SIGQUIT)
    try:
        async with anyio.create_task_group() as tasks:
            for story, node in zip(stories, (a, c, b), strict=True):  # one to its holder, two to another node
                tasks.start_soon(send, story, node)
            tasks.start_soon(_expect_refusal, a, replies)
    finally:
        cluster.postgres.start()

    assert all(reply.error and "\n" not in reply.error for reply in replies), replies
    for story in stories:
        await story.answer(b)  # the same answer again
        await story.finish(a, b, c)


async def _expect_refusal(node: Node, replies: list[Reply]) -> None:
    replies.append(await node.ask("alc_run", code='return alc.llm("p")', language="lua", wait_s=0.0))


async def test_a_database_that_crashes_under_calls_loses_and_doubles_nothing(cluster: Cluster) -> None:
    stories = [Story(cluster, kind, rounds=6) for kind in ("single", "batch", "chance") * 2]

    async def play(story: Story, number: int) -> None:
        for node in cycle(cluster.nodes[number % 3 :] + cluster.nodes[: number % 3]):
            if story.expected.is_over:
                return
            await story.answer(node)  # what is not acknowledged is sent again

    for number, story in enumerate(stories):
        await story.begin(cluster.nodes[number % 3])
    async with anyio.create_task_group() as tasks:
        for number, story in enumerate(stories):
            tasks.start_soon(play, story, number)
        for count in (5, 15):
            await until(partial(_have_more_answers, stories, count), LIMIT_S)
            cluster.postgres.end(signal.SIGQUIT)
            cluster.postgres.start()

    for story in stories:
        story.expected.check(cluster.records(story.sid))


def _have_more_answers(stories: list[Story], count: int) -> bool:
    return sum(len(story.expected.acknowledged) for story in stories) > count


async def test_a_session_that_stalled_is_revived_though_nobody_asks(cluster: Cluster) -> None:
    a, b, _ = cluster.nodes
    story = Story(cluster, turns=400_000_000)  # seconds, so it still computes when its node is killed
    await story.begin(a)
    await story.answer(a, wait_s=0.0)
    assert cluster.phase(story.sid) == "running"

    a.end(signal.SIGKILL)
    await until(lambda: cluster.phase(story.sid) == "paused", WAIT_S)

    assert cluster.holder(story.sid) is not a
    await story.see(b)
    await story.finish(b)


async def test_a_call_ends_within_its_wait_where_the_holder_is_frozen(cluster: Cluster) -> None:
    """With a lease that outlasts the call, which no test waits for: what ends the call is its own time."""
    a, b, _ = cluster.nodes
    story = Story(cluster)
    await story.begin(a)
    name = cluster.rows.query("SELECT held_by FROM alc.sessions WHERE sid = %s", (story.sid,))[0][0]
    a.freeze()
    sql = "UPDATE alc.nodes SET lease_until = clock_timestamp() + make_interval(secs => %s) WHERE node = %s"
    cluster.rows.query(sql, (10 * LIMIT_S, name))

    reply = await story.send(b, wait_s=0.0)

    assert str(name) in reply.error
    assert reply.code == "unreachable"
    a.thaw()
    await story.finish(b, a)
