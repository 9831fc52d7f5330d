"""Two `alc serve` on one database, as processes, each with a home of its own."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from algocline_mcp.cluster import schema
from algocline_mcp.cluster.connection import Database
from algocline_mcp.cluster.reports import WANTED
from algocline_mcp.cluster.rows import SessionRows
from algocline_mcp.config.home import Home
from algocline_mcp.http.tokens import new_token
from tests.cluster.node_homes import ASK_TWICE, NodeHome, call, homes, refusal
from tests.cluster.postgres import Postgres
from tests.rig.http_server import LIMIT_S, HttpServer
from tests.rig.journals import header, sid_of, write
from tests.rig.processes import until
from tests.rig.stdio_home import StdioHome

pytestmark = pytest.mark.anyio

__all__ = ["homes"]

LEASE_S = "1.5"  # where the lease of a killed node has to run out


@pytest.fixture
def short(homes: tuple[NodeHome, NodeHome]) -> tuple[NodeHome, NodeHome]:
    for home in homes:
        home.environment["ALC_NODE_LEASE_S"] = LEASE_S
    return homes


async def is_ready(server: HttpServer) -> None:
    await until(lambda: server.ask("/readyz")[0] == 200, LIMIT_S)


async def went_on(server: HttpServer, sid: str) -> dict[str, Any]:
    """The reply of the second answer, as soon as the lease of a killed node has run out."""
    with anyio.fail_after(LIMIT_S):
        while True:
            async with server.client() as client:
                reply = await client.call_tool("alc_continue", {"session_id": sid, "query_id": "q-1", "response": "B"})
            if not reply.is_error:
                assert isinstance(reply.structured_content, dict)
                return reply.structured_content
            text = str(reply.content[0].text)  # type: ignore[union-attr]  # tools reply with text
            assert "held_elsewhere" in text or "node" in text, text


async def test_a_session_goes_on_at_another_node_after_its_own_was_stopped(homes: tuple[NodeHome, NodeHome]) -> None:
    with homes[0].serve() as one, homes[1].serve() as two:
        first = await call(one, "alc_run", code=ASK_TWICE)
        sid = first["session_id"]
        second = await call(one, "alc_continue", session_id=sid, query_id="q-0", response="A")
        code, stderr = one.stop()
        shown = await call(two, "alc_status", session_id=sid)
        again = await call(two, "alc_continue", session_id=sid, query_id="q-0", response="A")
        ended = await call(two, "alc_continue", session_id=sid, query_id="q-1", response="B")
        ends = two.stop()

    assert (code, stderr.count("\n")) == (0, 1), stderr
    assert (ends[0], ends[1].count("\n")) == (0, 1), ends[1]
    assert second["prompt"] == shown["prompt"] == again["prompt"] == "second after A"
    assert (ended["status"], ended["result"]) == ("completed", "A+B")


PROGRESS = """
if ctx.asks then alc.llm("first") end
alc.progress(1, 3, "reading")
while true do end
"""


@pytest.mark.parametrize("tool", ["alc_status", "alc_continue"])
async def test_a_call_at_another_node_reports_the_progress_of_the_session(
    homes: tuple[NodeHome, NodeHome], database: Database, tool: str
) -> None:
    is_told = anyio.Event()
    replies = list[Any]()
    rows = SessionRows(database)

    async def note(progress: float, total: float | None, message: str | None) -> None:
        if message is not None and (progress, total, "1/3 reading" in message) == (1, 3, True):
            is_told.set()

    with homes[0].serve() as one, homes[1].serve() as two:
        first = await call(one, "alc_run", code=PROGRESS, ctx={"asks": tool == "alc_continue"}, wait_s=0)
        asked: dict[str, Any] = {"session_id": first["session_id"], "wait_s": 40}
        if tool == "alc_continue":
            asked |= {"query_id": "q-0", "response": "A"}
        async with two.client() as client, two.client() as quiet, anyio.create_task_group() as tasks:

            async def ask() -> None:
                replies.append(await client.call_tool(tool, asked, progress_callback=note))

            tasks.start_soon(ask)
            await is_told.wait()
            tasks.start_soon(quiet.call_tool, tool, asked)
            await until(lambda: len(rows.query("SELECT id FROM alc.requests WHERE response IS NULL")) == 2)
            ids = [str(request_id) for (request_id,) in rows.query("SELECT id FROM alc.requests ORDER BY created_at")]
            await call(one, "alc_stop", session_id=first["session_id"], mode="cancel")
        one.stop()
        two.stop()
    rows.close()

    assert replies[0].structured_content["status"] == "cancelled"
    assert [request_id.endswith(WANTED) for request_id in ids] == [True, False]


async def test_a_session_goes_on_at_another_node_after_its_own_was_killed(short: tuple[NodeHome, NodeHome]) -> None:
    with short[0].serve() as one, short[1].serve() as two:
        first = await call(one, "alc_run", code=ASK_TWICE)
        second = await call(one, "alc_continue", session_id=first["session_id"], query_id="q-0", response="A")
        one.stop(signal.SIGKILL)
        ended = await went_on(two, first["session_id"])
        two.stop()

    assert second["prompt"] == "second after A"
    assert (ended["status"], ended["result"]) == ("completed", "A+B")


async def test_a_node_that_comes_back_to_its_home_finds_what_the_other_did(short: tuple[NodeHome, NodeHome]) -> None:
    with short[0].serve() as one, short[1].serve() as two:
        first = await call(one, "alc_run", code=ASK_TWICE)
        one.stop()
        await call(two, "alc_continue", session_id=first["session_id"], query_id="q-0", response="A")
        two.stop()
        with short[0].serve() as anew:
            ended = await call(anew, "alc_continue", session_id=first["session_id"], query_id="q-1", response="B")
            anew.stop()

    assert ended["result"] == "A+B"


async def test_lists_and_views_are_the_same_at_both(homes: tuple[NodeHome, NodeHome]) -> None:
    with homes[0].serve() as one, homes[1].serve() as two:
        sids = []
        for number in range(3):
            started = await call(one, "alc_run", code=ASK_TWICE, title=f"number {number}")
            sids.append(started["session_id"])
        await call(one, "alc_continue", session_id=sids[0], responses=[{"query_id": "q-0", "response": "A"}])
        done = await call(one, "alc_continue", session_id=sids[0], query_id="q-1", response="B")
        answers: dict[str, list[dict[str, Any]]] = {}
        for server in (one, two):
            replies = answers[server.url] = [
                await call(server, "alc_status"),
                await call(server, "alc_status", limit=1),
            ]
            replies += [await call(server, "alc_status", limit=1, cursor=replies[1]["cursor"])]
            replies += [await call(server, "alc_status", finished=True)]
            for view in ("summary", "prompts", "history", "log", "result", "code"):
                replies += [await call(server, "alc_status", session_id=sid, view=view) for sid in sids[:2]]
            replies += [await call(server, "alc_status", session_id=sids[0])]
        one.stop()
        two.stop()

    here, there = answers[one.url], answers[two.url]
    for reply in (*here, *there):
        reply.pop("worker", None)
        reply.pop("stats", None)  # elapsed time goes on
        for entry in reply.get("sessions", []):
            if entry["status"] == "completed":
                entry.pop("worker")  # it is just about to leave
    assert here == there
    assert done["result"] == "A+B"
    listed, first_page, second_page, finished = here[:4]
    assert [entry["title"] for entry in listed["sessions"]] == ["number 2", "number 1"]
    assert listed["counts"] == {"unfinished": 2, "live": 2, "finished": 1}
    assert first_page["sessions"] + second_page["sessions"] == listed["sessions"]
    assert "cursor" not in second_page
    assert [entry["title"] for entry in finished["sessions"]] == ["number 0"]
    assert here[-1]["result"] == "A+B"


async def test_a_session_is_cancelled_and_deleted_at_any_node(homes: tuple[NodeHome, NodeHome]) -> None:
    with homes[0].serve() as one, homes[1].serve() as two:
        sids = [(await call(one, "alc_run", code=ASK_TWICE))["session_id"] for _ in range(2)]
        for sid in sids:
            await call(one, "alc_stop", session_id=sid)
        cancelled = await call(two, "alc_stop", session_id=sids[0], mode="cancel")
        deleted = [await call(two, "alc_stop", session_id=sid, mode="delete") for sid in reversed(sids)]
        gone = [await refusal(server, "alc_status", session_id=sid) for server in (one, two) for sid in sids]
        listed = await call(one, "alc_status")
        one.stop()
        two.stop()

    assert cancelled["status"] == "cancelled"
    assert [reply["status"] for reply in deleted] == ["deleted", "deleted"]
    assert all("not found" in text for text in gone)
    assert listed["sessions"] == []


async def test_a_session_branches_at_another_node(homes: tuple[NodeHome, NodeHome]) -> None:
    with homes[0].serve() as one, homes[1].serve() as two:
        first = await call(one, "alc_run", code=ASK_TWICE)
        await call(one, "alc_continue", session_id=first["session_id"], query_id="q-0", response="A")
        branch = await call(two, "alc_branch", session_id=first["session_id"], at="q-0", response="other")
        dry = await call(two, "alc_branch", session_id=first["session_id"], at="q-0", response="C", dry_run=True)
        one.stop()
        ended = await call(two, "alc_continue", session_id=branch["session_id"], query_id="q-1", response="B")
        two.stop()

    assert branch["prompt"] == "second after other"
    assert [query["prompt"] for query in dry["asks"]] == ["second after C"]
    assert ended["result"] == "other+B"


async def test_what_belongs_to_another_is_not_found_at_either_node(homes: tuple[NodeHome, NodeHome]) -> None:
    tokens = [{name: new_token(Home(home.root), name) for name in ("ann", "ben")} for home in homes]
    absent = f"p-{1:x}-{0:016x}"
    texts = []
    with homes[0].serve() as one, homes[1].serve() as two:
        first = await call(one, "alc_run", token=tokens[0]["ann"], code=ASK_TWICE)
        sid = first["session_id"]
        for server, own in ((one, tokens[0]), (two, tokens[1])):
            for tool, more in (
                ("alc_status", {}),
                ("alc_status", {"view": "code"}),
                ("alc_continue", {"query_id": "q-0", "response": "x"}),
                ("alc_stop", {"mode": "delete"}),
                ("alc_branch", {}),
            ):
                for each in (sid, absent):
                    text = await refusal(server, tool, token=own["ben"], session_id=each, **more)
                    texts.append(text.replace(each, "ID"))
        listed = [
            await call(server, "alc_status", token=own["ben"]) for server, own in zip((one, two), tokens, strict=True)
        ]
        shown = await call(two, "alc_status", token=tokens[1]["ann"], session_id=sid)
        one.stop()
        two.stop()

    assert len({text.partition("[")[0] for text in texts}) == 1, texts
    assert "not found" in texts[0]
    assert [reply["sessions"] for reply in listed] == [[], []]
    assert shown["prompt"] == "first"


async def test_cards_that_a_strategy_stores_at_one_node_are_read_and_extended_at_the_other(
    homes: tuple[NodeHome, NodeHome],
) -> None:
    tokens = [{name: new_token(Home(home.root), name) for name in ("ann", "ben")} for home in homes]
    for home in homes:
        home.environment["ALC_TOOLS"] = "full"
    card = "{card_id = 'c', pkg = {name = 'p'}, stats = {pass_rate = 0.5}}"
    made = f"return {{alc.card.create({card}).card_id, #alc.card.list()}}"
    with homes[0].serve() as one, homes[1].serve() as two:
        ann, ben = tokens[1]["ann"], tokens[1]["ben"]
        created = await call(one, "alc_run", token=tokens[0]["ann"], code=made)
        seen = await call(two, "alc_run", token=ann, code="return alc.card.get('c').stats.pass_rate")
        extended = await call(two, "alc_card_append", token=ann, card_id="c", fields={"note": "n"})
        found = await call(one, "alc_card_find", token=tokens[0]["ann"], where={"note": "n"})
        await call(two, "alc_card_alias_set", token=ann, name="best", card_id="c")
        aliased = await call(one, "alc_card_get_by_alias", token=tokens[0]["ann"], name="best")
        listed = await call(one, "alc_catalog", token=tokens[0]["ann"], kind="cards")
        shown = await call(one, "alc_catalog", token=tokens[0]["ann"], kind="cards", name="c")
        others = [
            await call(two, "alc_run", token=ben, code=made),
            await call(two, "alc_catalog", token=ben, kind="cards"),
            await call(two, "alc_card_append", token=ben, card_id="c", fields={"note": "ben's"}),
        ]
        refused = await refusal(two, "alc_card_append", token=ann, card_id="c", fields={"note": "again"})
        for server in (one, two):
            server.stop()

    line = {"card_id": "c", "pkg": "p", "created_at": shown["card"]["created_at"], "pass_rate": 0.5}
    assert (created["result"], seen["result"]) == (["c", 1], 0.5)
    assert extended == aliased == shown["card"]
    assert (found["cards"], listed) == ([line], {"cards": [line], "total": 1})
    assert others[0]["result"] == ["c", 1]
    assert others[1]["total"] == 1
    assert others[2]["note"] == "ben's"
    assert "key 'note' already set on card 'c'" in refused
    assert not any(Home(home.root).of(owner).cards.exists() for home in homes for owner in ("", "ann", "ben"))


async def test_upstreams_status_shows_at_one_node_what_the_other_one_holds(homes: tuple[NodeHome, NodeHome]) -> None:
    for home in homes:
        home.environment["ALC_TOOLS"] = "full"
    with homes[0].serve() as one, homes[1].serve() as two:
        first = await call(one, "alc_run", code=ASK_TWICE)
        sid = first["session_id"]
        listed = [await call(two, "alc_status")]
        before = await call(two, "alc_status", session_id=sid, include_history=True)
        await call(one, "alc_continue", session_id=sid, query_id="q-0", response="A")
        listed.append(await call(two, "alc_status"))
        after = await call(two, "alc_status", session_id=sid, include_history=True, pending_filter="full")
        for server in (one, two):
            server.stop()

    assert before["metrics"]["conversation_history"] == []
    assert [turn["response"] for turn in after["metrics"]["conversation_history"]] == ["A"]
    assert [query["prompt"] for query in after["pending"]] == ["second after A"]
    assert [line["metrics"]["llm_calls"] for reply in listed for line in reply["sessions"]] == [1, 2]


async def test_without_the_database_each_call_gets_a_sentence_and_nothing_is_acknowledged(
    short: tuple[NodeHome, NodeHome], postgres: Postgres
) -> None:
    with short[0].serve() as one:
        await is_ready(one)
        first = await call(one, "alc_run", code=ASK_TWICE)
        sid = first["session_id"]
        postgres.end(signal.SIGQUIT)
        try:
            await until(lambda: one.ask("/readyz")[0] == 503, LIMIT_S)
            health = one.ask("/healthz")[0]
            texts = [
                await refusal(one, tool, **arguments)
                for tool, arguments in (
                    ("alc_run", {"code": ASK_TWICE}),
                    ("alc_continue", {"session_id": sid, "query_id": "q-0", "response": "A", "wait_s": 0}),
                    ("alc_status", {}),
                    ("alc_stop", {"session_id": sid, "mode": "delete"}),
                    ("alc_branch", {"session_id": sid}),
                )
            ]
        finally:
            postgres.start()
        await is_ready(one)
        listed = await call(one, "alc_status")
        # The answer that was not acknowledged may have been committed when the database came back: it is sent again.
        second = await call(one, "alc_continue", session_id=sid, query_id="q-0", response="A")
        one.stop()

    assert health == 200
    for text in texts:
        assert "postgresql://" in text, text
        assert text.count("\n") == 0
    assert [entry["session_id"] for entry in listed["sessions"]] == [sid]
    assert second["prompt"] == "second after A"


# ── what a server says that cannot be a node ──────────────────────────────────────────────────────────────


def served(home: StdioHome, *arguments: str, **settings: str) -> str:
    """The stderr of a server that does not come up."""
    done = subprocess.run(
        [sys.executable, "-m", "algocline_mcp", "serve", "--http", ":0", *arguments],
        capture_output=True,
        text=True,
        env={**home.environment, **settings},
        timeout=LIMIT_S,
        check=False,
    )
    assert (done.returncode in (1, 2), done.stdout) == (True, ""), done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_server_without_usable_tables_says_so_in_one_sentence(empty: Database, tmp_path: Path) -> None:
    home = StdioHome(tmp_path)

    without = served(home, "--database", empty._url)
    with empty.connect() as connection:
        schema.migrate(connection, empty, begins=True, migrations=(*schema.MIGRATIONS, "SELECT 1"))
    newer = served(home, "--database", "-", ALC_DATABASE=empty._url)
    away = served(home, "--database", "postgresql://alc@/alc?host=/nowhere")
    unnamed = served(home, "--database", "-")

    assert without == f"Error: {empty.label} has no tables of alc: run alc db init\n"
    assert "this program knows" in newer
    assert "does not answer" in away
    assert "set ALC_DATABASE" in unnamed
    assert not (tmp_path / "state" / "pool" / "node.lock").exists()


def test_a_home_with_sessions_of_its_own_is_refused_and_stays_as_it_is(database: Database, tmp_path: Path) -> None:
    home = StdioHome(tmp_path)
    path = Home(tmp_path).journal(sid_of(1))
    write(path, [header(sid_of(1))])

    text = served(home, "--database", database._url)

    assert "has sessions of its own" in text
    assert path.exists()


def test_two_nodes_do_not_share_a_home(homes: tuple[NodeHome, NodeHome]) -> None:
    with homes[0].serve() as one:
        text = served(homes[0], "--database", "-")
        one.stop()

    assert "another node uses" in text


def test_a_setting_that_needs_a_home_is_refused(homes: tuple[NodeHome, NodeHome]) -> None:
    assert "ALC_CARD_SINKS is not applied" in served(homes[0], "--database", "-", ALC_CARD_SINKS="file:///tmp")
