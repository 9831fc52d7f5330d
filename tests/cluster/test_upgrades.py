"""Nodes of two versions on one database: what goes on at a node of another version, and what names the one it needs."""

import re
import shutil
from pathlib import Path

import pytest

from algocline_mcp import __version__
from algocline_mcp.cluster.connection import Database
from algocline_mcp.cluster.schema import MIGRATIONS, migrate
from algocline_mcp.languages import LUA
from tests.cluster.node_homes import ASK_TWICE, NodeHome, call, homes, refusal
from tests.rig.http_server import HttpServer
from tests.rig.stdio_home import ROOT

pytestmark = pytest.mark.anyio

OTHER = "9.9.9"

__all__ = ["homes"]


class OtherHome(NodeHome):
    """Served by a program of version OTHER. Not `has_engine`: its Lua replays nothing that this program has written."""

    def __init__(self, root: Path, database: Database, program: Path, *, has_engine: bool) -> None:
        super().__init__(root, database)
        for package in ("algocline_mcp", "alc"):
            shutil.copytree(ROOT / package, program / package, ignore=shutil.ignore_patterns("__pycache__"))
        _edit(program / "algocline_mcp/__init__.py", r'__version__ = ".*"', f'__version__ = "{OTHER}"')
        if not has_engine:
            _edit(program / "algocline_mcp/languages.py", f"prelude={LUA.prelude},", "prelude=1000,")
        self.environment |= {"PYTHONPATH": str(program), "PYTHONSAFEPATH": "1", "ALC_ENV_ALLOW": "PYTHONPATH"}


def _edit(path: Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, path.read_text())
    assert count == 1, (path, pattern, count)
    path.write_text(text)


async def begun(server: HttpServer) -> str:
    """A session whose first prompt is answered and whose second is open."""
    first = await call(server, "alc_run", code=ASK_TWICE)
    await call(server, "alc_continue", session_id=first["session_id"], query_id="q-0", response="A")
    return str(first["session_id"])


async def test_a_session_goes_on_at_a_node_of_another_version_with_the_same_engine(
    homes: tuple[NodeHome, NodeHome], database: Database, tmp_path: Path
) -> None:
    other = OtherHome(homes[1].root, database, tmp_path / "program", has_engine=True)
    with homes[0].serve() as old:
        sid, second_sid = await begun(old), await begun(old)
        with other.serve() as new:
            forwarded = await call(new, "alc_status", session_id=sid, wait_s=1)
            answered = await call(new, "alc_continue", session_id=second_sid, query_id="q-1", response="C")
            code, stderr = old.stop()
            ended = await call(new, "alc_continue", session_id=sid, query_id="q-1", response="B")
            started = await call(new, "alc_run", code=ASK_TWICE)
            with homes[0].serve() as back:
                new.stop()
                shown = await call(back, "alc_status", session_id=started["session_id"], wait_s=1)
                back.stop()

    assert (code, stderr.count("\n")) == (0, 1), stderr
    assert forwarded["prompt"] == "second after A"
    assert (answered["result"], ended["result"]) == ("A+C", "A+B")
    assert shown["prompt"] == "first"


async def test_a_node_whose_database_was_upgraded_under_it_says_so_and_ends_in_order(
    homes: tuple[NodeHome, NodeHome], database: Database
) -> None:
    with homes[0].serve() as old:
        sid = await begun(old)
        with database.connect() as connection:
            migrate(connection, database, begins=False, migrations=(*MIGRATIONS, "SELECT 1"))
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        texts = [
            await refusal(old, tool, session_id=sid, **arguments)
            for tool, arguments in (
                ("alc_continue", {"query_id": "q-1", "response": "B"}),
                ("alc_stop", {}),
                ("alc_branch", {}),
            )
        ]
        health = old.ask("/healthz")[0]
        code, stderr = old.stop()

    for text in texts:
        assert "this program knows" in text, text
    assert health == 200
    assert code == 0, stderr
    assert "Traceback" not in stderr


async def test_a_node_without_the_engine_of_a_session_names_its_version_and_leaves_it_to_one_that_has_it(
    homes: tuple[NodeHome, NodeHome], database: Database, tmp_path: Path
) -> None:
    other = OtherHome(homes[1].root, database, tmp_path / "program", has_engine=False)
    other.environment["ALC_LINGER_S"] = "600"  # the worker that cannot go on leaves because it is told to
    with other.serve() as new:
        with homes[0].serve() as old:
            sid = await begun(old)
            forwarded = await call(new, "alc_status", session_id=sid, wait_s=1)
            old.stop()
        shown = await call(new, "alc_status", session_id=sid)
        refused = await call(new, "alc_continue", session_id=sid, query_id="q-1", response="B")
        branch = await call(new, "alc_branch", session_id=sid)
        branched = await call(new, "alc_continue", session_id=branch["session_id"], query_id="q-1", response="D")
        with homes[0].serve() as back:
            ended = await call(back, "alc_continue", session_id=sid, query_id="q-1", response="B")
            back.stop()
        new.stop()

    assert forwarded["prompt"] == shown["prompt"] == branch["prompt"] == "second after A"
    assert (refused["status"], refused["error_code"]) == ("error", "needs_version")
    assert refused["error"].startswith(f"version {__version__} (")
    assert "'prelude': 1000" in refused["error"]
    assert (ended["result"], branched["result"]) == ("A+B", "A+D")
