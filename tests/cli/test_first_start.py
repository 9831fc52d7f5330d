"""Replies that are saved before the first start of a host: it is then as fast as every later one."""

import json
import os
import sys
from pathlib import Path

import pytest

from algocline_mcp.cli.first_start import save_replies
from algocline_mcp.cli.hosts import Entry
from algocline_mcp.transport.response_cache import open_response_cache

HOST = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"roots": {}, "elicitation": {}},
    "clientInfo": {"name": "some host", "title": "Some Host", "version": "7"},
}


@pytest.mark.slow
def test_host_that_was_never_here_is_answered_from_the_saved_replies(tmp_path: Path) -> None:
    entry = Entry(sys.executable, ("-m", "algocline_mcp"), {"ALC_HOME": str(tmp_path)})

    is_saved = save_replies(entry, {**os.environ, "ALC_WAIT_S": "1"})

    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ALC_")},
        "ALC_HOME": str(tmp_path),
    }
    cache = open_response_cache(environ)
    hello = cache.answer(json.dumps({"jsonrpc": "2.0", "id": 7, "method": "initialize", "params": HOST}).encode())
    listed = cache.answer(b'{"jsonrpc":"2.0","id":8,"method":"tools/list","params":{"_meta":{"progressToken":1}}}')
    assert is_saved
    assert json.loads(hello or b"{}")["result"]["protocolVersion"] == "2025-11-25"
    assert "alc_run" in str(listed)


@pytest.mark.parametrize("command", ["/nowhere/alc", "/bin/false"])
def test_server_that_does_not_start_costs_nothing_else(tmp_path: Path, command: str) -> None:
    assert save_replies(Entry(command, env={"ALC_HOME": str(tmp_path)}), os.environ) is False
