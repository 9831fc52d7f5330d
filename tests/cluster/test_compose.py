"""compose.yaml: what its services run is there, and two nodes behind its proxy serve one session."""

import os
import shutil
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from algocline_mcp.cli.main import alc
from tests.cluster.nodes import Cluster
from tests.cluster.postgres import Postgres
from tests.rig.http_server import LIMIT_S, connected
from tests.rig.processes import until_blocking
from tests.rig.stdio_home import ROOT

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
IMAGE = "algocline-mcp"
_TIMES = ("ALC_HTTP_UNREADY_S",)
ASK_TWICE = 'local a = alc.llm("first") return a .. "+" .. alc.llm("second")'


def _of_the_image() -> dict[str, Any]:
    return {name: service for name, service in COMPOSE["services"].items() if service["image"] == IMAGE}


@pytest.mark.parametrize("name", _of_the_image())
def test_what_a_service_runs_is_a_command(name: str) -> None:
    done = CliRunner().invoke(alc, [*_of_the_image()[name]["command"], "--help"])

    assert done.exit_code == 0, done.output


def test_the_services_fit_the_image_the_settings_and_each_other() -> None:
    services = COMPOSE["services"]
    dockerfile = (ROOT / "Dockerfile").read_text()
    settings = (ROOT / "docs" / "settings.md").read_text()

    for service in _of_the_image().values():
        variables = [variable for variable in service["environment"] if variable.startswith("ALC_")]
        assert all(f"`{variable}`" in settings for variable in variables)
    for volume in services["node-a"]["volumes"]:
        assert f"{volume.rpartition(':')[2]}\n" in dockerfile, "or the volume would belong to root"
    for service in services.values():
        assert set(service.get("depends_on", ())) <= set(services)
        assert {volume.partition(":")[0] for volume in service.get("volumes", ())} <= set(COMPOSE["volumes"])
    assert services["node-b"] == services["node-a"]
    for upstream in ("node-a:8080", "node-b:8080"):
        assert upstream in COMPOSE["configs"]["caddyfile"]["content"]


@contextmanager
def _proxy(cluster: Cluster, directory: Path) -> Iterator[str]:
    """The address at which the proxy of compose.yaml listens, before these nodes."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text: str = COMPOSE["configs"]["caddyfile"]["content"]
    for name, node in zip(("node-a", "node-b"), cluster.nodes, strict=True):
        text = text.replace(f"{name}:8080", node.url.split("/")[2])
    text = text.replace(":8080", f":{port}")
    config = directory / "Caddyfile"
    config.write_text("{\n  admin off\n}\n" + text)
    with open(directory / "log", "wb") as log:
        caddy = subprocess.Popen(
            ["caddy", "run", "--config", str(config), "--adapter", "caddyfile"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={"HOME": str(directory), "PATH": os.environ["PATH"]},
        )  # fmt: skip

    def is_ready() -> bool:
        assert caddy.poll() is None, (directory / "log").read_text()
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=LIMIT_S) as reply:
            return bool(reply.status == 200)
        return False

    try:
        until_blocking(is_ready, LIMIT_S)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        caddy.kill()
        caddy.wait()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("caddy") is None, reason="caddy is not installed")
@pytest.mark.anyio
async def test_a_session_goes_on_behind_the_proxy_when_its_node_is_stopped(postgres: Postgres, tmp_path: Path) -> None:
    async def call(url: str, tool: str, **arguments: Any) -> dict[str, Any]:
        async with connected(url, "2026-07-28", cluster.tokens["anna"]) as client:
            reply = await client.call_tool(tool, arguments)
        assert not reply.is_error, reply.content
        return dict(reply.structured_content)

    settings = {name: value for name, value in COMPOSE["services"]["node-a"]["environment"].items() if name in _TIMES}
    with Cluster(postgres, count=2, principals=["anna"], settings=settings) as cluster:
        cluster.start()
        with _proxy(cluster, tmp_path) as url:
            paused = await call(url, "alc_run", code=ASK_TWICE)
            sid = paused["session_id"]
            holder = cluster.holder(sid)
            assert holder is not None
            second = await call(url, "alc_continue", session_id=sid, query_id=paused["query_id"], response="A")
            holder.end(signal.SIGTERM)
            ended = await call(url, "alc_continue", session_id=sid, query_id=second["query_id"], response="B")
            others = [await call(url, "alc_run", code="return 1") for _ in range(4)]

    assert (ended["status"], ended["result"]) == ("completed", "A+B")
    assert [other["result"] for other in others] == [1] * 4
