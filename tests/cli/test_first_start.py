"""Replies that are saved before the first start of a host: it is then as fast as every later one."""

import os
import sys
from pathlib import Path

import pytest

from algocline_mcp.cli.first_start import save_replies
from algocline_mcp.cli.hosts import Entry
from algocline_mcp.front.response_cache import CacheFile, ResponseCache

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
    cache = ResponseCache(CacheFile(environ).load())
    hello = cache.question({"method": "initialize", "params": HOST})
    listed = cache.question({"method": "tools/list", "params": {"_meta": {"progressToken": 1}}})
    assert is_saved
    assert b'"protocolVersion":"2025-11-25"' in cache.answers[hello or ""]
    assert b"alc_run" in cache.answers[listed or ""]


@pytest.mark.parametrize("command", ["/nowhere/alc", "/bin/false"])
def test_server_that_does_not_start_costs_nothing_else(tmp_path: Path, command: str) -> None:
    assert save_replies(Entry(command, env={"ALC_HOME": str(tmp_path)}), os.environ) is False
