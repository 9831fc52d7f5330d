"""What /metrics counts, and what it does not say."""

import sys
from pathlib import Path

import httpx2
import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.config.http import HttpLimits, HttpSettings
from algocline_mcp.http.identity import Verifier
from algocline_mcp.http.service import Service
from algocline_mcp.http.tokens import new_token
from tests.rig.http_server import JSON

pytestmark = pytest.mark.anyio

LIST = b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}'


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALC_HOME", str(tmp_path))


def client_of(service: Service) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(service.app), base_url="http://localhost")


async def test_requests_are_counted_by_status_and_what_is_under_way_is_shown() -> None:
    service = Service(HttpSettings(), HttpLimits())
    async with service.running(), client_of(service) as client:
        assert (await client.post("/mcp", content=LIST, headers=JSON)).status_code == 200
        assert (await client.post("/mcp/", content=b"{", headers=JSON)).status_code == 400
        assert (await client.get("/mcp", headers={"host": "evil.example"})).status_code == 421
        text = (await client.get("/metrics")).text

    for line in (
        'alc_http_requests_total{path="/mcp",status="200"} 1.0',
        'alc_http_requests_total{path="/mcp",status="400"} 1.0',
        'alc_http_requests_total{path="/mcp",status="421"} 1.0',
        "alc_http_request_seconds_count 3.0",
        "alc_http_requests_under_way 0.0",
        "alc_http_bodies_bytes 0.0",
    ):
        assert line in text.splitlines(), text


async def test_metrics_ask_who_calls_where_calls_do_and_name_nobody(tmp_path: Path) -> None:
    token = new_token(Home(tmp_path), "anna")
    service = Service(HttpSettings(), HttpLimits(), Verifier(Home(tmp_path), None))
    bearer = {"authorization": f"Bearer {token}"}
    async with service.running(), client_of(service) as client:
        await client.post("/mcp", content=LIST, headers={**JSON, **bearer})
        stranger, known = await client.get("/metrics"), await client.get("/metrics", headers=bearer)

    assert (stranger.status_code, known.status_code) == (401, 200)
    assert "anna" not in known.text


async def test_server_without_the_extra_serves_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "algocline_mcp.http.metrics", raising=False)
    service = Service(HttpSettings(), HttpLimits())
    async with service.running(), client_of(service) as client:
        listed = await client.post("/mcp", content=LIST, headers=JSON)
        absent = await client.get("/metrics")

    assert (listed.status_code, absent.status_code) == (200, 404)
    assert "prometheus-client" in absent.text
