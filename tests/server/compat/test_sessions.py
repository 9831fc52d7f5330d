"""Upstream's additions to alc_status, its pool tools and alc_info, through a real server."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from algocline_mcp.cli.demo import Server, end_workers
from algocline_mcp.config.home import Home
from tests.rig.full_server import refusal_of_call, until


def test_status_adds_the_snapshot_of_upstream(host: Server) -> None:
    sid = host.call("alc_run", code='alc.progress(1, 5, "a") return alc.llm("?")', host_mode=True)["session_id"]
    one = host.call("alc_status", session_id=sid, pending_filter="meta", include_history=True)
    assert (one["status"], one["prompt"], one["state"], one["phase"]) == ("needs_response", "?", "paused", "paused")
    assert one["pending"] == [{"query_id": "q-0", "max_tokens": 1024}]
    assert one["metrics"]["conversation_history"] == []
    assert one["metrics"]["progress"]["total"] == 5
    (line,) = host.call("alc_status", pending_filter={"prompt": {"mode": "full"}})["sessions"]
    assert (line["session_id"], line["worker"], line["pending"]) == (sid, "live", [{"prompt": "?"}])
    (entry,) = host.call("alc_pool_status", sid=sid)["sessions"]
    assert entry.keys() == {"sid", "pid", "sock", "version", "created_at", "status"}
    assert host.call("alc_pool_ensure")["sessions"][0]["pid"] == entry["pid"]
    assert host.call("alc_pool_stop") == {"stopped": [sid], "errors": []}
    assert host.call("alc_pool_status")["sessions"] == []
    assert host.call("alc_pool_stop", sid=sid) == {"stopped": [], "errors": []}
    assert host.call("alc_continue", session_id=sid, response="!")["result"] == "!"
    assert host.call("alc_note", session_id=sid, content="good") == {"session_id": sid, "notes_count": 1}
    assert host.call("alc_log_view", session_id=sid)["transcript"][0]["response"] == "!"
    until(lambda: host.call("alc_log_view"), lambda result: sid in [line["session_id"] for line in result["sessions"]])
    assert host.call("alc_stats")["strategies"]["unknown"]["count"] >= 1
    assert "unknown pending_filter preset 'bogus'" in refusal_of_call(host, "alc_status", pending_filter="bogus")
    assert "got bool" in refusal_of_call(host, "alc_status", pending_filter=True)
    assert host.call("alc_status") == {"active_sessions": 0, "sessions": []}


@pytest.mark.slow
def test_a_snapshot_leaves_room_for_what_the_host_shows() -> None:
    home = Home(Path(os.path.realpath(tempfile.mkdtemp(prefix="alc"))) / "h")
    try:
        with Server.start(home, ALC_TOOLS="full", ALC_OUTPUT_BYTES="4000") as host:
            code = 'return alc.llm(("x"):rep(3000))'
            _, sid = [host.call("alc_run", code=code)["session_id"] for _ in range(2)]
            one = host.call("alc_status", session_id=sid, pending_filter="full")
            many = host.call("alc_status", pending_filter="full")
        assert [len(json.dumps(result, separators=(",", ":"))) <= 4000 for result in (one, many)] == [True, True]
        assert (one["prompt"], "pending" in one, one["metrics"]["rounds"]) == ("x" * 3000, False, 0)
        assert sum("metrics" in line for line in many["sessions"]) < 2
    finally:
        end_workers(home)
        shutil.rmtree(home.root.parent)


@pytest.mark.slow
def test_info_has_the_fields_of_upstream(host: Server) -> None:
    result = host.call("alc_info")

    assert result.keys() >= {"version", "preset_catalog_version", "log_dir", "log_enabled", "tracing", "search_paths"}
    assert result["settings"]["ALC_TOOLS"] == "full"
    assert json.dumps(result)
