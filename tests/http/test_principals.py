"""Several principals at one server: who is asked, who calls, and what of the server's machine a principal gets."""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from uvicorn.server import ServerState

from algocline_mcp.config.home import Home
from algocline_mcp.config.http import HttpLimits, HttpSettings, Issuer
from algocline_mcp.http.connections import BoundedProtocol, Connections, uvicorn_config
from algocline_mcp.http.identity import Verifier
from algocline_mcp.http.service import Service
from algocline_mcp.http.tokens import new_token, remove_token
from algocline_mcp.session.owner import caller
from tests.rig.http_server import JSON, LIMIT_S, HttpServer, connected
from tests.rig.stdio_home import StdioHome, call_tool, wait_for_workers_to_leave

pytestmark = pytest.mark.anyio

LIST = b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}'


class Open(HttpServer):
    """A server with two principals, anna and ben, that listens beyond this machine."""

    def __init__(self, home: StdioHome) -> None:
        self.home = home
        self.anna, self.ben = (new_token(Home(home.root), name) for name in ("anna", "ben"))
        super().__init__(home.environment, address="0.0.0.0:0")


@pytest.fixture(scope="module")
def server() -> Iterator[Open]:
    with tempfile.TemporaryDirectory(prefix="alc-") as directory:
        home = StdioHome(Path(directory))
        with Open(home) as server:
            server.url = server.url.replace("0.0.0.0", "127.0.0.1")
            yield server
            code, stderr = server.stop()
            assert (code, stderr.count("\n")) == (0, 1), stderr
            assert server.anna not in stderr
        wait_for_workers_to_leave(home)


def test_address_with_a_slash_behind_it_asks_and_serves_and_leads_nowhere(server: Open) -> None:
    bearer = {"authorization": f"Bearer {server.anna}"}
    asked, _, _ = server.ask("/mcp/", LIST, **JSON, host="any.example")
    served, headers, _ = server.ask("/mcp/", LIST, **JSON, **bearer, host="any.example")

    assert (asked, served) == (401, 200)
    assert "location" not in headers  # http:// and the Host of the request: without TLS, or to a stranger


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Bearer x", "Basic {anna}", "Bearer {anna}x", "Bearer {anna} x", "{anna}"]
)
def test_caller_without_a_valid_token_is_asked_for_one(server: Open, header: str | None) -> None:
    named = {} if header is None else {"authorization": header.format(anna=server.anna)}

    status, headers, text = server.ask("/mcp", LIST, **JSON, **named)

    assert status == 401
    assert headers["www-authenticate"].startswith("Bearer ")
    assert server.anna not in text + str(headers)


def test_health_asks_nobody_and_a_page_of_a_stranger_gets_nothing_with_a_token(server: Open) -> None:
    bearer = {"authorization": f"Bearer {server.anna}"}

    assert [server.ask(path)[0] for path in ("/healthz", "/readyz")] == [200, 200]
    assert server.ask("/mcp", LIST, **JSON, **bearer, host="any.example")[0] == 200
    assert server.ask("/mcp", LIST, **JSON, **bearer, origin="https://any.example")[0] == 403


async def test_principals_use_the_tools_with_their_tokens(server: Open) -> None:
    async with server.client(token=server.anna) as anna, server.client("legacy", token=server.ben) as ben:
        first = await call_tool(anna, "alc_run", code='return "anna " .. alc.llm("?")')
        other = await call_tool(ben, "alc_run", code='return "ben " .. alc.llm("?")')
        ended = [
            await call_tool(client, "alc_continue", session_id=paused["session_id"], response="!")
            for client, paused in ((anna, first), (ben, other))
        ]

    assert [reply["result"] for reply in ended] == ["anna !", "ben !"]


async def test_principal_reads_no_file_of_the_servers_machine(server: Open) -> None:
    root = Path(__file__).parents[2]
    refused: list[dict[str, Any]] = [
        {"code_file": str(root / "examples" / "panel.py")},
        {"code_file": "examples/panel.py"},
        {"code": "return 1", "ctx_files": {"text": str(root / "README.md")}},
        {"code": "return 1", "project_root": str(root)},
    ]
    async with server.client(token=server.anna) as client:
        replies = [await client.call_tool("alc_run", arguments) for arguments in refused]

    assert [reply.is_error for reply in replies] == [True] * len(refused), replies


async def test_session_of_another_principal_is_not_found_in_the_words_of_one_that_does_not_exist(server: Open) -> None:
    async with server.client(token=server.anna) as anna, server.client(token=server.ben) as ben:
        paused = await call_tool(anna, "alc_run", code='return alc.llm("a secret")')
        sid = paused["session_id"]
        unknown = f"{sid[:-16]}{'0' * 16}"
        said = {
            (tool, name): str((await ben.call_tool(tool, {"session_id": sid_of, **more})).content).replace(
                sid_of, "SID"
            )
            for tool, more in (("alc_status", {}), ("alc_continue", {"response": "x"}), ("alc_stop", {}))
            for name, sid_of in (("hers", sid), ("none", unknown))
        }
        listed = await call_tool(ben, "alc_status")
        ended = await call_tool(anna, "alc_continue", session_id=sid, response="!")

    for tool in ("alc_status", "alc_continue", "alc_stop"):
        assert said[tool, "hers"] == said[tool, "none"], tool
        assert "not_found" in said[tool, "hers"]
    assert sid not in str(listed)
    assert "secret" not in str(said) + str(listed)
    assert ended["result"] == "!"


async def test_removed_token_is_refused_by_the_running_server(server: Open) -> None:
    home = Home(server.home.root)
    token = new_token(home, "carl")
    bearer = {"authorization": f"Bearer {token}"}

    before = server.ask("/mcp", LIST, **JSON, **bearer)[0]
    remove_token(home, "carl")
    after = server.ask("/mcp", LIST, **JSON, **bearer)[0]

    assert (before, after) == (200, 401)


async def test_caller_of_each_request_is_its_principal_in_both_eras(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALC_HOME", str(tmp_path))
    home = Home(tmp_path)
    tokens = {name: new_token(home, name) for name in ("anna", "ben")}
    service = Service(HttpSettings(), HttpLimits(), Verifier(home, None))

    async def who() -> str:
        return f"{caller()}, in a thread {await anyio.to_thread.run_sync(caller)}"

    service.server.add_tool(who, name="alc_note")  # a name that principals may call
    connections = Connections(HttpLimits())
    config, state = uvicorn_config(service.app, HttpLimits()), ServerState()
    names: list[str] = []
    with anyio.fail_after(LIMIT_S):
        async with service.running():
            acceptor = await asyncio.get_running_loop().create_server(
                lambda: BoundedProtocol(config, state, connections), "127.0.0.1", 0
            )
            url = f"http://127.0.0.1:{acceptor.sockets[0].getsockname()[1]}/mcp"
            for mode in ("2026-07-28", "legacy"):
                async with connected(url, mode, tokens["anna"]) as anna, connected(url, mode, tokens["ben"]) as ben:
                    names += [str((await client.call_tool("alc_note", {})).content) for client in (anna, ben, anna)]
            acceptor.close()
            connections.abort()
            await connections.shut_down(LIMIT_S)

    assert len(names) == 6
    for position, text in enumerate(names):
        name = "ben" if position % 3 == 1 else "anna"
        assert f"{name}, in a thread {name}" in text
    assert caller() == ""


async def test_client_learns_where_to_get_a_token(tmp_path: Path) -> None:
    issuer = Issuer("https://issuer.example", "https://alc.example.com/mcp", "https://issuer.example/keys")
    settings = HttpSettings(hosts=("alc.example.com",), issuer=issuer)
    app = Service(settings, HttpLimits(), Verifier(Home(tmp_path), issuer)).app

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="https://alc.example.com") as client:
        asked = await client.post("/mcp", content=LIST, headers=JSON)
        url = asked.headers["www-authenticate"].partition('resource_metadata="')[2].strip('"')
        metadata = (await client.get(url)).json()

    assert asked.status_code == 401
    assert metadata["authorization_servers"] == ["https://issuer.example"]
    assert metadata["resource"] == "https://alc.example.com/mcp"


def test_tokens_are_made_listed_and_removed_at_the_terminal(tmp_path: Path) -> None:
    environment = {**os.environ, "ALC_HOME": str(tmp_path / "home")}

    def alc(*arguments: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "algocline_mcp", "token", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        return done.returncode, done.stdout, done.stderr

    nobody = alc("list")
    made = alc("new", "anna")
    again = alc("new", "anna")
    listed = alc("list")
    removed = alc("remove", "anna")
    gone = alc("remove", "anna")

    assert (nobody[0], nobody[1]) == (0, "")
    assert (made[0], made[1][:4], made[1].count("\n")) == (0, "alc_", 1)
    assert (again[0], "alc token remove anna" in again[2]) == (1, True)
    assert (listed[0], listed[1].split()[0], listed[1].count("\n")) == (0, "anna", 1)
    assert (removed[0], gone[0]) == (0, 1)
